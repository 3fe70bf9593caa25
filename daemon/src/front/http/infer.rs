//! `POST …/infer`: JSON, JSON with binary tensors, and raw requests.

use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use http::{HeaderMap, StatusCode};
use proofload_wire::WireError;
use proofload_wire::infer::{InferRequest, InferResponse};
use proofload_wire::json_body::{
    BinaryOutputs, DecodedRequest, EncodedBody, JSON_LENGTH, decode_raw_request, decode_request_sharing,
    encode_response,
};
use proofload_wire::phases::Phases;
use proofload_wire::tensor::Tensor;

use super::ModelPath;
use crate::engine::{Engine, Protocol, RequestContext, ServeError};
use crate::front::body::Taken;
use crate::front::coding::{self, Coding};
use crate::front::path::Path;
use crate::front::refusal::Refusal;
use crate::front::sharing::Placed;
use crate::front::{FrontState, context, forms, phases, sharing};

/// Serves one inference.
pub(super) async fn infer(
    State(state): State<FrontState>,
    Path(path): Path<ModelPath>,
    headers: HeaderMap,
    taken: Taken,
) -> Result<Response, Refusal> {
    let Asked { request, context, form } = ask(&state, path, &headers, taken)?;
    let mut inference = match forms::cache(&state, &request, &form.placed) {
        None => state.engine.infer(request, context, |response| form.encode(response)).await?,
        Some(cache) => state.engine.infer_cached(cache, request, context, &forms::Body(&form.binary_outputs)).await?,
    };
    let coding = coding::compress(Coding::wanted(&headers), &mut inference.response.body).await;
    let mut response = respond(inference.response, &inference.phases);
    if let Some(coding) = coding {
        response.headers_mut().insert(CONTENT_ENCODING, coding);
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    Ok(response)
}

/// A request that is ready to be served.
pub(in crate::front) struct Asked {
    pub(in crate::front) request: InferRequest,
    pub(in crate::front) context: RequestContext,
    pub(in crate::front) form: Form,
}

/// What the answer is to look like.
pub(in crate::front) struct Form {
    binary_outputs: BinaryOutputs,
    placed: Vec<Placed>,
}

impl Form {
    /// Whether outputs go into shared memory.
    pub(in crate::front) fn is_placed(&self) -> bool {
        !self.placed.is_empty()
    }

    /// The answer in this form.
    pub(in crate::front) fn encode(&self, mut response: InferResponse) -> Result<EncodedBody, ServeError> {
        sharing::put(&self.placed, &mut response)?;
        encode_response(&response, &self.binary_outputs).map_err(|error| unanswerable(&error))
    }
}

/// Reads a request. Its inputs keep their share of the budget.
pub(in crate::front) fn ask(
    state: &FrontState,
    path: ModelPath,
    headers: &HeaderMap,
    Taken { bytes, mut share }: Taken,
) -> Result<Asked, Refusal> {
    let (decoded, shared_bytes) = decode(state, path, json_length(headers)?, &bytes)?;
    let mut context = context::of(headers, &decoded.request.parameters, Protocol::Http, Instant::now())?;
    let DecodedRequest { mut request, binary_outputs } = decoded;
    let placed = sharing::places(&state.shared_memory, &request.outputs)?;
    context.held_bytes = held_bytes(&bytes, &request.inputs);
    drop(bytes);
    share.resize(context.held_bytes.saturating_sub(shared_bytes)).map_err(ServeError::from)?;
    context::pin(&mut request, share);
    Ok(Asked { request, context, form: Form { binary_outputs, placed } })
}

/// The memory that inputs keep: the whole body if any of them is a slice of it, and what the others have of their own.
fn held_bytes(body: &Bytes, inputs: &[Tensor]) -> usize {
    let range = body.as_ptr_range();
    let data = inputs.iter().map(|input| &input.data).filter(|data| !data.is_empty());
    let (slices, own): (Vec<_>, Vec<_>) = data.partition(|data| range.contains(&data.as_ptr()));
    let body = if slices.is_empty() { 0 } else { body.len() };
    body + own.into_iter().map(Bytes::len).sum::<usize>()
}

/// The request was right and the model gave an answer, but not one that this form can carry.
fn unanswerable(error: &WireError) -> ServeError {
    ServeError::Internal(error.to_string())
}

fn json_length(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let Some(value) = headers.get(JSON_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    length.map(Some).ok_or_else(|| {
        Refusal::new(StatusCode::BAD_REQUEST, format!("{JSON_LENGTH} must be a number of bytes, not {value:?}"))
    })
}

/// The request, and how many bytes of its inputs came from shared memory.
fn decode(
    state: &FrontState,
    path: ModelPath,
    json_length: Option<usize>,
    body: &Bytes,
) -> Result<(DecodedRequest, usize), Refusal> {
    if json_length == Some(0) {
        return Ok((decode_raw(&state.engine, path, body)?, 0));
    }
    let regions = sharing::Inputs::new(&state.shared_memory, &state.bodies);
    let decoded = decode_request_sharing(&path.model, path.version.as_deref(), body, json_length, &regions)?;
    Ok((decoded, regions.bytes()))
}

/// The body is the model's only input. Where its shape leaves more than the batch open, the batch is one.
fn decode_raw(engine: &Engine, path: ModelPath, body: &Bytes) -> Result<DecodedRequest, Refusal> {
    let (name, datatype, mut shape) = engine.single_input(&path.model, path.version.as_deref())?;
    let open = shape.iter().filter(|&&dimension| dimension == -1).count();
    if let (true, Some(batch @ -1)) = (open > 1, shape.first_mut()) {
        *batch = 1;
    }
    let input = decode_raw_request(&name, datatype, &shape, body)?;
    let request = InferRequest {
        model_name: path.model,
        model_version: path.version,
        inputs: vec![input],
        ..InferRequest::default()
    };
    Ok(DecodedRequest { request, binary_outputs: BinaryOutputs::all() })
}

pub(in crate::front) fn respond(encoded: EncodedBody, timing: &Phases) -> Response {
    let content_type = encoded.content_type();
    let mut response = Response::new(Body::from(encoded.body));
    let headers = response.headers_mut();
    phases::insert(headers, timing);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(length) = encoded.json_length {
        headers.insert(JSON_LENGTH, HeaderValue::from(length));
    }
    response
}
