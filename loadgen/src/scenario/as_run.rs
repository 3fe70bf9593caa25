//! A scenario as it will run: validated, every default filled in. Anything of this type can be driven.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proofload_run::criteria::{Slo, Threshold};
use proofload_run::manifest::{LoadModel, ScenarioKind, Step};
use proofload_wire::tensor::DataType;
use serde::Serialize;

use crate::dispatch::retry::Retries;
use crate::plan::{Think, Timing};
use crate::transport::{ConnectionPolicy, HttpVersion, TlsOptions};

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Which question it asks.
    pub kind: ScenarioKind,
    /// Seed of arrivals and payloads.
    pub seed: u64,
    /// The file as read.
    #[serde(skip)]
    pub source: Source,
    /// Where the load goes; `None` means a daemon of our own.
    pub target: Option<Target>,
    /// The load.
    pub load: Load,
    /// What is sent; at least one entry.
    pub mix: Vec<MixEntry>,
    /// Requests that users make one after the other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub journeys: Vec<Journey>,
    /// The service level.
    pub slo: Option<Slo>,
    /// The thresholds.
    pub thresholds: Vec<Threshold>,
}

impl Scenario {
    /// The names of all values that answers leave to later requests, in a fixed order.
    pub fn carried(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.mix.iter().flat_map(|entry| entry.request.captures().keys()).collect();
        names.into_iter().cloned().collect()
    }
}

/// Requests that a user makes one after the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Journey {
    /// Its name.
    pub name: String,
    /// Its weight among journeys and single entries, 0 or more.
    pub weight: f64,
    /// Indices of entries, in order; at least one.
    pub requests: Vec<u16>,
}

/// Where a scenario came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Its text, byte for byte.
    pub text: String,
    /// The `--set` overrides, in order.
    pub overrides: Vec<String>,
}

/// Base URLs of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The HTTP side.
    pub http: Option<String>,
    /// The gRPC side.
    pub grpc: Option<String>,
    /// Where Prometheus text is read.
    pub metrics: Option<String>,
    /// Which HTTP the HTTP side speaks.
    pub http_version: HttpVersion,
    /// Headers of every request; `${env:NAME}` in a value stands for a variable of the environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// How TLS is spoken where a URL asks for it.
    pub tls: Option<TlsOptions>,
}

/// The load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Load {
    /// Open or closed, with what only one of them has.
    #[serde(flatten)]
    pub model: Model,
    /// The steps, warm-up included, without gaps from 0.
    pub steps: Vec<Step>,
    /// The most connections; `None` for as many as are needed.
    pub max_connections: Option<u32>,
    /// How connections are opened and used again.
    pub connections: ConnectionPolicy,
    /// Which failed attempts are made again; `None` for none.
    pub retries: Option<Retries>,
    /// Time limit of a request, from its intended arrival.
    pub request_timeout_ns: u64,
    /// How long to wait at the end for what is in flight.
    pub drain_ns: u64,
    /// Share of requests that start a sampled trace.
    pub traces: f64,
    /// Whether a stress scenario ends when it has clearly passed its break.
    pub stop_after_break: bool,
}

/// Open or closed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "model", rename_all = "snake_case")]
pub enum Model {
    /// Arrivals come when the plan says.
    Open {
        /// When.
        arrivals: Timing,
    },
    /// Users wait for their answers.
    Closed {
        /// How long they think before each request.
        think: Think,
    },
}

impl Model {
    /// The manifest's word.
    pub fn load_model(&self) -> LoadModel {
        match self {
            Self::Open { .. } => LoadModel::Open,
            Self::Closed { .. } => LoadModel::Closed,
        }
    }
}

/// One entry of the mix.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MixEntry {
    /// Its name, unique in the scenario.
    pub name: String,
    /// Its weight, 0 or more.
    pub weight: f64,
    /// Whether each request is made unlike every other.
    pub payload: PayloadPolicy,
    /// What is sent.
    #[serde(flatten)]
    pub request: RequestSpec,
    /// A service level of its own.
    pub slo: Option<Slo>,
}

/// Whether payloads repeat.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadPolicy {
    /// Each request differs from every other.
    Unique,
    /// Payloads are sent as they are.
    Fixed,
    /// Requests repeat contents out of a set, the popular ones often.
    Zipf {
        /// Size of the set.
        items: u32,
        /// How unequal their popularity is.
        exponent: f64,
    },
}

impl PayloadPolicy {
    /// Whether requests are made to differ.
    pub fn varies(self) -> bool {
        !matches!(self, Self::Fixed)
    }

    /// The word in scenarios and manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unique => "unique",
            Self::Fixed => "fixed",
            Self::Zipf { .. } => "zipf",
        }
    }
}

/// What an entry sends.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RequestSpec {
    /// Plain HTTP.
    Http(HttpSpec),
    /// KServe inference.
    Kserve(KserveSpec),
    /// Generation of text.
    Completion(CompletionSpec),
}

