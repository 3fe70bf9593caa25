//! An assembled daemon with a repository of its own, and ways to ask it.

use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use proofload_daemon::DaemonArgs;
use proofload_daemon::app::App;
use proofload_daemon::engine::{Engine, Failed, Inference, Protocol, RequestContext, ServeError};
use proofload_wire::infer::InferRequest;
use proofload_wire::tensor::Tensor;
use proofload_wire::types::ModelStatistics;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A simulated model of constant service time; `more` is added to its configuration.
pub(crate) fn simulated(mean_ms: f64, instances: usize, more: &str) -> String {
    in_group(mean_ms, &format!("count: {instances}"), more)
}

/// The same, with an instance group that says this.
pub(crate) fn in_group(mean_ms: f64, group: &str, more: &str) -> String {
    format!(
        r#"backend: "simulated"
           input {{ name: "x" data_type: TYPE_FP32 dims: [ -1 ] }} output {{ name: "y" data_type: TYPE_FP32 dims: [ -1 ] }}
           instance_group {{ {group} }}
           parameters {{ key: "mean_ms" value {{ string_value: "{mean_ms}" }} }} {more}"#
    )
}

/// A daemon, and the folder with its models.
pub(crate) struct Daemon {
    pub(crate) app: App,
    _repository: TempDir,
}

impl Daemon {
    /// Starts a daemon with one model, called `m`.
    pub(crate) async fn with_model(config: &str, grace: Duration) -> Self {
        let repository = repository("m", config);
        let args = arguments(vec![repository.path().to_owned()], grace);
        Self { app: start(&args).await, _repository: repository }
    }

    /// Starts a daemon with several models by name, and a configuration file that says this.
    pub(crate) async fn with_models(models: &[(&str, String)], file: &str) -> Self {
        let repository = tempfile::tempdir().unwrap();
        for (name, config) in models {
            add_model(&repository, name, config);
        }
        let path = repository.path().join("daemon.toml");
        fs::write(&path, file).unwrap();
        let args = arguments(vec![repository.path().to_owned()], Duration::from_secs(5));
        Self { app: start(&DaemonArgs { config: Some(path), ..args }).await, _repository: repository }
    }

    /// What serves.
    pub(crate) fn engine(&self) -> Engine {
        self.app.engine().clone()
    }
}

/// A repository with one model.
pub(crate) fn repository(name: &str, config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    add_model(&folder, name, config);
    folder
}

fn add_model(repository: &TempDir, name: &str, config: &str) {
    fs::create_dir_all(repository.path().join(name)).unwrap();
    fs::write(repository.path().join(name).join("config.pbtxt"), config).unwrap();
}

/// A daemon with the built-in models.
pub(crate) async fn built_in() -> App {
    start(&arguments(Vec::new(), Duration::from_secs(5))).await
}

pub(crate) fn arguments(model_repository: Vec<PathBuf>, grace: Duration) -> DaemonArgs {
    DaemonArgs {
        model_repository,
        http_port: Some(0),
        grpc_port: Some(0),
        grace: Some(grace.as_secs_f64()),
        ..DaemonArgs::default()
    }
}

pub(crate) async fn start(args: &DaemonArgs) -> App {
    App::start(&args.configuration([], NonZeroUsize::new(2).unwrap()).unwrap()).await.unwrap()
}

/// A request for `m` with these numbers.
pub(crate) fn request(numbers: &[f32]) -> InferRequest {
    let shape = vec![i64::try_from(numbers.len()).unwrap()];
    InferRequest {
        model_name: "m".to_owned(),
        inputs: vec![Tensor::from_f32("x", shape, numbers).unwrap()],
        ..InferRequest::default()
    }
}

/// Asks the engine, with a caller's deadline if there is one.
pub(crate) async fn ask(
    engine: &Engine,
    request: InferRequest,
    within: Option<Duration>,
) -> Result<Inference, ServeError> {
    ask_all(engine, request, within).await.map_err(|failed| failed.error)
}

/// The same; a failure says where its time went.
pub(crate) async fn ask_all(
    engine: &Engine,
    request: InferRequest,
    within: Option<Duration>,
) -> Result<Inference, Failed> {
    let context = context();
    let deadline = within.map(|within| context.received + within);
    engine.infer(request, RequestContext { deadline, ..context }, Ok).await
}

/// A request that comes now and says nothing about itself.
pub(crate) fn context() -> RequestContext {
    RequestContext {
        received: Instant::now(),
        priority: 0,
        timeout: None,
        deadline: None,
        trace: None,
        protocol: Protocol::Internal,
        part_of: None,
        held_bytes: 0,
    }
}

/// The counts of `m`.
pub(crate) fn statistics(engine: &Engine) -> ModelStatistics {
    engine.statistics(Some("m"), None).unwrap().remove(0)
}

/// The value of a metric whose labels hold all of `labels`.
pub(crate) fn metric(engine: &Engine, name: &str, labels: &[&str]) -> u64 {
    let text = engine.metrics_text();
    let wanted =
        |line: &&str| line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label));
    let line = text.lines().find(wanted).unwrap_or_else(|| panic!("no {name} {labels:?} in\n{text}"));
    let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    value as u64
}

/// Waits until so many requests are in flight, of which so many wait for an instance.
pub(crate) async fn until(engine: &Engine, in_flight: usize, waiting: u64) {
    let begun = Instant::now();
    while engine.in_flight() != in_flight || metric(engine, "proofload_queue_requests", &[]) != waiting {
        assert!(begun.elapsed() < Duration::from_secs(5), "{in_flight} in flight, {waiting} waiting: never");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Status, headers and body of an answer over HTTP.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Sends `m` one number over a fresh connection.
pub(crate) async fn post(to: SocketAddr, parameters: &str) -> Result<Answer, hyper::Error> {
    let body = format!(
        r#"{{"parameters":{{{parameters}}},"inputs":[{{"name":"x","datatype":"FP32","shape":[1],"data":[0.5]}}]}}"#
    );
    exchange(to, "POST", "/v2/models/m/infer", body).await
}

/// One request over a fresh connection.
pub(crate) async fn exchange(to: SocketAddr, method: &str, path: &str, body: String) -> Result<Answer, hyper::Error> {
    exchange_with(to, method, path, &[], body).await
}

/// One request with these headers over a fresh connection.
pub(crate) async fn exchange_with(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Result<Answer, hyper::Error> {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "test");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = sender.send_request(request.body(Full::new(Bytes::from(body))).unwrap()).await?;
    let (head, body) = response.into_parts();
    Ok(Answer { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
}
