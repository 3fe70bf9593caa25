//! `grpc.health.v1.Health`, for load balancers and probes.

use futures::{FutureExt, StreamExt, stream};
use proofload_wire::grpc::health::health_check_response::ServingStatus;
use proofload_wire::grpc::health::health_server;
use proofload_wire::grpc::health::{HealthCheckRequest, HealthCheckResponse};
use proofload_wire::grpc::inference::grpc_inference_service_server::SERVICE_NAME;
use tokio::sync::watch;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use crate::engine::Engine;
use crate::front::drained;

/// Answers for the server as a whole and for the inference service, which are ready together.
pub(super) struct Health {
    pub(super) engine: Engine,
    pub(super) draining: watch::Receiver<bool>,
}

impl Health {
    /// `None` for a service that is not here.
    fn status(&self, service: &str) -> Option<ServingStatus> {
        let known = service.is_empty() || service == SERVICE_NAME;
        let status = if self.engine.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing };
        known.then_some(status)
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let status = self.status(&service).ok_or_else(|| {
            Status::not_found(format!("there is no service '{service}'; '' and '{SERVICE_NAME}' can be asked for"))
        })?;
        Ok(Response::new(answer(status)))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<BoxStream<HealthCheckResponse>>, Status> {
        let status = self.status(&request.into_inner().service);
        let now = answer(status.unwrap_or(ServingStatus::ServiceUnknown));
        // Readiness changes once, when the daemon drains; the stream ends there, so that it does not hold it up.
        let last = drained(self.draining.clone()).map(|()| Ok(answer(ServingStatus::NotServing)));
        Ok(Response::new(stream::iter([Ok(now)]).chain(last.into_stream()).boxed()))
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
