//! One HTTP/1.1 connection, driven by the task that uses it: no second task, so no second wake-up per request.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use http::Request;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;

use super::link::{Unsent, receive};
use super::stream::Stream;
use super::{Answer, Failure, Reception, Segments, Times};
use crate::clock::RunClock;

/// See the module.
pub(super) struct Http1 {
    sender: SendRequest<Segments>,
    connection: Running,
    /// Why it ended, if it broke.
    end: Option<hyper::Error>,
}

/// The connection while it lasts.
type Running = Option<Pin<Box<Connection<TokioIo<Stream>, Segments>>>>;

impl Http1 {
    pub(super) async fn on(stream: Stream) -> Result<Self, Failure> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| Failure::Connect(describe(&e)))?;
        Ok(Self { sender, connection: Some(Box::pin(connection)), end: None })
    }

    /// Ends when the server has closed the idle connection.
    pub(super) async fn closed(&mut self) {
        if let Some(connection) = &mut self.connection {
            let _ = connection.await;
        }
        self.connection = None;
    }

    pub(super) async fn exchange(
        &mut self,
        request: Request<Segments>,
        clock: &RunClock,
        times: &mut Times,
        reception: &mut Reception,
    ) -> Result<Answer, Unsent> {
        if drive(&mut self.connection, &mut self.end, self.sender.ready()).await.is_err() {
            return Err(Unsent::Closed(Box::new(request)));
        }
        times.sent_ns = clock.now_ns();
        let response = self.sender.try_send_request(request);
        let response = match drive(&mut self.connection, &mut self.end, response).await {
            Ok(response) => response,
            Err(mut e) => {
                return Err(match e.take_message() {
                    Some(request) => Unsent::Closed(Box::new(request)),
                    None => Unsent::Failed(Failure::Transport(describe(e.error()))),
                });
            }
        };
        times.first_byte_ns = clock.now_ns();
        Ok(drive(&mut self.connection, &mut self.end, receive(response, clock, reception)).await?)
    }

    /// What the connection broke with, if it did.
    pub(super) fn last_words(&self) -> Option<String> {
        self.end.as_ref().map(describe)
    }

    /// Whether another request may go over it.
    pub(super) fn is_usable(&self) -> bool {
        self.connection.is_some() && !self.sender.is_closed()
    }
}

/// Runs `future` and the connection it depends on.
async fn drive<F: Future>(connection: &mut Running, end: &mut Option<hyper::Error>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Some(running) = connection
            && let Poll::Ready(ended) = running.as_mut().poll(cx)
        {
            *end = ended.err();
            *connection = None;
        }
        future.as_mut().poll(cx)
    })
    .await
}

/// An error of hyper with its cause.
pub(super) fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
