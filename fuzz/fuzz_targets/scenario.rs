//! Scenario files, with overrides behind a line of three dashes: what cannot run is refused with places in the file,
//! what can run is said in `run.json`.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use proofload_fuzz::{Allowance, MIB};
use proofload_loadgen::scenario::{Place, Problem, Scenario};

/// A thousand steps and a thousand entries may come of a few bytes.
const ALLOWANCE: Allowance = Allowance { fixed: 4 * MIB, per_byte: 2048 };

fn is_in(text: &str, problem: &Problem) -> bool {
    match problem.place {
        Place::Whole | Place::Override(_) => true,
        // An error at the end of the file stands behind its last character.
        Place::File { line, column } => {
            let lines: Vec<&str> = text.split('\n').collect();
            let length = lines.get(line.wrapping_sub(1)).map(|line| line.chars().count());
            length.is_some_and(|length| (1..=length + 1).contains(&column))
        }
    }
}

fuzz_target!(|input: &str| {
    let (text, overrides) = input.split_once("\n---\n").unwrap_or((input, ""));
    let overrides: Vec<String> = overrides.lines().map(str::to_owned).collect();
    // A folder that is not there: patterns of payload files then match nothing.
    let path = Path::new("/nonexistent/scenario.toml");
    match ALLOWANCE.hold(input.len(), || Scenario::parse(path, text, &overrides)) {
        Ok(scenario) => {
            let steps = &scenario.load.steps;
            assert!(!steps.is_empty() && steps.len() <= 1002, "{} steps", steps.len());
            assert!(steps.windows(2).all(|pair| pair[0].end_ns == pair[1].start_ns), "the steps have gaps: {steps:?}");
            assert!(steps.iter().all(|step| step.start_ns < step.end_ns), "a step has no length: {steps:?}");
            serde_json::to_string(&scenario).expect("what runs can be written to run.json");
        }
        Err(errors) => {
            assert!(!errors.problems.is_empty(), "refused without a reason");
            for problem in &errors.problems {
                assert!(is_in(text, problem), "{problem:?} is not in the file");
                assert!(!problem.message.is_empty(), "{problem:?} says nothing");
            }
        }
    }
});
