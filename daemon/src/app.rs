//! Puts the daemon together, in one place: configuration, models, telemetry, engine, fronts. What it gives back can
//! be asked for its addresses and drained; it decides nothing about requests.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;
use rten::ThreadPool;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::backend::onnxruntime::{self, Library, LibraryError};
use crate::bodies::Bodies;
use crate::cache::{self, Cache};
use crate::config::Config;
use crate::config::gpu::GpuMode;
use crate::config::models::OnnxRuntime;
use crate::drain::{Drain, Event, Outcome, State};
use crate::engine::{Engine, Parts};
use crate::front::admin::Admin;
use crate::front::doors::Rules;
use crate::front::doors::meters::Meters;
use crate::front::gate::Gate;
use crate::front::{self, FrontParts, Listeners, tls};
use crate::gpu::cuda::{CudaError, Device};
use crate::gpu::memory::cleaner::{Cleaner, Whole};
use crate::gpu::memory::manager::Manager;
use crate::gpu::monitor::reading::Reading;
use crate::gpu::monitor::{Gpus, MonitorError, Source};
use crate::jobs::{self, Jobs};
use crate::lifecycle::Live;
use crate::model::Means;
use crate::profile::machine;
use crate::relief::{self, Studio};
use crate::reload::Reloadable;
use crate::sched::limiter::RateLimiter;
use crate::shared_memory::SharedMemory;
use crate::telemetry::process;
use crate::telemetry::scrape::Scrape;
use crate::telemetry::trace::{TraceError, Traces};

