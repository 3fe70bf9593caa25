//! One HTTP/2 connection, of one slot or of several. gRPC's messages are framed by us and not by a gRPC library, because
//! the time of the first byte and whether a status was sent by the server or made up by the client must not be lost.

use std::sync::{Arc, OnceLock};

use http::Request;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::http1::describe;
use super::link::{Unsent, receive};
use super::stream::Stream;
use super::{Answer, Failure, Reception, Segments, Times};
use crate::clock::RunClock;

/// Receive window of a stream and of the connection: large enough that no answer waits for credit on a fast
/// network (4 MiB in flight).
const WINDOW_BYTES: u32 = 4 << 20;

/// See the module. A clone sends over the same connection.
#[derive(Clone)]
pub(super) struct Http2 {
    sender: SendRequest<Segments>,
    driver: Arc<Driver>,
}

/// The task that runs a connection; it ends with the last who sends over it.
struct Driver {
    task: JoinHandle<()>,
    state: watch::Receiver<bool>,
    /// Why the connection ended, if it broke.
    end: Arc<OnceLock<String>>,
}

impl Http2 {
    pub(super) async fn on(stream: Stream) -> Result<Self, Failure> {
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| Failure::Connect(describe(&e)))?;
        let (ended, state) = watch::channel(false);
        let end = Arc::<OnceLock<String>>::default();
        let said = Arc::clone(&end);
        let task = tokio::spawn(async move {
            if let Err(e) = connection.await {
                let _ = said.set(describe(&e));
            }
            let _ = ended.send(true);
        });
        Ok(Self { sender, driver: Arc::new(Driver { task, state, end }) })
    }

    /// Ends when the server has closed the idle connection.
    pub(super) async fn closed(&mut self) {
        let mut state = self.driver.state.clone();
        // Its sender is gone only when the connection is.
        let _ = state.wait_for(|ended| *ended).await;
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
    pub(super) fn last_words(&self) -> Option<String> {
        self.driver.end.get().cloned()
    }

    /// Whether another request may go over it.
    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}
