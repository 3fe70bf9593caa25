//! A daemon's fronts on free ports, before a real engine whose models echo their inputs, and a client that shows
//! what was really on the wire.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use ::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use proofload_daemon::admit::concurrency::Defaults;
use proofload_daemon::app::App;
use proofload_daemon::config::access::Access;
use proofload_daemon::config::gpu::GpuUse;
use proofload_daemon::config::models::OnnxRuntime;
use proofload_daemon::config::rate_limit::{ByAddress, Shared as SharedLimits};
use proofload_daemon::config::{Config, TraceConfig};
use proofload_daemon::drain::Outcome;
use proofload_daemon::engine::Engine;
use proofload_daemon::front::FrontLimits;
use proofload_daemon::front::doors::limits::Limits;
use proofload_daemon::gpu::monitor;
use proofload_daemon::jobs;
use proofload_daemon::lifecycle::{Control, Options};
use proofload_daemon::reload::Reloadable;
use proofload_daemon::repository::source::Source;
use proofload_daemon::sched::queue;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Largest body that the server takes.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// What the server's clients may ask for: three of the largest bodies at a time.
pub(crate) const LIMITS: FrontLimits = FrontLimits {
    max_body_bytes: MAX_BODY_BYTES,
    total_body_bytes: 3 * MAX_BODY_BYTES,
    max_connections: 64,
    http2_ping: Duration::from_secs(20),
};

/// This machine's own GPUs, if it has any.
const GPUS: monitor::Options = monitor::Options { period: Duration::from_secs(1), replay: None, record: None };

/// How much long work it takes on.
const JOBS: jobs::Limits = jobs::Limits {
    workers: 1,
    queued: 4,
    queued_bytes: MAX_BODY_BYTES,
    run: Duration::from_secs(60),
    retention: Duration::from_secs(60),
    results: 8,
    result_bytes: 1 << 20,
};

/// Name and configuration of the models: simulated ones give back their inputs.
pub(crate) const MODELS: [(&str, &str); 4] = [
    (
        "echo",
        r#"backend: "simulated" max_batch_size: 8
           input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
           parameters { key: "mean_ms" value { string_value: "0" } }"#,
    ),
    (
        "texts",
        r#"backend: "simulated"
           input { name: "x" data_type: TYPE_STRING dims: [ -1 ] } output { name: "y" data_type: TYPE_STRING dims: [ -1 ] }
           parameters { key: "mean_ms" value { string_value: "0" } }"#,
    ),
    (
        "slow",
        r#"backend: "simulated"
           input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
           parameters { key: "mean_ms" value { string_value: "300" } }"#,
    ),
    (
        "brief",
        r#"backend: "simulated"
           input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
           parameters { key: "mean_ms" value { string_value: "10" } }"#,
    ),
];

/// A running server.
pub(crate) struct Server {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) engine: Engine,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Outcome>,
    /// Kept where clients may load models again.
    _models: Option<TempDir>,
}

impl Server {
    /// Starts it.
    pub(crate) async fn start() -> Self {
        Self::with_limits(LIMITS).await
    }

    /// Starts it with other limits.
    pub(crate) async fn with_limits(front: FrontLimits) -> Self {
        Self::start_on(&Config { front, ..config(&folder(MODELS)) }).await
    }

    /// Starts it with traces that go somewhere.
    pub(crate) async fn with_traces(traces: Option<TraceConfig>) -> Self {
        Self::start_on(&Config { traces, ..config(&folder(MODELS)) }).await
    }

    /// Starts it with other models, each a name and its configuration.
    pub(crate) async fn with_models(models: &[(String, String)]) -> Self {
        let models = folder(models.iter().map(|(name, config)| (name.as_str(), config.as_str())));
        Self::start_on(&config(&models)).await
    }

    /// Starts it without any model; clients load them.
    pub(crate) async fn controlled() -> Self {
        let empty = folder([]);
        let mut config = config(&empty);
        config.models.control = Control::Explicit(Vec::new());
        Self::start_on(&config).await
    }

