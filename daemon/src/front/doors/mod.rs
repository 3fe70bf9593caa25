//! Accepting connections, holding them to their limits, and closing them in good order. What is said on them is the
//! router's affair.
//!
//! Connections are looked at from time to time (`vigil`) by counters that the socket and the service keep (`pulse`):
//! no request sets or moves a timer.

mod answering;
pub mod limits;
pub mod manners;
pub mod meters;
mod places;
mod pulse;
mod socket;
mod vigil;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior};

use self::answering::{Answering, Marked};
use self::limits::Limits;
use self::manners::{Cors, Manners};
use self::meters::Meters;
use self::places::Places;
use self::pulse::{Counted, Pulse};
use self::socket::Socket;
use self::vigil::{Cause, Verdict, Vigil};
use super::peer::Named;
use super::{FrontState, drained};

/// How long to wait when the system refuses a connection, usually for want of file descriptors. Trying again at
/// once would burn a core until one is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// While draining, a connection over HTTP/1.1 without a request stays open so long at most: a request may be on its way
/// already, and it would be lost. Whoever brings one is told with its answer that it was the last.
const LONGEST_LINGER: Duration = Duration::from_secs(1);
/// And no longer than this part of the grace period.
const LINGER_OF_GRACE: u32 = 4;

/// What holds for connections that are opened from now on.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Patience and room.
    pub limits: Limits,
    /// Certificates, where TLS is spoken.
    pub tls: Option<Arc<ServerConfig>>,
    /// Web pages of which other origins may ask, if any.
    pub cors: Option<Cors>,
}

/// What is said behind a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Answers have the manners of HTTP.
    Http,
    /// Answers are gRPC's own.
    Grpc,
}

/// What all listeners share.
#[derive(Clone)]
pub(super) struct Doors {
    places: Places,
    /// Connections that wait for an answer.
    answering: Arc<AtomicUsize>,
    /// How often a peer over HTTP/2 is asked whether it is still there, and how long it has to answer.
    http2_ping: Duration,
    kind: Kind,
    /// How long a drain may take.
    grace: Duration,
    /// Whether handlers want to know where requests come from.
    asks_for_peers: bool,
    rules: Arc<ArcSwap<Rules>>,
    meters: Meters,
    /// Turns true when the daemon is to stop.
    draining: watch::Receiver<bool>,
}

/// Serves HTTP/1.1 and HTTP/2 (with prior knowledge, or as TLS agrees) until `draining` turns true. Then it stops
/// accepting, lets every connection finish what it has begun, and returns.
pub(super) async fn serve(listener: TcpListener, router: Router, doors: Doors) {
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let mut drained = pin!(drained(doors.draining.clone()));
    loop {
        let accepted = tokio::select! {
            // Stopping goes first: a busy listener must not keep the loop from seeing it.
            biased;
            () = &mut drained => break,
            accepted = doors.accept(&listener) => accepted,
        };
        if let Some((stream, peer, one)) = accepted {
            doors.open(stream, peer, one, router.clone(), alive.clone());
        }
    }
    doors.accept_the_last(listener, &router, &alive).await;
    drop(alive);
    // Nothing is ever sent: it ends when the last connection has let go of its sender.
    all_gone.recv().await;
}

type Accepted = (TcpStream, SocketAddr, OwnedSemaphorePermit);

impl Doors {
    /// The doors of what the handlers share.
    pub(super) fn new(state: &FrontState, kind: Kind, draining: watch::Receiver<bool>) -> Self {
        Self {
            places: Places::new(state.limits.max_connections),
            kind,
            answering: Arc::clone(&state.answering),
            http2_ping: state.limits.http2_ping,
            grace: state.grace,
            asks_for_peers: state.gate.as_ref().is_some_and(|gate| gate.asks_for_peers()),
            rules: Arc::clone(&state.rules),
            meters: state.cut.clone(),
            draining,
        }
    }

    /// The same, with so many places of their own.
    pub(super) fn with_places(&self, connections: usize) -> Self {
        Self { places: Places::new(connections), ..self.clone() }
    }

    /// The same house, behind which something else is said.
    pub(super) fn of(&self, kind: Kind) -> Self {
        Self { kind, ..self.clone() }
    }

