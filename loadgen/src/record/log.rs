//! Events and series, written line by line as they happen. A write that fails is remembered and ends up in the
//! manifest: a run must not die of a full disk without saying so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use proofload_run::RunError;
use proofload_run::events::{Event, EventKind, Shortage};
use proofload_run::folder::RunFolder;
use proofload_run::jsonl::LineWriter;
use proofload_run::sample::Sample;
use proofload_run::series::{SeriesPoint, Source};

use super::Secrets;

/// Examples kept of each kind of error of each entry.
const EXAMPLES: u32 = 3;

#[derive(Debug)]
struct State {
    events: LineWriter<Event>,
    series: LineWriter<SeriesPoint>,
    examples: BTreeMap<(u16, u8, u16), u32>,
    warned: BTreeSet<&'static str>,
    failure: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub struct Log {
    shard: u16,
    secrets: Secrets,
    state: Mutex<State>,
}

impl Log {
    /// Opens the files of a run folder.
    ///
    /// # Errors
    /// When they exist or cannot be written.
    pub fn create(folder: &RunFolder, shard: u16) -> Result<Self, RunError> {
        let state = State {
            events: LineWriter::create(&folder.events())?,
            series: LineWriter::create(&folder.series_lines(shard))?,
            examples: BTreeMap::new(),
            warned: BTreeSet::new(),
            failure: None,
        };
        Ok(Self { shard, secrets: Secrets::default(), state: Mutex::new(state) })
    }

    /// Writes none of these down, wherever they come up in words of the target or of the system.
    #[must_use]
    pub fn hiding(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// Writes an event.
    pub fn event(&self, t_ns: u64, kind: EventKind) {
        let kind = self.hidden(kind);
        self.lock().event(Event { t_ns, shard: self.shard, kind });
    }

    /// Writes a warning the first time that its code comes up.
    pub fn warn(&self, t_ns: u64, code: &'static str, message: impl FnOnce() -> String) {
        let mut state = self.lock();
        if state.warned.insert(code) {
            let kind = EventKind::Warning { code: code.to_owned(), message: self.secrets.hide(message()) };
            state.event(Event { t_ns, shard: self.shard, kind });
        }
    }

    /// Writes that this machine ran out of something, the first time that it does.
    pub fn ran_out(&self, t_ns: u64, of: Shortage, message: String) {
        let mut state = self.lock();
        if state.warned.insert(of.as_str()) {
            let kind = EventKind::RanOut { of, message: self.secrets.hide(message) };
            state.event(Event { t_ns, shard: self.shard, kind });
        }
    }

    /// Writes the first few examples of an error, and counts on silently.
    pub fn example(&self, sample: &Sample, message: String) {
        let mut state = self.lock();
        let seen = state.examples.entry((sample.entry, sample.outcome, sample.status)).or_default();
        *seen += 1;
        if *seen > EXAMPLES {
            return;
        }
        let kind = EventKind::ErrorExample {
            entry: sample.entry,
            outcome: sample.outcome().as_str().to_owned(),
            status: sample.status,
            message: self.secrets.hide(message),
        };
        state.event(Event { t_ns: sample.done_ns, shard: self.shard, kind });
    }

    /// Writes values of series that were read at one time. Names carry units; labels are as in [`SeriesPoint`].
    pub fn series(&self, t_ns: u64, source: Source, values: impl IntoIterator<Item = (String, String, f64)>) {
        let shard = self.shard;
        let points: Vec<SeriesPoint> = values
            .into_iter()
            .filter(|(_, _, value)| value.is_finite())
            .map(|(name, labels, value)| SeriesPoint { t_ns, shard, source, name, labels, value })
            .collect();
        let mut state = self.lock();
        let outcome = state.series.append(&points);
        state.remember(outcome);
    }

    /// The first write that failed, if any did.
    pub fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    fn hidden(&self, kind: EventKind) -> EventKind {
        match kind {
            EventKind::ScrapeFailed { source, message } => {
                EventKind::ScrapeFailed { source, message: self.secrets.hide(message) }
            }
            EventKind::Warning { code, message } => EventKind::Warning { code, message: self.secrets.hide(message) },
            // The others' words are our own.
            other => other,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn event(&mut self, event: Event) {
        let outcome = self.events.append(&[event]);
        self.remember(outcome);
    }

    fn remember(&mut self, outcome: Result<(), RunError>) {
        if let Err(e) = outcome {
            self.failure.get_or_insert_with(|| e.to_string());
        }
    }
}
