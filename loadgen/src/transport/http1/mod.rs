//! One HTTP/1.1 connection, driven by the task that uses it: one request at a time, no second task and so no second
//! wake-up per request, and no memory of its own while it is idle.
//!
//! Not a client library: the generator's cost per request is what it is measured by, and a library's channels, maps and
//! buffers were a third of it. Tests hold it against `hyper`, answer for answer.

mod answer;
mod chunked;
mod outbox;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Method;
use tokio::io::{AsyncRead, ReadBuf};

pub use self::answer::read_answer;
use self::answer::{Part, Reader, Unreadable};
use self::outbox::Outbox;
use super::intake::Intake;
use super::link::Unsent;
use super::stream::Stream;
use super::{Failure, Outgoing};

/// What is read at a time.
const READ_BYTES: usize = 64 << 10;

thread_local! {
    /// Where this thread's connections read to; what is not whole is put aside before the next one reads.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// See the module.
pub(super) struct Http1 {
    stream: Stream,
    /// Whether nothing is under way and nothing spoils the next request.
    usable: bool,
    /// Why it ended, if it broke.
    end: Option<String>,
}

impl Http1 {
    pub(super) fn on(stream: Stream) -> Self {
        Self { stream, usable: true, end: None }
    }

    /// Ends when the server has closed the idle connection.
    pub(super) async fn closed(&mut self) {
        poll_fn(|cx| self.poll_closed(cx)).await;
    }

    /// Sends a request and takes its answer in.
    pub(super) async fn exchange(
        &mut self,
        request: &Outgoing<'_>,
        last: bool,
        intake: &mut Intake<'_>,
    ) -> Result<(), Unsent> {
        if poll_fn(|cx| Poll::Ready(self.poll_closed(cx).is_ready())).await {
            return Err(Unsent::Closed);
        }
        self.usable = false;
        let reader = Reader::new(*request.method == Method::HEAD);
        let outbox = Outbox::new(request, last);
        intake.sending();
        let mut exchange = Exchange { link: self, outbox, unsendable: None, reader, intake };
        poll_fn(|cx| exchange.poll(cx)).await
    }

    /// What the connection broke with, if it did.
    pub(super) fn last_words(&self) -> Option<String> {
        self.end.clone()
    }

    /// Whether another request may go over it.
    pub(super) fn is_usable(&self) -> bool {
        self.usable
    }

    /// Ready when no request may go over it any more.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.usable {
            let mut little = [0; 64];
            self.end = match ready!(poll_read(&mut self.stream, cx, &mut little)) {
                Ok(0) => None,
                Ok(_) => Some("the server sent bytes that nobody had asked for".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            self.usable = false;
        }
        Poll::Ready(())
    }
}

fn poll_read(stream: &mut Stream, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(into);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

/// A request under way.
struct Exchange<'a, 'i> {
    link: &'a mut Http1,
    outbox: Outbox,
    /// Why the rest of the request cannot be sent. An answer may come all the same: a server that refuses a large body
    /// answers and closes.
    unsendable: Option<io::Error>,
    reader: Reader,
    intake: &'a mut Intake<'i>,
}

impl Exchange<'_, '_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        self.send(cx)?;
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                match ready!(poll_read(&mut self.link.stream, cx, scratch)) {
                    Ok(0) => return Poll::Ready(self.close()),
                    Ok(count) => {
                        if self.take(&scratch[..count])? {
                            return Poll::Ready(Ok(()));
                        }
                    }
                    Err(error) => return Poll::Ready(Err(self.broken(&error))),
                }
            }
        })
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), Unsent> {
        if self.outbox.is_done() || self.unsendable.is_some() {
            return Ok(());
        }
        match self.outbox.poll_send(&mut self.link.stream, cx) {
            Poll::Ready(Err(error)) if self.outbox.is_untouched() => {
                self.link.end = Some(error.to_string());
                Err(Unsent::Closed)
            }
            Poll::Ready(Err(error)) => {
                self.unsendable = Some(error);
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// Takes in bytes; says whether the answer is whole.
    fn take(&mut self, bytes: &[u8]) -> Result<bool, Unsent> {
        let intake = &mut *self.intake;
        let behind = self.reader.feed(bytes, |part| match part {
            Part::Head { status, headers, length } => intake.head(status, headers, length),
            Part::Data(data) => intake.data(data),
            Part::Trailers(trailers) => intake.trailers(trailers),
        });
        let behind = behind.map_err(failed)?;
        if !self.reader.is_done() {
            return Ok(false);
        }
        let is_clean = behind == 0 && self.outbox.is_done() && !self.outbox.closes();
        self.link.usable = is_clean && self.reader.keeps_connection();
        Ok(true)
    }

    fn close(&mut self) -> Result<(), Unsent> {
        match (self.reader.close(), &self.unsendable) {
            (Ok(()), _) => Ok(()),
            (Err(Unreadable::ClosedBefore), Some(error)) => Err(unsendable(error)),
            (Err(why), _) => Err(failed(why)),
        }
    }

    fn broken(&mut self, error: &io::Error) -> Unsent {
        match &self.unsendable {
            Some(first) if !self.intake.has_begun() => unsendable(first),
            _ => Unsent::Failed(Failure::Transport(format!("the connection broke: {error}"))),
        }
    }
}

fn failed(why: Unreadable) -> Unsent {
    Unsent::Failed(Failure::Transport(why.to_string()))
}

fn unsendable(error: &io::Error) -> Unsent {
    Unsent::Failed(Failure::Transport(format!("the request could not be sent as a whole: {error}")))
}
