//! `inference.GRPCInferenceService`: each call to its answer.

use futures::StreamExt;
use proofload_wire::grpc::inference as pb;
use proofload_wire::grpc::inference::grpc_inference_service_server::GrpcInferenceService;
use proofload_wire::types::StatisticsResponse;
use tokio::sync::watch;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::arriving::Arriving;
use super::{incoming, infer};
use crate::engine::{Engine, ServeError};
use crate::front::not_offered::NotOffered;
use crate::front::refusal;

/// Requests of one stream that are worked on at the same time. Answers keep the order of the requests.
const STREAM_DEPTH: usize = 32;

/// The service.
pub(super) struct Inference {
    pub(super) engine: Engine,
    pub(super) draining: watch::Receiver<bool>,
}

/// What the generated code wants of every call.
type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(result: Result<T, ServeError>) -> Answer<T> {
    result.map(Response::new).map_err(|error| refusal::status(&error))
}

/// A version that may be left open.
fn version(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn refuse<T>(part: NotOffered) -> Answer<T> {
    answer(Err(part.into()))
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(&self, _: Request<pb::ServerLiveRequest>) -> Answer<pb::ServerLiveResponse> {
        Ok(Response::new(pb::ServerLiveResponse { live: self.engine.is_live() }))
    }

    async fn server_ready(&self, _: Request<pb::ServerReadyRequest>) -> Answer<pb::ServerReadyResponse> {
        Ok(Response::new(pb::ServerReadyResponse { ready: self.engine.is_ready() }))
    }

    async fn model_ready(&self, request: Request<pb::ModelReadyRequest>) -> Answer<pb::ModelReadyResponse> {
        let request = request.into_inner();
        let ready = self.engine.model_ready(&request.name, version(&request.version));
        Ok(Response::new(pb::ModelReadyResponse { ready }))
    }

    async fn server_metadata(&self, _: Request<pb::ServerMetadataRequest>) -> Answer<pb::ServerMetadataResponse> {
        Ok(Response::new(self.engine.server_metadata().into()))
    }

    async fn model_metadata(&self, request: Request<pb::ModelMetadataRequest>) -> Answer<pb::ModelMetadataResponse> {
        let request = request.into_inner();
        answer(self.engine.model_metadata(&request.name, version(&request.version)).map(Into::into))
    }

    async fn model_infer(&self, request: Request<pb::ModelInferRequest>) -> Answer<pb::ModelInferResponse> {
        let (metadata, extensions, message) = request.into_parts();
        infer::unary(&self.engine, metadata, message, Arriving::of(&extensions).next()).await
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<pb::ModelInferRequest>>,
    ) -> Answer<BoxStream<pb::ModelStreamInferResponse>> {
        let (metadata, extensions, messages) = request.into_parts();
        let arriving = Arriving::of(&extensions);
        let engine = self.engine.clone();
        let answers = incoming::until_drained(messages, self.draining.clone())
            .map(move |message| {
                let (engine, metadata) = (engine.clone(), metadata.clone());
                let share = message.is_ok().then(|| arriving.next()).flatten();
                async move { Ok(infer::streamed(engine, metadata, message?, share).await) }
            })
            .buffered(STREAM_DEPTH);
        Ok(Response::new(answers.boxed()))
    }

    async fn model_config(&self, request: Request<pb::ModelConfigRequest>) -> Answer<pb::ModelConfigResponse> {
        let request = request.into_inner();
        let config = self.engine.model_config(&request.name, version(&request.version));
        answer(config.map(|config| pb::ModelConfigResponse { config: Some(config) }))
    }

    async fn model_statistics(
        &self,
        request: Request<pb::ModelStatisticsRequest>,
    ) -> Answer<pb::ModelStatisticsResponse> {
        let request = request.into_inner();
        let statistics = self.engine.statistics(version(&request.name), version(&request.version));
        answer(statistics.map(|model_stats| StatisticsResponse { model_stats }.into()))
    }

    async fn repository_index(
        &self,
        request: Request<pb::RepositoryIndexRequest>,
    ) -> Answer<pb::RepositoryIndexResponse> {
        let index = self.engine.repository_index(request.into_inner().ready);
        Ok(Response::new(pb::RepositoryIndexResponse { models: index.into_iter().map(Into::into).collect() }))
    }

    async fn repository_model_load(
        &self,
        _: Request<pb::RepositoryModelLoadRequest>,
    ) -> Answer<pb::RepositoryModelLoadResponse> {
        refuse(NotOffered::ModelControl)
    }

    async fn repository_model_unload(
        &self,
        _: Request<pb::RepositoryModelUnloadRequest>,
    ) -> Answer<pb::RepositoryModelUnloadResponse> {
        refuse(NotOffered::ModelControl)
    }

    async fn system_shared_memory_status(
        &self,
        _: Request<pb::SystemSharedMemoryStatusRequest>,
    ) -> Answer<pb::SystemSharedMemoryStatusResponse> {
        refuse(NotOffered::SharedMemory)
    }

    async fn system_shared_memory_register(
        &self,
        _: Request<pb::SystemSharedMemoryRegisterRequest>,
    ) -> Answer<pb::SystemSharedMemoryRegisterResponse> {
        refuse(NotOffered::SharedMemory)
    }

    async fn system_shared_memory_unregister(
        &self,
        _: Request<pb::SystemSharedMemoryUnregisterRequest>,
    ) -> Answer<pb::SystemSharedMemoryUnregisterResponse> {
        refuse(NotOffered::SharedMemory)
    }

    async fn cuda_shared_memory_status(
        &self,
        _: Request<pb::CudaSharedMemoryStatusRequest>,
    ) -> Answer<pb::CudaSharedMemoryStatusResponse> {
        refuse(NotOffered::SharedMemory)
    }

    async fn cuda_shared_memory_register(
        &self,
        _: Request<pb::CudaSharedMemoryRegisterRequest>,
    ) -> Answer<pb::CudaSharedMemoryRegisterResponse> {
        refuse(NotOffered::SharedMemory)
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<pb::CudaSharedMemoryUnregisterRequest>,
    ) -> Answer<pb::CudaSharedMemoryUnregisterResponse> {
        refuse(NotOffered::SharedMemory)
    }

    async fn trace_setting(&self, _: Request<pb::TraceSettingRequest>) -> Answer<pb::TraceSettingResponse> {
        refuse(NotOffered::Settings)
    }

    async fn log_settings(&self, _: Request<pb::LogSettingsRequest>) -> Answer<pb::LogSettingsResponse> {
        refuse(NotOffered::Settings)
    }
}
