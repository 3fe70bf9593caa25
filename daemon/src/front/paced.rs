//! A stream of bytes that has to keep a pace while it is waited for. It reads no clock as long as everything is there
//! already, which is how small requests come.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::time::Sleep;

use super::doors::limits::Pace;

/// The stream.
pub(super) struct Paced<S> {
    inner: S,
    pace: Pace,
    /// Whether somebody owes us bytes: not between two messages of a conversation.
    due: bool,
    wait: Option<Wait>,
}

struct Wait {
    began: Instant,
    bytes: u64,
    last: Instant,
    timer: Pin<Box<Sleep>>,
}

/// Why there is no next part.
#[derive(Debug)]
pub(super) enum Broken<E> {
    /// It came too slowly.
    TooSlow(Pace),
    /// The stream's own error.
    Inner(E),
}

impl<S> Paced<S> {
    /// A stream of which the next bytes are due.
    pub(super) fn new(inner: S, pace: Pace) -> Self {
        Self { inner, pace, due: true, wait: None }
    }

    /// Says whether the next bytes are due.
    pub(super) fn set_due(&mut self, due: bool) {
        if !due {
            self.wait = None;
        }
        self.due = due;
    }

    /// Time begins to run, or is over.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let pace = self.pace;
        let wait = self.wait.get_or_insert_with(|| {
            let now = Instant::now();
            Wait { began: now, bytes: 0, last: now, timer: Box::pin(tokio::time::sleep(pace.timeout)) }
        });
        let deadline = pace.deadline(wait.began, wait.bytes, wait.last);
        if wait.timer.deadline() != deadline.into() {
            wait.timer.as_mut().reset(deadline.into());
        }
        wait.timer.as_mut().poll(context)
    }
}

impl<E, S: Stream<Item = Result<Bytes, E>> + Unpin> Stream for Paced<S> {
    type Item = Result<Bytes, Broken<E>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.inner.poll_next_unpin(context) {
            Poll::Ready(part) => {
                if let (Some(Ok(bytes)), Some(wait)) = (&part, &mut self.wait) {
                    wait.bytes += bytes.len() as u64;
                    wait.last = Instant::now();
                }
                Poll::Ready(part.map(|part| part.map_err(Broken::Inner)))
            }
            Poll::Pending if self.due && self.poll_patience(context).is_ready() => {
                Poll::Ready(Some(Err(Broken::TooSlow(self.pace))))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::stream;

    use super::*;

    const PACE: Pace = Pace { timeout: Duration::from_millis(50), bytes_per_second: 100 };

    /// Whether parts that are all there, and then nothing for ever, end within a time that is long beside the pace.
    async fn check(parts: &'static [&'static [u8]], due: bool, expected: (usize, bool)) {
        let parts = stream::iter(parts).map(|part| Ok::<_, ()>(Bytes::from_static(part)));
        let mut paced = Paced::new(parts.chain(stream::pending()), PACE);
        paced.set_due(due);
        let mut bytes = 0;
        let read = async {
            while let Some(Ok(part)) = paced.next().await {
                bytes += part.len();
            }
        };
        let ended = tokio::time::timeout(Duration::from_millis(400), read).await.is_ok();
        assert_eq!((bytes, ended), expected, "{due}");
    }

    #[tokio::test]
    async fn bytes_that_are_due_and_do_not_come_end_it() {
        check(&[], true, (0, true)).await;
        check(&[b"abc", b"de"], true, (5, true)).await;
        check(&[b"abc"], false, (3, false)).await;
    }
}
