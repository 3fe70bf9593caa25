//! Host memory that the GPU reads and writes by itself, without the driver copying it aside first.

use cudarc::driver::result;

use super::error::CudaError;

/// So many bytes of it.
pub(super) struct Pinned {
    pointer: *mut u8,
    bytes: usize,
}

// SAFETY: it is memory, which belongs to whoever holds this, and is bound to no thread.
unsafe impl Send for Pinned {}

impl Pinned {
    /// Zeros.
    pub(super) fn new(bytes: usize) -> Result<Self, CudaError> {
        let bytes = bytes.max(1);
        // SAFETY: no flags are asked for. What comes is as many bytes, which are written right below.
        let pointer =
            unsafe { result::malloc_host(bytes, 0) }.map_err(CudaError::memory("staging", bytes))?.cast::<u8>();
        // SAFETY: as above.
        unsafe { pointer.write_bytes(0, bytes) };
        Ok(Self { pointer, bytes })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: as many bytes were allocated and written; the GPU writes them only while its owner, who is borrowed here,
        // waits for it.
        unsafe { std::slice::from_raw_parts(self.pointer, self.bytes) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: it was allocated by `new`, and nobody uses it any more: its owner has waited, and has bound the device to this
        // thread. What the driver says can change nothing.
        let _ = unsafe { result::free_host(self.pointer.cast()) };
    }
}
