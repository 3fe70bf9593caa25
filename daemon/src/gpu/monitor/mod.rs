//! What the GPUs of this machine report, or what was recorded of others. Without a driver there are no GPUs and no
//! errors; that is said once, at the start. A driver may take its time or hang, so threads of their own ask it, and who
//! wants to know gets the last readings.

mod history;
mod nvml;
pub mod reading;
pub mod trace;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::nvml_wrapper::Nvml;

use self::history::{History, KEPT};
pub use self::history::{Span, Summary};
use self::reading::{Reading, Slow};
use self::trace::{Recorder, Trace, TraceError};
use super::memory::pressure::Profile;
use crate::telemetry::sampler::Sampler;

/// Of the past, what memory is judged by.
const WATCHED: Duration = Duration::from_secs(600);
/// How often is read what takes the driver longer.
const SLOW_PERIOD: Duration = Duration::from_secs(1);

/// What is read, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Time between two readings.
    pub period: Duration,
    /// A recording that takes the place of the machine's own GPUs.
    pub replay: Option<PathBuf>,
    /// Where the readings are recorded.
    pub record: Option<PathBuf>,
}

/// Why the readings cannot be had as they are wanted.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The recording that should be replayed.
    #[error("telemetry.gpu_replay: {0}")]
    Replay(#[from] TraceError),
    /// The recording that should be made.
    #[error("telemetry.gpu_record: cannot make {path}: {source}; an existing file is not overwritten")]
    Record {
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Where the readings come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The machine's own GPUs.
    Driver,
    /// A recording.
    Replay,
    /// Nowhere, and why.
    None(String),
}

impl Source {
    /// Its name in metrics and documents.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Driver => "nvml",
            Self::Replay => "replay",
            Self::None(_) => "none",
        }
    }
}

/// The GPUs, or none.
pub struct Gpus {
    source: Source,
    latest: Sampler<Vec<Reading>>,
    history: Arc<Mutex<History>>,
}

impl Gpus {
    /// Looks for the driver, or the recording, and begins to ask it.
    ///
    /// # Errors
    /// When a recording cannot be replayed or made. That there is no driver is no error.
    pub fn start(options: &Options) -> Result<Self, MonitorError> {
        let record = options.record.as_deref();
        if let Some(path) = &options.replay {
            let trace = Trace::open(path)?;
            tracing::warn!("the GPUs are REPLAYED from {}: their figures are not this machine's", path.display());
            let begun = Instant::now();
            return Self::reading(Source::Replay, options.period, record, move || trace.at(begun.elapsed()));
        }
        match Nvml::init() {
            Ok(nvml) => Self::asking(nvml, options.period, record),
            Err(why) => {
                tracing::info!("no GPU metrics: {why}");
                if let Some(path) = record {
                    tracing::warn!("no recording of the GPUs is made in {}: there is none", path.display());
                }
                Ok(Self::none(why.to_string()))
            }
        }
    }

    fn none(why: String) -> Self {
        Self { source: Source::None(why), latest: Sampler::never(), history: Arc::new(Mutex::new(History::new(1))) }
    }

    /// Asks the driver, for what takes longer on another thread.
    fn asking(nvml: Nvml, period: Duration, record: Option<&Path>) -> Result<Self, MonitorError> {
        let nvml = Arc::new(nvml);
        let patient = Arc::clone(&nvml);
        let slow = Sampler::start("gpus-slow", SLOW_PERIOD, None, move || {
            let read = nvml::each(&patient, |device, handle| (device.uuid, nvml::slow(handle)));
            read.into_iter().collect::<BTreeMap<String, Slow>>()
        })?;
        Self::reading(Source::Driver, period, record, move || {
            let slow = slow.read(Instant::now()).unwrap_or_default();
            nvml::each(&nvml, |device, handle| {
                let slow = slow.get(&device.uuid).cloned().unwrap_or_default();
                Reading { now: nvml::now(handle), slow, device }
            })
        })
    }

