//! Triton's generate extension: `POST …/generate` answers with one JSON object, `POST …/generate_stream` with an event
//! for each response. What fails before the first response is an error like any other; later, an event says so.

use std::convert::Infallible;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};
use proofload_wire::WireError;
use proofload_wire::infer::{InferRequest, InferResponse};
use proofload_wire::json_body::{decode_generate, encode_generated};
use proofload_wire::phases::Phases;
use proofload_wire::types::ErrorBody;

use super::ModelPath;
use crate::engine::{Failed, Inference, Part, Protocol, RequestContext, ServeError};
use crate::front::body::Taken;
use crate::front::path::Path;
use crate::front::refusal::Refusal;
use crate::front::{FrontState, context, forms, phases};

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

const NOT_ONE: &str = "generate expects model to produce exactly 1 response, use generate stream for model that \
                       generates various number of responses";

/// A request that is ready to be served.
struct Asked {
    request: InferRequest,
    context: RequestContext,
    decoupled: bool,
}

/// `POST …/generate`
pub(super) async fn generate(
    State(state): State<FrontState>,
    Path(path): Path<ModelPath>,
    headers: HeaderMap,
    body: Taken,
) -> Result<Response, Refusal> {
    let Asked { request, context, decoupled } = ask(&state, &path, &headers, body)?;
    if !decoupled {
        let inference = only_one(&state, request, context).await?;
        return Ok(whole(inference.response, &inference.phases));
    }
    let mut parts = state.engine.infer_parts(request, context).boxed();
    let mut only = None;
    while let Some(part) = parts.next().await {
        match part {
            Part::Response(response) if only.is_none() => only = Some(encode(&response)?),
            Part::Response(_) => break,
            Part::End(Err(failed)) => return Err(failed.into()),
            Part::End(Ok(phases)) => return only.map(|only| whole(only, &phases)).ok_or_else(not_one),
        }
    }
    Err(not_one())
}

fn not_one() -> Refusal {
    ServeError::Internal(NOT_ONE.to_owned()).into()
}

/// `POST …/generate_stream`
pub(super) async fn generate_stream(
    State(state): State<FrontState>,
    Path(path): Path<ModelPath>,
    headers: HeaderMap,
    body: Taken,
) -> Result<Response, Refusal> {
    let Asked { request, context, decoupled } = ask(&state, &path, &headers, body)?;
    if !decoupled {
        let inference = only_one(&state, request, context).await?;
        let mut response = events(stream::iter([event(&inference.response)]));
        phases::insert(response.headers_mut(), &inference.phases);
        return Ok(response);
    }
    let mut parts = state.engine.infer_parts(request, context).boxed();
    // The status is that of the first response, so it has to be waited for.
    match parts.next().await {
        Some(Part::End(Err(failed))) => Err(failed.into()),
        Some(first) => Ok(events(written(stream::iter([first]).chain(parts).boxed()))),
        None => Ok(events(stream::empty())),
    }
}

fn ask(
    state: &FrontState,
    path: &ModelPath,
    headers: &HeaderMap,
    Taken { bytes, mut share }: Taken,
) -> Result<Asked, Refusal> {
    let version = path.version.as_deref();
    let inputs = state.engine.model_metadata(&path.model, version)?.inputs;
    let decoupled = state.engine.is_decoupled(&path.model, version)?;
    let mut request = decode_generate(&path.model, version, &bytes, &inputs)?;
    drop(bytes);
    let mut context = context::of(headers, &request.parameters, Protocol::Http, Instant::now())?;
    context.held_bytes = request.inputs.iter().map(|input| input.data.len()).sum();
    share.resize(context.held_bytes).map_err(ServeError::from)?;
    context::pin(&mut request, share);
    Ok(Asked { request, context, decoupled })
}

/// The answer of a model that gives one response.
async fn only_one(
    state: &FrontState,
    request: InferRequest,
    context: RequestContext,
) -> Result<Inference<Bytes>, Failed> {
    match forms::cache(state, &request, &[]) {
        None => state.engine.infer(request, context, |response| encode(&response)).await,
        Some(cache) => state.engine.infer_cached(cache, request, context, &forms::Generated).await,
    }
}

fn encode(response: &InferResponse) -> Result<Bytes, ServeError> {
    encode_generated(response).map(Bytes::from).map_err(|error: WireError| ServeError::Internal(error.to_string()))
}

fn whole(json: Bytes, spent: &Phases) -> Response {
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    phases::insert(response.headers_mut(), spent);
    response
}

/// Events of the responses up to the first that fails; with it, the rest is given up.
fn written(parts: BoxStream<'static, Part>) -> impl Stream<Item = Bytes> + Send + 'static {
    stream::unfold(Some(parts), async |parts| {
        let mut parts = parts?;
        let written = match parts.next().await? {
            Part::Response(response) => encode(&response),
            Part::End(Ok(_)) => return None,
            Part::End(Err(failed)) => Err(failed.error),
        };
        Some(match written {
            Ok(json) => (event(&json), Some(parts)),
            Err(error) => (event(&error_json(&error)), None),
        })
    })
}

fn error_json(error: &ServeError) -> Vec<u8> {
    // A string is always valid JSON.
    serde_json::to_vec(&ErrorBody { error: error.to_string() }).unwrap_or_default()
}

fn event(json: &[u8]) -> Bytes {
    [b"data: ", json, b"\n\n"].concat().into()
}

fn events(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(events.map(Ok::<_, Infallible>)));
    response.headers_mut().insert(CONTENT_TYPE, EVENTS);
    response
}
