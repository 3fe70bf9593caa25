//! `findings.json`: what the analysis of a run found, complete enough that every report is made from it alone.
//!
//! Every figure carries its unit in its name (`_ns`, `_per_s`, `_share`), stands beside the number of samples it
//! comes from, and has an interval where it is an estimate. Nothing is computed here.

mod anomalies;
mod budget;
mod judged;
mod spike;
mod tokens;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::capacity::Capacity;
use crate::criteria::Slo;
use crate::manifest::{ClockAnchor, EndReason, Host, LoadModel, ScenarioKind, Target, Tool};
use crate::verdict::Verdict;

pub use anomalies::{Anomalies, AnomalousMetric, AnomalyEpisode, ComparedWith};
pub use budget::{ErrorBudget, FastestBurn};
pub use judged::{
    Audit, Balance, BehindSecond, BreakingKind, BreakingPoint, Conservation, Fault, Kept, LateEffect, SloResult,
    Standing, ThresholdResult, Vitals, Warning,
};
pub use spike::{Spike, Within};
pub use tokens::Tokens;

/// The whole of `findings.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// What a spike did; `None` outside scenarios that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spike: Option<Spike>,
    /// Availability against its objective; `None` outside endurance scenarios.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_budget: Option<ErrorBudget>,
    /// The service levels over the measured time.
    pub slos: Vec<SloResult>,
    /// The thresholds, one by one.
    pub thresholds: Vec<ThresholdResult>,
    /// Our counts against the server's own.
    pub conservation: Vec<Conservation>,
    /// What was odd and not explained by the load; `None` where the run was too short to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anomalies: Option<Anomalies>,
}

/// One reason for the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What it makes of the run.
    pub verdict: Verdict,
    /// One sentence.
    pub sentence: String,
    /// What to do about it; empty for a pass.
    pub remedy: String,
}

/// What was run, where, against what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Unique name of the run.
    pub run_id: String,
    /// What wrote the run.
    pub tool: Tool,
    /// Scenario name.
    pub scenario: String,
    /// Which question it asks.
    pub kind: ScenarioKind,
    /// In the author's words.
    pub description: String,
    /// The file it came from.
    pub scenario_path: String,
    /// The file's text.
    pub scenario_as_written: String,
    /// `--set` overrides.
    pub overrides: Vec<String>,
    /// Seed of the plan.
    pub seed: u64,
    /// Fingerprint of the plan.
    pub plan_fingerprint: String,
    /// Open or closed.
    pub load_model: LoadModel,
    /// `constant`, `poisson`; empty in a closed model.
    pub arrivals: String,
    /// The service level of the run.
    pub slo: Option<Slo>,
    /// The generating machine.
    pub host: Host,
    /// What the load went to.
    pub target: Target,
    /// One clock per shard.
    pub clocks: Vec<ClockAnchor>,
    /// Length of the plan.
    pub planned_ns: u64,
    /// How much of it was driven.
    pub driven_ns: u64,
    /// Of that, what the figures cover: without warm-up and settling.
    pub measured_ns: u64,
    /// Why it ended; `None` when its process was killed.
    pub end: Option<EndReason>,
    /// More about the end.
    pub end_detail: String,
}

/// Where every intended arrival went, by [`crate::sample::Outcome::as_str`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// All samples.
    pub samples: u64,
    /// Of these, left out of the figures because they belong to a warm-up step.
    pub warm_up: u64,
    /// Of these, left out because they belong to the settling part of a step.
    pub settling: u64,
    /// What the figures cover.
    pub measured: u64,
    /// All samples by outcome; outcomes that did not occur are left out.
    pub outcomes: BTreeMap<String, u64>,
    /// The measured ones by outcome.
    pub measured_outcomes: BTreeMap<String, u64>,
}

/// Rates over the measured time. Arrivals count when they were intended, answers when they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// What the rates are over.
    pub measured_ns: u64,
    /// Intended arrivals per second.
    pub intended_per_s: f64,
    /// Requests that were really sent, per second.
    pub sent_per_s: f64,
    /// Successful answers per second.
    pub throughput_per_s: f64,
    /// Number of these answers.
    pub throughput_n: u64,
    /// Successful answers within the service level's latency, per second; all of them where there is none.
    pub goodput_per_s: f64,
    /// Number of these answers.
    pub goodput_n: u64,
    /// Errors as a share of what was answered or failed, sheds left out.
    pub errors: Share,
    /// Sheds as a share of all that was sent.
    pub sheds: Share,
    /// Attempts beyond the first that these arrivals took; the shares do not count them.
    #[serde(default)]
    pub retries: u64,
}

/// A share with its interval (95 %, widened for the correlation between seconds).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// How many of the `n` it is about.
    pub count: u64,
    /// Of how many.
    pub n: u64,
    /// `count / n`; 0 when `n` is 0, which is no data and no zero.
    pub share: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// Latency from the intended arrival, over successes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Number of successes.
    pub n: u64,
    /// Mean.
    pub mean_ns: f64,
    /// Lower end of the mean's interval.
    pub mean_low_ns: f64,
    /// Upper end of the mean's interval.
    pub mean_high_ns: f64,
    /// Largest.
    pub max_ns: u64,
    /// p50, p90, p95, p99, p99.9.
    pub percentiles: Vec<Percentile>,
}

