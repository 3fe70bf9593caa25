//! The one place where errors become HTTP statuses and gRPC codes.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use proofload_wire::WireError;
use proofload_wire::phases::Phases;
use proofload_wire::types::ErrorBody;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::body::RETRY_AFTER as RETRY_AFTER_NO_ROOM;
use super::phases;
use crate::engine::{Failed, ServeError};

/// gRPC metadata: after how many milliseconds a retry is welcome, as gRPC's own retry design calls it.
const RETRY_PUSHBACK_MS: &str = "grpc-retry-pushback-ms";

/// An answer over HTTP that is an error: a status and `{"error": …}`.
#[derive(Debug)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// What was wrong and what would be right.
    pub message: String,
    /// When another try is welcome, if that is known.
    pub retry_after: Option<Duration>,
    /// What the request spent until then.
    pub phases: Phases,
}

impl Refusal {
    /// A refusal at the door that no retry will change.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None, phases: Phases::default() }
    }
}

impl From<ServeError> for Refusal {
    fn from(error: ServeError) -> Self {
        let (status, retry_after) = match &error {
            ServeError::NotFound(_) => (StatusCode::NOT_FOUND, None),
            // Triton's answer over HTTP, where it has no status of its own.
            ServeError::InvalidArgument(_) | ServeError::AlreadyExists(_) => (StatusCode::BAD_REQUEST, None),
            ServeError::Unavailable { retry_after, .. } => (StatusCode::SERVICE_UNAVAILABLE, *retry_after),
            ServeError::Overdue { retry_after, .. } => (StatusCode::SERVICE_UNAVAILABLE, Some(*retry_after)),
            ServeError::TooManyRequests { retry_after, .. } => (StatusCode::TOO_MANY_REQUESTS, Some(*retry_after)),
            ServeError::DeadlineExceeded(_) => (StatusCode::GATEWAY_TIMEOUT, None),
            ServeError::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, None),
            ServeError::Unsupported(_) => (StatusCode::NOT_IMPLEMENTED, None),
            ServeError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, None),
        };
        Self { retry_after, ..Self::new(status, error.to_string()) }
    }
}

impl<E: Into<Self>> From<Failed<E>> for Refusal {
    fn from(failed: Failed<E>) -> Self {
        Self { phases: failed.phases, ..failed.error.into() }
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        serve_error(error).into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&ErrorBody { error: self.message }).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        phases::insert(headers, &self.phases);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(retry_after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)));
        }
        response
    }
}

/// What the client sent does not fit the protocol.
pub(super) fn serve_error(error: WireError) -> ServeError {
    match error {
        WireError::Unsupported(message) => ServeError::Unsupported(message),
        WireError::NoRegion(message) => ServeError::NotFound(message),
        WireError::NoRoom(message) => ServeError::Unavailable { message, retry_after: Some(RETRY_AFTER_NO_ROOM) },
        other => ServeError::InvalidArgument(other.to_string()),
    }
}

/// The gRPC form of an error.
pub(super) fn status(error: &ServeError) -> Status {
    let (code, retry_after) = match error {
        ServeError::NotFound(_) => (Code::NotFound, None),
        ServeError::InvalidArgument(_) => (Code::InvalidArgument, None),
        ServeError::AlreadyExists(_) => (Code::AlreadyExists, None),
        ServeError::Unavailable { retry_after, .. } => (Code::Unavailable, *retry_after),
        ServeError::Overdue { retry_after, .. } => (Code::Unavailable, Some(*retry_after)),
        ServeError::TooManyRequests { retry_after, .. } => (Code::ResourceExhausted, Some(*retry_after)),
        ServeError::DeadlineExceeded(_) => (Code::DeadlineExceeded, None),
        ServeError::Unauthenticated(_) => (Code::Unauthenticated, None),
        ServeError::Unsupported(_) => (Code::Unimplemented, None),
        ServeError::Internal(_) => (Code::Internal, None),
    };
    let metadata = retry_after.map(retry_headers).unwrap_or_default();
    Status::with_metadata(code, error.to_string(), MetadataMap::from_headers(metadata))
}

