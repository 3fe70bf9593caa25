//! Scheduling of one model: a bounded queue with levels, the rules of dynamic batching, and the threads that run the
//! batches; and of all models: what their instances share. Only `driver`, `instance`, `turn` and `limiter` know threads,
//! locks and a clock, and `memory` the system; the rest is pure.

pub mod adaptive;
pub mod backlog;
pub mod batch;
pub mod brevity;
pub mod driver;
mod instance;
pub mod limiter;
pub mod memory;
pub mod order;
pub mod outcome;
pub mod policy;
pub mod queue;
pub mod shares;
mod turn;
pub mod usage;
