//! What becomes of an answer while it comes: its times are noted, its beginning is kept, all of it is counted, and the
//! pieces of a streamed one are watched.

use bytes::{Bytes, BytesMut};

use super::{Answer, Fields, Reception, Times};
use crate::clock::RunClock;

/// See the module.
pub(super) struct Intake<'a> {
    clock: &'a RunClock,
    times: &'a mut Times,
    reception: &'a mut Reception,
    answer: Answer,
    kept: Kept,
}

impl<'a> Intake<'a> {
    pub(super) fn new(clock: &'a RunClock, times: &'a mut Times, reception: &'a mut Reception) -> Self {
        Self { clock, times, reception, answer: Answer::default(), kept: Kept::default() }
    }

    /// The connection is about to be given the request.
    pub(super) fn sending(&mut self) {
        self.times.sent_ns = self.clock.now_ns();
    }

    /// The head is there. `length` is the body's, where it is known.
    pub(super) fn head(&mut self, status: u16, headers: Fields, length: Option<u64>) {
        self.times.first_byte_ns = self.clock.now_ns();
        self.answer.status = status;
        self.answer.headers = headers;
        if let Some(length) = length {
            self.kept.expect(usize::try_from(length).unwrap_or(usize::MAX).min(self.reception.keep.0));
        }
    }

    /// The next bytes of the body are there.
    pub(super) fn data(&mut self, data: &[u8]) {
        self.see(data);
        self.kept.push(data, self.reception.keep.0);
    }

    /// The same, of bytes that can be kept without copying.
    pub(super) fn piece(&mut self, data: &Bytes) {
        self.see(data);
        self.kept.push_piece(data, self.reception.keep.0);
    }

    /// The trailers are there.
    pub(super) fn trailers(&mut self, trailers: Fields) {
        self.answer.trailers = trailers;
    }

    /// Whether anything of an answer has come.
    pub(super) fn has_begun(&self) -> bool {
        self.times.first_byte_ns != 0
    }

    /// The whole answer.
    pub(super) fn finish(self) -> Answer {
        Answer { body: self.kept.finish(), ..self.answer }
    }

    fn see(&mut self, data: &[u8]) {
        self.answer.body_bytes += data.len() as u64;
        // An error is no stream, whatever was asked for.
        if (200..300).contains(&self.answer.status)
            && let Some(watch) = &mut self.reception.watch
        {
            watch.take(data, self.clock.now_ns());
        }
    }
}

/// The kept part of a body. A body of one piece is not copied.
#[derive(Default)]
struct Kept {
    first: Bytes,
    all: BytesMut,
}

impl Kept {
    /// So many bytes will be kept.
    fn expect(&mut self, bytes: usize) {
        // What a head promises is not believed beyond what a short answer needs.
        const MOST: usize = 1 << 20;
        if bytes > 0 {
            self.all = BytesMut::with_capacity(bytes.min(MOST));
        }
    }

    fn push(&mut self, data: &[u8], limit: usize) {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            self.all.extend_from_slice(&first);
        }
        self.all.extend_from_slice(&data[..data.len().min(limit.saturating_sub(self.all.len()))]);
    }

    fn push_piece(&mut self, data: &Bytes, limit: usize) {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = data.slice(..data.len().min(limit));
        } else {
            self.push(data, limit);
        }
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
            let (mut kept, mut copied) = (Kept::default(), Kept::default());
            copied.expect(limit);
            for piece in pieces {
                kept.push_piece(&Bytes::from_static(piece.as_bytes()), limit);
                copied.push(piece.as_bytes(), limit);
            }
            assert_eq!(kept.finish(), expected.as_bytes());
            assert_eq!(copied.finish(), expected.as_bytes());
        };
        check(&[], 9, "");
        check(&["abc"], 9, "abc");
        check(&["abc"], 2, "ab");
        check(&["abc", "def", "ghi"], 9, "abcdefghi");
        check(&["abc", "def", "ghi"], 4, "abcd");
        check(&["abc", "def"], 3, "abc");
        check(&["abc", "def"], 0, "");
        check(&["", "abc", "", "def"], 5, "abcde");
    }
}
