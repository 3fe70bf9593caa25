//! Lines of events and of series: an error names its line, a torn last line changes nothing, and what is read is
//! written again as the same.

#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use proofload_fuzz::{Allowance, KIB, Scratch};
use proofload_run::RunError;
use proofload_run::events::Event;
use proofload_run::jsonl::{LineReader, LineWriter};
use proofload_run::series::SeriesPoint;
use serde::Serialize;
use serde::de::DeserializeOwned;

const ALLOWANCE: Allowance = Allowance { fixed: 64 * KIB, per_byte: 64 };

fuzz_target!(|input: &[u8]| {
    check::<Event>(input);
    check::<SeriesPoint>(input);
});

fn check<T: Serialize + DeserializeOwned + Debug>(input: &[u8]) {
    let place = Scratch::fresh("lines");
    let read = |name: &str, bytes: &[u8]| -> Result<Vec<T>, RunError> {
        let path = place.file(name, bytes);
        ALLOWANCE.hold(bytes.len(), || LineReader::open(&path)?.collect())
    };
    let whole = input.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let values = read("a", input);
    assert_eq!(format!("{values:?}"), format!("{:?}", read("a", &input[..whole])), "the torn last line counts");
    match values {
        Ok(values) => {
            let path = place.path().join("b");
            LineWriter::create(&path).expect("a new file").append(&values).expect("what was read can be written");
            let again: Result<Vec<T>, _> = LineReader::open(&path).expect("just written").collect();
            assert_eq!(again.expect("what we write can be read").len(), values.len());
        }
        Err(error) => assert!(error.to_string().contains("line "), "{error} names no line"),
    }
}
