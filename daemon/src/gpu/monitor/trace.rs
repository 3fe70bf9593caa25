//! A recording of what GPUs reported, one moment a line of JSON, and playing it again where there is no GPU. What is
//! replayed says so in the name of every device, so that no metric, page or report can be taken for the machine's own.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reading::{Device, Reading};

/// The largest recording that is read, and written: days of one device at ten readings a second.
const MOST_BYTES: u64 = 1 << 30;
/// Stands before the identity of a replayed device.
const REPLAY: &str = "replay:";
/// A recording that has one moment only stands still.
const LEAST_MS: u64 = 1;

/// What was read at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// Since the recording's begin.
    pub at_ms: u64,
    /// Every device.
    pub devices: Vec<Reading>,
}

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Its content.
    #[error("{path}:{line}: {why}; it must hold lines as `--gpu-record` writes them")]
    Malformed {
        /// Where.
        path: String,
        /// The line, from 1; 0 for the whole file.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

/// A recording that is played again, over and over.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    moments: Vec<Moment>,
    period_ms: u64,
}

impl Trace {
    /// Reads a recording.
    ///
    /// # Errors
    /// When it cannot be read, is too large, or is none.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let read = |source| TraceError::Read { path: path.display().to_string(), source };
        let bytes = std::fs::metadata(path).map_err(read)?.len();
        if bytes > MOST_BYTES {
            let why = format!("{bytes} bytes are more than the {MOST_BYTES} that are replayed");
            return Err(TraceError::Malformed { path: path.display().to_string(), line: 0, why });
        }
        Self::parse(&std::fs::read_to_string(path).map_err(read)?).map_err(|(line, why)| TraceError::Malformed {
            path: path.display().to_string(),
            line,
            why,
        })
    }

    /// Of a recording's text; what is wrong comes with its line, or 0.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut moments: Vec<Moment> = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let moment: Moment = serde_json::from_str(content).map_err(|error| (line, error.to_string()))?;
            if moments.last().is_some_and(|before| before.at_ms >= moment.at_ms) {
                return Err((line, "its `at_ms` is not after that of the line before".to_owned()));
            }
            moments.push(Moment { devices: moment.devices.into_iter().map(labelled).collect(), ..moment });
        }
        let (Some(first), Some(last)) = (moments.first(), moments.last()) else {
            return Err((0, "it is empty".to_owned()));
        };
        // The last moment lasts as long as the others do on average.
        let lasted_ms = last.at_ms - first.at_ms;
        let last_ms = (lasted_ms / (moments.len() as u64 - 1).max(1)).max(LEAST_MS);
        let end_ms = last.at_ms.checked_add(last_ms);
        let end_ms = end_ms.ok_or_else(|| (moments.len(), format!("its `at_ms` {} is too large", last.at_ms)))?;
        let period_ms = end_ms - first.at_ms;
        Ok(Self { moments, period_ms })
    }

    /// What the devices report so long after the replay has begun.
    pub fn at(&self, elapsed: Duration) -> Vec<Reading> {
        let first_ms = self.moments[0].at_ms;
        let at_ms = first_ms + (elapsed.as_millis() % u128::from(self.period_ms)) as u64;
        let after = self.moments.partition_point(|moment| moment.at_ms <= at_ms);
        self.moments[after.saturating_sub(1)].devices.clone()
    }
}

fn labelled(reading: Reading) -> Reading {
    let Device { uuid, name, .. } = &reading.device;
    let device = Device { uuid: format!("{REPLAY}{uuid}"), name: format!("{name} (replay)"), ..reading.device };
    Reading { device, ..reading }
}

/// A recording that is being made. What cannot be written ends it, and is said once.
#[derive(Debug)]
pub struct Recorder {
    file: Option<BufWriter<File>>,
    written_bytes: u64,
}

impl Recorder {
    /// Begins one; an existing file is not touched.
    ///
    /// # Errors
    /// When the file is there, or cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: Some(BufWriter::new(File::create_new(path)?)), written_bytes: 0 })
    }

    /// Takes note of a moment, so long after the recording has begun.
    pub fn note(&mut self, elapsed: Duration, devices: &[Reading]) {
        let Some(file) = &mut self.file else { return };
        let at_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let line = serde_json::to_vec(&Moment { at_ms, devices: devices.to_vec() }).unwrap_or_default();
        self.written_bytes += line.len() as u64 + 1;
        let written = if self.written_bytes > MOST_BYTES {
            Err(io::Error::other(format!("it has reached {MOST_BYTES} bytes")))
        } else {
            file.write_all(&line).and_then(|()| file.write_all(b"\n")).and_then(|()| file.flush())
        };
        if let Err(error) = written {
            tracing::error!("the recording of the GPUs ends: {error}");
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::monitor::reading::Now;

    fn reading(utilization: f64) -> Reading {
        let device = Device { uuid: "GPU-7".to_owned(), name: "X".to_owned(), ..Device::default() };
        Reading { device, now: Now { utilization: Some(utilization), ..Now::default() }, ..Reading::default() }
    }

    #[test]
    fn a_recording_is_replayed_over_and_over_and_says_so() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("gpus.jsonl");
        let mut recorder = Recorder::create(&path).unwrap();
        for (at_ms, utilization) in [(50, 0.1), (150, 0.2), (250, 0.3)] {
            recorder.note(Duration::from_millis(at_ms), &[reading(utilization)]);
        }
        assert!(Recorder::create(&path).is_err(), "what was recorded is not lost");
        let trace = Trace::open(&path).unwrap();
        let check = |elapsed_ms: u64, expected: f64| {
            let found = trace.at(Duration::from_millis(elapsed_ms));
            assert_eq!(found[0].now.utilization, Some(expected), "{elapsed_ms}");
            assert_eq!((found[0].device.uuid.as_str(), found[0].device.name.as_str()), ("replay:GPU-7", "X (replay)"));
        };
        for (elapsed_ms, expected) in [(0, 0.1), (99, 0.1), (100, 0.2), (299, 0.3), (300, 0.1), (30_150, 0.2)] {
            check(elapsed_ms, expected);
        }
    }

    #[test]
    fn what_is_no_recording_is_named_with_its_line() {
        let check = |text: &str, line: usize, part: &str| {
            let (found, why) = Trace::parse(text).unwrap_err();
            assert!(found == line && why.contains(part), "{text}: {found} {why}");
        };
        check("", 0, "empty");
        check("x", 1, "expected value");
        check("{\"at_ms\":1,\"devices\":[]}\n{\"at_ms\":1,\"devices\":[]}", 2, "not after");
        check("{\"at_ms\":1,\"devices\":[],\"x\":1}", 1, "unknown field");
        let two =
            |from: u64, to: u64| format!("{{\"at_ms\":{from},\"devices\":[]}}\n{{\"at_ms\":{to},\"devices\":[]}}");
        check(&two(0, 1 << 63), 2, "too large");
        check(&two(1 << 63, u64::MAX), 2, "too large");
        check(&format!("{{\"at_ms\":{},\"devices\":[]}}", u64::MAX), 1, "too large");
        let longest = Trace::parse(&two(0, u64::MAX / 2)).unwrap();
        assert!(longest.at(Duration::MAX).is_empty());
        let still = Trace::parse("{\"at_ms\":9,\"devices\":[]}").unwrap();
        assert!(still.at(Duration::from_secs(9)).is_empty());
        assert!(Trace::open(Path::new("/nowhere")).unwrap_err().to_string().contains("/nowhere: cannot be read"));
    }
}
