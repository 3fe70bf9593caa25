//! Scheduling of one model: a bounded queue, the rules of dynamic batching, and the threads that run the batches.
//! `queue`, `batch` and `backlog` are pure; only `driver` knows threads and a clock.

pub mod backlog;
pub mod batch;
pub mod driver;
pub mod queue;
