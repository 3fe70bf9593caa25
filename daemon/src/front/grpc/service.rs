//! `inference.GRPCInferenceService`: each call to its answer.

use futures::StreamExt;
use proofload_wire::grpc::inference as pb;
use proofload_wire::grpc::inference::grpc_inference_service_server::GrpcInferenceService;
use proofload_wire::grpc::inference::system_shared_memory_status_response::RegionStatus;
use proofload_wire::types::StatisticsResponse;
use tokio::sync::watch;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::arriving::Arriving;
use super::{conversation, incoming, infer, repository, settings};
use crate::engine::ServeError;
use crate::front::gate::Toll;
use crate::front::not_offered::NotOffered;
use crate::front::refusal;
use crate::front::{self, FrontState};
use crate::shared_memory::Registration;

/// The service.
pub(super) struct Inference {
    pub(super) state: FrontState,
    pub(super) draining: watch::Receiver<bool>,
}

/// What the generated code wants of every call.
type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(result: Result<T, ServeError>) -> Answer<T> {
    result.map(Response::new).map_err(|error| refusal::status(&error))
}

/// A version, or a name, that may be left open.
fn named(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn refuse<T>(part: NotOffered) -> Answer<T> {
    answer(Err(part.into()))
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(&self, _: Request<pb::ServerLiveRequest>) -> Answer<pb::ServerLiveResponse> {
        Ok(Response::new(pb::ServerLiveResponse { live: self.state.engine.is_live() }))
    }

    async fn server_ready(&self, _: Request<pb::ServerReadyRequest>) -> Answer<pb::ServerReadyResponse> {
        Ok(Response::new(pb::ServerReadyResponse { ready: self.state.engine.is_ready() }))
    }

    async fn model_ready(&self, request: Request<pb::ModelReadyRequest>) -> Answer<pb::ModelReadyResponse> {
        let request = request.into_inner();
        let ready = self.state.engine.model_ready(&request.name, named(&request.version));
        Ok(Response::new(pb::ModelReadyResponse { ready }))
    }

    async fn server_metadata(&self, _: Request<pb::ServerMetadataRequest>) -> Answer<pb::ServerMetadataResponse> {
        Ok(Response::new(self.state.metadata().into()))
    }

    async fn model_metadata(&self, request: Request<pb::ModelMetadataRequest>) -> Answer<pb::ModelMetadataResponse> {
        let request = request.into_inner();
        answer(self.state.engine.model_metadata(&request.name, named(&request.version)).map(Into::into))
    }

    async fn model_infer(&self, request: Request<pb::ModelInferRequest>) -> Answer<pb::ModelInferResponse> {
        let (metadata, extensions, message) = request.into_parts();
        infer::unary(&self.state, metadata, message, Arriving::of(&extensions).next()).await
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<pb::ModelInferRequest>>,
    ) -> Answer<BoxStream<pb::ModelStreamInferResponse>> {
        let (metadata, extensions, messages) = request.into_parts();
        let (arriving, toll) = (Arriving::of(&extensions), Toll::of(&extensions));
        let state = self.state.clone();
        let replies = incoming::until_drained(messages, self.draining.clone()).then(move |message| {
            let share = message.is_ok().then(|| arriving.next()).flatten();
            let (state, metadata, toll) = (state.clone(), metadata.clone(), toll.clone());
            async move {
                let message = message?;
                Ok(match toll.pay().await {
                    Ok(()) => infer::streamed(state, metadata, message, share),
                    Err(error) => infer::refused(&message, &error),
                })
            }
        });
        Ok(Response::new(conversation::answers(replies.boxed()).boxed()))
    }

    async fn model_config(&self, request: Request<pb::ModelConfigRequest>) -> Answer<pb::ModelConfigResponse> {
        let request = request.into_inner();
        let config = self.state.engine.model_config(&request.name, named(&request.version));
        answer(config.map(|config| pb::ModelConfigResponse { config: Some(config) }))
    }

    async fn model_statistics(
        &self,
        request: Request<pb::ModelStatisticsRequest>,
    ) -> Answer<pb::ModelStatisticsResponse> {
        let request = request.into_inner();
        let statistics = self.state.engine.statistics(named(&request.name), named(&request.version));
        answer(statistics.map(|model_stats| StatisticsResponse { model_stats }.into()))
    }

    async fn repository_index(
        &self,
        request: Request<pb::RepositoryIndexRequest>,
    ) -> Answer<pb::RepositoryIndexResponse> {
        let request = request.into_inner();
        answer(repository::index(&self.state, &request).await)
    }

    async fn repository_model_load(
        &self,
        request: Request<pb::RepositoryModelLoadRequest>,
    ) -> Answer<pb::RepositoryModelLoadResponse> {
        let (metadata, _, request) = request.into_parts();
        answer(repository::load(&self.state, metadata.as_ref(), request).await)
    }

    async fn repository_model_unload(
        &self,
        request: Request<pb::RepositoryModelUnloadRequest>,
    ) -> Answer<pb::RepositoryModelUnloadResponse> {
        let (metadata, _, request) = request.into_parts();
        answer(repository::unload(&self.state, metadata.as_ref(), request).await)
    }

    async fn system_shared_memory_status(
        &self,
        request: Request<pb::SystemSharedMemoryStatusRequest>,
    ) -> Answer<pb::SystemSharedMemoryStatusResponse> {
        let listed = |about: Registration| {
            let Registration { name, key, offset, byte_size } = about;
            (name.clone(), RegionStatus { name, key, offset, byte_size })
        };
        let regions = self.state.shared_memory.status(named(&request.into_inner().name));
        answer(
            regions.map(|regions| pb::SystemSharedMemoryStatusResponse {
                regions: regions.into_iter().map(listed).collect(),
            }),
        )
    }

    async fn system_shared_memory_register(
        &self,
        request: Request<pb::SystemSharedMemoryRegisterRequest>,
    ) -> Answer<pb::SystemSharedMemoryRegisterResponse> {
        let pb::SystemSharedMemoryRegisterRequest { name, key, offset, byte_size } = request.into_inner();
        let registered = self.state.shared_memory.register(Registration { name, key, offset, byte_size });
        answer(registered.map(|()| pb::SystemSharedMemoryRegisterResponse {}))
    }

    async fn system_shared_memory_unregister(
        &self,
        request: Request<pb::SystemSharedMemoryUnregisterRequest>,
    ) -> Answer<pb::SystemSharedMemoryUnregisterResponse> {
        let forgotten = self.state.shared_memory.unregister(named(&request.into_inner().name));
        answer(forgotten.map(|()| pb::SystemSharedMemoryUnregisterResponse {}))
    }

    async fn cuda_shared_memory_status(
        &self,
        request: Request<pb::CudaSharedMemoryStatusRequest>,
    ) -> Answer<pb::CudaSharedMemoryStatusResponse> {
        let name = request.into_inner().name;
        let missing = || ServeError::NotFound(format!("Unable to find cuda shared memory region: '{name}'"));
        answer(if name.is_empty() { Ok(pb::CudaSharedMemoryStatusResponse::default()) } else { Err(missing()) })
    }

    async fn cuda_shared_memory_register(
        &self,
        _: Request<pb::CudaSharedMemoryRegisterRequest>,
    ) -> Answer<pb::CudaSharedMemoryRegisterResponse> {
        refuse(NotOffered::CudaSharedMemory)
    }

    /// There is none, so none is left.
    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<pb::CudaSharedMemoryUnregisterRequest>,
    ) -> Answer<pb::CudaSharedMemoryUnregisterResponse> {
        Ok(Response::new(pb::CudaSharedMemoryUnregisterResponse {}))
    }

    async fn trace_setting(&self, request: Request<pb::TraceSettingRequest>) -> Answer<pb::TraceSettingResponse> {
        let (metadata, _, request) = request.into_parts();
        let pb::TraceSettingRequest { settings, model_name } = request;
        let wanted = settings::wanted(settings);
        answer(front::settings::trace(&self.state, metadata.as_ref(), named(&model_name), &wanted).map(settings::shown))
    }

    async fn log_settings(&self, request: Request<pb::LogSettingsRequest>) -> Answer<pb::LogSettingsResponse> {
        let (metadata, _, request) = request.into_parts();
        let wanted = settings::log_wanted(request.settings);
        answer(front::settings::log(&self.state, metadata.as_ref(), &wanted).map(settings::log_shown))
    }
}
