//! The model repository in Triton's layout.

pub mod spec;
