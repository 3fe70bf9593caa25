//! `run.json`: everything about a run that is known without looking at its samples.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::criteria::{Slo, Threshold};

/// The whole of `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// [`crate::FORMAT_VERSION`] at the time of writing.
    pub format_version: u32,
    /// Unique name of the run.
    pub run_id: String,
    /// What wrote it.
    pub tool: Tool,
    /// The scenario.
    pub scenario: Scenario,
    /// Seed of the plan of arrivals and of the payloads.
    pub seed: u64,
    /// The machine that generated the load.
    pub host: Host,
    /// What the load went to.
    pub target: Target,
    /// The load that was planned.
    pub load: Load,
    /// The steps of the plan, in order; they do not overlap.
    pub steps: Vec<Step>,
    /// The entries of the mix, in order.
    pub entries: Vec<Entry>,
    /// The service level, where the scenario states one.
    pub slo: Option<Slo>,
    /// The thresholds of the verdict.
    pub thresholds: Vec<Threshold>,
    /// One clock per shard.
    pub clocks: Vec<ClockAnchor>,
    /// How it ended; `None` while it runs, and for ever if its process was killed.
    pub end: Option<End>,
}

/// The program that wrote the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// `proofload`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit it was built from, where known.
    pub git_commit: Option<String>,
}

/// The scenario, as written and as run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it is for, in the author's words.
    pub description: String,
    /// Which question it asks.
    pub kind: ScenarioKind,
    /// The file it came from.
    pub path: String,
    /// The file's text, byte for byte.
    pub as_written: String,
    /// `--set key=value` overrides, in order.
    pub overrides: Vec<String>,
    /// After validation and defaults.
    pub as_run: serde_json::Value,
}

/// Which question a scenario asks. It decides whether crossing the SLO is a failure or the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScenarioKind {
    /// Does it bear this load?
    Sustained,
    /// Where does it break? Crossing the SLO is the result.
    Stress,
    /// Does it survive and recover from a burst?
    Spike,
    /// Does it bear this load for long?
    Endurance,
    /// How does it behave while the load grows? Crossing the SLO is the result.
    Ramp,
}

impl ScenarioKind {
    /// Whether crossing the SLO is the result and not a failure.
    pub fn seeks_the_limit(self) -> bool {
        matches!(self, Self::Stress | Self::Ramp)
    }

    /// Whether more load than the target can bear is part of the plan, so that sheds are expected.
    pub fn overloads(self) -> bool {
        matches!(self, Self::Stress | Self::Ramp | Self::Spike)
    }
}

/// The generating machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// Operating system and kernel.
    pub os: String,
    /// Processor model.
    pub cpu: String,
    /// Logical processors.
    pub cores: u32,
    /// Physical memory.
    pub memory_bytes: u64,
    /// GPUs, empty where there is no driver.
    pub gpus: Vec<Gpu>,
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gpu {
    /// Marketing name.
    pub name: String,
    /// NVML UUID.
    pub uuid: String,
    /// Memory.
    pub memory_bytes: u64,
    /// Driver version.
    pub driver: String,
}

/// What the load went to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Base URL of the HTTP side; empty when there is none.
    pub http_url: String,
    /// Base URL of the gRPC side; empty when there is none.
    pub grpc_url: String,
    /// Where its Prometheus metrics were looked for; empty when nowhere, and in folders of earlier versions.
    #[serde(default)]
    pub metrics_url: String,
    /// Whether proofload started it itself, on the same machine.
    pub embedded: bool,
    /// Its own name and version, from server metadata, where it says.
    pub server: Option<String>,
    /// Metadata and configuration of the models it was asked for, as it gave them.
    pub models: serde_json::Value,
}

/// Open or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadModel {
    /// Arrivals come when the plan says, whatever the target does.
    Open,
    /// Users wait for their answer before they send again.
    Closed,
}

/// What bounds the number of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionBound {
    /// `load.max_connections` of the scenario.
    Scenario,
    /// The system's limit on open files.
    OpenFiles,
    /// The system's range of local ports.
    LocalPorts,
}

/// The load that was planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Load {
    /// Open or closed.
    pub model: LoadModel,
    /// `constant`, `poisson`; empty in a closed model.
    pub arrivals: String,
    /// Length of the plan, without warm-up drain and final drain.
    pub duration_ns: u64,
    /// Number of intended arrivals in the open model.
    pub planned_arrivals: Option<u64>,
    /// The most connections the generator may open to each side of the target.
    pub max_connections: u32,
    /// What sets that number; `None` in folders of earlier versions, and where as many as users are allowed.
    #[serde(default)]
    pub connections_bound_by: Option<ConnectionBound>,
    /// Time limit of a request.
    pub request_timeout_ns: u64,
    /// SHA-free fingerprint of the plan: the same scenario and seed give the same one.
    pub plan_fingerprint: String,
}

/// One step of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// `step 3`, `base`, `peak` …
    pub name: String,
    /// Start on the run's clock.
    pub start_ns: u64,
    /// End on the run's clock.
    pub end_ns: u64,
    /// Level at the start: arrivals per second (open) or users (closed).
    pub level_start: f64,
    /// Level at the end; different from the start in a ramp.
    pub level_end: f64,
    /// The first part of the step that is not measured, so that what the step before left behind does not count.
    pub settle_ns: u64,
    /// Warm-up: driven, recorded, and left out of every figure.
    pub warm_up: bool,
}

/// One entry of the weighted mix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Its name in the scenario.
    pub name: String,
    /// Share of the requests, 0 to 1; the shares of all entries add up to 1.
    pub share: f64,
    /// `kserve_http_json`, `kserve_http_binary`, `kserve_grpc`, `http`.
    pub protocol: String,
    /// Model name for KServe; empty for plain HTTP.
    pub model: String,
    /// Path for plain HTTP; empty for KServe.
    pub path: String,
    /// `unique`, `fixed`.
    pub payload_policy: String,
    /// How many distinct payloads its files or tensors give before the policy.
    pub payloads: u32,
    /// A service level of its own.
    pub slo: Option<Slo>,
    /// Inferences one request asks for (the batch dimension it sends), for comparing with the server's counts.
    pub inferences_per_request: u32,
}

/// Ties a shard's monotonic clock to the calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockAnchor {
    /// The shard.
    pub shard: u16,
    /// Calendar time of the run's zero, ns since 1970-01-01 UTC.
    pub zero_unix_ns: u64,
    /// How far the two may be apart.
    pub error_bound_ns: u64,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The plan was carried out to its end.
    Completed,
    /// A limit was sought and clearly passed: the steps above it were not run.
    LimitFound,
    /// A threshold was missed that ends the run.
    Aborted,
    /// Somebody asked for an early end (Ctrl-C, SIGTERM).
    Interrupted,
    /// The target stopped answering.
    TargetLost,
    /// The generator itself failed.
    GeneratorFailed,
}

/// How a run ended, and what the generator counted while it ran. The analyzer compares the counts with the
/// samples: they must agree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// On the run's clock.
    pub at_ns: u64,
    /// Why.
    pub reason: EndReason,
    /// A sentence, where there is more to say.
    pub detail: String,
    /// Intended arrivals up to the end.
    pub intended: u64,
    /// Samples written, by [`crate::sample::Outcome::as_str`].
    pub outcomes: std::collections::BTreeMap<String, u64>,
    /// Samples that could not be written (a full disk): any makes the run INVALID.
    pub lost_samples: u64,
}
