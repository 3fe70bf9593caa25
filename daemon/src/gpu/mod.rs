//! Everything about GPUs.

pub mod monitor;
