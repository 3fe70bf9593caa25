//! One inference over gRPC, alone or as a message of a stream.

use std::time::Instant;

use proofload_wire::grpc::inference as pb;
use proofload_wire::infer::{InferRequest, InferResponse, ParameterValue};
use proofload_wire::phases::Phases;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Response, Status};

use crate::engine::{Engine, Inference, Protocol, ServeError};
use crate::front::{context, refusal};

/// Answers one request; its phases become metadata.
pub(super) async fn unary(
    engine: &Engine,
    metadata: MetadataMap,
    message: pb::ModelInferRequest,
) -> Result<Response<pb::ModelInferResponse>, Status> {
    let inference = infer(engine, metadata, message).await.map_err(|error| refusal::status(&error))?;
    let mut response = Response::new(inference.response.into());
    insert_phases(response.metadata_mut(), &inference.phases);
    Ok(response)
}

/// Answers one message of a stream. Errors are messages, too; phases become parameters of the response, because
/// metadata belong to the stream as a whole.
pub(super) async fn streamed(
    engine: Engine,
    metadata: MetadataMap,
    message: pb::ModelInferRequest,
) -> pb::ModelStreamInferResponse {
    let (model_name, id) = (message.model_name.clone(), message.id.clone());
    match infer(&engine, metadata, message).await {
        Ok(inference) => pb::ModelStreamInferResponse {
            error_message: String::new(),
            infer_response: Some(with_phases(inference).into()),
        },
        Err(error) => pb::ModelStreamInferResponse {
            error_message: error.to_string(),
            infer_response: Some(pb::ModelInferResponse { model_name, id, ..pb::ModelInferResponse::default() }),
        },
    }
}

async fn infer(
    engine: &Engine,
    metadata: MetadataMap,
    message: pb::ModelInferRequest,
) -> Result<Inference, ServeError> {
    let request = InferRequest::try_from(message).map_err(refusal::serve_error)?;
    let context = context::of(&metadata.into_headers(), &request.parameters, Protocol::Grpc, Instant::now())?;
    engine.infer(request, context).await
}

fn insert_phases(metadata: &mut MetadataMap, phases: &Phases) {
    for (name, value) in phases.to_headers() {
        if let Ok(value) = MetadataValue::try_from(value) {
            metadata.insert(name, value);
        }
    }
}

fn with_phases(inference: Inference) -> InferResponse {
    let mut response = inference.response;
    let phases = inference.phases.to_headers().map(|(name, value)| (name.to_owned(), ParameterValue::String(value)));
    response.parameters.extend(phases);
    response
}
