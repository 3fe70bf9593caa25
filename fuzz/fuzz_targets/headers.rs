//! Headers of our own, one `name: value` a line: trace context and phases. What is read is written again and then
//! read as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proofload_wire::phases::{Family, Phases, Stated};
use proofload_wire::trace::{TRACEPARENT, TraceParent};

fuzz_target!(|text: &str| {
    let headers: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(": ")).collect();
    let lookup = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    if let Some(parent) = lookup(TRACEPARENT).and_then(TraceParent::parse) {
        assert!(parent.trace_id != 0 && parent.parent_id != 0, "{parent:?}");
        assert_eq!(TraceParent::parse(&parent.to_string()), Some(parent));
    }
    let stated = Stated::from_lookup(lookup);
    if let Some(phases) = Phases::from_lookup(lookup) {
        assert_eq!(stated, Some(Stated { phases, family: Family::Proofload }));
        let written = phases.to_headers();
        let again = |name: &str| written.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!(Phases::from_lookup(again), Some(phases));
    }
});
