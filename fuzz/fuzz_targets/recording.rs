//! Recordings of arrivals as CSV, named by a scenario: what is refused says where, and what is accepted is a load.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proofload_fuzz::{Allowance, KIB, Scratch};
use proofload_loadgen::scenario::Scenario;

const ALLOWANCE: Allowance = Allowance { fixed: 512 * KIB, per_byte: 256 };
const SCENARIO: &str = r#"
kind = "sustained"
load = { arrivals = "replay", replay = { file = "trace.csv", speed = 2, entries = "kind" } }
target = { http = "http://127.0.0.1:1" }
mix = [{ name = "a", protocol = "http", path = "/" }, { name = "b", protocol = "http", path = "/" }]
"#;

fuzz_target!(|csv: &[u8]| {
    let place = Scratch::fresh("recording");
    place.file("trace.csv", csv);
    let path = place.path().join("scenario.toml");
    match ALLOWANCE.hold(csv.len(), || Scenario::parse(&path, SCENARIO, &[])) {
        Ok(scenario) => {
            let steps = &scenario.load.steps;
            assert!(steps.iter().all(|step| step.start_ns < step.end_ns), "a step has no length: {steps:?}");
        }
        Err(errors) => {
            let trace = |message: &str| message.contains("trace.csv") || message.contains("record");
            assert!(errors.problems.iter().all(|problem| trace(&problem.message)), "{errors}");
        }
    }
});
