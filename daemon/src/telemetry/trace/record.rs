//! What requests hand over to be made into spans: their boundaries, on the monotonic clock.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use proofload_wire::trace::TraceParent;

use crate::backend::Timeline;

/// A request that was answered or failed.
#[derive(Debug, Clone)]
pub enum Record {
    /// For inference.
    Inference(Inference),
    /// For a relief.
    Relief(Relief),
    /// For a job.
    Job(Job),
}

impl Record {
    /// The caller's span.
    pub fn parent(&self) -> Option<TraceParent> {
        match self {
            Self::Inference(inference) => inference.parent,
            Self::Relief(relief) => relief.parent,
            Self::Job(job) => job.parent,
        }
    }

    /// The model that was asked for, if the request was for one.
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Inference(inference) => Some(&inference.model),
            Self::Relief(_) | Self::Job(_) => None,
        }
    }
}

/// A request for inference.
#[derive(Debug, Clone)]
pub struct Inference {
    /// The caller's span.
    pub parent: Option<TraceParent>,
    /// The request's own id, maybe empty.
    pub id: String,
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub version: i64,
    /// How it came: `http`, `grpc` or `internal`.
    pub protocol: &'static str,
    /// When it was decoded.
    pub received: Instant,
    /// When its response was ready.
    pub answered: Instant,
    /// What happened in between, or why it failed.
    pub result: Result<(Timeline, u32), String>,
    /// What was asked of other models for it, if it is an ensemble.
    pub steps: Vec<Inference>,
}

/// A request for a relief.
#[derive(Debug, Clone)]
pub struct Relief {
    /// The caller's span.
    pub parent: Option<TraceParent>,
    /// When it was received.
    pub received: Instant,
    /// When its answer was ready.
    pub answered: Instant,
    /// Its steps. What lies between them is waiting.
    pub steps: Vec<Interval>,
    /// The inference within the step `model`.
    pub model: Option<Inference>,
    /// Why there is no mesh.
    pub error: Option<String>,
}

/// A job, from being taken to its end. What it did has a record of its own, with the same parent.
#[derive(Debug, Clone)]
pub struct Job {
    /// The caller's span.
    pub parent: Option<TraceParent>,
    /// What kind of work it was.
    pub kind: &'static str,
    /// When it was taken.
    pub taken: Instant,
    /// When it was begun, if it was.
    pub began: Option<Instant>,
    /// When it ended.
    pub ended: Instant,
    /// Why it has no result.
    pub error: Option<String>,
}

/// A step of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// What was done.
    pub name: &'static str,
    /// When it began.
    pub from: Instant,
    /// When it ended.
    pub to: Instant,
}

/// Where the record of an inference goes that is a part of something larger.
pub type Slot = Arc<OnceLock<Inference>>;

impl From<Inference> for Record {
    fn from(inference: Inference) -> Self {
        Self::Inference(inference)
    }
}

impl From<Relief> for Record {
    fn from(relief: Relief) -> Self {
        Self::Relief(relief)
    }
}

impl From<Job> for Record {
    fn from(job: Job) -> Self {
        Self::Job(job)
    }
}