    /// The next connection, once there is a place for it. Without one, clients wait in the system's own queue.
    async fn accept(&self, listener: &TcpListener) -> Option<Accepted> {
        let one = self.places.one_of_all().await?;
        match listener.accept().await {
            Ok((stream, peer)) => Some((stream, peer, one)),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; if files have run out, raise `ulimit -n`");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    /// Those that the system has accepted for us already believe that they are connected, and may have sent a request:
    /// closing the listener would break them.
    async fn accept_the_last(&self, listener: TcpListener, router: &Router, alive: &mpsc::Sender<()>) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            let opened = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            let one = tokio::time::timeout(Duration::ZERO, self.places.one_of_all()).await;
            let (Ok(stream), Ok(Some(one))) = (opened, one) else { continue };
            self.open(stream, peer, one, router.clone(), alive.clone());
        }
    }

    fn open(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        one: OwnedSemaphorePermit,
        router: Router,
        alive: mpsc::Sender<()>,
    ) {
        let rules = self.rules.load_full();
        let Some(place) = self.places.seat(one, peer.ip(), rules.limits.per_address) else {
            self.meters.turned_away();
            return;
        };
        // Answers are written whole; waiting for more to send would only delay them.
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its Nagle delay");
        }
        let named = Named::new(router, self.asks_for_peers.then(|| peer.ip()));
        let doors = self.clone();
        tokio::spawn(async move {
            let opened = tokio::select! {
                biased;
                opened = Socket::open(tcp, rules.tls.clone(), rules.limits.handshake_timeout) => opened,
                () = doors.closed() => Err(io::Error::other("the daemon stops")),
            };
            match opened {
                Ok(socket) => {
                    if let Some(cause) = doors.carry(socket, named, &rules).await {
                        doors.meters.cut(cause);
                        tracing::debug!(%peer, ?cause, "a connection was cut off");
                    }
                }
                Err(error) => {
                    doors.meters.no_handshake();
                    tracing::debug!(%peer, %error, "no TLS handshake");
                }
            }
            drop((place, alive));
        });
    }

    /// Carries what is said on a connection to its end, or to a reason to cut it off.
    async fn carry(&self, socket: Socket, router: Named<Router>, rules: &Rules) -> Option<Cause> {
        let limits = rules.limits;
        let manners = (self.kind == Kind::Http).then(|| Arc::new(Manners { cors: rules.cors.clone() }));
        let pulse = Arc::new(Pulse::default());
        let service = Marked::new(router, Answering::new(&self.answering), Arc::clone(&pulse), manners);
        let io = TokioIo::new(Counted::new(socket, Arc::clone(&pulse)));
        let builder = self.builder(limits);
        let mut connection = pin!(builder.serve_connection(io, TowerToHyperService::new(service)));
        let mut vigil = Vigil::new(limits, Instant::now());
        let mut looks = looks(&vigil);
        let mut drained = pin!(drained(self.draining.clone()));
        let (mut draining, mut closing) = (false, false);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection broke");
                    }
                    return None;
                }
                _ = looks.tick() => match vigil.look(Instant::now(), pulse.seen()) {
                    Verdict::Fine => {}
                    // It was told already, and does not go.
                    Verdict::Idle if closing => return None,
                    Verdict::Idle => {
                        closing = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    Verdict::Cut(cause) => return Some(cause),
                },
                () = &mut drained, if !draining => {
                    draining = true;
                    vigil.hurry(self.linger(), Instant::now());
                    looks = self::looks(&vigil);
                    if pulse.seen().http2 {
                        // HTTP/2 says which requests it still takes; the others are the client's to send elsewhere.
                        connection.as_mut().graceful_shutdown();
                    } else {
                        pulse.close_after_answer();
                    }
                }
            }
        }
    }

    /// Resolves when nobody without a request is waited for any more.
    async fn closed(&self) {
        drained(self.draining.clone()).await;
        tokio::time::sleep(self.linger()).await;
    }

    fn linger(&self) -> Duration {
        LONGEST_LINGER.min(self.grace / LINGER_OF_GRACE)
    }

    fn builder(&self, limits: Limits) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // The buffer is what a head has to fit into.
        let buffer = usize::try_from(limits.header_bytes).unwrap_or(usize::MAX);
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(buffer);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(self.http2_ping)
            .keep_alive_timeout(self.http2_ping)
            .max_concurrent_streams(limits.http2_streams)
            .max_header_list_size(limits.header_bytes);
        builder
    }
}

fn looks(vigil: &Vigil) -> Interval {
    let period = vigil.interval();
    let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}
