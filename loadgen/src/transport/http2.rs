//! One HTTP/2 connection, of one slot or of several. gRPC's messages are framed by us and not by a gRPC library, because
//! the time of the first byte and whether a status was sent by the server or made up by the client must not be lost.

use std::sync::{Arc, OnceLock};

use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::intake::Intake;
use super::link::Unsent;
use super::stream::Stream;
use super::{Failure, Fields, Outgoing, Segments};

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

    pub(super) async fn exchange(&mut self, request: &Outgoing<'_>, intake: &mut Intake<'_>) -> Result<(), Unsent> {
        if self.sender.ready().await.is_err() {
            return Err(Unsent::Closed);
        }
        intake.sending();
        let response =
            self.sender.try_send_request(request.to_request()).await.map_err(|mut e| match e.take_message() {
                Some(_) => Unsent::Closed,
                None => Unsent::Failed(Failure::Transport(describe(e.error()))),
            })?;
        Ok(receive(response, intake).await?)
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

async fn receive(response: Response<Incoming>, intake: &mut Intake<'_>) -> Result<(), Failure> {
    let (head, mut incoming) = response.into_parts();
    intake.head(head.status.as_u16(), Fields::from(&head.headers), None);
    while let Some(frame) = incoming.frame().await {
        match frame.map_err(|e| Failure::Transport(describe(&e)))?.into_data() {
            Ok(data) => intake.piece(&data),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    intake.trailers(Fields::from(&trailers));
                }
            }
        }
    }
    Ok(())
}

/// An error of hyper with its cause.
fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}