/// The gRPC form of a failed inference: the error, and where the time went.
pub(super) fn failed_status(failed: &Failed) -> Status {
    let status = status(&failed.error);
    let mut headers = status.metadata().clone().into_headers();
    phases::insert(&mut headers, &failed.phases);
    Status::with_metadata(status.code(), status.message(), MetadataMap::from_headers(headers))
}

fn retry_headers(retry_after: Duration) -> HeaderMap {
    let seconds = whole_seconds(retry_after);
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    // Both say the same, or a client that reads one would come before one that reads the other.
    headers.insert(RETRY_PUSHBACK_MS, HeaderValue::from(seconds.saturating_mul(1000)));
    headers
}

/// Rounded up, and never 0: "at once" would be an invitation to hammer.
fn whole_seconds(duration: Duration) -> u64 {
    let partial = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(partial).max(1)
}

#[cfg(test)]
mod tests {
    use proofload_wire::phases::Cache;

    use super::*;

    fn every_kind() -> Vec<(ServeError, u16, Code, Option<u64>)> {
        let message = || "m".to_owned();
        let retry = Duration::from_millis(2500);
        vec![
            (ServeError::NotFound(message()), 404, Code::NotFound, None),
            (ServeError::InvalidArgument(message()), 400, Code::InvalidArgument, None),
            (ServeError::AlreadyExists(message()), 400, Code::AlreadyExists, None),
            (ServeError::Unavailable { message: message(), retry_after: Some(retry) }, 503, Code::Unavailable, Some(3)),
            (ServeError::Unavailable { message: message(), retry_after: None }, 503, Code::Unavailable, None),
            (
                ServeError::TooManyRequests { message: message(), retry_after: Duration::ZERO },
                429,
                Code::ResourceExhausted,
                Some(1),
            ),
            (ServeError::Overdue { message: message(), retry_after: retry }, 503, Code::Unavailable, Some(3)),
            (ServeError::DeadlineExceeded(message()), 504, Code::DeadlineExceeded, None),
            (ServeError::Unauthenticated(message()), 401, Code::Unauthenticated, None),
            (ServeError::Unsupported(message()), 501, Code::Unimplemented, None),
            (ServeError::Internal(message()), 500, Code::Internal, None),
        ]
    }

    #[test]
    fn both_protocols_say_where_the_time_of_a_failure_went() {
        let stated =
            Phases { queue_ns: 5, copy_in_ns: 1, compute_ns: 7, copy_out_ns: 2, batch_size: 3, cache: Cache::Miss };
        for (error, ..) in every_kind() {
            let failed = Failed { error, phases: stated };
            let read = |headers: &HeaderMap| Phases::from_lookup(|name| headers.get(name)?.to_str().ok());
            let status = failed_status(&failed);
            assert_eq!(read(&status.metadata().clone().into_headers()), Some(stated), "{status:?}");
            assert_eq!(read(Refusal::from(failed).into_response().headers()), Some(stated));
        }
        let at_the_door = Refusal::new(StatusCode::NOT_FOUND, "m").into_response();
        assert_eq!(at_the_door.headers()["x-proofload-queue-ns"], "0", "it is there and says zero");
    }

    #[test]
    fn both_protocols_say_the_same() {
        for (error, http, grpc, retry_after) in every_kind() {
            let status = status(&error);
            assert_eq!((status.code(), status.message()), (grpc, "m"), "{error:?}");
            let seconds = retry_after.map(|seconds| seconds.to_string());
            let of_grpc = status.metadata().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(of_grpc, seconds, "{error:?}");
            let pushback = status.metadata().get(RETRY_PUSHBACK_MS).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(pushback, retry_after.map(|seconds| (seconds * 1000).to_string()), "{error:?}");
            let response = Refusal::from(error).into_response();
            assert_eq!(response.status(), http);
            let of_http = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(of_http, seconds);
        }
    }
}