impl Latency {
    /// One of the percentiles, if it is among them.
    pub fn percentile(&self, percentile: f64) -> Option<&Percentile> {
        self.percentiles.iter().find(|p| (p.percentile - percentile).abs() < 1e-9)
    }
}

/// One exact percentile of raw samples (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentile {
    /// Which, above 0 and below 100.
    pub percentile: f64,
    /// Its value.
    pub latency_ns: u64,
    /// Lower end of its interval (95 %, an order statistic).
    pub low_ns: u64,
    /// Upper end; `None` when the samples do not bound it.
    pub high_ns: Option<u64>,
    /// Whether at least ten samples lie beyond it. Below that it is one unlucky request, not a percentile.
    pub enough: bool,
}

/// One bin of the latency distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LatencyBin {
    /// From, inclusive.
    pub from_ns: f64,
    /// To, exclusive.
    pub to_ns: f64,
    /// Successes in it.
    pub n: u64,
}

/// One step, or one slice of a ramp.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// The run over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// Width of a bucket; a second, more in long runs.
    pub bucket_ns: u64,
    /// The buckets, from the run's zero, without gaps.
    pub buckets: Vec<Bucket>,
}

/// One bucket of time. Arrivals and their latency count when they were intended, the rest when it happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Start on the run's clock.
    pub t_ns: u64,
    /// Intended arrivals per second.
    pub intended_per_s: f64,
    /// Requests sent per second.
    pub sent_per_s: f64,
    /// Successful answers per second.
    pub throughput_per_s: f64,
    /// Successful answers within the service level's latency per second.
    pub goodput_per_s: f64,
    /// Errors per second.
    pub errors_per_s: f64,
    /// Sheds per second.
    pub sheds_per_s: f64,
    /// Requests that were under way at the bucket's end, from their intended arrival.
    pub in_flight: u64,
    /// The same, on average over the bucket.
    pub in_flight_mean: f64,
    /// Successes whose intended arrival lies in the bucket: what the percentiles are over.
    pub n: u64,
    /// Median.
    pub p50_ns: Option<u64>,
    /// 95th percentile.
    pub p95_ns: Option<u64>,
    /// 99th percentile.
    pub p99_ns: Option<u64>,
    /// Median of the time to the first token, of streamed ones among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_p50_ns: Option<u64>,
    /// 95th percentile of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_p95_ns: Option<u64>,
    /// Median of the mean time between the tokens of an answer, of streamed ones among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itl_p50_ns: Option<u64>,
    /// 95th percentile of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itl_p95_ns: Option<u64>,
}

/// What went wrong in the same way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// Where the latency of an entry's successes went. The means of the parts add up to the mean latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseBreakdown {
    /// The entry.
    pub entry: String,
    /// Which headers stated them, and how finely; empty in findings of earlier versions.
    #[serde(default)]
    pub stated_by: String,
    /// Successes whose answer stated its phases.
    pub n: u64,
    /// Their mean latency.
    pub mean_latency_ns: f64,
    /// The parts, in the order in which they happen.
    pub parts: Vec<PhasePart>,
}

/// One part of the latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhasePart {
    /// `waiting to be sent`, `queue`, `copy-in`, `compute`, `copy-out`, `network and the rest`.
    pub name: String,
    /// Mean.
    pub mean_ns: f64,
    /// 95th percentile.
    pub p95_ns: f64,
    /// Of the mean latency.
    pub share: f64,
}

/// Where a server's own counters say that the time of a model's successes went in one step: means, since counters
/// hold sums. They are of all that the server counted meanwhile, whoever asked for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerPhases {
    /// The model, all of its versions together.
    pub model: String,
    /// The step, or the slice of a ramp.
    pub step: String,
    /// Where the counters were read, as a reader knows it: `v2/models/stats`, `nv_inference_* metrics`.
    pub source: String,
    /// The first scrape within the measured part of the step, on the run's clock.
    pub from_ns: u64,
    /// The last.
    pub to_ns: u64,
    /// Successes that the server counted in between; what was counted across a reset is left out.
    pub n: u64,
    /// How often a counter went backwards in between.
    pub resets: u64,
    /// Mean time of a whole request in the server.
    pub mean_request_ns: f64,
    /// Queue, compute input, compute infer, compute output, in the order in which they happen.
    pub parts: Vec<ServerPhase>,
}

/// One phase in the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerPhase {
    /// `queue`, `compute input`, `compute infer`, `compute output`.
    pub name: String,
    /// Mean over the successes.
    pub mean_ns: f64,
}

/// The batches that an entry's successes were computed in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchSizes {
    /// The entry.
    pub entry: String,
    /// Successes whose answer stated its batch size.
    pub n: u64,
    /// Mean over requests (a batch of four counts four times).
    pub mean: f64,
    /// Requests by batch size.
    pub counts: BTreeMap<u16, u64>,
}

/// One series worth showing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesFindings {
    /// Which chart it belongs to.
    pub chart: String,
    /// What it is, for a legend.
    pub label: String,
    /// Its unit.
    pub unit: String,
    /// Where it came from: [`crate::series::Source::as_str`].
    pub source: String,
    /// The metric it was made from.
    pub name: String,
    /// Number of points scraped.
    pub n: u64,
    /// Mean of the points.
    pub mean: f64,
    /// Largest of the points.
    pub max: f64,
    /// Time in ns and value, thinned to what a chart can show.
    pub points: Vec<(u64, f64)>,
}
