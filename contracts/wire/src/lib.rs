//! What inference clients and servers say to each other: KServe v2 (the Open Inference Protocol) over HTTP and
//! gRPC, with Triton's extensions, and what proofload adds to it (the phases of a request).
//!
//! | module | what |
//! |---|---|
//! | [`tensor`], [`infer`] | tensors, requests and responses, whatever carries them |
//! | [`json_body`] | their HTTP bodies: JSON, and JSON followed by binary tensors |
//! | [`grpc`] | the generated messages, clients and servers, and conversions |
//! | [`sse`], [`completion`] | server-sent events, and what a text generator's answers say |
//! | [`shared`] | places in memory that client and server share |
//! | [`types`] | metadata, statistics, repository index |
//! | [`phases`], [`trace`] | headers: where the time went, and which trace a request belongs to |
//! | [`limits`] | bounds that both sides keep to |
//!
//! This crate encodes and decodes. It opens no socket, reads no clock, and decides nothing: whether a tensor
//! fits a model is the server's affair. No input may make it panic.

pub mod completion;
mod error;
pub mod grpc;
pub mod infer;
pub mod json_body;
pub mod limits;
pub mod phases;
pub mod shared;
pub mod sse;
pub mod tensor;
#[cfg(test)]
mod testing;
pub mod trace;
pub mod types;

pub use error::WireError;