    fn reading(
        source: Source,
        period: Duration,
        record: Option<&Path>,
        read: impl Fn() -> Vec<Reading> + Send + 'static,
    ) -> Result<Self, MonitorError> {
        let history = Arc::new(Mutex::new(History::new(KEPT)));
        // Last, so that a start that fails leaves no empty file in the way of the next.
        let recorder = record.map(|path| {
            let made = Recorder::create(path);
            made.map_err(|source| MonitorError::Record { path: path.display().to_string(), source })
        });
        let recorder = recorder.transpose()?;
        let (kept, begun, recorder) = (Arc::clone(&history), Instant::now(), recorder.map(Mutex::new));
        let latest = Sampler::start("gpus", period, None, move || {
            let (at, readings) = (Instant::now(), read());
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(at, &readings);
            if let Some(recorder) = &recorder {
                recorder.lock().unwrap_or_else(PoisonError::into_inner).note(at - begun, &readings);
            }
            readings
        })?;
        Ok(Self { source, latest, history })
    }

    /// Where the readings come from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The last readings, unless they are stale at `now`. Asks nobody.
    pub fn read(&self, now: Instant) -> Vec<Reading> {
        self.latest.read(now).unwrap_or_default()
    }

    /// What is known of a device's memory, of which this share may be used; `None` where it does not say how much it has.
    pub fn memory(&self, reading: &Reading, budget_share: f64, now: Instant) -> Option<Profile> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let points = history.memory(&reading.device.uuid, now, WATCHED);
        Profile::of(reading.now.memory_total_bytes?, budget_share, &points)
    }

    /// What a device came to over the last `over` before `now`.
    pub fn summary(&self, uuid: &str, now: Instant, over: Duration) -> Option<Summary> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).summary(uuid, now, over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options = Options { period: Duration::from_millis(1), replay: None, record: None };

    #[test]
    fn a_machine_without_a_driver_has_no_gpus_and_says_why() {
        let gpus = Gpus::start(&OPTIONS).unwrap();
        for reading in gpus.read(Instant::now()) {
            assert!(reading.device.uuid.starts_with("GPU-") || reading.device.uuid.starts_with("MIG-"), "{reading:?}");
            assert!(reading.now.utilization.is_none_or(|share| (0.0..=1.0).contains(&share)), "{reading:?}");
        }
        assert!(matches!(gpus.source(), Source::Driver | Source::None(_)));
    }

    #[test]
    fn a_recording_is_begun_only_where_there_is_something_to_record() {
        let place = tempfile::tempdir().unwrap();
        let record = place.path().join("out.jsonl");
        let mistyped = Some(place.path().join("nowhere.jsonl"));
        let options = Options { replay: mistyped, record: Some(record.clone()), ..OPTIONS };
        assert!(matches!(Gpus::start(&options), Err(MonitorError::Replay(_))));
        assert!(!record.exists(), "a start that failed left a file");
        let gpus = Gpus::start(&Options { replay: None, ..options }).unwrap();
        assert_eq!(record.exists(), *gpus.source() == Source::Driver);
    }

    #[test]
    fn a_replay_has_readings_a_history_and_a_recording_of_its_own() {
        let place = tempfile::tempdir().unwrap();
        let [replay, record] = ["in.jsonl", "out.jsonl"].map(|name| place.path().join(name));
        let line = |at_ms: u64, power: f64| {
            format!(
                "{{\"at_ms\":{at_ms},\"devices\":[{{\"device\":{{\"uuid\":\"GPU-1\",\"index\":0,\"name\":\"X\"}},\"now\":{{\"power_watts\":{power}}}}}]}}\n"
            )
        };
        std::fs::write(&replay, line(0, 100.0) + &line(20, 200.0)).unwrap();
        let options = Options { replay: Some(replay), record: Some(record.clone()), ..OPTIONS };
        let gpus = Gpus::start(&options).unwrap();
        let begun = Instant::now();
        let both = |summary: Summary| summary.power_watts.is_some_and(|power| (power.min, power.max) == (100.0, 200.0));
        while !gpus.summary("replay:GPU-1", Instant::now(), Duration::from_secs(60)).is_some_and(both) {
            assert!(begun.elapsed() < Duration::from_secs(20), "the replay does not go on");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!((gpus.source().as_str(), gpus.read(Instant::now()).len()), ("replay", 1));
        drop(gpus);
        assert!(Trace::open(&record).is_ok());
        let error = Gpus::start(&options).err().unwrap().to_string();
        assert!(error.contains("out.jsonl") && error.contains("not overwritten"), "{error}");
    }
}
