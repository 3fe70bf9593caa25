//! What computes: the interface to a model instance and its implementations. A backend runs on the OS thread of its
//! instance, unless it says that it runs anywhere, may block, and knows nothing of queues, clients or metrics.

pub mod cpu;
pub mod cuda;
pub mod errand;
pub mod identity;
mod joined;
pub mod onnxruntime;
pub mod responses;
pub mod simulated;

use std::time::Instant;

use proofload_wire::tensor::Tensor;

use self::errand::Errand;
use self::responses::Responses;

/// One request of a batch.
#[derive(Debug)]
pub struct Request {
    /// Its inputs in the order of the model's configuration, with the batch dimension where the model has one.
    pub inputs: Vec<Tensor>,
    /// Its batch elements; 1 for a model without a batch dimension.
    pub elements: u32,
    /// Where a decoupled model sends its responses, while it executes; `None` where a request gets exactly one.
    pub responses: Option<Responses>,
    /// What is to be done in place of computing inputs, which there are none of then. Only instances on a GPU get such
    /// requests, and each alone.
    pub errand: Option<Errand>,
}

impl Request {
    /// A request that gets exactly one response.
    pub fn new(inputs: Vec<Tensor>, elements: u32) -> Self {
        Self { inputs, elements, responses: None, errand: None }
    }
}

/// A model instance.
pub trait Backend: Send {
    /// Runs requests together and answers the outputs of each, in the order of the model's configuration. The
    /// requests are not empty and fit the configuration; their shapes agree beside the batch dimension. Marks in
    /// `stages` where computing begins and ends. A request with a place for responses gets them there, and no outputs
    /// here; once it has got one, the execution must not fail, because a batch that fails is tried again.
    ///
    /// # Errors
    /// When the model cannot compute these inputs. All requests of the batch then fail.
    fn execute(&mut self, requests: &[Request], stages: &mut Stages) -> Result<Vec<Vec<Tensor>>, BackendError>;

    /// Whether it may execute on any thread, one of the async runtime included: it is tied to no thread, and an
    /// execution waits for nothing but its own computing. It is asked for that only while executions are short.
    fn runs_anywhere(&self) -> bool {
        false
    }

    /// The largest batch that is worth forming while so many elements wait, where the backend knows a bound beside the
    /// model's own. It is asked under the queue's lock.
    fn largest_batch(&self, _waiting: u64) -> Option<u32> {
        None
    }
}

/// Why a batch could not be computed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackendError {
    /// The inputs cannot be handed to the model.
    #[error("input '{tensor}': {what}")]
    Input {
        /// Which.
        tensor: String,
        /// What is wrong with it, and what would be right.
        what: String,
    },
    /// The model failed on them.
    #[error("the model failed: {0}")]
    Model(String),
    /// The model's answer is not what its configuration declares.
    #[error("output '{tensor}': {what}")]
    Output {
        /// Which.
        tensor: String,
        /// What came, and what was declared.
        what: String,
    },
}

/// The boundaries between the phases of an execution, on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Stages {
    ready: Instant,
    started: Instant,
    computing: Option<Instant>,
    computed: Option<Instant>,
}

impl Stages {
    /// An execution that starts at `now`, of a batch that could have run since `ready`.
    pub fn start(ready: Instant, now: Instant) -> Self {
        Self { ready, started: now, computing: None, computed: None }
    }

    /// Since when the batch could have run.
    pub fn ready(&self) -> Instant {
        self.ready
    }

    /// The inputs are ready: computing begins.
    pub fn compute_begins(&mut self) {
        self.computing = Some(Instant::now());
    }

    /// Computing is done: what follows is making the outputs ready.
    pub fn compute_ends(&mut self) {
        self.computed = Some(Instant::now());
    }

    /// The boundaries of an execution that was over at `now`. What a backend did not mark counts as computing.
    pub fn finish(self, now: Instant) -> Timeline {
        let computing = self.computing.unwrap_or(self.started);
        Timeline { started: self.started, computing, computed: self.computed.unwrap_or(now), finished: now }
    }
}

/// When an execution passed each of its boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeline {
    /// It left the queue.
    pub started: Instant,
    /// Its inputs were ready.
    pub computing: Instant,
    /// Its results were there.
    pub computed: Instant,
    /// Its outputs were ready.
    pub finished: Instant,
}