/// Where the environment says that ONNX Runtime is, as most programs read it that load it.
const DYLIB_PATH: &str = "ORT_DYLIB_PATH";
/// How long beyond the grace period an execution that nobody waits for may keep the daemon.
const BEYOND_GRACE: Duration = Duration::from_millis(250);
/// How long the last traces may keep it, whatever the collector does.
const LAST_TRACES: Duration = Duration::from_secs(3);

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration cannot run.
    #[error("the configuration cannot run:\n  {}", .0.join("\n  "))]
    Config(Vec<String>),
    /// The models cannot be served.
    #[error("the models cannot be served:\n  {}", .0.join("\n  "))]
    Models(Vec<String>),
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {source}; choose another port, or 0 for any free one")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The library that the configuration or the environment names cannot be used.
    #[error(transparent)]
    OnnxRuntime(#[from] LibraryError),
    /// The GPUs cannot be read, replayed or recorded as the configuration says.
    #[error(transparent)]
    Gpus(#[from] MonitorError),
    /// Models were to run on a GPU, and cannot.
    #[error("no GPU can be used: {0}; with --gpu=auto models run on the CPU where there is none")]
    Gpu(CudaError),
    /// Traces cannot be exported.
    #[error(transparent)]
    Traces(#[from] TraceError),
    /// The system refuses something that every process may have.
    #[error("{what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why it was refused.
        source: std::io::Error,
    },
    /// The fronts ended although nobody asked them to.
    #[error("the servers ended by themselves; this is a bug")]
    FrontsEnded,
}

/// A daemon that serves.
pub struct App {
    engine: Engine,
    studio: Arc<Studio>,
    jobs: Jobs,
    gate: Option<Arc<Gate>>,
    drain: Drain,
    http: SocketAddr,
    grpc: SocketAddr,
    metrics: Option<SocketAddr>,
    answering: Arc<AtomicUsize>,
    reloadable: Reloadable,
    _cleaner: Option<Cleaner>,
    stop_fronts: oneshot::Sender<()>,
    fronts: JoinHandle<()>,
}

impl App {
    /// Loads the models, binds the ports and begins to serve. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a model, a port or the trace exporter is not as it should be. Nothing is served then.
    pub async fn start(config: &Config) -> Result<Self, DaemonError> {
        let mut registry = Registry::default();
        let relief_meters = relief::meters::Meters::register(&mut registry);
        let jobs = Jobs::start(config.jobs, jobs::meters::Meters::register(&mut registry));
        let admin = Admin::new(&config.access, config.bind).map_err(|error| DaemonError::Config(vec![error]))?;
        let gate = Gate::open(config, admin, &mut registry).map_err(DaemonError::Config)?;
        gate.iter().for_each(Gate::keep);
        let cache = config.cache.clone().map(|options| cache(options, &mut registry)).transpose()?;
        let cut = Meters::register(&mut registry);
        let reloadable = Reloadable { rules: Arc::new(ArcSwap::from_pointee(rules(config)?)) };
        let bodies = Bodies::new(config.front.total_body_bytes);
        let gpus = Arc::new(Gpus::start(&config.gpus)?);
        let gpu = gpu(config)?;
        let (gpu_memory, cleaner) = watched(gpu.as_ref(), &gpus)?;
        let engine = engine(config, registry, Arc::clone(&bodies), Arc::clone(&gpus), gpu)?;
        let listeners = listen(config).await?;
        let address = |listener: &TcpListener| {
            listener.local_addr().map_err(|source| DaemonError::System { what: "cannot read a port's number", source })
        };
        let (http, grpc) = (address(&listeners.http)?, address(&listeners.grpc)?);
        let metrics = listeners.metrics.as_ref().map(address).transpose()?;
        let (stop_fronts, stopped) = oneshot::channel();
        let (answering, limits) = (Arc::default(), relief::workshop::Limits::for_threads(config.compute_threads));
        let studio = Arc::new(Studio::new(engine.clone(), limits, relief_meters));
        let parts = FrontParts {
            engine: engine.clone(),
            studio: Arc::clone(&studio),
            jobs: jobs.clone(),
            limits: config.front,
            gpus,
            gpu_memory,
            cache,
            bodies,
            admin,
            gate: gate.clone(),
            shared_memory: SharedMemory::new(config.allow_client_shm),
            rules: Arc::clone(&reloadable.rules),
            cut,
            grace: config.grace,
            answering: Arc::clone(&answering),
        };
        let fronts = tokio::spawn(front::listen(parts, listeners, async {
            // A sender that is gone means the same as its message: nobody needs the fronts any more.
            let _ = stopped.await;
        }));
        Ok(Self {
            engine,
            studio,
            jobs,
            gate,
            drain: Drain::new(config.grace),
            http,
            grpc,
            metrics,
            answering,
            reloadable,
            _cleaner: cleaner,
            stop_fronts,
            fronts,
        })
    }

    /// Where HTTP is served.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where gRPC is served.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where metrics have a port of their own.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// What can change while it serves.
    pub fn reloadable(&self) -> &Reloadable {
        &self.reloadable
    }

    /// What serves.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Serves until `stop` resolves, then drains.
    ///
    /// # Errors
    /// When the fronts end by themselves.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<Outcome, DaemonError> {
        tokio::select! {
            () = stop => Ok(self.drain().await),
            _ = &mut self.fronts => Err(DaemonError::FrontsEnded),
        }
    }

    /// Stops accepting, lets what is in flight finish within the grace period, and ends the models.
    pub async fn drain(self) -> Outcome {
        let Self { engine, studio, jobs, gate, mut drain, answering, stop_fronts, fronts, .. } = self;
        engine.begin_drain();
        jobs.stop();
        let mut until = Instant::now();
        let mut state = drain.on(Event::StopRequested, until);
        // The fronts may have ended already; then there is nobody to tell.
        let _ = stop_fronts.send(());
        // A picture is at the engine for a part of its way only, and an answer is with neither while it is being sent.
        let in_flight = || {
            let answering = answering.load(std::sync::atomic::Ordering::Acquire);
            engine.in_flight().max(studio.occupied()).max(answering).max(jobs.running())
        };
        let mut idle = pin!(async {
            // However they ended, they answer nothing any more.
            let _ = fronts.await;
            jobs.idle().await;
        });
        let outcome = loop {
            match state {
                State::Serving => {}
                State::Draining { deadline } => until = deadline,
                State::Stopped(outcome) => break outcome,
            }
            let event = tokio::select! {
                () = &mut idle => Event::Idle,
                () = tokio::time::sleep_until(until.into()) => Event::Tick { in_flight: in_flight() },
            };
            state = drain.on(event, Instant::now());
        };
        gate.iter().for_each(|gate| gate.save_usage());
        end(engine, until).await;
        outcome
    }
}

