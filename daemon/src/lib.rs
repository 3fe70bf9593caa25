//! The inference daemon as a library: KServe v2 over HTTP and gRPC in front of models from a Triton-style
//! repository, with dynamic batching, and every response saying where its time went.
//!
//! Shell and core are apart: `admit`, `cache::{key, entry}`, `cache::l2::{breaker, checksum, ring, slots}`, `drain`,
//! `ensemble`, `jobs::board`, `lifecycle::snapshot`, `sched::{queue, batch, backlog}`, `statistics`, `engine::check` and
//! the repository's parsers are pure, as are `gpu::{graph, plan, kernels}` and most of `gpu::memory`; sockets, threads and clocks are in `app`, `front`,
//! `lifecycle`, `sched::driver` and `backend`.

pub mod admit;
pub mod app;
pub mod backend;
pub mod bodies;
pub mod cache;
mod cli;
mod command;
pub mod config;
pub mod drain;
pub mod engine;
mod engines;
pub mod ensemble;
pub mod front;
pub mod gpu;
pub mod jobs;
pub mod lifecycle;
pub mod mesh;
pub mod model;
mod new_key;
pub mod notify;
mod parallel;
mod process;
pub mod profile;
pub mod relief;
pub mod reload;
pub mod repository;
pub mod sched;
pub mod shared_memory;
pub mod statistics;
pub mod telemetry;
pub mod warm_up;

pub use app::DaemonError;
pub use cli::DaemonArgs;
pub use process::run;
