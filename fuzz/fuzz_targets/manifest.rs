//! `run.json`: what is read is written again and then read as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proofload_fuzz::{Allowance, KIB, Scratch};
use proofload_run::folder::RunFolder;
use serde_json::Value;

const ALLOWANCE: Allowance = Allowance { fixed: 64 * KIB, per_byte: 512 };

fuzz_target!(|input: &[u8]| {
    let place = Scratch::fresh("manifest");
    place.file("run.json", input);
    let folder = RunFolder::open(place.path()).expect("it has a run.json");
    let Ok(manifest) = ALLOWANCE.hold(input.len(), || folder.read_manifest()) else { return };
    folder.write_manifest(&manifest).expect("what was read can be written");
    let again = folder.read_manifest().expect("what we write can be read");
    let value = |manifest| serde_json::to_value(manifest).expect("what was read can be written");
    same(&value(&manifest), &value(&again));
});

/// Fractions may lose their last bit on the way through JSON.
fn same(left: &Value, right: &Value) {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            assert_eq!(left.len(), right.len());
            left.iter().zip(right).for_each(|(left, right)| same(left, right));
        }
        (Value::Object(left), Value::Object(right)) => {
            assert!(left.keys().eq(right.keys()));
            left.values().zip(right.values()).for_each(|(left, right)| same(left, right));
        }
        (Value::Number(left), Value::Number(right)) if left.is_f64() && right.is_f64() => {
            let (left, right) = (left.as_f64().unwrap_or(0.0), right.as_f64().unwrap_or(0.0));
            assert!((left - right).abs() <= 1e-15 * left.abs(), "{left} is {right}");
        }
        (left, right) => assert_eq!(left, right),
    }
}
