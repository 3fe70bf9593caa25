//! A request body of a few pieces: what makes a payload unique is spliced in without copying the rest.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Up to three pieces, sent in order.
#[derive(Debug, Clone, Default)]
pub struct Segments {
    pieces: [Bytes; 3],
}

impl Segments {
    /// One piece.
    pub fn whole(body: Bytes) -> Self {
        Self { pieces: [body, Bytes::new(), Bytes::new()] }
    }

    /// Three pieces; any may be empty.
    pub fn spliced(before: Bytes, middle: Bytes, after: Bytes) -> Self {
        Self { pieces: [before, middle, after] }
    }

    /// Bytes in all.
    pub fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    /// The pieces, in order; any may be empty.
    pub(super) fn pieces(&self) -> &[Bytes; 3] {
        &self.pieces
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All pieces in one, copied.
    pub fn concat(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

impl Body for Segments {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.iter_mut().find(|piece| !piece.is_empty()).map(std::mem::take);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}
