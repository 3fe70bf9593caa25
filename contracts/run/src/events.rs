//! What happened in a run besides its requests: one JSON object a line in `events.jsonl`, readable while the run
//! goes on.

use serde::{Deserialize, Serialize};

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// On the run's clock.
    pub t_ns: u64,
    /// Which generator of a sharded run saw it.
    pub shard: u16,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The kinds of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// The run's zero.
    RunStarted,
    /// A step began.
    StepStarted {
        /// Index into the manifest's steps.
        step: u16,
    },
    /// A step ended.
    StepEnded {
        /// Index into the manifest's steps.
        step: u16,
    },
    /// Something that makes a figure less trustworthy, and what to do about it.
    Warning {
        /// Short stable name, such as `fd_limit`.
        code: String,
        /// What, and the remedy.
        message: String,
    },
    /// An example of an error, with the words of the server or of the system. The first few of each kind only:
    /// the samples have the counts.
    ErrorExample {
        /// Index into the manifest's entries.
        entry: u16,
        /// [`crate::sample::Outcome::as_str`].
        outcome: String,
        /// HTTP status or gRPC code, 0 where there was no answer.
        status: u16,
        /// What was said.
        message: String,
    },
    /// The target stopped answering altogether.
    TargetLost {
        /// When the last answer came, on the run's clock.
        last_answer_ns: u64,
        /// What is known: process exit, refused connections …
        message: String,
    },
    /// A scrape of the target failed. The first of each streak only.
    ScrapeFailed {
        /// Which series: `metrics`, `statistics`.
        source: String,
        /// Why.
        message: String,
    },
    /// The service level had clearly broken, and the load was not raised any further.
    LimitFound {
        /// The step by which that was clear: index into the manifest's steps.
        step: u16,
    },
    /// A threshold that is watched while the run goes on was missed. The first time of each only.
    ThresholdMissed {
        /// The threshold, as it is printed.
        threshold: String,
        /// Whether that ends the run.
        abort: bool,
    },
    /// The run was asked to end early.
    StopRequested {
        /// By whom: `ctrl-c`, `sigterm`, `target lost`.
        by: String,
    },
    /// The run's end.
    RunEnded,
}