/// Ends the models' threads and sends the last traces. An execution that outlasts the grace period is left behind:
/// whoever waited for it is gone, and it ends with the process.
async fn end(engine: Engine, until: Instant) {
    engine.close();
    let models = engine.clone();
    if !aside("stop-models", until + BEYOND_GRACE, move || models.stop_models()).await {
        tracing::warn!("a model still computes at the end of the grace period; it is left behind");
    }
    if !aside("stop-traces", Instant::now() + LAST_TRACES, move || engine.stop_traces()).await {
        tracing::warn!("the last traces were not exported in time");
    }
}

/// Runs `work` on a thread of its own and waits for it until `deadline` at most. Says whether it was done by then.
/// A runtime waits for its own threads when it ends, hence a thread beside it.
async fn aside(name: &str, deadline: Instant, work: impl FnOnce() + Send + 'static) -> bool {
    let (done, finished) = oneshot::channel();
    let run = move || {
        work();
        // Nobody listens any more when it took too long.
        let _ = done.send(());
    };
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    started.is_ok() && tokio::time::timeout_at(deadline.into(), finished).await.is_ok()
}

/// What holds at the doors.
pub(crate) fn rules(config: &Config) -> Result<Rules, DaemonError> {
    let tls = config.tls.as_ref().map(tls::load).transpose().map_err(DaemonError::Config)?;
    Ok(Rules { limits: config.connections, tls, cors: config.cors.clone() })
}

async fn listen(config: &Config) -> Result<Listeners, DaemonError> {
    Ok(Listeners {
        http: bind(config.bind, config.http_port).await?,
        grpc: bind(config.bind, config.grpc_port).await?,
        metrics: match config.metrics_port {
            Some(port) => Some(bind(config.bind, port).await?),
            None => None,
        },
    })
}

async fn bind(address: IpAddr, port: u16) -> Result<TcpListener, DaemonError> {
    let address = SocketAddr::new(address, port);
    TcpListener::bind(address).await.map_err(|source| DaemonError::Bind { address, source })
}

fn engine(
    config: &Config,
    mut registry: Registry,
    bodies: Arc<Bodies>,
    gpus: Arc<Gpus>,
    gpu: Option<Arc<Device>>,
) -> Result<Engine, DaemonError> {
    let models = Live::start(config.models.clone(), means(config, gpu)?).map_err(DaemonError::Models)?;
    let (in_flight, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
    registry.register_collector(Box::new(Scrape {
        models: Arc::clone(&models),
        in_flight: Arc::clone(&in_flight),
        dropped_traces: Arc::clone(&dropped),
        bodies,
        process: process::sample().map_err(|source| DaemonError::System { what: "cannot start a thread", source })?,
        gpus,
    }));
    let start = |traces: &crate::config::TraceConfig| Traces::start(&traces.endpoint, traces.share, dropped);
    let traces = config.traces.as_ref().map(start).transpose()?;
    Ok(Engine::new(Parts { models, registry, traces, in_flight }))
}

/// What models compute with.
pub(crate) fn means(config: &Config, gpu: Option<Arc<Device>>) -> Result<Means, DaemonError> {
    let name = gpu.as_ref().map(|device| device.name().to_owned());
    Ok(Means {
        host: Arc::new(machine::host(cores().get(), config.compute_threads, name)),
        pool: Arc::new(ThreadPool::with_num_threads(config.compute_threads)),
        graphs: Arc::default(),
        onnxruntime: onnxruntime(config)?,
        gpu,
        limiter: config.rate_limit.clone().map(RateLimiter::new),
        load_threads: config.models.load_threads,
        concurrency: config.concurrency,
        response_cache: config.cache.is_some(),
    })
}

/// An empty cache, and what the registry says of it.
fn cache(options: cache::Options, registry: &mut Registry) -> Result<Arc<Cache>, DaemonError> {
    let cache = Cache::start(options, cache::meters::Meters::register(registry));
    let cache = Arc::new(cache.map_err(|error| DaemonError::Config(vec![format!("cache.redis: {error}")]))?);
    registry.register_collector(Box::new(cache::scrape::Scrape(Arc::clone(&cache))));
    Ok(cache)
}

/// ONNX Runtime: where the configuration or the environment says, which must be right, or in a usual place.
fn onnxruntime(config: &Config) -> Result<Option<&'static Library>, DaemonError> {
    let named = match &config.onnxruntime {
        OnnxRuntime::Off => None,
        OnnxRuntime::At(path) => Some(path.clone()),
        OnnxRuntime::Auto => std::env::var_os(DYLIB_PATH).filter(|path| !path.is_empty()).map(PathBuf::from),
    };
    let usual = || {
        let loaded = Library::load(&onnxruntime::find()?, config.compute_threads);
        loaded.inspect_err(|error| tracing::warn!("{error}; rten computes ONNX models instead")).ok()
    };
    let found = match named {
        Some(path) => Some(Library::load(&path, config.compute_threads)?),
        None if config.onnxruntime == OnnxRuntime::Off => None,
        None => usual(),
    };
    let by = found.map_or_else(
        || "rten; models.onnxruntime would name ONNX Runtime's library".to_owned(),
        |library| format!("ONNX Runtime, {}", library.path().display()),
    );
    tracing::info!("ONNX models are computed by {by}");
    Ok(found)
}

