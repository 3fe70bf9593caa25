//! Work that is handed to an instance on a GPU in place of inputs: what goes into the model is made on the device, and what
//! comes out of it stays there. Whoever hands it over keeps a place for what comes of it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::BackendError;
use crate::gpu::cuda::{CudaError, Instance};

type Work = Box<dyn FnMut(&mut Instance) -> Result<(), CudaError> + Send>;

/// See the module.
pub struct Errand(Mutex<Work>);

impl Errand {
    /// It may be done more than once: what fails is tried again.
    pub fn new(work: impl FnMut(&mut Instance) -> Result<(), CudaError> + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(work)))
    }

    /// Does it.
    ///
    /// # Errors
    /// As the work itself says.
    pub fn run(&self, instance: &mut Instance) -> Result<(), BackendError> {
        let mut work = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(instance).map_err(|error| BackendError::Model(error.to_string()))
    }
}

impl fmt::Debug for Errand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Errand")
    }
}
