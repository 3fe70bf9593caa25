//! Inference statistics: every count has labels that the reader of metrics pages understands.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proofload_fuzz::{Allowance, KIB};
use proofload_loadgen::watch::{prometheus, statistics};

/// Eighteen values with names and labels for each model.
const ALLOWANCE: Allowance = Allowance { fixed: 64 * KIB, per_byte: 128 };

fuzz_target!(|body: &[u8]| {
    let Ok(values) = ALLOWANCE.hold(body.len(), || statistics::parse(body)) else { return };
    for (name, labels, value) in values {
        let line = format!("{name}{{{labels}}} {value}");
        let read = prometheus::parse(&line, 2, |_| true);
        let [read] = read.as_slice() else { panic!("{line:?} is {read:?}") };
        assert_eq!((&read.name, &read.labels, read.value), (&name, &labels, value));
    }
});
