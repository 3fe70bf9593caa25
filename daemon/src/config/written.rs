//! The configuration file as it is written. Types and defaults only; whether the values can run is `validate`'s
//! affair.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proofload_wire::limits::DEFAULT_MAX_BODY_BYTES;
use serde::{Deserialize, Serialize};

pub use super::access::Access;
pub use super::concurrency::Concurrency;
pub use super::connections::Connections;
pub use super::cors::Cors;
pub use super::gpu::Gpu;
pub use super::jobs::Jobs;
pub use super::rate_limit::AddressRate;
pub use super::tls::Tls;

/// A configuration file. Every section and every key may be left out.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// What clients see.
    pub server: Server,
    /// What is served.
    pub models: Models,
    /// Whether models run on a GPU.
    pub gpu: Gpu,
    /// Who may ask, and who may change what is served.
    pub access: Access,
    /// How often one address may ask.
    pub rate_limit: AddressRate,
    /// How many requests models may have at a time.
    pub concurrency: Concurrency,
    /// How much long work is taken on.
    pub jobs: Jobs,
    /// How the process runs.
    pub process: Process,
    /// What it tells about itself.
    pub telemetry: Telemetry,
    /// Which answers are kept.
    pub cache: super::cache::Written,
    /// How much patience and room a connection gets.
    pub connections: Connections,
    /// Certificates.
    pub tls: Tls,
    /// Web pages of which origins may ask.
    pub cors: Cors,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address to bind; loopback by default.
    pub bind: String,
    /// Port for HTTP; 0 for any free one.
    pub http_port: u16,
    /// Port for gRPC; 0 for any free one.
    pub grpc_port: u16,
    /// Port for metrics beside HTTP's, as Triton has one; 0 for any free one, none for no further port.
    pub metrics_port: Option<u16>,
    /// Largest body of a request.
    pub max_body_bytes: usize,
    /// Most bytes of bodies that are held at a time, over all requests.
    pub total_body_bytes: usize,
    /// How often a peer over HTTP/2 is asked whether it is still there, and how long it has to answer.
    pub http2_ping_seconds: f64,
    /// Most connections at a time.
    pub max_connections: usize,
    /// Whether clients may hand over tensors in shared memory.
    pub allow_client_shm: bool,
    /// How long requests in flight may take to finish when the daemon is stopped.
    pub grace_seconds: f64,
    /// Whether the end of standard input stops the daemon.
    pub exit_with_stdin: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1".to_owned(),
            http_port: 8000,
            grpc_port: 8001,
            metrics_port: None,
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            total_body_bytes: 8 * DEFAULT_MAX_BODY_BYTES,
            http2_ping_seconds: 20.0,
            max_connections: 4096,
            allow_client_shm: false,
            grace_seconds: 10.0,
            exit_with_stdin: false,
        }
    }
}

/// `[models]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Models {
    /// Model repositories in Triton's layout; none for the built-in models.
    pub repositories: Vec<PathBuf>,
    /// Who decides which models are loaded: `none`, `explicit` or `poll`.
    pub control: String,
    /// With `explicit`, the models of the start; `*` for all.
    pub load: Vec<String>,
    /// With `poll`, how often the repositories are looked at; 15 s by default.
    pub poll_seconds: Option<f64>,
    /// Whether a model that cannot be loaded at the start keeps the daemon from starting.
    pub exit_on_error: bool,
    /// Models that are loaded side by side.
    pub load_threads: usize,
    /// Most requests that wait for one model, unless its configuration says otherwise.
    pub queue_requests: usize,
    /// Most bytes that the requests that wait for one model keep in memory.
    pub queue_bytes: usize,
    /// Whether instances of all models share resources.
    pub rate_limit: RateLimit,
    /// How much there is of each; by default what the neediest instance takes.
    pub rate_limit_resources: BTreeMap<String, u64>,
    /// Threads that compute models on the CPU; by default all cores but one.
    pub compute_threads: Option<usize>,
    /// ONNX Runtime's shared library, `auto` to look for it, or `off`.
    pub onnxruntime: String,
}

impl Default for Models {
    fn default() -> Self {
        Self {
            repositories: Vec::new(),
            control: "none".to_owned(),
            load: Vec::new(),
            poll_seconds: None,
            exit_on_error: true,
            load_threads: 4,
            queue_requests: 512,
            queue_bytes: 256 * 1024 * 1024,
            rate_limit: RateLimit::Off,
            rate_limit_resources: BTreeMap::new(),
            compute_threads: None,
            onnxruntime: "auto".to_owned(),
        }
    }
}

/// Triton's `--rate-limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RateLimit {
    /// An instance executes as soon as there is work.
    #[default]
    Off,
    /// And as soon as the resources that its `rate_limiter` names are free; those that executed least go first.
    ExecutionCount,
}

/// `[process]`
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// How much the daemon steps back behind other processes.
    pub nice: i32,
}

/// `[telemetry]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// A collector's gRPC endpoint; none for no traces.
    pub otlp_endpoint: Option<String>,
    /// The share of requests without a caller's decision that are traced.
    pub trace_share: f64,
    /// The least important of the daemon's own messages that are shown; by default `RUST_LOG`, or else `info`.
    pub log_level: Option<LogLevel>,
    /// Time between two readings of the GPUs, in ms.
    pub gpu_sample_ms: f64,
    /// A recording that takes the place of this machine's GPUs.
    pub gpu_replay: Option<PathBuf>,
    /// Where readings of the GPUs are recorded.
    pub gpu_record: Option<PathBuf>,
}

/// How important a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they are what they say")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            trace_share: 1.0,
            log_level: None,
            gpu_sample_ms: 100.0,
            gpu_replay: None,
            gpu_record: None,
        }
    }
}
