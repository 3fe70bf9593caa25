//! What is said of a job: its kind, how far it is, how it ended. Values only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use super::JobId;

/// What kind of work a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "JobKind")]
pub enum Kind {
    /// A relief of a picture.
    Relief,
    /// The repair of a mesh.
    MeshRepair,
    /// An inference.
    Inference,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Relief, Self::MeshRepair, Self::Inference];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relief => "relief",
            Self::MeshRepair => "mesh_repair",
            Self::Inference => "inference",
        }
    }

    /// The kind of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Whose a job is: a digest of the credentials that it came with. A job without is anybody's who knows its id.
pub type Owner = Option<[u8; 32]>;

/// A job to be done.
#[derive(Debug)]
pub struct Submission<W> {
    /// What kind of work it is.
    pub kind: Kind,
    /// How urgent it is: 1 is the most urgent. Equally urgent ones are done in the order in which they came.
    pub priority: u8,
    /// Whose it is.
    pub owner: Owner,
    /// Memory that it holds while it waits.
    pub held_bytes: usize,
    /// When it came, in milliseconds since the Unix epoch; only shown.
    pub submitted_unix_ms: u64,
    /// What is to be done.
    pub work: W,
}

/// A step of a job that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What is being done.
    pub name: &'static str,
    /// How many steps are behind it.
    pub done: u8,
    /// How many there are, at least 1.
    pub of: u8,
}

impl Step {
    /// The share of the steps that are done, in percent.
    pub fn percent(self) -> u8 {
        u8::try_from(u32::from(self.done.min(self.of)) * 100 / u32::from(self.of.max(1))).unwrap_or(100)
    }
}

/// Why a job has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status that the same request would have been answered with, had it waited.
    pub status: u16,
    /// What was wrong.
    pub message: String,
}

/// How a job ended.
#[derive(Debug)]
pub enum End<R> {
    /// It has a result.
    Done {
        /// The result.
        result: Arc<R>,
        /// Memory that it takes.
        bytes: usize,
    },
    /// It has none.
    Failed(Failure),
    /// Somebody did not want it any more.
    Cancelled,
}

// Derived, it would demand that results can be copied.
impl<R> Clone for End<R> {
    fn clone(&self) -> Self {
        match self {
            Self::Done { result, bytes } => Self::Done { result: Arc::clone(result), bytes: *bytes },
            Self::Failed(failure) => Self::Failed(failure.clone()),
            Self::Cancelled => Self::Cancelled,
        }
    }
}

impl<R> End<R> {
    /// The state of a job that ended so.
    pub fn state(&self) -> State {
        match self {
            Self::Done { .. } => State::Done,
            Self::Failed(_) => State::Failed,
            Self::Cancelled => State::Cancelled,
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "JobState")]
pub enum State {
    /// It waits.
    Queued,
    /// It is being done.
    Running,
    /// Its result is there.
    Done,
    /// It has no result.
    Failed,
    /// It was given up.
    Cancelled,
    /// It has ended, and its outcome is not kept any more.
    Expired,
}

impl State {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Whether nothing more will happen but that the outcome expires.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// One thing that happened to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The state it is in since.
    pub state: State,
    /// The step it is at since, if it runs.
    pub step: Option<Step>,
    /// How long that was after it came.
    pub after: Duration,
}

/// A job as it is at a moment.
#[derive(Debug, Clone)]
pub struct View<R> {
    /// Its name.
    pub id: JobId,
    /// What kind of work it is.
    pub kind: Kind,
    /// How urgent it is.
    pub priority: u8,
    /// When it came, in milliseconds since the Unix epoch.
    pub submitted_unix_ms: u64,
    /// How far it is.
    pub state: State,
    /// While it waits, how many are begun before it, and itself.
    pub position: Option<usize>,
    /// While it waits, how long it will about; unknown while nothing has been measured.
    pub estimated_wait: Option<Duration>,
    /// How long it waited, or waits already.
    pub waited: Duration,
    /// How long it ran, or runs already; never begun, not at all.
    pub ran: Option<Duration>,
    /// The step it is at, or was at last.
    pub step: Option<Step>,
    /// How it ended, while that is kept.
    pub end: Option<End<R>>,
    /// When that will be dropped.
    pub expires: Option<Instant>,
}
