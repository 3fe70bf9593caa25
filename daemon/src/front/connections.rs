//! Accepting connections and closing them in good order. What is said on them is the router's affair.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::answering::{Answering, Marked};
use super::drained;
use super::peer::Named;

/// How long to wait when the system refuses a connection, usually for want of file descriptors. Trying again at
/// once would burn a core until one is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a connection may stay without a request: before its first one, or between two. It frees the places of
/// those who say nothing, and of those who are gone without a word.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a connection that has not begun a request may still do so while the daemon drains.
const SILENCE_WHILE_DRAINING: Duration = Duration::from_secs(1);

/// What both listeners share.
#[derive(Clone)]
pub(super) struct Doors {
    /// One for each connection.
    pub(super) places: Arc<Semaphore>,
    /// Connections that wait for an answer.
    pub(super) answering: Arc<AtomicUsize>,
    /// How often a peer over HTTP/2 is asked whether it is still there, and how long it has to answer.
    pub(super) http2_ping: Duration,
    /// Whether handlers want to know where requests come from.
    pub(super) asks_for_peers: bool,
    /// Turns true when the daemon is to stop.
    pub(super) draining: watch::Receiver<bool>,
}

/// Serves HTTP/1.1 and HTTP/2 (with prior knowledge) until `draining` turns true. Then it stops accepting, lets
/// every connection finish what it has begun, and returns.
pub(super) async fn serve(listener: TcpListener, router: Router, doors: Doors) {
    let Doors { places, answering, http2_ping, asks_for_peers, draining } = doors;
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(SILENCE);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(http2_ping).keep_alive_timeout(http2_ping);
    let mut drained = pin!(drained(draining.clone()));
    loop {
        let accepted = tokio::select! {
            // Stopping goes first: a busy listener must not keep the loop from seeing it.
            biased;
            () = &mut drained => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        let answering = Answering::new(&answering);
        let peer = stream.peer_addr().ok().filter(|_| asks_for_peers).map(|peer| peer.ip());
        let service = Marked::new(Named::new(router.clone(), peer), answering.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned();
        let watched = graceful.watch(connection);
        let silent = silent(answering, draining.clone());
        tokio::spawn(async move {
            tokio::select! {
                ended = watched => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                },
                () = silent => tracing::debug!("a connection brought no request in time"),
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Resolves when a connection has kept its first request back for too long.
async fn silent(answering: Answering, draining: watch::Receiver<bool>) {
    tokio::select! {
        () = tokio::time::sleep(SILENCE) => {}
        () = async {
            drained(draining).await;
            tokio::time::sleep(SILENCE_WHILE_DRAINING).await;
        } => {}
    }
    if answering.has_begun() {
        std::future::pending::<()>().await;
    }
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
