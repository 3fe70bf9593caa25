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
    /// The generator was held up: a thread that asks to be woken every 10 ms was not. From `t_ns` on.
    Stalled {
        /// For how long.
        for_ns: u64,
    },
    /// The system's calendar clock was set.
    ClockStepped {
        /// By how much.
        by_ns: i64,
    },
    /// The machine slept, and the run's clock stood still.
    Suspended {
        /// For how long.
        for_ns: u64,
    },
    /// This machine ran out of something that connections need, of which the target knows nothing. The first time only.
    RanOut {
        /// Of what.
        of: Shortage,
        /// The system's words.
        message: String,
    },
    /// The run was asked to end early.
    StopRequested {
        /// By whom: `ctrl-c`, `sigterm`, `target lost`.
        by: String,
    },
    /// The run's end.
    RunEnded,
}

/// What a machine that generates load can run out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shortage {
    /// `EMFILE`, `ENFILE`.
    OpenFiles,
    /// `EADDRNOTAVAIL`.
    LocalPorts,
    /// `ENOBUFS`, `ENOMEM`.
    Memory,
}

impl Shortage {
    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenFiles => "open files",
            Self::LocalPorts => "local ports",
            Self::Memory => "memory for sockets",
        }
    }

    /// What to change.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::OpenFiles => {
                "raise the limit on open files (ulimit -n, or LimitNOFILE= of the service that runs this), or lower \
                 load.max_connections"
            }
            Self::LocalPorts => {
                "keep connections (load.reuse = \"keep-alive\"), or widen the range of local ports (sysctl -w \
                 net.ipv4.ip_local_port_range=\"1024 65535\")"
            }
            Self::Memory => "give the machine more memory, or lower load.max_connections",
        }
    }
}
