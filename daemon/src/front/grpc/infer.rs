//! One inference over gRPC, alone or as a message of a stream.

use std::time::Instant;

use futures::stream::{self, BoxStream, StreamExt};
use proofload_wire::grpc::convert::request_sharing;
use proofload_wire::grpc::inference as pb;
use proofload_wire::infer::{InferRequest, InferResponse, ParameterValue};
use proofload_wire::phases::Phases;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Response, Status};

use super::conversation::Reply;
use crate::bodies::Share;
use crate::engine::{Failed, Inference, Part, Protocol, RequestContext, ServeError};
use crate::front::sharing::{self, Placed};
use crate::front::{FrontState, context, forms, refusal};

/// Parameter of a streamed response: whether it is the last one of its request.
const FINAL: &str = "triton_final_response";

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

/// How one message of a stream is answered. Errors are messages, too; phases become parameters of the last response,
/// because metadata belong to the stream as a whole.
pub(super) fn streamed(
    state: FrontState,
    metadata: MetadataMap,
    message: pb::ModelInferRequest,
    share: Option<Share>,
) -> Reply {
    let version = Some(message.model_version.as_str()).filter(|version| !version.is_empty());
    // A model that does not exist is told by the answer.
    if state.engine.is_decoupled(&message.model_name, version).unwrap_or(false) {
        return Reply::Many(many(&state, metadata, message, share));
    }
    Reply::One(Box::pin(async move {
        let about = about(&message);
        match infer(&state, metadata, message, share).await {
            Ok(Inference { response, phases }) => last(String::new(), response, &phases),
            Err(Failed { error, phases }) => last(error.to_string(), about, &phases),
        }
    }))
}

/// The answer to a message of a stream that is not let in.
pub(super) fn refused(message: &pb::ModelInferRequest, error: &ServeError) -> Reply {
    let answer = last(error.to_string(), about(message), &Phases::default());
    Reply::One(Box::pin(std::future::ready(answer)))
}

/// The responses of a decoupled model. That there are no more is told only to those who asked for it.
fn many(
    state: &FrontState,
    metadata: MetadataMap,
    message: pb::ModelInferRequest,
    share: Option<Share>,
) -> BoxStream<'static, pb::ModelStreamInferResponse> {
    let about = about(&message);
    let Asked { request, context, placed } = match ask(state, metadata, message, share) {
        Ok(asked) => asked,
        Err(error) => return stream::iter([last(error.to_string(), about, &Phases::default())]).boxed(),
    };
    let wants_end = wants_end(&request);
    let parts = state.engine.infer_parts(request, context);
    let answer = move |part| match part {
        Part::Response(mut response) => Some(match sharing::put(&placed, &mut response) {
            Ok(()) => with_final(String::new(), response, false),
            Err(error) => with_final(error.to_string(), about.clone(), false),
        }),
        Part::End(Ok(phases)) if wants_end => Some(last(String::new(), about.clone(), &phases)),
        Part::End(Ok(_)) => None,
        Part::End(Err(Failed { error, phases })) => Some(last(error.to_string(), about.clone(), &phases)),
    };
    parts.filter_map(move |part| std::future::ready(answer(part))).boxed()
}

/// Whether a request wants to be told when there are no more responses.
fn wants_end(request: &InferRequest) -> bool {
    matches!(request.parameters.get(context::EMPTY_FINAL), Some(ParameterValue::Bool(true)))
}

/// A response without outputs that says which request it answers.
fn about(message: &pb::ModelInferRequest) -> InferResponse {
    InferResponse {
        model_name: message.model_name.clone(),
        model_version: message.model_version.clone(),
        id: message.id.clone(),
        ..InferResponse::default()
    }
}

fn last(error_message: String, mut response: InferResponse, phases: &Phases) -> pb::ModelStreamInferResponse {
    let phases = phases.to_headers().map(|(name, value)| (name.to_owned(), ParameterValue::String(value)));
    response.parameters.extend(phases);
    with_final(error_message, response, true)
}

fn with_final(error_message: String, mut response: InferResponse, last: bool) -> pb::ModelStreamInferResponse {
    response.parameters.insert(FINAL.to_owned(), ParameterValue::Bool(last));
    pb::ModelStreamInferResponse { error_message, infer_response: Some(response.into()) }
}

/// A request that is ready to be served.
struct Asked {
    request: InferRequest,
    context: RequestContext,
    placed: Vec<Placed>,
}

async fn infer(
    state: &FrontState,
    metadata: MetadataMap,
    message: pb::ModelInferRequest,
    share: Option<Share>,
) -> Result<Inference, Failed> {
    let Asked { request, context, placed } = ask(state, metadata, message, share)?;
    let encode = |mut response| sharing::put(&placed, &mut response).map(|()| response);
    match forms::cache(state, &request, &placed) {
        None => state.engine.infer(request, context, encode).await,
        Some(cache) => state.engine.infer_cached(cache, request, context, &forms::Message).await,
    }
}

fn ask(
    state: &FrontState,
    metadata: MetadataMap,
    message: pb::ModelInferRequest,
    share: Option<Share>,
) -> Result<Asked, ServeError> {
    let (mut request, shared_bytes) = decode(state, message)?;
    let placed = sharing::places(&state.shared_memory, &request.outputs)?;
    let mut context = context::of(&metadata.into_headers(), &request.parameters, Protocol::Grpc, Instant::now())?;
    // Raw contents are slices of the message, which they keep in memory as a whole.
    context.held_bytes = share.as_ref().map_or(0, Share::bytes) + shared_bytes;
    share.into_iter().for_each(|share| context::pin(&mut request, share));
    Ok(Asked { request, context, placed })
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
