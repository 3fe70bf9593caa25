//! `findings.json`: what the analysis of a run found, complete enough that every report is made from it alone.
//!
//! Every figure carries its unit in its name (`_ns`, `_per_s`, `_share`), stands beside the number of samples it
//! comes from, and has an interval where it is an estimate. Nothing is computed here.

mod anomalies;
mod attribution;
mod budget;
mod cost;
mod endurance;
mod figures;
mod forecast;
mod happenings;
mod incidents;
mod judged;
mod model;
mod phases;
mod run;
mod schema;
mod shape;
mod spike;
mod timeline;
mod tokens;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::capacity::Capacity;
use crate::verdict::Verdict;

pub use anomalies::{Anomalies, AnomalousMetric, AnomalyEpisode, ComparedWith};
pub use attribution::{Attribution, Group, SlowExample, SlowPart, SlowState, SlowTrait, SlowWhen};
pub use budget::{ErrorBudget, FastestBurn};
pub use cost::{Computing, Cost, CostBasis, CostFigure, Estimate, PriceUnit, PricedMachine};
pub use endurance::{
    Burst, BurstClass, ChangePoint, Drift, Endurance, ErrorBursts, Held, HeldLoad, MemoryTrend, Pattern, Trend,
    TrendEstimate,
};
pub use figures::{Latency, LatencyBin, Percentile, Rates, Share, Totals};
pub use forecast::{Ahead, Forecast, Skill};
pub use happenings::Happening;
pub use incidents::{Incident, IncidentKind};
pub use judged::{
    Audit, Balance, BehindSecond, BreakingKind, BreakingPoint, Conservation, Fault, Kept, LateEffect, SloResult,
    Standing, ThresholdResult, Vitals, Warning,
};
pub use model::{
    BatchTime, CapacityModel, Fitted, Replicas, ReplicasFor, Roofline, ServedStep, Service, Setting, Usl, WaitCheck,
};
pub use phases::{BatchSizes, PhaseBreakdown, PhasePart, ServerPhase, ServerPhases};
pub use run::RunSummary;
pub use schema::schema;
pub use shape::{CurvePoint, HeatColumn, HeatMap, LatencyShape};
pub use spike::{Spike, Within};
pub use timeline::{Bucket, SeriesFindings, Timeline};
pub use tokens::Tokens;

/// The whole of `findings.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Findings {
    /// [`crate::FORMAT_VERSION`] at the time of writing.
    pub format_version: u32,
    /// The strongest of the reasons' verdicts.
    pub verdict: Verdict,
    /// Why, the strongest first; never empty.
    pub reasons: Vec<Reason>,
    /// What does not turn the verdict but should be known.
    pub warnings: Vec<Warning>,
    /// What was run.
    pub run: RunSummary,
    /// Where every intended arrival went.
    pub totals: Totals,
    /// Rates over the measured time.
    pub rates: Rates,
    /// Latency of the measured successes; `None` when there is none.
    pub latency: Option<Latency>,
    /// Tokens of the measured successes; `None` where answers had none that we know of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// The distribution of that latency, in bins of equal width on a logarithmic scale.
    pub distribution: Vec<LatencyBin>,
    /// One row per step of the plan (slices, where a step is a ramp).
    pub steps: Vec<StepFindings>,
    /// One row per entry of the mix.
    pub entries: Vec<EntryFindings>,
    /// The run over time, everything included.
    pub timeline: Timeline,
    /// What went wrong, the most frequent first.
    pub errors: Vec<ErrorClass>,
    /// Where the latency went, per entry whose answers say so.
    pub phases: Vec<PhaseBreakdown>,
    /// Where the server's own counters say that time went, per model and step.
    #[serde(default)]
    pub server_phases: Vec<ServerPhases>,
    /// Batch sizes, per entry whose answers say so.
    pub batches: Vec<BatchSizes>,
    /// Selected series of the target, the generator and the GPUs.
    pub series: Vec<SeriesFindings>,
    /// Whether the generator was good enough to be believed.
    pub audit: Audit,
    /// Where the service level broke; `None` without a service level or outside scenarios that seek it.
    pub breaking_point: Option<BreakingPoint>,
    /// The highest rate that keeps the service level, by the steps of a climb; `None` where they do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// What was seen of the instances of the model with most requests; `None` where answers do not say what they met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// A model of them; `None` outside scenarios that seek the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<CapacityModel>,
    /// Replicas for a ladder of loads; `None` where no rate is known to be borne.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// What a spike did; `None` outside scenarios that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spike: Option<Spike>,
    /// Availability against its objective; `None` outside endurance scenarios.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_budget: Option<ErrorBudget>,
    /// What changed while the run went on; `None` where it was not meant to last, or too short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endurance: Option<Endurance>,
    /// The service levels over the measured time.
    pub slos: Vec<SloResult>,
    /// The thresholds, one by one.
    pub thresholds: Vec<ThresholdResult>,
    /// Our counts against the server's own.
    pub conservation: Vec<Conservation>,
    /// Why the slow requests were slow: of the whole run, then of each entry that has enough of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attribution: Vec<Attribution>,
    /// What happened that the load does not explain, by name, in order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<Incident>,
    /// What was odd and not explained by the load; `None` where the run was too short to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anomalies: Option<Anomalies>,
    /// What the requests cost; `None` where nothing was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// What else happened, in order of time: at most a few dozen, those of a kind together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub happenings: Vec<Happening>,
    /// The shape of the latency; `None` without a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<LatencyShape>,
    /// Where figures of a long run are going; empty of a shorter one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forecasts: Vec<Forecast>,
}

