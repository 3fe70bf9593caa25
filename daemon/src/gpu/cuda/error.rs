//! What goes wrong between us and the driver, and what to do about it.

use std::fmt::Debug;

use cudarc::cublaslt::{result as cublaslt, sys as cublaslt_sys};
use cudarc::cudnn::{result as cudnn, sys as cudnn_sys};
use cudarc::driver::{DriverError, sys};

use super::lower::LowerError;
use crate::gpu::graph::GraphError;
use crate::gpu::plan::PlanError;
use crate::gpu::relief::LayoutError;

/// Why something does not run on a GPU.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CudaError {
    /// A library is not there.
    #[error("{library} ({file}) was not found {looked}: {remedy}")]
    Missing {
        /// What it is called.
        library: &'static str,
        /// Its file.
        file: &'static str,
        /// Where it was looked for.
        looked: String,
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
    #[error("the GPU has no memory left for {what}{}", size(*bytes))]
    Memory {
        /// What it is wanted for.
        what: &'static str,
        /// How many bytes, where we asked for them ourselves.
        bytes: Option<usize>,
    },
    /// It can do nothing more for this process: after such an error the driver answers every call with it.
    #[error(
        "the GPU is lost to this process ({what}: {why}); models on it cannot serve until the daemon is started again"
    )]
    Lost {
        /// What was being done when it was noticed.
        what: &'static str,
        /// What the driver says.
        why: String,
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

fn size(bytes: Option<usize>) -> String {
    bytes.map_or_else(String::new, |bytes| format!(", which takes {bytes} bytes"))
}

/// What an answer of a library comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no memory.
    Memory,
    /// The device can do nothing more.
    Lost,
    /// Anything else.
    Other,
}

/// An answer of a library that is no success.
pub(super) trait Answer: Debug {
    fn kind(&self) -> Kind;
}

impl Answer for DriverError {
    /// After CUDA's documentation of `CUresult`: those after which "the process must be terminated and relaunched".
    fn kind(&self) -> Kind {
        use sys::CUresult as Code;
        match self.0 {
            Code::CUDA_ERROR_OUT_OF_MEMORY => Kind::Memory,
            Code::CUDA_ERROR_ECC_UNCORRECTABLE
            | Code::CUDA_ERROR_NVLINK_UNCORRECTABLE
            | Code::CUDA_ERROR_CONTAINED
            | Code::CUDA_ERROR_ILLEGAL_ADDRESS
            | Code::CUDA_ERROR_LAUNCH_TIMEOUT
            | Code::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | Code::CUDA_ERROR_ASSERT
            | Code::CUDA_ERROR_HARDWARE_STACK_ERROR
            | Code::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | Code::CUDA_ERROR_MISALIGNED_ADDRESS
            | Code::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | Code::CUDA_ERROR_INVALID_PC
            | Code::CUDA_ERROR_LAUNCH_FAILED
            | Code::CUDA_ERROR_TENSOR_MEMORY_LEAK
            | Code::CUDA_ERROR_EXTERNAL_DEVICE
            | Code::CUDA_ERROR_DEINITIALIZED => Kind::Lost,
            _ => Kind::Other,
        }
    }
}

impl Answer for cudnn::CudnnError {
    fn kind(&self) -> Kind {
        match self.0 {
            cudnn_sys::cudnnStatus_t::CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED => Kind::Memory,
            _ => Kind::Other,
        }
    }
}

impl Answer for cublaslt::CublasError {
    fn kind(&self) -> Kind {
        match self.0 {
            cublaslt_sys::cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED => Kind::Memory,
            _ => Kind::Other,
        }
    }
}

impl CudaError {
    /// For `map_err`: what was asked for.
    pub(super) fn call<E: Answer>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| match error.kind() {
            Kind::Memory => Self::Memory { what, bytes: None },
            Kind::Lost => Self::Lost { what, why: format!("{error:?}") },
            Kind::Other => Self::Call { what, why: format!("{error:?}") },
        }
    }

    /// For `map_err`: for what so many bytes were asked for.
    pub(super) fn memory<E: Answer>(what: &'static str, bytes: usize) -> impl FnOnce(E) -> Self {
        move |error| match Self::call(what)(error) {
            Self::Memory { .. } => Self::Memory { what, bytes: Some(bytes) },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_told_from_what_is_short() {
        let check = |code, expected: Kind, part: &str| {
            assert_eq!(DriverError(code).kind(), expected, "{code:?}");
            // The driver's own words for it need the driver, so only ours are looked at.
            let error = match expected {
                Kind::Memory => CudaError::Memory { what: "activations", bytes: Some(256) },
                Kind::Lost => CudaError::Lost { what: "computing", why: format!("{code:?}") },
                Kind::Other => CudaError::Call { what: "computing", why: format!("{code:?}") },
            };
            assert!(error.to_string().contains(part), "{error}");
        };
        check(
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY,
            Kind::Memory,
            "no memory left for activations, which takes 256 bytes",
        );
        check(sys::CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, Kind::Lost, "started again");
        check(sys::CUresult::CUDA_ERROR_ECC_UNCORRECTABLE, Kind::Lost, "started again");
        check(sys::CUresult::CUDA_ERROR_INVALID_VALUE, Kind::Other, "computing: CUDA_ERROR_INVALID_VALUE");
    }
}
