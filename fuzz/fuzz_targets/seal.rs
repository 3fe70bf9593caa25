//! Sealing a run folder whose files are damaged: two bytes of length, as many bytes of series lines, then a journal.
//! The tables hold what the files do; when sealing fails, nothing is gone.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use proofload_fuzz::Scratch;
use proofload_run::folder::RunFolder;
use proofload_run::journal::{JournalReader, Tail};
use proofload_run::jsonl::LineReader;
use proofload_run::manifest::Manifest;
use proofload_run::series::SeriesPoint;
use proofload_run::table::{read_samples, read_series, seal};

static ENDED: LazyLock<Manifest> = LazyLock::new(|| {
    serde_json::from_slice(include_bytes!("../seeds/manifest/ended.json")).expect("the manifest of a run that ended")
});

fuzz_target!(|input: &[u8]| {
    let Some((head, rest)) = input.split_first_chunk::<2>() else { return };
    let (lines, journal) = rest.split_at(usize::from(u16::from_le_bytes(*head)).min(rest.len()));
    let place = Scratch::fresh("seal");
    let folder = RunFolder::create(&place.path().join("run"), &ENDED).expect("a new folder");
    std::fs::write(folder.series_lines(0), lines).expect("written");
    std::fs::write(folder.sample_journal(0), journal).expect("written");

    let mut samples = Vec::new();
    if let Ok(mut reader) = JournalReader::open(&folder.sample_journal(0)) {
        let mut chunk = Vec::new();
        while reader.next_chunk(&mut chunk).expect("a file of this machine can be read") {
            samples.extend_from_slice(&chunk);
        }
    }
    let points: Result<Vec<SeriesPoint>, _> =
        LineReader::open(&folder.series_lines(0)).expect("a file of this machine").collect();

    match seal(&folder) {
        Ok(sealed) => {
            let mut sealed_samples = Vec::new();
            read_samples(&folder.sample_table(0), &mut |part: &[_]| sealed_samples.extend_from_slice(part))
                .expect("what we write can be read");
            assert_eq!(sealed_samples, samples);
            let mut sealed_points = Vec::new();
            read_series(&folder.series_table(0), |point| sealed_points.push(point)).expect("what we write can be read");
            assert_eq!(sealed_points, points.expect("a broken line fails the sealing"));
            assert_eq!(sealed.shards[0].samples, samples.len() as u64);
            let whole = sealed.shards[0].tail == Tail::Whole;
            assert_eq!(folder.sample_journal(0).exists(), !whole, "a journal stays while it holds more than its table");
        }
        Err(error) => {
            assert!(folder.series_lines(0).exists(), "{error}, and the series are gone");
            let kept = folder.sample_journal(0).exists() || folder.sample_table(0).exists();
            assert!(kept, "{error}, and the samples are gone");
        }
    }
});