    /// Starts it with these rules of access; clients may load models.
    pub(crate) async fn with_access(access: Access) -> Self {
        Self::behind(access, None).await
    }

    /// Starts it with these rules of access and a rate of each address; clients may load models.
    pub(crate) async fn behind(access: Access, by_address: Option<ByAddress>) -> Self {
        Self::counting(access, by_address, None).await
    }

    /// The same, counting together with others.
    pub(crate) async fn counting(
        access: Access,
        by_address: Option<ByAddress>,
        shared_limits: Option<SharedLimits>,
    ) -> Self {
        let models = folder(MODELS);
        let mut config = Config { access, by_address, shared_limits, ..config(&models) };
        config.models.control = Control::Explicit(vec!["*".to_owned()]);
        Self { _models: Some(models), ..Self::start_on(&config).await }
    }

    /// Starts it with this configuration.
    pub(crate) async fn start_on(config: &Config) -> Self {
        Self::reloadable(config).await.0
    }

    /// The same, with what can change while it serves.
    pub(crate) async fn reloadable(config: &Config) -> (Self, Reloadable) {
        let app = App::start(config).await.unwrap();
        let reloadable = app.reloadable().clone();
        let (http, grpc, engine) = (app.http(), app.grpc(), app.engine().clone());
        let metrics = app.metrics().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async {
            let stopped = async { stopped.await.unwrap_or_default() };
            app.run_until(stopped).await.unwrap()
        });
        (Self { http, grpc, metrics, engine, stop, serving, _models: None }, reloadable)
    }

    /// Asks it to stop. The handle ends when everything in flight is answered, or the grace period is over.
    pub(crate) fn begin_stop(self) -> JoinHandle<Outcome> {
        self.stop.send(()).unwrap();
        self.serving
    }
}

/// A repository of these models, each a name and its configuration.
pub(crate) fn folder<'a>(models: impl IntoIterator<Item = (&'a str, &'a str)>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, config) in models {
        fs::create_dir_all(folder.path().join(name).join("1")).unwrap();
        fs::write(folder.path().join(name).join("config.pbtxt"), config).unwrap();
    }
    folder
}

/// A configuration with the models of a repository.
pub(crate) fn config(models: &TempDir) -> Config {
    Config {
        bind: Ipv4Addr::LOCALHOST.into(),
        http_port: 0,
        grpc_port: 0,
        metrics_port: Some(0),
        front: LIMITS,
        connections: Limits::default(),
        tls: None,
        cors: None,
        allow_client_shm: true,
        grace: Duration::from_secs(5),
        exit_with_stdin: false,
        rate_limit: None,
        models: Options {
            sources: vec![Source::Folder(models.path().to_owned())],
            control: Control::None,
            exit_on_error: true,
            queue: queue::Limits { requests: 64, bytes: 1 << 20 },
            load_threads: NonZeroUsize::MIN,
        },
        access: Access::default(),
        by_address: None,
        shared_limits: None,
        concurrency: Defaults { adaptive: false, min: 1, max: 4096 },
        compute_threads: 1,
        onnxruntime: OnnxRuntime::Off,
        gpu: GpuUse::default(),
        nice: 0,
        jobs: JOBS,
        traces: None,
        gpus: GPUS,
        cache: None,
        log_level: None,
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A header as text; empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
}

/// Sends one request over a fresh HTTP/1.1 connection.
pub(crate) async fn send(to: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    send_over(TcpStream::connect(to).await.unwrap(), request).await
}

/// The same over a connection that was opened just now.
pub(crate) async fn send_over(stream: TcpStream, request: Request<Full<Bytes>>) -> Answer {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let answer = collect(sender.send_request(request).await.unwrap()).await;
    drop(sender);
    let _ = driver.await;
    answer
}

/// Waits for the whole answer.
pub(crate) async fn collect(response: ::http::Response<hyper::body::Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
}

/// A request with these headers.
pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header("host", "test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}
