//! What happens on a connection, counted where it happens: bytes at the socket, requests and answers at the service.
//! Counting only, without a clock, because it is on the way of every request; `vigil` looks at it now and then.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What HTTP/2 with prior knowledge begins with, and no verb does.
const HTTP2_BEGINS: &[u8] = b"PRI";

/// The counters of one connection. They only grow, but for `held_back`.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    received: AtomicU64,
    sent: AtomicU64,
    begun: AtomicU64,
    ended: AtomicU64,
    given_up: AtomicU64,
    handed: AtomicU64,
    held_back: AtomicU64,
    http2: AtomicBool,
    blocked: AtomicBool,
    closing: AtomicBool,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// Bytes from the client.
    pub(super) received: u64,
    /// Bytes to the client.
    pub(super) sent: u64,
    /// Requests whose head is there.
    pub(super) begun: u64,
    /// Those of them whose answer the connection has taken whole, or that are gone.
    pub(super) ended: u64,
    /// Those of them that were gone before they had an answer.
    pub(super) given_up: u64,
    /// Bytes of answers that the connection has taken to send.
    pub(super) handed: u64,
    /// Answers whose next part is there and that the connection has not taken.
    pub(super) held_back: u64,
    /// Whether it speaks HTTP/2.
    pub(super) http2: bool,
    /// Whether the socket takes no more bytes.
    pub(super) blocked: bool,
}

impl Pulse {
    pub(super) fn seen(&self) -> Seen {
        Seen {
            received: self.received.load(Relaxed),
            sent: self.sent.load(Relaxed),
            begun: self.begun.load(Relaxed),
            ended: self.ended.load(Relaxed),
            given_up: self.given_up.load(Relaxed),
            handed: self.handed.load(Relaxed),
            held_back: self.held_back.load(Relaxed),
            http2: self.http2.load(Relaxed),
            blocked: self.blocked.load(Relaxed),
        }
    }

    /// From now on every answer over HTTP/1.1 is the last one of the connection.
    pub(super) fn close_after_answer(&self) {
        self.closing.store(true, Relaxed);
    }

    /// Whether an answer has to say that it is the last one.
    pub(super) fn says_close(&self) -> bool {
        self.closing.load(Relaxed) && !self.http2.load(Relaxed)
    }

    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Relaxed);
    }

    pub(super) fn give_up(&self) {
        self.given_up.fetch_add(1, Relaxed);
        self.end();
    }

    pub(super) fn hand(&self, bytes: usize) {
        self.handed.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn hold_back(&self) {
        self.held_back.fetch_add(1, Relaxed);
    }

    pub(super) fn let_go(&self) {
        self.held_back.fetch_sub(1, Relaxed);
    }
}

/// A socket whose bytes are counted.
pub(super) struct Counted<S> {
    socket: S,
    pulse: Arc<Pulse>,
}

impl<S> Counted<S> {
    pub(super) fn new(socket: S, pulse: Arc<Pulse>) -> Self {
        Self { socket, pulse }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(context, buffer);
        let new = buffer.filled().get(before..).unwrap_or_default();
        let earlier = self.pulse.received.fetch_add(new.len() as u64, Relaxed);
        if earlier == 0 && new.starts_with(HTTP2_BEGINS) {
            self.pulse.http2.store(true, Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.count(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(context, parts);
        self.count(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_flush(context);
        self.pulse.blocked.store(polled.is_pending(), Relaxed);
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl<S> Counted<S> {
    fn count(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.pulse.blocked.store(polled.is_pending(), Relaxed);
        if let Poll::Ready(Ok(written)) = &polled {
            self.pulse.sent.fetch_add(*written as u64, Relaxed);
        }
        polled
    }
}
