//! The connections of one slot: opened when they are needed, opened again when they broke, timed out as one.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::http1::describe;
use super::shared::Shared;
use super::side::Side;
use super::{Address, Answer, Attempt, ConnectionPolicy, Failure, HttpVersion, Reception, Segments, Times, Via};
use crate::clock::RunClock;

/// Why an exchange on a connection gave no answer.
pub(super) enum Unsent {
    /// The server had closed the connection before a byte of the request went out: here it is again.
    Closed(Box<Request<Segments>>),
    /// Anything else.
    Failed(Failure),
}

impl From<Failure> for Unsent {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Connections that several slots share, one to each side of the target.
#[derive(Debug, Clone, Default)]
pub struct SharedLinks {
    http: Arc<Shared>,
    grpc: Arc<Shared>,
}

/// A slot's connections.
pub struct Links {
    http: Side,
    grpc: Side,
}

impl Links {
    /// No connection yet.
    pub fn new(http: Option<Address>, grpc: Option<Address>, policy: ConnectionPolicy) -> Self {
        Self { http: Side::new(http, policy, None), grpc: Side::new(grpc, policy, None) }
    }

    /// No connection yet; what speaks HTTP/2 will share one with all others of the same `pair`.
    pub fn sharing(http: Option<Address>, grpc: Option<Address>, policy: ConnectionPolicy, pair: &SharedLinks) -> Self {
        let multiplexes = http.as_ref().is_some_and(|http| http.version == HttpVersion::Http2);
        let shared = multiplexes.then(|| Arc::clone(&pair.http));
        Self { http: Side::new(http, policy, shared), grpc: Side::new(grpc, policy, Some(Arc::clone(&pair.grpc))) }
    }

    /// Minds the idle connections, so that one which the server closes is noticed before it is used. Ends when one was.
    pub async fn mind(&mut self) {
        tokio::select! {
            () = self.http.closed() => {}
            () = self.grpc.closed() => {}
        }
    }

    /// Sends a request and receives its answer, within `limit`.
    pub async fn exchange(
        &mut self,
        via: Via,
        request: Request<Segments>,
        clock: &RunClock,
        limit: Duration,
        mut reception: Reception,
        on_wire: impl FnOnce(u64),
    ) -> Attempt {
        let side = match via {
            Via::Http => &mut self.http,
            Via::Grpc => &mut self.grpc,
        };
        let mut attempt = Attempt {
            times: Times::default(),
            new_connection: false,
            resent: 0,
            result: Err(Failure::Timeout),
            seen: None,
        };
        let work = try_exchange(side, request, clock, &mut reception, &mut attempt, on_wire);
        attempt.result = match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(side.given_up()),
        };
        attempt.times.done_ns = clock.now_ns();
        attempt.seen = reception.watch.map(|watch| Box::new(watch.finish()));
        if attempt.result.is_err() {
            side.close();
        }
        attempt
    }
}

async fn try_exchange(
    side: &mut Side,
    mut request: Request<Segments>,
    clock: &RunClock,
    reception: &mut Reception,
    attempt: &mut Attempt,
    on_wire: impl FnOnce(u64),
) -> Result<Answer, Failure> {
    let mut on_wire = Some(on_wire);
    loop {
        let opened = side.ready(clock).await?;
        attempt.new_connection |= opened;
        if let Some(on_wire) = on_wire.take() {
            on_wire(clock.now_ns());
        }
        match side.send(request, clock, &mut attempt.times, reception).await {
            Ok(answer) => return Ok(answer),
            Err(Unsent::Failed(Failure::Transport(said))) if opened && attempt.times.first_byte_ns == 0 => {
                return Err(side.broken(said));
            }
            Err(Unsent::Failed(failure)) => return Err(failure),
            // A fresh connection that is closed at once is the server's answer, not a stale connection.
            Err(Unsent::Closed(_)) if opened => return Err(side.refused()),
            Err(Unsent::Closed(unsent)) => request = *unsent,
        }
        attempt.resent += 1;
        side.close();
    }
}

/// Receives a body: keeps its beginning, counts all of it, and has the pieces of a streamed one watched.
pub(super) async fn receive(
    response: Response<Incoming>,
    clock: &RunClock,
    reception: &mut Reception,
) -> Result<Answer, Failure> {
    let (head, mut incoming) = response.into_parts();
    let mut answer = Answer { status: head.status.as_u16(), headers: head.headers, ..Answer::default() };
    let mut kept = Kept::default();
    // An error is no stream, whatever was asked for.
    let mut watch = reception.watch.as_mut().filter(|_| head.status.is_success());
    while let Some(frame) = incoming.frame().await {
        match frame.map_err(|e| Failure::Transport(describe(&e)))?.into_data() {
            Ok(data) => {
                answer.body_bytes += data.len() as u64;
                if let Some(watch) = &mut watch {
                    watch.take(&data, clock.now_ns());
                }
                kept.push(&data, reception.keep.0);
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    answer.trailers = trailers;
                }
            }
        }
    }
    answer.body = kept.finish();
    Ok(answer)
}

/// The kept part of a body. A body of one piece is not copied.
#[derive(Default)]
struct Kept {
    first: Bytes,
    all: BytesMut,
}

impl Kept {
    fn push(&mut self, data: &Bytes, limit: usize) {
        let so_far = self.first.len().max(self.all.len());
        let data = data.slice(..data.len().min(limit.saturating_sub(so_far)));
        if so_far == 0 {
            self.first = data;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&data);
    }

    fn finish(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_kept_up_to_its_limit() {
        let check = |pieces: &[&'static str], limit: usize, expected: &str| {
            let mut kept = Kept::default();
            for piece in pieces {
                kept.push(&Bytes::from_static(piece.as_bytes()), limit);
            }
            assert_eq!(kept.finish(), expected.as_bytes());
        };
        check(&[], 9, "");
        check(&["abc"], 9, "abc");
        check(&["abc"], 2, "ab");
        check(&["abc", "def", "ghi"], 9, "abcdefghi");
        check(&["abc", "def", "ghi"], 4, "abcd");
        check(&["abc", "def"], 3, "abc");
        check(&["abc", "def"], 0, "");
    }
}
