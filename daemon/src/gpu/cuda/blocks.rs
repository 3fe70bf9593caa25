//! Where the memory manager gets the GPU's memory: blocks of the driver's, by their addresses.

use std::sync::Arc;

use cudarc::driver::{CudaContext, result, sys};

use crate::gpu::memory::manager::{Driver, DriverError};

/// See the module.
pub(super) struct Blocks(pub(super) Arc<CudaContext>);

impl Driver for Blocks {
    fn take(&self, bytes: u64) -> Result<u64, DriverError> {
        let other = |error: cudarc::driver::DriverError| DriverError::Other(format!("taking memory: {error:?}"));
        self.0.bind_to_thread().map_err(other)?;
        let bytes = usize::try_from(bytes).map_err(|_| DriverError::Exhausted)?;
        // SAFETY: what comes is an address of as many bytes, which nobody reads before it was written: plans are made so.
        let taken = unsafe { result::malloc_sync(bytes) };
        taken.map_err(|error| match error.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => DriverError::Exhausted,
            _ => other(error),
        })
    }

    fn give(&self, address: u64) {
        if self.0.bind_to_thread().is_ok() {
            // SAFETY: it came from `take`, once, and nothing of it is handed out any more. What the driver says can change
            // nothing.
            let _ = unsafe { result::free_sync(address) };
        }
    }
}
