//! Why a request was not served, in words that a client may read. The fronts map these to status codes.

use std::time::Duration;

/// A request that was not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// There is no such model or version.
    #[error("{0}")]
    NotFound(String),
    /// The request does not fit the model.
    #[error("{0}")]
    InvalidArgument(String),
    /// No room now, or never again when the daemon is stopping.
    #[error("{message}")]
    Unavailable {
        /// What is full or gone.
        message: String,
        /// When it is worth trying again, as far as can be known; `None` when it never will be.
        retry_after: Option<Duration>,
    },
    /// This client asks for more than its share.
    #[error("{message}")]
    TooManyRequests {
        /// Which limit was reached.
        message: String,
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The deadline came first.
    #[error("{0}")]
    DeadlineExceeded(String),
    /// The protocol knows it, this server does not do it.
    #[error("{0}")]
    Unsupported(String),
    /// The model failed.
    #[error("{0}")]
    Internal(String),
}
