//! KServe v2 over gRPC, and gRPC's own health service.

mod arriving;
mod conversation;
mod health;
mod incoming;
mod infer;
mod repository;
mod service;
mod settings;

use std::sync::Arc;

use axum::{Router, middleware};
use proofload_wire::grpc::health::health_server::HealthServer;
use proofload_wire::grpc::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use tokio::sync::watch;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use super::{FrontState, gate};

/// Everything that is served over gRPC. Streams end when `draining` turns true.
pub(super) fn router(state: &FrontState, draining: &watch::Receiver<bool>) -> Router {
    let inference = service::Inference { state: state.clone(), draining: draining.clone() };
    // Requests may be compressed. Answers are not, as Triton's are not by default: a client that takes them compressed
    // has not asked for them, since the usual libraries always say so.
    let inference = GrpcInferenceServiceServer::new(inference)
        .max_decoding_message_size(state.limits.max_body_bytes)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate);
    let gate = arriving::Gate {
        bodies: Arc::clone(&state.bodies),
        max_body_bytes: state.limits.max_body_bytes,
        rules: Arc::clone(&state.rules),
    };
    let count = middleware::map_request_with_state(gate, arriving::count);
    let health = HealthServer::new(health::Health { engine: state.engine.clone(), draining: draining.clone() });
    let router = Routes::new(inference).add_service(health).prepare().into_axum_router().layer(count);
    gate::guard(router, state.gate.as_ref())
}
