//! The gRPC side: messages, clients and servers generated from `proto/`, and what turns them into this crate's
//! own types.

pub mod convert;
mod enum_name;
pub mod frames;

/// Package `inference`: KServe v2 with Triton's extensions.
// Generated from `proto/`, where the comments are; the lints judge what people write.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
#[rustfmt::skip]
pub mod inference {
    tonic::include_proto!("inference");
}

/// Package `grpc.health.v1`: the health checking protocol.
// Generated, as above.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
#[rustfmt::skip]
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}
