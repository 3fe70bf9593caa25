//! The bytes of a request on their way out.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Method;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use tokio::io::AsyncWrite;

use super::answer::tokens;
use crate::transport::stream::Stream;
use crate::transport::{Outgoing, Segments};

/// Largest body that is copied behind its head, so that both leave as one piece.
const MOST_COPIED: u64 = 8 << 10;
/// Largest buffer that is kept for the next request.
const MOST_SPARE: usize = 16 << 10;

thread_local! {
    /// A buffer for the next request of this thread: most are sent in the very call that made them.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// See the module.
pub(super) struct Outbox {
    /// The head, and a small body behind it.
    head: Vec<u8>,
    body: [Bytes; 3],
    /// Bytes that the system has taken.
    sent: usize,
    flushed: bool,
    /// Whether the request says that the connection carries no other.
    closes: bool,
}

impl Outbox {
    /// A request; the `last` one of a connection says so.
    pub(super) fn new(request: &Outgoing<'_>, last: bool) -> Self {
        let mut head = SPARE.take();
        head.clear();
        let closes = write_head(&mut head, request, last);
        let body = if request.body.len() <= MOST_COPIED {
            request.body.pieces().iter().for_each(|piece| head.extend_from_slice(piece));
            <[Bytes; 3]>::default()
        } else {
            request.body.pieces().clone()
        };
        Self { head, body, sent: 0, flushed: false, closes }
    }

    /// Gives the system as much as it takes. Ready when it has taken all.
    pub(super) fn poll_send(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.length() {
            let taken = ready!(self.poll_write(stream, cx))?;
            if taken == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.sent += taken;
        }
        if !self.flushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.flushed = true;
            self.give_back();
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the system has taken all of it.
    pub(super) fn is_done(&self) -> bool {
        self.flushed
    }

    /// Whether the system has taken nothing of it.
    pub(super) fn is_untouched(&self) -> bool {
        self.sent == 0
    }

    /// Whether it says that the connection carries no other request.
    pub(super) fn closes(&self) -> bool {
        self.closes
    }

    fn length(&self) -> usize {
        if self.flushed { self.sent } else { self.head.len() + self.body.iter().map(Bytes::len).sum::<usize>() }
    }

    fn poll_write(&self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        if self.body[0].is_empty() && self.body[1].is_empty() && self.body[2].is_empty() {
            return stream.poll_write(cx, &self.head[self.sent..]);
        }
        let mut pieces = [IoSlice::new(&[]); 4];
        let mut count = 0;
        let mut skip = self.sent;
        for bytes in std::iter::once(self.head.as_slice()).chain(self.body.iter().map(AsRef::as_ref)) {
            let left = &bytes[skip.min(bytes.len())..];
            skip = skip.saturating_sub(bytes.len());
            if !left.is_empty() {
                pieces[count] = IoSlice::new(left);
                count += 1;
            }
        }
        if stream.is_write_vectored() {
            stream.poll_write_vectored(cx, &pieces[..count])
        } else {
            stream.poll_write(cx, &pieces[0])
        }
    }

    fn give_back(&mut self) {
        let head = std::mem::take(&mut self.head);
        if head.capacity() <= MOST_SPARE {
            SPARE.set(head);
        }
    }
}

/// Writes the head (RFC 9112, sections 3 and 5) and says whether it announces the end of the connection.
fn write_head(out: &mut Vec<u8>, request: &Outgoing<'_>, last: bool) -> bool {
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    match request.uri.path_and_query() {
        Some(target) if request.uri.authority().is_none() => out.extend_from_slice(target.as_str().as_bytes()),
        // A proxy is told the whole URI.
        _ => drop(write!(out, "{}", request.uri)),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let mut closes = last;
    for (name, value) in request.headers() {
        // How long the body is, only we know.
        if *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING || (last && *name == CONNECTION) {
            continue;
        }
        closes |= *name == CONNECTION && tokens(value.as_bytes()).any(|token| token.eq_ignore_ascii_case(b"close"));
        write_line(out, name.as_str(), value.as_bytes());
    }
    if last {
        write_line(out, "connection", b"close");
    }
    write_length(out, request.method, &request.body);
    out.extend_from_slice(b"\r\n");
    closes
}

fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// A method that usually has a body says so when it has none (RFC 9110, section 8.6).
fn write_length(out: &mut Vec<u8>, method: &Method, body: &Segments) {
    let length = body.len();
    if length > 0 || *method == Method::POST || *method == Method::PUT || *method == Method::PATCH {
        // A vector takes everything.
        drop(write!(out, "content-length: {length}\r\n"));
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn heads_are_written() {
        let check = |request: http::request::Builder, body: &str, last: bool, expected: &str, closes: bool| {
            let request = request.body(Segments::whole(body.to_owned().into())).unwrap();
            let mut out = Vec::new();
            assert_eq!(write_head(&mut out, &Outgoing::of(&request), last), closes, "{expected}");
            assert_eq!(String::from_utf8(out).unwrap(), expected.replace('\n', "\r\n"));
        };
        check(Request::get("/a?b=c"), "", false, "GET /a?b=c HTTP/1.1\n\n", false);
        check(Request::get("/").header("Host", "x"), "", true, "GET / HTTP/1.1\nhost: x\nconnection: close\n\n", true);
        check(Request::post("/"), "", false, "POST / HTTP/1.1\ncontent-length: 0\n\n", false);
        check(Request::put("/"), "abc", false, "PUT / HTTP/1.1\ncontent-length: 3\n\n", false);
        check(Request::get("/"), "abc", false, "GET / HTTP/1.1\ncontent-length: 3\n\n", false);
        let wrong = Request::post("/").header("content-length", "7").header("transfer-encoding", "chunked");
        check(wrong, "abc", false, "POST / HTTP/1.1\ncontent-length: 3\n\n", false);
        let last = Request::get("/").header("connection", "keep-alive, Close");
        check(last, "", false, "GET / HTTP/1.1\nconnection: keep-alive, Close\n\n", true);
        check(Request::get("http://h:1/x"), "", false, "GET http://h:1/x HTTP/1.1\n\n", false);
    }
}
