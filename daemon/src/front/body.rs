//! Reading a request's body over HTTP, within the daemon's budget. A body that is not wanted is read to its end all the
//! same, as far as is reasonable and without keeping it, so that the client reads our answer instead of a broken
//! connection.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::EXPECT;
use http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};

use super::FrontState;
use super::coding;
use super::doors::limits::Pace;
use super::paced::{Broken, Paced};
use super::refusal::Refusal;
use crate::bodies::{Bodies, NoRoom, Share};
use crate::engine::ServeError;

/// An unwanted body is read for so long, and up to so many times the largest one that is taken.
const DISCARD: Duration = Duration::from_secs(30);
const DISCARD_FACTOR: usize = 4;

/// When a retry is worth while that found no room. Bodies are held for about as long as requests take; it is the
/// shortest time that the header can say.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A whole body, and its share of the budget.
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    pub(super) share: Share,
}

/// Why a body was not taken.
#[derive(Debug)]
pub(super) enum NotTaken {
    TooLarge { max_bytes: usize },
    NoRoom(NoRoom),
    TooSlow(Duration),
    TooSlowly(Pace),
    Broken(String),
}

/// What bodies are let in by.
#[derive(Clone, Copy)]
pub(super) struct Intake<'a> {
    pub(super) bodies: &'a Arc<Bodies>,
    /// One that comes more slowly is given up: it would keep its share of the budget from others.
    pub(super) pace: Pace,
}

type Chunks = Paced<BodyDataStream>;

/// Takes a body of at most `max_bytes`.
pub(super) async fn take(
    headers: &HeaderMap,
    body: Body,
    max_bytes: usize,
    intake: Intake<'_>,
) -> Result<Taken, NotTaken> {
    take_hashing(headers, body, max_bytes, intake, None).await
}

/// The same, and hashes it while it arrives, where there is a hash: that costs nobody a wait.
pub(super) async fn take_hashing(
    headers: &HeaderMap,
    body: Body,
    max_bytes: usize,
    intake: Intake<'_>,
    hash: Option<&mut Sha256>,
) -> Result<Taken, NotTaken> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut chunks = Paced::new(body.into_data_stream(), intake.pace);
    let taken = collect(&mut chunks, announced, max_bytes, intake.bodies, hash).await;
    if let Err(NotTaken::TooLarge { .. } | NotTaken::NoRoom(_)) = &taken {
        // A client that asks first has not sent it, and now need not.
        if !headers.contains_key(EXPECT) {
            discard(chunks, max_bytes).await;
        }
    }
    taken
}

/// Takes a body as it was before it was compressed, if it was.
pub(super) async fn take_plain(state: &FrontState, headers: &HeaderMap, body: Body) -> Result<Taken, Refusal> {
    let max_bytes = state.limits.max_body_bytes;
    let taken = take(headers, body, max_bytes, state.intake()).await?;
    coding::plain(headers, taken, max_bytes, &state.bodies).await
}

async fn collect(
    chunks: &mut Chunks,
    announced: usize,
    max_bytes: usize,
    bodies: &Arc<Bodies>,
    mut hash: Option<&mut Sha256>,
) -> Result<Taken, NotTaken> {
    if announced > max_bytes {
        return Err(NotTaken::TooLarge { max_bytes });
    }
    let mut share = bodies.take(announced)?;
    let mut kept = Vec::with_capacity(announced);
    while let Some(chunk) = next(chunks).await? {
        let needed = kept.len() + chunk.len();
        if needed > max_bytes {
            return Err(NotTaken::TooLarge { max_bytes });
        }
        if needed > share.bytes() {
            let room = needed.max(2 * share.bytes()).min(max_bytes);
            share.resize(room)?;
            kept.reserve_exact(room - kept.len());
        }
        if let Some(hash) = &mut hash {
            hash.update(&chunk);
        }
        kept.extend_from_slice(&chunk);
    }
    Ok(Taken { bytes: kept.into(), share })
}

async fn next(chunks: &mut Chunks) -> Result<Option<Bytes>, NotTaken> {
    chunks.next().await.transpose().map_err(|broken| match broken {
        Broken::TooSlow(pace) => NotTaken::TooSlowly(pace),
        Broken::Inner(error) => NotTaken::Broken(error.to_string()),
    })
}

/// Reads a body and keeps nothing of it.
pub(super) async fn discard<E>(mut chunks: impl Stream<Item = Result<Bytes, E>> + Unpin, max_bytes: usize) {
    let mut left = max_bytes.saturating_mul(DISCARD_FACTOR);
    let read = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    // Whatever goes wrong here, the answer has been decided already.
    let _ = tokio::time::timeout(DISCARD, read).await;
}

impl FromRequest<FrontState> for Taken {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &FrontState) -> Result<Self, Refusal> {
        let (head, body) = request.into_parts();
        take_plain(state, &head.headers, body).await
    }
}

impl From<NoRoom> for NotTaken {
    fn from(full: NoRoom) -> Self {
        Self::NoRoom(full)
    }
}

impl From<NoRoom> for ServeError {
    fn from(full: NoRoom) -> Self {
        Self::Unavailable { message: full.to_string(), retry_after: Some(RETRY_AFTER) }
    }
}

impl From<NotTaken> for Refusal {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::TooLarge { max_bytes } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("cannot read the body: it is longer than the {max_bytes} bytes of `server.max_body_bytes`"),
            ),
            NotTaken::NoRoom(full) => ServeError::from(full).into(),
            NotTaken::TooSlow(patience) => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not arrive within {} s", patience.as_secs()),
            ),
            NotTaken::TooSlowly(pace) => Self::new(StatusCode::REQUEST_TIMEOUT, pace.to_string()),
            NotTaken::Broken(error) => {
                Self::new(StatusCode::BAD_REQUEST, format!("cannot read the body: it broke off: {error}"))
            }
        }
    }
}
