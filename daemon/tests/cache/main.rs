//! Kept answers with real Redis servers, alone, on a ring and as a cluster, and kept reliefs. The servers are
//! Debian's `redis-server`, which `scripts/test` installs; without it these tests fail.

// Helpers of tests are no tests to clippy, and here too an unwrap fails with its line.
#![allow(clippy::unwrap_used)]

mod cluster;
mod limits;
mod node;
mod redis;
mod reliefs;
mod ring;
#[allow(dead_code)]
#[path = "../front/server.rs"]
mod server;
mod shared;
