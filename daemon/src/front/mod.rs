//! The daemon's doors: KServe v2 over HTTP and gRPC, operations, and the studio. They decode, ask the engine, and
//! encode; they hold no policy.

pub mod admin;
mod body;
mod cache;
mod coding;
mod context;
mod credentials;
pub mod doors;
mod forms;
pub mod gate;
mod gpu;
mod grpc;
mod http;
mod jobs;
mod not_offered;
pub mod openapi;
mod ops;
mod paced;
mod path;
mod peer;
mod phases;
pub mod refusal;
mod routes;
mod settings;
mod sharing;
pub mod studio;
pub mod tls;

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use proofload_wire::types::ServerMetadata;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::admin::Admin;
use self::body::Intake;
use self::doors::limits::Pace;
use self::doors::{Doors, Kind, Rules, meters};
use self::gate::Gate;
use crate::bodies::Bodies;
use crate::cache::Cache;
use crate::engine::Engine;
use crate::gpu::memory::manager::Manager;
use crate::gpu::monitor::Gpus;
use crate::jobs::Jobs;
use crate::relief::Studio;
use crate::shared_memory::SharedMemory;

/// Connections at a time to the port of metrics alone.
const METRICS_CONNECTIONS: usize = 16;

/// What the handlers share. A router clones it for each request, so it is one pointer.
#[derive(Clone)]
struct FrontState(Arc<FrontParts>);

impl Deref for FrontState {
    type Target = FrontParts;

    fn deref(&self) -> &FrontParts {
        &self.0
    }
}

/// What the doors are made of.
pub struct FrontParts {
    /// Answers everything about models.
    pub engine: Engine,
    /// Makes reliefs of pictures.
    pub studio: Arc<Studio>,
    /// Long work.
    pub jobs: Jobs,
    /// What clients may ask for at most.
    pub limits: FrontLimits,
    /// What the GPUs report.
    pub gpus: Arc<Gpus>,
    /// The memory of the GPU that models run on, if they do.
    pub gpu_memory: Option<Arc<Manager>>,
    /// Kept answers, if any are kept.
    pub cache: Option<Arc<Cache>>,
    /// The memory of all bodies.
    pub bodies: Arc<Bodies>,
    /// Who may load and unload models.
    pub admin: Admin,
    /// What stands before all doors, if anything does.
    pub gate: Option<Arc<Gate>>,
    /// Memory that clients share with the daemon.
    pub shared_memory: Arc<SharedMemory>,
    /// What holds for new connections and bodies.
    pub rules: Arc<ArcSwap<Rules>>,
    /// Connections that were cut off.
    pub cut: meters::Meters,
    /// How long requests in flight may take to finish when the daemon is stopped.
    pub grace: Duration,
    /// Connections on which a request has begun and that are still open. While draining, a connection is closed once
    /// its last answer has been sent: then these are the ones that still wait for something.
    pub answering: Arc<AtomicUsize>,
}

impl FrontParts {
    /// What this server is, with what is offered at its doors.
    fn metadata(&self) -> ServerMetadata {
        let mut metadata = self.engine.server_metadata();
        metadata.extensions.extend(self.shared_memory.allowed().then(|| "system_shared_memory".to_owned()));
        metadata
    }

    /// How fast bodies have to come.
    fn body_pace(&self) -> Pace {
        self.rules.load().limits.body
    }

    /// What a body is let in by.
    fn intake(&self) -> Intake<'_> {
        Intake { bodies: &self.bodies, pace: self.body_pace() }
    }
}

/// Bounds on what clients may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrontLimits {
    /// Largest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// Most bytes of bodies that are held at a time, over all requests.
    pub total_body_bytes: usize,
    /// Most connections at a time, over HTTP and gRPC together. Further ones wait to be accepted.
    pub max_connections: usize,
    /// How often a peer over HTTP/2 is asked whether it is still there, and how long it has to answer.
    pub http2_ping: Duration,
}

/// Sockets that are bound and listening.
pub struct Listeners {
    /// HTTP: KServe, metrics, studio.
    pub http: TcpListener,
    /// gRPC.
    pub grpc: TcpListener,
    /// Metrics alone, if they have a port of their own.
    pub metrics: Option<TcpListener>,
}

/// Serves until `shutdown` resolves, then stops accepting, lets what is in flight finish, and returns. How long
/// that may take is for the caller to bound.
pub async fn listen(parts: FrontParts, listeners: Listeners, shutdown: impl Future<Output = ()>) {
    let state = FrontState(Arc::new(parts));
    let (drain, draining) = watch::channel(false);
    let grpc = grpc::router(&state, &draining);
    let doors = Doors::new(&state, Kind::Http, draining);
    let stop = async move {
        shutdown.await;
        drain.send_replace(true);
        // Kept until everybody has seen it: a dropped sender would look like an error.
        drain.closed().await;
    };
    // Places of their own: whoever watches must get in when the house is full.
    let grpc_doors = doors.of(Kind::Grpc);
    let metrics_doors = doors.with_places(METRICS_CONNECTIONS);
    let metrics_router = http::metrics_router(state.clone());
    let metrics = async move {
        if let Some(listener) = listeners.metrics {
            doors::serve(listener, metrics_router, metrics_doors).await;
        }
    };
    tokio::join!(
        stop,
        metrics,
        // None is kept here: the end waits until nobody asks any more whether it has come.
        doors::serve(listeners.http, http::router(state), doors),
        doors::serve(listeners.grpc, grpc, grpc_doors),
    );
}

/// Every path that is served over HTTP, with `{name}` where something is named.
pub fn paths() -> Vec<String> {
    http::routes().paths()
}

/// Resolves when the daemon begins to drain.
async fn drained(mut draining: watch::Receiver<bool>) {
    // The sender is gone only when the daemon is gone, which is as good a reason to end.
    let _ = draining.wait_for(|draining| *draining).await;
}
