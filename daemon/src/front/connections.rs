//! Accepting connections and closing them in good order. What is said on them is the router's affair.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::drained;

/// How long to wait when the system refuses a connection, usually for want of file descriptors. Trying again at
/// once would burn a core until one is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves HTTP/1.1 and HTTP/2 (with prior knowledge) until `draining` turns true. Then it stops accepting, lets
/// every connection finish what it has begun, and returns.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    places: Arc<Semaphore>,
    draining: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let builder = auto::Builder::new(TokioExecutor::new());
    let service = TowerToHyperService::new(router);
    let mut drained = pin!(drained(draining));
    loop {
        let accepted = tokio::select! {
            // Stopping goes first: a busy listener must not keep the loop from seeing it.
            biased;
            () = &mut drained => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        let connection = builder.serve_connection(TokioIo::new(stream), service.clone()).into_owned();
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!(%error, "a connection broke");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection, once there is a place for it. Without one, clients wait in the system's own queue.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are written whole; waiting for more to send would only delay them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps its Nagle delay");
            }
            Some((stream, place))
        }
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection; if files have run out, raise `ulimit -n`");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
