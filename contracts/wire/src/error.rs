//! The one error of this crate. Messages name what was received and what would have been right, because servers
//! hand them to their clients as they are.

/// What was received, or should be sent, does not fit the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A body that is no JSON, or not the JSON of this protocol.
    #[error("cannot read the JSON: {0}")]
    Json(String),
    /// Data that JSON cannot carry.
    #[error("cannot write the JSON: {0}")]
    Unencodable(String),
    /// The header length and the body contradict each other.
    #[error("cannot read the body: {0}")]
    Framing(String),
    /// A tensor type that does not exist.
    #[error(
        "tensor '{tensor}' has the unknown datatype '{datatype}'; known are BOOL, UINT8, UINT16, UINT32, UINT64, \
         INT8, INT16, INT32, INT64, FP16, BF16, FP32, FP64 and BYTES"
    )]
    UnknownDatatype {
        /// Name of the tensor.
        tensor: String,
        /// What was received.
        datatype: String,
    },
    /// A shape with a negative dimension, with too many dimensions, or larger than any memory.
    #[error("shape {shape:?} is impossible: {why}")]
    BadShape {
        /// What was received.
        shape: Vec<i64>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Data and shape contradict each other.
    #[error("tensor '{tensor}' {what}")]
    BadData {
        /// Name of the tensor.
        tensor: String,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// A region of shared memory that nobody has registered.
    #[error("{0}")]
    NoRegion(String),
    /// A place in shared memory that is not there, or not any more.
    #[error("{0}")]
    BadRegion(String),
    /// No room now for what was sent; another try later may find some.
    #[error("{0}")]
    NoRoom(String),
    /// Something that the protocol knows and this side does not do.
    #[error("{0}")]
    Unsupported(String),
}

impl WireError {
    /// Data that contradicts its tensor.
    pub fn data(tensor: &str, what: impl Into<String>) -> Self {
        Self::BadData { tensor: tensor.to_owned(), what: what.into() }
    }
}