/// One reason for the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// What it makes of the run.
    pub verdict: Verdict,
    /// One sentence.
    pub sentence: String,
    /// What to do about it; empty for a pass.
    pub remedy: String,
}

/// One step, or one slice of a ramp.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepFindings {
    /// Its name.
    pub name: String,
    /// Index into the manifest's steps.
    pub step: u16,
    /// Start on the run's clock.
    pub start_ns: u64,
    /// End on the run's clock.
    pub end_ns: u64,
    /// Start of the measured part.
    pub measured_from_ns: u64,
    /// Arrivals per second (open) or users (closed), in the middle of the step.
    pub level: f64,
    /// Warm-up: shown, never judged.
    pub warm_up: bool,
    /// Whether the run ended before the step did.
    pub cut_short: bool,
    /// Measured arrivals by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Rates over the measured part.
    pub rates: Rates,
    /// Latency of the measured successes.
    pub latency: Option<Latency>,
    /// Tokens of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// The service levels in force; empty without one and in a warm-up.
    pub slos: Vec<SloResult>,
    /// Whether all of them were kept; `None` without one, in a warm-up, and where the step was not run.
    pub kept: Option<Kept>,
}

/// One entry of the mix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EntryFindings {
    /// Its name.
    pub name: String,
    /// How it was sent.
    pub protocol: String,
    /// Model or path.
    pub what: String,
    /// Its payload policy: `unique`, `fixed`.
    pub payload_policy: String,
    /// Share of the requests that the scenario asks for.
    pub planned_share: f64,
    /// Measured arrivals by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Answers that the server says came from its cache, of its successes.
    pub cache_hits: Share,
    /// Rates over the measured time.
    pub rates: Rates,
    /// Latency of its measured successes.
    pub latency: Option<Latency>,
    /// Tokens of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// Mean body sent.
    pub mean_bytes_out: f64,
    /// Mean body received, over its successes.
    pub mean_bytes_in: f64,
}

/// What went wrong in the same way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorClass {
    /// The entry.
    pub entry: String,
    /// [`crate::sample::Outcome::as_str`].
    pub outcome: String,
    /// HTTP status or gRPC code, 0 where there was no answer.
    pub status: u16,
    /// How many, warm-up and settling included.
    pub count: u64,
    /// As a share of the entry's samples.
    pub share: f64,
    /// The first, on the run's clock.
    pub first_ns: u64,
    /// The last, on the run's clock.
    pub last_ns: u64,
    /// What the server or the system said, a few of them.
    pub examples: Vec<String>,
}
