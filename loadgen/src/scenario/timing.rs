//! When arrivals come, as a `[load]` says it: how they are spaced, gathered into bursts, or replayed from a file.

use std::path::Path;
use std::sync::Arc;

use super::as_written::{self as written, ArrivalsWord};
use super::reader::{Located, Problems, complain_missing};
use super::recording_file::{self, Columns};
use crate::plan::{Burst, Process, Recording, Timing};

/// Burstiness beyond which a run holds no two clumps.
const MOST_BURSTINESS: f64 = 1000.0;
/// Burstiness below which arrivals are as good as constant.
const LEAST_BURSTINESS: f64 = 0.001;

/// Reads the timing of an open load, gathering problems.
pub(super) struct Timings<'a> {
    /// The scenario file's folder.
    pub(super) folder: &'a Path,
    /// The entries of the mix.
    pub(super) entries: &'a [&'a str],
    pub(super) problems: &'a Problems,
}

impl Timings<'_> {
    fn complain<T>(&self, at: &Located<T>, message: impl std::fmt::Display) {
        self.problems.borrow_mut().push(at.problem(message));
    }

    /// The timing of an open load. `None` when something was wrong, which has been said.
    pub(super) fn open(&self, load: &written::Load) -> Option<Timing> {
        let word = load.arrivals.as_ref().map(|word| word.value);
        match word {
            Some(ArrivalsWord::Gamma) => {}
            _ => self.refuse(load.burstiness.as_ref(), "belongs to arrivals = \"gamma\""),
        }
        if word == Some(ArrivalsWord::Replay) {
            self.refuse(load.burst.as_ref().map(|burst| &burst.here), "a recording has its own bursts; remove it");
            return Some(Timing::Replayed(Arc::new(self.replay(load)?)));
        }
        let stray = "belongs to arrivals = \"replay\"; write that, or remove the table";
        self.refuse(load.replay.as_ref().map(|replay| &replay.here), stray);
        let process = match word {
            Some(ArrivalsWord::Constant) => Process::Constant,
            Some(ArrivalsWord::Gamma) => Process::Gamma { burstiness: self.burstiness(load)? },
            _ => Process::Poisson,
        };
        let burst = match &load.burst {
            Some(burst) => Some(self.burst(burst)?),
            None => None,
        };
        Some(Timing::Drawn { process, burst })
    }

    /// Complains about what only open loads have.
    pub(super) fn refuse_in_closed(&self, load: &written::Load) {
        let message = "belongs to model = \"open\"; users come back when they have their answer";
        self.refuse(load.arrivals.as_ref(), message);
        self.refuse(load.burstiness.as_ref(), message);
        self.refuse(load.burst.as_ref().map(|burst| &burst.here), message);
        self.refuse(load.replay.as_ref().map(|replay| &replay.here), message);
    }

    fn refuse<T>(&self, stranger: Option<&Located<T>>, message: &str) {
        if let Some(stranger) = stranger {
            self.complain(stranger, message);
        }
    }

    fn burstiness(&self, load: &written::Load) -> Option<f64> {
        let Some(burstiness) = &load.burstiness else {
            let remedy = "write burstiness = 4.0 (1 is Poisson, more comes in clumps, less is more even)";
            complain_missing(self.problems, &load.here, "burstiness", remedy);
            return None;
        };
        if !(LEAST_BURSTINESS..=MOST_BURSTINESS).contains(&burstiness.value) {
            self.complain(burstiness, format!("write {LEAST_BURSTINESS} to {MOST_BURSTINESS}; 1 is Poisson"));
            return None;
        }
        Some(burstiness.value)
    }

    fn burst(&self, burst: &written::Burst) -> Option<Burst> {
        let missing = |key, remedy| complain_missing(self.problems, &burst.here, key, remedy);
        if burst.every_ns.is_none() {
            missing("every", "write every = \"10s\"");
        }
        let length_ns = burst.length_ns.as_ref().map_or(0, |length| length.value);
        let every = burst.every_ns.as_ref()?;
        if every.value == 0 {
            self.complain(every, "a period has a length; write every = \"10s\"");
            return None;
        }
        if length_ns >= every.value {
            self.complain(burst.length_ns.as_ref()?, "leaves no quiet between bursts; write less than `every`");
            return None;
        }
        Some(Burst { every_ns: every.value, length_ns })
    }

    fn replay(&self, load: &written::Load) -> Option<Recording> {
        let Some(replay) = &load.replay else {
            let remedy = "add [load.replay] with file = \"trace.csv\"";
            self.complain(load.arrivals.as_ref()?, format!("needs to know which recording; {remedy}"));
            return None;
        };
        let speed = self.speed(replay);
        let Some(file) = &replay.file else {
            complain_missing(self.problems, &replay.here, "file", "write file = \"trace.csv\" (or .parquet)");
            return None;
        };
        let columns = Columns {
            moments: replay.column.as_ref().map(|column| column.value.as_str()),
            entries: replay.entries.as_ref().map(|column| column.value.as_str()),
            known: self.entries,
        };
        match recording_file::read(&self.folder.join(&file.value), &columns) {
            Ok(rows) => Some(Recording::new(rows.moments_ns, rows.entries, speed?)),
            Err(message) => {
                self.complain(file, message);
                None
            }
        }
    }

    fn speed(&self, replay: &written::Replay) -> Option<f64> {
        let speed = replay.speed.as_ref().map_or(1.0, |speed| speed.value);
        if !(speed > 0.0 && speed <= 1e6) {
            self.complain(replay.speed.as_ref()?, "write a factor above 0; 2.0 replays twice as fast");
            return None;
        }
        Some(speed)
    }
}
