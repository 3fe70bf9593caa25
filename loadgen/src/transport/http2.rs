//! One HTTP/2 connection. One request at a time goes over it, as over every connection of a slot. gRPC's messages are
//! framed by us and not by a gRPC library, because the time of the first byte and whether a
//! status was sent by the server or made up by the client must not be lost.

use http::Request;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;

use super::http1::describe;
use super::link::{Unsent, receive};
use super::stream::Stream;
use super::{Answer, Failure, Reception, Segments, Times};
use crate::clock::RunClock;

/// Receive window of a stream and of the connection: large enough that no answer waits for credit on a fast
/// network (4 MiB in flight).
const WINDOW_BYTES: u32 = 4 << 20;

/// See the module.
pub(super) struct Http2 {
    sender: SendRequest<Segments>,
    /// Runs the connection; gives why it ended, if it broke.
    driver: JoinHandle<Option<hyper::Error>>,
}

impl Http2 {
    pub(super) async fn on(stream: Stream) -> Result<Self, Failure> {
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| Failure::Connect(describe(&e)))?;
        let driver = tokio::spawn(async move { connection.await.err() });
        Ok(Self { sender, driver })
    }

    /// Ends when the server has closed the idle connection.
    pub(super) async fn closed(&mut self) {
        let _ = (&mut self.driver).await;
    }

    pub(super) async fn exchange(
        &mut self,
        request: Request<Segments>,
        clock: &RunClock,
        times: &mut Times,
        reception: &mut Reception,
    ) -> Result<Answer, Unsent> {
        if self.sender.ready().await.is_err() {
            return Err(Unsent::Closed(Box::new(request)));
        }
        times.sent_ns = clock.now_ns();
        let response = self.sender.try_send_request(request).await.map_err(|mut e| match e.take_message() {
            Some(request) => Unsent::Closed(Box::new(request)),
            None => Unsent::Failed(Failure::Transport(describe(e.error()))),
        })?;
        times.first_byte_ns = clock.now_ns();
        Ok(receive(response, clock, reception).await?)
    }

    /// What the connection broke with, if it did.
    pub(super) async fn last_words(&mut self) -> Option<String> {
        let ended = self.driver.is_finished().then_some(&mut self.driver)?;
        ended.await.ok().flatten().as_ref().map(describe)
    }

    /// Whether another request may go over it.
    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
