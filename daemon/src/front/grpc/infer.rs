//! One inference over gRPC, alone or as a message of a stream.

use std::time::Instant;

use proofload_wire::grpc::convert::request_sharing;
use proofload_wire::grpc::inference as pb;
use proofload_wire::infer::{InferRequest, InferResponse, ParameterValue};
use proofload_wire::phases::Phases;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Response, Status};

use crate::bodies::Share;
use crate::engine::{Failed, Inference, Protocol, ServeError};
use crate::front::{FrontState, context, refusal, sharing};

/// Answers one request; its phases become metadata.
pub(super) async fn unary(
    state: &FrontState,
    metadata: MetadataMap,
    message: pb::ModelInferRequest,
    share: Option<Share>,
) -> Result<Response<pb::ModelInferResponse>, Status> {
    let inference = infer(state, metadata, message, share).await.map_err(|failed| refusal::failed_status(&failed))?;
    let mut response = Response::new(inference.response.into());
    insert_phases(response.metadata_mut(), &inference.phases);
    Ok(response)
}

/// Answers one message of a stream. Errors are messages, too; phases become parameters of the response, because
/// metadata belong to the stream as a whole.
pub(super) async fn streamed(
    state: FrontState,
    metadata: MetadataMap,
    message: pb::ModelInferRequest,
    share: Option<Share>,
) -> pb::ModelStreamInferResponse {
    let (model_name, id) = (message.model_name.clone(), message.id.clone());
    match infer(&state, metadata, message, share).await {
        Ok(Inference { response, phases }) => stream_response(String::new(), with_phases(response, &phases)),
        Err(Failed { error, phases }) => {
            let response = InferResponse { model_name, id, ..InferResponse::default() };
            stream_response(error.to_string(), with_phases(response, &phases))
        }
    }
}

fn stream_response(error_message: String, response: InferResponse) -> pb::ModelStreamInferResponse {
    pb::ModelStreamInferResponse { error_message, infer_response: Some(response.into()) }
}

async fn infer(
    state: &FrontState,
    metadata: MetadataMap,
    message: pb::ModelInferRequest,
    share: Option<Share>,
) -> Result<Inference, Failed> {
    let (mut request, shared_bytes) = decode(state, message)?;
    let placed = sharing::places(&state.shared_memory, &request.outputs)?;
    let mut context = context::of(&metadata.into_headers(), &request.parameters, Protocol::Grpc, Instant::now())?;
    // Raw contents are slices of the message, which they keep in memory as a whole.
    context.held_bytes = share.as_ref().map_or(0, Share::bytes) + shared_bytes;
    share.into_iter().for_each(|share| context::pin(&mut request, share));
    let encode = |mut response| sharing::put(&placed, &mut response).map(|()| response);
    state.engine.infer(request, context, encode).await
}

/// The request, and how many bytes of its inputs came from shared memory.
fn decode(state: &FrontState, message: pb::ModelInferRequest) -> Result<(InferRequest, usize), ServeError> {
    let regions = sharing::Inputs::new(&state.shared_memory, &state.bodies);
    let request = request_sharing(message, &regions).map_err(refusal::serve_error)?;
    Ok((request, regions.bytes()))
}

fn insert_phases(metadata: &mut MetadataMap, phases: &Phases) {
    for (name, value) in phases.to_headers() {
        if let Ok(value) = MetadataValue::try_from(value) {
            metadata.insert(name, value);
        }
    }
}

fn with_phases(mut response: InferResponse, phases: &Phases) -> InferResponse {
    let phases = phases.to_headers().map(|(name, value)| (name.to_owned(), ParameterValue::String(value)));
    response.parameters.extend(phases);
    response
}
