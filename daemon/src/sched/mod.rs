//! Scheduling of one model: a bounded queue with levels, the rules of dynamic batching, and the threads that run the
//! batches; and of all models: what their instances share. Only `driver`, `instance` and `limiter` know threads, locks
//! and a clock, and `memory` the system; the rest is pure.

pub mod adaptive;
pub mod backlog;
pub mod batch;
pub mod driver;
mod instance;
pub mod limiter;
pub mod memory;
pub mod order;
pub mod policy;
pub mod queue;
pub mod shares;
pub mod usage;
