//! The bytes of gRPC messages on their way in. gRPC announces no length of a body, but each message has its own in
//! front: there its share of the budget is taken, before the message is read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use bytes::Bytes;
use futures::StreamExt;
use http::Extensions;
use tonic::Status;
use tonic::codegen::StdError;

use crate::bodies::{Bodies, Share};
use crate::engine::ServeError;
use crate::front::refusal;

/// A flag and a length, four bytes, big-endian.
const PREFIX: usize = 5;

/// What is needed to let messages in.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) bodies: Arc<Bodies>,
    pub(super) max_body_bytes: usize,
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
    request.map(|body| {
        let mut prefixes = Prefixes::default();
        let let_in = move |chunk: Result<Bytes, axum::Error>| {
            let chunk = chunk?;
            prefixes.read(&chunk, |length| gate.let_in(length, &arriving))?;
            Ok::<_, StdError>(chunk)
        };
        Body::from_stream(body.into_data_stream().map(let_in))
    })
}

impl Gate {
    /// A message that is too long is refused by whoever reads it.
    fn let_in(&self, length: usize, arriving: &Arriving) -> Result<(), Status> {
        if length <= self.max_body_bytes {
            let share = self.bodies.take(length);
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
    fn read<E>(&mut self, mut chunk: &[u8], mut begins: impl FnMut(usize) -> Result<(), E>) -> Result<(), E> {
        while !chunk.is_empty() {
            let skipped = self.message.min(chunk.len());
            self.message -= skipped;
            chunk = &chunk[skipped..];
            let taken = (PREFIX - self.filled).min(chunk.len());
            self.prefix[self.filled..self.filled + taken].copy_from_slice(&chunk[..taken]);
            self.filled += taken;
            chunk = &chunk[taken..];
            if self.filled == PREFIX {
                let [_, length @ ..] = self.prefix;
                self.message = u32::from_be_bytes(length) as usize;
                self.filled = 0;
                begins(self.message)?;
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
                [&[0][..], &u32::try_from(*length).unwrap().to_be_bytes(), &vec![7; *length]].concat()
            };
            let stream: Vec<u8> = lengths.iter().flat_map(framed).collect();
            let (mut prefixes, mut found) = (Prefixes::default(), Vec::new());
            for chunk in stream.chunks(piece) {
                prefixes.read(chunk, |length| { found.push(length); Ok::<_, ()>(()) }).unwrap();
            }
            prop_assert_eq!(found, lengths);
        }
    }
}