/// A plain HTTP request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpSpec {
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers; `${env:NAME}` in a value stands for a variable of the environment.
    pub headers: BTreeMap<String, String>,
    /// Files to send; one is drawn for each request.
    pub files: Vec<PathBuf>,
    /// A body written in the scenario; used when there are no files.
    pub body: String,
    /// The model behind it, where the server's statistics count it under one.
    pub model: String,
    /// The status expected; any 2xx when not stated.
    pub expect_status: Option<u16>,
    /// The least length of an answer.
    pub expect_min_bytes: u64,
    /// What the answer's content type starts with.
    pub expect_content_type: Option<String>,
    /// What later requests of a journey need of the answer: a name and a JSON pointer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub captures: BTreeMap<String, String>,
}

/// How a KServe request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KserveProtocol {
    /// HTTP, everything in JSON.
    KserveHttpJson,
    /// HTTP, binary tensors.
    KserveHttpBinary,
    /// gRPC.
    KserveGrpc,
    /// gRPC, as a stream of one request, with as many answers as the model gives.
    KserveGrpcStream,
}

/// How a request for text travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CompletionProtocol {
    /// OpenAI's chat completions.
    #[serde(rename = "openai_chat")]
    OpenAiChat,
    /// OpenAI's text completions.
    #[serde(rename = "openai_completions")]
    OpenAiCompletions,
    /// KServe's `generate`.
    Generate,
}

/// A request for text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompletionSpec {
    /// How it travels.
    pub protocol: CompletionProtocol,
    /// Whether the answer comes in pieces.
    pub stream: bool,
    /// The model.
    pub model: String,
    /// Path and query.
    pub path: String,
    /// Headers; `${env:NAME}` in a value stands for a variable of the environment.
    pub headers: BTreeMap<String, String>,
    /// What is asked.
    pub prompt: Prompt,
    /// The system message of a chat.
    pub system: Option<String>,
    /// The most tokens of an answer; the server's choice when not stated.
    pub max_tokens: Option<u32>,
    /// What else stands in the request's body.
    pub parameters: serde_json::Map<String, serde_json::Value>,
}

/// What a request for text asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// This, its holes filled.
    Text(String),
    /// The contents of one of these files.
    Files(Vec<PathBuf>),
    /// So many words.
    Words(u32),
}

impl KserveProtocol {
    /// Whether it goes to the gRPC side of the target.
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::KserveGrpc | Self::KserveGrpcStream)
    }
}

/// A KServe inference request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KserveSpec {
    /// How it travels.
    pub protocol: KserveProtocol,
    /// The model.
    pub model: String,
    /// Its version; the server's choice when not stated.
    pub version: Option<String>,
    /// Headers, or metadata in gRPC; `${env:NAME}` in a value stands for a variable of the environment.
    pub headers: BTreeMap<String, String>,
    /// The inputs.
    pub inputs: Vec<InputSpec>,
    /// Outputs that must be in the answer.
    pub outputs: Vec<String>,
}

/// An input tensor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InputSpec {
    /// Name.
    pub name: String,
    /// Type.
    #[serde(serialize_with = "word")]
    pub datatype: DataType,
    /// Shape, no dimension negative.
    pub shape: Vec<i64>,
    /// Contents.
    pub data: DataSpec,
}

/// What is in an input tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DataSpec {
    /// Seeded values.
    Random,
    /// Zeros.
    Zeros,
}

// `serialize_with` hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn word<S: serde::Serializer>(datatype: &DataType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(datatype.as_str())
}

impl RequestSpec {
    /// The protocol's word in scenarios' manifests.
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Kserve(spec) => match spec.protocol {
                KserveProtocol::KserveHttpJson => "kserve_http_json",
                KserveProtocol::KserveHttpBinary => "kserve_http_binary",
                KserveProtocol::KserveGrpc => "kserve_grpc",
                KserveProtocol::KserveGrpcStream => "kserve_grpc_stream",
            },
            Self::Completion(spec) => match (spec.protocol, spec.stream) {
                (CompletionProtocol::OpenAiChat, true) => "openai_chat",
                (CompletionProtocol::OpenAiChat, false) => "openai_chat_whole",
                (CompletionProtocol::OpenAiCompletions, true) => "openai_completions",
                (CompletionProtocol::OpenAiCompletions, false) => "openai_completions_whole",
                (CompletionProtocol::Generate, true) => "generate_stream",
                (CompletionProtocol::Generate, false) => "generate",
            },
        }
    }

    /// What it leaves to later requests of a journey.
    pub fn captures(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        match self {
            Self::Http(spec) => &spec.captures,
            Self::Kserve(_) | Self::Completion(_) => &NONE,
        }
    }

    /// Whether it needs the gRPC side of the target.
    pub fn is_grpc(&self) -> bool {
        matches!(self, Self::Kserve(spec) if spec.protocol.is_grpc())
    }

    /// Whether its answers come in pieces, so that it is known when their tokens came.
    pub fn is_streamed(&self) -> bool {
        match self {
            Self::Http(_) => false,
            Self::Kserve(spec) => spec.protocol == KserveProtocol::KserveGrpcStream,
            Self::Completion(spec) => spec.stream,
        }
    }

    /// The model that it asks; empty for plain HTTP that names none.
    pub fn model(&self) -> &str {
        match self {
            Self::Http(spec) => &spec.model,
            Self::Kserve(spec) => &spec.model,
            Self::Completion(spec) => &spec.model,
        }
    }
}
