//! One question to a target and its answer: JSON over HTTP, or one gRPC call. Knows no model and no scenario.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use proofload_wire::grpc::frames::FrameReader;
use prost::Message;

use crate::transport::{Address, Answer, Segments};
use crate::watch::{FetchError, ask, get as get_request, page_of};

/// Patience for an answer; a server may be far away or busy loading.
const LIMIT: Duration = Duration::from_secs(5);
const GRPC_SERVICE: &str = "/inference.GRPCInferenceService";

/// Asks for a page by GET.
pub(super) async fn get(at: &Address, path: &str) -> Result<Bytes, FetchError> {
    page_of(ask(at, get_request(at, path).map_err(|e| impossible(&e))?, LIMIT).await?)
}

/// Asks for a page by POST, with a body of JSON.
pub(super) async fn post(at: &Address, path: &str, body: &'static str) -> Result<Bytes, FetchError> {
    let mut request = get_request(at, path).map_err(|e| impossible(&e))?;
    *request.method_mut() = Method::POST;
    *request.body_mut() = Segments::whole(Bytes::from_static(body.as_bytes()));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    page_of(ask(at, request, LIMIT).await?)
}

/// Calls a method of KServe's gRPC service.
pub(super) async fn grpc<A: Message + Default>(
    at: &Address,
    method: &str,
    question: impl Message,
) -> Result<A, FetchError> {
    let mut request = Request::post(format!("{}{GRPC_SERVICE}/{method}", at.origin()))
        .header(CONTENT_TYPE, "application/grpc")
        .header("te", "trailers")
        .body(Segments::whole(framed(&question)))
        .map_err(|e| impossible(&e))?;
    request.headers_mut().extend(at.headers.as_ref().clone());
    message(&ask(at, request, LIMIT).await?)
}

fn impossible(error: &http::Error) -> FetchError {
    FetchError::Transport(error.to_string())
}

/// One gRPC message: not compressed, its length, its bytes.
fn framed(message: &impl Message) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    framed.put_slice(&message.encode_to_vec());
    framed.freeze()
}

/// The one message of a successful answer.
fn message<A: Message + Default>(answer: &Answer) -> Result<A, FetchError> {
    let header = |name| answer.trailers.get(name).or_else(|| answer.headers.get(name));
    let code = header("grpc-status");
    match code {
        Some("0") => {}
        Some(code) => {
            let said = header("grpc-message").unwrap_or_default();
            return Err(FetchError::Form(format!("gRPC status {code} {said}").trim_end().to_owned()));
        }
        None => return Err(FetchError::Form(format!("HTTP status {} without a gRPC status", answer.status))),
    }
    let mut messages = Vec::new();
    let wrong = |why: &dyn std::fmt::Display| FetchError::Form(why.to_string());
    FrameReader::default().push(&answer.body, |bytes| messages.push(A::decode(bytes))).map_err(|e| wrong(&e))?;
    match messages.pop() {
        Some(message) => message.map_err(|e| wrong(&e)),
        None => Err(wrong(&"an answer without a message")),
    }
}
