//! The fronts as clients see them: real sockets, a real engine, models that echo.

// The exception that clippy makes for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod admin;
mod bodies;
mod bombs;
mod cached;
mod certificates;
mod coding;
mod concurrency;
mod datatypes;
mod decoupled;
mod ensemble;
mod gate;
mod grpc;
mod http;
mod jobs;
mod malformed;
mod openapi;
mod peers;
mod server;
mod settings;
mod shared;
mod slow;
mod tls;
