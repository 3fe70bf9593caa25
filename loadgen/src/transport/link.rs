//! The connections of one slot: opened when they are needed, opened again when they broke, timed out as one.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::http1::{Http1, describe};
use super::http2::Http2;
use super::{Address, Answer, Attempt, Failure, Keep, Segments, Times, Via};
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

/// A slot's connections.
pub struct Links {
    http: Option<Address>,
    grpc: Option<Address>,
    http1: Option<Http1>,
    http2: Option<Http2>,
}

impl Links {
    /// No connection yet.
    pub fn new(http: Option<Address>, grpc: Option<Address>) -> Self {
        Self { http, grpc, http1: None, http2: None }
    }

    /// Minds the idle connections, so that one which the server closes is noticed before it is used. Never ends.
    pub async fn mind(&mut self) {
        tokio::select! {
            () = async { match &mut self.http1 { Some(link) => link.closed().await, None => std::future::pending().await } } => self.http1 = None,
            () = async { match &mut self.http2 { Some(link) => link.closed().await, None => std::future::pending().await } } => self.http2 = None,
        }
    }

    /// Sends a request and receives its answer, within `limit`.
    pub async fn exchange(
        &mut self,
        via: Via,
        request: Request<Segments>,
        clock: &RunClock,
        limit: Duration,
        keep: Keep,
        on_wire: impl FnOnce(u64),
    ) -> Attempt {
        let mut attempt =
            Attempt { times: Times::default(), new_connection: false, resent: 0, result: Err(Failure::Timeout) };
        let work = self.try_exchange(via, request, clock, keep, &mut attempt, on_wire);
        if let Ok(result) = tokio::time::timeout(limit, work).await {
            attempt.result = result;
        }
        attempt.times.done_ns = clock.now_ns();
        if attempt.result.is_err() {
            self.drop_link(via);
        }
        attempt
    }

    async fn try_exchange(
        &mut self,
        via: Via,
        mut request: Request<Segments>,
        clock: &RunClock,
        keep: Keep,
        attempt: &mut Attempt,
        on_wire: impl FnOnce(u64),
    ) -> Result<Answer, Failure> {
        let mut on_wire = Some(on_wire);
        loop {
            let opened = self.open_missing(via).await?;
            attempt.new_connection |= opened;
            if let Some(on_wire) = on_wire.take() {
                on_wire(clock.now_ns());
            }
            let outcome = self.send(via, request, clock, &mut attempt.times, keep).await;
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(Unsent::Failed(failure)) => return Err(failure),
                // A fresh connection that is closed at once is the server's answer, not a stale connection.
                Err(Unsent::Closed(_)) if opened => {
                    return Err(Failure::Transport(
                        "the server closed the new connection before the request".to_owned(),
                    ));
                }
                Err(Unsent::Closed(unsent)) => request = *unsent,
            }
            attempt.resent += 1;
            self.drop_link(via);
        }
    }

    /// Makes sure that there is a usable connection; says whether it had to be made.
    async fn open_missing(&mut self, via: Via) -> Result<bool, Failure> {
        let missing = || Failure::Connect("the target has no such side".to_owned());
        match via {
            Via::Http1 if self.http1.as_ref().is_some_and(Http1::is_usable) => Ok(false),
            Via::Grpc if self.http2.as_ref().is_some_and(Http2::is_usable) => Ok(false),
            Via::Http1 => {
                let to = self.http.as_ref().ok_or_else(missing)?.socket;
                self.http1 = Some(Http1::connect(to).await?);
                Ok(true)
            }
            Via::Grpc => {
                let to = self.grpc.as_ref().ok_or_else(missing)?.socket;
                self.http2 = Some(Http2::connect(to).await?);
                Ok(true)
            }
        }
    }

    async fn send(
        &mut self,
        via: Via,
        request: Request<Segments>,
        clock: &RunClock,
        times: &mut Times,
        keep: Keep,
    ) -> Result<Answer, Unsent> {
        match (via, &mut self.http1, &mut self.http2) {
            (Via::Http1, Some(link), _) => link.exchange(request, clock, times, keep).await,
            (Via::Grpc, _, Some(link)) => link.exchange(request, clock, times, keep).await,
            _ => Err(Unsent::Closed(Box::new(request))),
        }
    }

    fn drop_link(&mut self, via: Via) {
        match via {
            Via::Http1 => self.http1 = None,
            Via::Grpc => self.http2 = None,
        }
    }
}

/// Receives a body: keeps its beginning, counts all of it.
pub(super) async fn receive(response: Response<Incoming>, keep: Keep) -> Result<Answer, Failure> {
    let (head, mut incoming) = response.into_parts();
    let mut answer = Answer { status: head.status.as_u16(), headers: head.headers, ..Answer::default() };
    let mut kept = Kept::default();
    while let Some(frame) = incoming.frame().await {
        match frame.map_err(|e| Failure::Transport(describe(&e)))?.into_data() {
            Ok(data) => {
                answer.body_bytes += data.len() as u64;
                kept.push(&data, keep.0);
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
