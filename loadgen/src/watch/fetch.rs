//! One GET on a connection of its own, within a time and a size. For scrapes and metadata, never for load.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{HeaderValue, Request, Uri};

use crate::clock::RunClock;
use crate::transport::{
    Address, Answer, ConnectionPolicy, Failure, HttpVersion, Keep, Links, Outgoing, Reception, Segments, Via,
};

/// Patience for an answer. A scrape that takes longer than this would delay the next.
const TIMEOUT: Duration = Duration::from_millis(900);
/// Largest answer: Prometheus pages of large servers have a few megabytes.
const MOST_BYTES: usize = 16 << 20;

/// Why a page could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The connection or the protocol.
    #[error("{0}")]
    Transport(String),
    /// Another status than 200.
    #[error("HTTP status {0}")]
    Status(u16),
    /// An answer, and not what was asked for.
    #[error("not what was asked for: {0}")]
    Form(String),
    /// Too slow.
    #[error("no whole answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// Fetches `path` from a target, over what its requests go over: TLS, HTTP/2 or a Unix socket where it is so.
///
/// # Errors
/// When there is no whole answer with status 200 in time.
pub async fn fetch(from: &Address, path: &str) -> Result<Bytes, FetchError> {
    let request = request(from, path).map_err(|e| FetchError::Transport(e.to_string()))?;
    page(ask(from, request, TIMEOUT).await?)
}

/// Sends one request on a connection of its own and gives what came, whatever its status.
///
/// # Errors
/// When there is no whole answer within the limit.
pub(crate) async fn ask(to: &Address, request: Request<Segments>, limit: Duration) -> Result<Answer, FetchError> {
    let mut links = Links::new(Some(to.clone()), None, ConnectionPolicy::default());
    let clock = RunClock::default();
    let reception = Reception::new(Keep(MOST_BYTES), None);
    let attempt = links.exchange(Via::Http, &Outgoing::of(&request), &clock, limit, reception, |_| {}).await;
    attempt.result.map_err(|failure| match failure {
        Failure::Timeout => FetchError::Timeout(limit),
        other => FetchError::Transport(other.to_string()),
    })
}

/// The body of an answer with status 200.
pub(crate) fn page(answer: Answer) -> Result<Bytes, FetchError> {
    match answer.status {
        200 if answer.body_bytes > MOST_BYTES as u64 => {
            Err(FetchError::Transport(format!("{} bytes, more than the {MOST_BYTES} kept", answer.body_bytes)))
        }
        200 => Ok(answer.body),
        other => Err(FetchError::Status(other)),
    }
}

/// A GET of a path.
pub(crate) fn request(from: &Address, path: &str) -> Result<Request<Segments>, http::Error> {
    let uri: Uri = from.request_target(path).parse()?;
    let mut request = Request::get(uri)
        .header(ACCEPT, HeaderValue::from_static("text/plain, application/json"))
        .body(Segments::default())?;
    request.headers_mut().extend(from.headers.as_ref().clone());
    if from.version == HttpVersion::Http1 {
        request.headers_mut().insert(HOST, HeaderValue::from_str(from.authority.as_str())?);
    }
    Ok(request)
}
