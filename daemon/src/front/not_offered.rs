//! What the protocol knows and this server does not offer, in the words that both doors use. None of it is among
//! the server's `extensions`.

use crate::engine::ServeError;

/// A part of the protocol that is not offered.
#[derive(Debug, Clone, Copy)]
pub(super) enum NotOffered {
    /// Tensors in a GPU's memory that client and server share.
    CudaSharedMemory,
}

impl From<NotOffered> for ServeError {
    fn from(part: NotOffered) -> Self {
        let message = match part {
            NotOffered::CudaSharedMemory => {
                "CUDA shared memory is not offered; use system shared memory, or send tensors in the request"
            }
        };
        Self::Unsupported(message.to_owned())
    }
}
