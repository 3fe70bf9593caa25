//! Why a request was not served, in words that a client may read. The fronts map these to status codes.

use std::time::Duration;

use proofload_wire::phases::Phases;

/// What was asked for and not given, and where the time went all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed<E = ServeError> {
    /// Why.
    pub error: E,
    /// What the request spent until then.
    pub phases: Phases,
}

impl<E> Failed<E> {
    /// The same with another error.
    pub fn map<F>(self, other: impl FnOnce(E) -> F) -> Failed<F> {
        Failed { error: other(self.error), phases: self.phases }
    }
}

/// What is refused before anything is done for it has spent nothing.
impl<E> From<E> for Failed<E> {
    fn from(error: E) -> Self {
        Self { error, phases: Phases::default() }
    }
}

/// A request that was not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// There is no such model or version.
    #[error("{0}")]
    NotFound(String),
    /// The request does not fit the model.
    #[error("{0}")]
    InvalidArgument(String),
    /// There is one of that name already.
    #[error("{0}")]
    AlreadyExists(String),
    /// No room now, or never again when the daemon is stopping.
    #[error("{message}")]
    Unavailable {
        /// What is full or gone.
        message: String,
        /// When it is worth trying again, as far as can be known; `None` when it never will be.
        retry_after: Option<Duration>,
    },
    /// It waited in the queue for as long as the model's queue policy or its own `timeout` allows. Triton calls that
    /// unavailable; and like a full queue, it passes.
    #[error("{message}")]
    Overdue {
        /// What it waited for.
        message: String,
        /// When those that still wait will have been served.
        retry_after: Duration,
    },
    /// This client asks for more than its share.
    #[error("{message}")]
    TooManyRequests {
        /// Which limit was reached.
        message: String,
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The caller stops waiting for the answer: its transport's own deadline came first.
    #[error("{0}")]
    DeadlineExceeded(String),
    /// Whoever asks has not shown what it takes.
    #[error("{0}")]
    Unauthenticated(String),
    /// The protocol knows it, this server does not do it.
    #[error("{0}")]
    Unsupported(String),
    /// The model failed.
    #[error("{0}")]
    Internal(String),
}

impl ServeError {
    /// The same error with a message that says more.
    pub(super) fn within(self, say: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::NotFound(message) => Self::NotFound(say(message)),
            Self::InvalidArgument(message) => Self::InvalidArgument(say(message)),
            Self::AlreadyExists(message) => Self::AlreadyExists(say(message)),
            Self::Unavailable { message, retry_after } => Self::Unavailable { message: say(message), retry_after },
            Self::Overdue { message, retry_after } => Self::Overdue { message: say(message), retry_after },
            Self::TooManyRequests { message, retry_after } => {
                Self::TooManyRequests { message: say(message), retry_after }
            }
            Self::DeadlineExceeded(message) => Self::DeadlineExceeded(say(message)),
            Self::Unsupported(message) => Self::Unsupported(say(message)),
            Self::Internal(message) => Self::Internal(say(message)),
            Self::Unauthenticated(message) => Self::Unauthenticated(say(message)),
        }
    }
}
