//! Latency from the histograms that generators write every second, merged over seconds, shards and entries. To three
//! digits and without a look at the samples, which may be a thousand times as many; reports are made of the samples.

use std::ops::Range;

use proofload_run::RunError;
use proofload_run::folder::RunFolder;
use proofload_run::histogram::{LatencyHistogram, Line};
use proofload_run::jsonl::LineReader;

/// Latency of the successes of an entry, or of all, in the seconds that end within `ends_ns` on the run's clock. Merging
/// is exact: the result is the histogram of all of them. Of a run that was killed the last second may be missing.
///
/// # Errors
/// When a file of histograms cannot be read, or holds none. That there are no such files is no error: folders of earlier
/// versions have none.
pub fn merged(folder: &RunFolder, entry: Option<u16>, ends_ns: Range<u64>) -> Result<LatencyHistogram, RunError> {
    let mut merged = LatencyHistogram::default();
    for shard in folder.shards("histograms-", ".jsonl")? {
        let path = folder.histogram_lines(shard);
        for line in LineReader::<Line>::open(&path)? {
            let line = line?;
            if entry.is_none_or(|entry| entry == line.entry) && ends_ns.contains(&line.end_ns) {
                let found = line.histogram();
                let malformed = || RunError::malformed(&path, format!("no histogram at {} ns", line.end_ns));
                merged.merge(&found.ok_or_else(malformed)?);
            }
        }
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofload_run::jsonl::LineWriter;

    fn histogram(latencies_ms: &[u64]) -> LatencyHistogram {
        let mut found = LatencyHistogram::default();
        latencies_ms.iter().for_each(|ms| found.record_ns(ms * 1_000_000));
        found
    }

    #[test]
    fn seconds_shards_and_entries_are_merged_as_asked() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("run.json"), "{}").unwrap();
        let folder = RunFolder::open(place.path()).unwrap();
        let mut first = LineWriter::create(&folder.histogram_lines(0)).unwrap();
        first.append(&[histogram(&[5, 7]).line(1, 0, 0), histogram(&[90]).line(1, 0, 1)]).unwrap();
        first.append(&[histogram(&[6]).line(2, 0, 0)]).unwrap();
        LineWriter::create(&folder.histogram_lines(3)).unwrap().append(&[histogram(&[70_000]).line(2, 3, 1)]).unwrap();
        let check = |entry, ends_ns, latencies_ms: &[u64]| {
            assert_eq!(merged(&folder, entry, ends_ns).unwrap(), histogram(latencies_ms), "{entry:?}");
        };
        check(None, 0..9, &[5, 7, 90, 6, 70_000]);
        check(Some(0), 0..9, &[5, 6, 7]);
        check(Some(1), 2..9, &[70_000]);
        check(None, 1..2, &[5, 7, 90]);
        check(Some(2), 0..9, &[]);
        // Torn by a kill: the last line is left out.
        let path = folder.histogram_lines(3);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 3]).unwrap();
        check(Some(1), 0..9, &[90]);
        std::fs::write(&path, "{\"end_ns\":1,\"shard\":3,\"entry\":0,\"bins\":[1]}\n").unwrap();
        assert!(merged(&folder, None, 0..9).unwrap_err().to_string().contains("no histogram at 1 ns"));
    }
}
