//! What becomes of a request that was brought to a model, and of an execution. Types only.

use std::time::Duration;

use proofload_wire::tensor::Tensor;

use super::queue::Full;
use crate::backend::{BackendError, Timeline};

/// An execution, as those who count want to know it.
#[derive(Debug, Clone, Copy)]
pub struct Execution {
    /// Batch elements in it.
    pub elements: u32,
    /// When what happened.
    pub timeline: Timeline,
    /// Whether the backend answered.
    pub succeeded: bool,
}

/// Is told of every execution before its requests are answered.
pub type Observer = Box<dyn Fn(&Execution) + Send + Sync>;

/// What became of a request that an instance took.
#[derive(Debug)]
pub struct Served {
    /// Its outputs, in the order of the model's configuration.
    pub outputs: Vec<Tensor>,
    /// When its batch passed which boundary.
    pub timeline: Timeline,
    /// Batch elements that were computed together.
    pub batch_elements: u32,
}

/// Why a request got no outputs.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotServed {
    /// Its time came while it waited.
    #[error("the deadline came while the request waited in the queue")]
    Expired {
        /// When the queue, as it is now, will have been served.
        retry_after: Duration,
    },
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] Box<Broken>),
    /// The model was stopped first.
    #[error("the model was stopped")]
    Stopped,
}

/// An execution that gave no outputs.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct Broken {
    /// Why.
    pub error: BackendError,
    /// When its batch passed which boundary.
    pub timeline: Timeline,
    /// Batch elements that were to be computed together.
    pub batch_elements: u32,
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The queue is full; a place should be free after that time.
    Full {
        /// Which limit was reached.
        limit: Full,
        /// How many wait, of its level where that is full.
        waiting: usize,
        /// When those before it, as they are now, will have been served.
        retry_after: Duration,
    },
    /// It would be given up before its turn.
    TooLate {
        /// When those before it, as they are now, will have been served.
        retry_after: Duration,
    },
    /// The model is being stopped.
    Stopped,
}
