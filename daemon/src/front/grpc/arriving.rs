//! The bytes of gRPC messages on their way in. gRPC announces no length of a body, but each message has its own in
//! front: there its share of the budget is taken, before the message is read.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::Extensions;
use tonic::Status;
use tonic::codegen::StdError;

use crate::bodies::{Bodies, Share};
use crate::engine::ServeError;
use crate::front::doors::Rules;
use crate::front::paced::{Broken, Paced};
use crate::front::refusal;

/// What deflate can make of a byte, and no more.
const LARGEST_RATIO: usize = 1032;
/// The call whose client sends messages as it likes.
const CONVERSATION: &str = "/ModelStreamInfer";
/// A flag and a length, four bytes, big-endian.
const PREFIX: usize = 5;

/// What is needed to let messages in.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) bodies: Arc<Bodies>,
    pub(super) max_body_bytes: usize,
    pub(super) rules: Arc<ArcSwap<Rules>>,
}

/// The shares of the messages that have begun to arrive, in order.
#[derive(Clone, Default)]
pub(super) struct Arriving(Arc<Mutex<VecDeque<Share>>>);

impl Arriving {
    /// The arriving messages of a call.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// The share of the next message, which has arrived.
    pub(super) fn next(&self) -> Option<Share> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn push(&self, share: Share) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(share);
    }
}

/// Puts the gate in front of a call.
pub(super) async fn count(State(gate): State<Gate>, mut request: Request) -> Request {
    let arriving = Arriving::default();
    request.extensions_mut().insert(arriving.clone());
    let converses = request.uri().path().ends_with(CONVERSATION);
    let pace = gate.rules.load().limits.body;
    request.map(|body| {
        let chunks = Paced::new(body.into_data_stream(), pace);
        Body::from_stream(Messages { chunks, prefixes: Prefixes::default(), gate, arriving, converses })
    })
}

/// The bytes of a call's messages, as they are let in.
struct Messages {
    chunks: Paced<BodyDataStream>,
    prefixes: Prefixes,
    gate: Gate,
    arriving: Arriving,
    /// Whether the client may take its time between two messages.
    converses: bool,
}

impl Stream for Messages {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.chunks.set_due(!this.converses || this.prefixes.is_within());
        let chunk = match this.chunks.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(chunk))) => chunk,
            Poll::Ready(Some(Err(broken))) => return Poll::Ready(Some(Err(said(broken)))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let let_in =
            this.prefixes.read(&chunk, |compressed, length| this.gate.let_in(compressed, length, &this.arriving));
        Poll::Ready(Some(let_in.map(|()| chunk).map_err(StdError::from)))
    }
}

fn said(broken: Broken<axum::Error>) -> StdError {
    match broken {
        Broken::TooSlow(pace) => Status::deadline_exceeded(pace.to_string()).into(),
        Broken::Inner(error) => error.into(),
    }
}

impl Gate {
    /// A message that is too long is refused by whoever reads it. One that is compressed is longer than it looks, by an
    /// amount that nobody knows before it is read: until then its share is the most that it can be.
    fn let_in(&self, compressed: bool, length: usize, arriving: &Arriving) -> Result<(), Status> {
        if length <= self.max_body_bytes {
            let factor = if compressed { LARGEST_RATIO } else { 1 };
            let share = self.bodies.take(length.saturating_mul(factor).min(self.max_body_bytes));
            arriving.push(share.map_err(|full| refusal::failed_status(&ServeError::from(full).into()))?);
        }
        Ok(())
    }
}

/// Finds the messages' lengths in a stream that comes in any pieces.
#[derive(Default)]
struct Prefixes {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that are there.
    filled: usize,
    /// Bytes that the message still lacks.
    message: usize,
}

impl Prefixes {
    /// Whether a message has begun and not ended.
    fn is_within(&self) -> bool {
        self.filled > 0 || self.message > 0
    }

    fn read<E>(&mut self, mut chunk: &[u8], mut begins: impl FnMut(bool, usize) -> Result<(), E>) -> Result<(), E> {
        while !chunk.is_empty() {
            let skipped = self.message.min(chunk.len());
            self.message -= skipped;
            chunk = &chunk[skipped..];
            let taken = (PREFIX - self.filled).min(chunk.len());
            self.prefix[self.filled..self.filled + taken].copy_from_slice(&chunk[..taken]);
            self.filled += taken;
            chunk = &chunk[taken..];
            if self.filled == PREFIX {
                let [compressed, length @ ..] = self.prefix;
                self.message = u32::from_be_bytes(length) as usize;
                self.filled = 0;
                begins(compressed != 0, self.message)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every message's length is found once and in order, however the stream is cut.
        #[test]
        fn lengths_are_found_in_any_pieces(lengths in proptest::collection::vec(0..40_usize, 0..20), piece in 1..60_usize) {
            let framed = |length: &usize| {
                [&[u8::from(length.is_multiple_of(3))][..], &u32::try_from(*length).unwrap().to_be_bytes(), &vec![7; *length]].concat()
            };
            let stream: Vec<u8> = lengths.iter().flat_map(framed).collect();
            let (mut prefixes, mut found) = (Prefixes::default(), Vec::new());
            for chunk in stream.chunks(piece) {
                prefixes.read(chunk, |compressed, length| { found.push((compressed, length)); Ok::<_, ()>(()) }).unwrap();
            }
            let expected: Vec<_> = lengths.into_iter().map(|length| (length.is_multiple_of(3), length)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
