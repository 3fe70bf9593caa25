//! Everything about GPUs.

pub mod kernels;
pub mod monitor;