/// The GPU that models run on, if they do.
pub(crate) fn gpu(config: &Config) -> Result<Option<Arc<Device>>, DaemonError> {
    if config.gpu.mode == GpuMode::Off {
        tracing::info!("models run on the CPU, as gpu.mode says");
        return Ok(None);
    }
    match Device::open(config.gpu.device, config.gpu.budget, &config.gpu.library_path) {
        Ok(device) => {
            let by = device.libraries();
            let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
            let (name, memory) = (device.name(), device.manager());
            tracing::info!(
                "models run on {name} and use {:.1} of its {:.1} GiB at most; cuDNN: {}, cuBLASLt: {}",
                gib(memory.budget_bytes()),
                gib(memory.total_bytes()),
                by.cudnn,
                by.cublaslt
            );
            Ok(Some(device))
        }
        Err(error) if config.gpu.mode == GpuMode::On => Err(DaemonError::Gpu(error)),
        Err(error) => {
            tracing::info!("models run on the CPU: {error}");
            Ok(None)
        }
    }
}

/// The memory of the GPU that models run on, if they do, and who watches it.
fn watched(
    gpu: Option<&Arc<Device>>,
    gpus: &Arc<Gpus>,
) -> Result<(Option<Arc<Manager>>, Option<Cleaner>), DaemonError> {
    let cleaner = gpu.map(|device| cleaner(device, gpus)).transpose()?;
    Ok((gpu.map(|device| Arc::clone(device.manager())), cleaner))
}

/// Watches that memory, and the device's as a whole, as far as its driver reports it.
fn cleaner(device: &Arc<Device>, gpus: &Arc<Gpus>) -> Result<Cleaner, DaemonError> {
    let (uuid, gpus) = (device.uuid(), Arc::clone(gpus));
    let whole = move |now: Instant| {
        // A replay is of another machine's.
        let readings = if *gpus.source() == Source::Driver { gpus.read(now) } else { Vec::new() };
        let reading = readings.into_iter().find(|reading| Some(&reading.device.uuid) == uuid.as_ref());
        let pressure = |reading: &Reading| Some(gpus.memory(reading, 1.0, now)?.pressure);
        Whole {
            pressure: reading.as_ref().and_then(pressure),
            process_bytes: reading.as_ref().and_then(|reading| reading.of_process(std::process::id())),
        }
    };
    let started = Cleaner::start(Arc::clone(device.manager()), whole);
    started.map_err(|source| DaemonError::System { what: "cannot start a thread", source })
}

/// How many cores this process may use.
pub(crate) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
