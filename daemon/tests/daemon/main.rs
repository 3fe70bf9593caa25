//! The assembled daemon on free ports: what it promises about queues, deadlines, phases, counts, capacity, models
//! that come and go, and its own end.

// The exception that clippy makes for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod adaptive;
mod capacity;
mod counts;
mod drain;
mod ensembles;
mod levels;
mod on_gpu;
mod phases;
mod process;
mod profiles;
mod queueing;
mod rates;
mod reload;
mod repository;
#[path = "../standin/mod.rs"]
mod standin;
mod support;
