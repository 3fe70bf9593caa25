//! What goes wrong between us and the driver, and what to do about it.

use super::lower::LowerError;
use crate::gpu::graph::GraphError;
use crate::gpu::plan::PlanError;
use crate::gpu::relief::LayoutError;

/// Why something does not run on a GPU.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CudaError {
    /// A library is not there.
    #[error("{library} is not on the loader's path ({file}): {remedy}")]
    Missing {
        /// What it is called.
        library: &'static str,
        /// Its file.
        file: &'static str,
        /// Where it comes from.
        remedy: &'static str,
    },
    /// There is no such device.
    #[error("there is no GPU {ordinal}; the driver knows {count}")]
    NoDevice {
        /// Which.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// Its memory is used up.
    #[error("the GPU has no {bytes} bytes left for {what}")]
    Memory {
        /// What they are wanted for.
        what: &'static str,
        /// How many.
        bytes: usize,
    },
    /// The driver or a library refuses.
    #[error("{what}: {why}")]
    Call {
        /// What was asked for.
        what: &'static str,
        /// What it says.
        why: String,
    },
    /// A kernel is not compiled: a mistake of ours, or of the compiler.
    #[error("kernels of {source_name} do not compile for {arch}: {log}")]
    Kernel {
        /// Which file.
        source_name: String,
        /// For which architecture.
        arch: String,
        /// What the compiler says.
        log: String,
    },
    /// The model is not one that is computed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Not with these shapes.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Not on a device.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// No relief can be made so.
    #[error(transparent)]
    Relief(#[from] LayoutError),
    /// What it is given is not what it computes with.
    #[error("{0}")]
    Inputs(String),
}

impl CudaError {
    /// For `map_err`: what was asked for.
    pub(super) fn call<E: std::fmt::Debug>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Call { what, why: format!("{error:?}") }
    }
}
