//! Journals of samples, whatever bytes they hold: no more samples than fit into the file, and written again they
//! are the same.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use proofload_fuzz::{Allowance, MIB, Scratch};
use proofload_run::journal::{JournalReader, JournalWriter, Tail};
use proofload_run::sample::Sample;

/// One chunk, as bytes and as samples, and a buffer.
const ALLOWANCE: Allowance = Allowance { fixed: 24 * MIB, per_byte: 8 };

fn read(path: &Path) -> Option<(Vec<Sample>, Tail)> {
    let mut reader = JournalReader::open(path).ok()?;
    let (mut chunk, mut all) = (Vec::new(), Vec::new());
    while reader.next_chunk(&mut chunk).expect("a file of this machine can be read") {
        all.extend_from_slice(&chunk);
    }
    Some((all, reader.tail().expect("the end was reached")))
}

fuzz_target!(|input: &[u8]| {
    let place = Scratch::fresh("journal");
    let path = place.file("a.journal", input);
    let Some((samples, _)) = ALLOWANCE.hold(input.len(), || read(&path)) else { return };
    assert!(samples.len() * Sample::SIZE <= input.len(), "{} samples", samples.len());
    let path = place.path().join("b.journal");
    let mut writer = JournalWriter::create(&path, 0, 7).expect("a new file");
    samples.iter().for_each(|sample| writer.append(sample).expect("written"));
    writer.flush().expect("written");
    assert_eq!(read(&path), Some((samples, Tail::Whole)));
});
