//! KServe v2 over gRPC, and gRPC's own health service.

mod health;
mod incoming;
mod infer;
mod service;

use axum::Router;
use proofload_wire::grpc::health::health_server::HealthServer;
use proofload_wire::grpc::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use tokio::sync::watch;
use tonic::service::Routes;

use super::FrontState;

/// Everything that is served over gRPC. Streams end when `draining` turns true.
pub(super) fn router(state: &FrontState, draining: &watch::Receiver<bool>) -> Router {
    let inference = service::Inference { engine: state.engine.clone(), draining: draining.clone() };
    let inference = GrpcInferenceServiceServer::new(inference).max_decoding_message_size(state.limits.max_body_bytes);
    let health = HealthServer::new(health::Health { engine: state.engine.clone(), draining: draining.clone() });
    Routes::new(inference).add_service(health).prepare().into_axum_router()
}
