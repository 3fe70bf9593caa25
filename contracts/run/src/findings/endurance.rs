//! What changed while a run went on: memory, latency, the share of answers from a cache, and when errors came.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a long run showed that a short one cannot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Endurance {
    /// First measured moment.
    pub from_ns: u64,
    /// Last one.
    pub to_ns: u64,
    /// Whether the load was held, and what that means for the trends.
    pub load: HeldLoad,
    /// Memory, series by series.
    pub memory: Vec<MemoryTrend>,
    /// Percentiles of latency.
    pub latency: Vec<Drift>,
    /// The share of answers from a cache; `None` where no answer said that it came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hit_share: Option<Drift>,
    /// When errors came; `None` where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<ErrorBursts>,
}

/// An estimate with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrendEstimate {
    /// Lower end.
    pub low: f64,
    /// The estimate.
    pub value: f64,
    /// Upper end; `None` where there is none.
    pub high: Option<f64>,
}

/// Whether the load was the same all the time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeldLoad {
    /// How.
    pub held: Held,
    /// In a sentence.
    pub sentence: String,
}

/// What was done about a load that was not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// Nothing, since it was.
    Constant,
    /// Trends are of what the load does not explain.
    Explained,
    /// Nothing could be: a trend could be that of the load.
    Changing,
}

/// What a figure did over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// It rises.
    Rises,
    /// It falls.
    Falls,
    /// Neither, by more than matters.
    Level,
    /// It cannot be said.
    Unknown,
}

/// One series of memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryTrend {
    /// Whose memory.
    pub what: String,
    /// The metric that says so.
    pub name: String,
    /// Whether it is the target's, and not the generator's or the whole machine's.
    pub of_target: bool,
    /// Whether it grows.
    pub trend: Trend,
    /// Readings in the measured time.
    pub n: u64,
    /// At the end, by the last reading.
    pub last_bytes: f64,
    /// What it can be at most; `None` where that is not known.
    pub limit_bytes: Option<f64>,
    /// What sets the limit.
    pub limit_by: String,
    /// Growth of the minima in bytes per second, with an interval of 90 %; `None` of too little.
    pub bytes_per_s: Option<TrendEstimate>,
    /// Until its peaks reach the limit, from the run's end, in seconds; `None` where it does not grow or has no limit.
    pub limit_in_s: Option<TrendEstimate>,
    /// The readings, thinned to what a chart can show, peaks and all: time in ns and bytes.
    pub points: Vec<(u64, f64)>,
    /// The fitted line: its ends. Empty of too little.
    pub line: Vec<(u64, f64)>,
    /// In a sentence.
    pub sentence: String,
}

/// A figure of the run as it went on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// Which: `p95`, `cache hits`.
    pub what: String,
    /// What it does between changes.
    pub trend: Trend,
    /// Points that this rests on.
    pub n: u64,
    /// Time that a point is about.
    pub point_ns: u64,
    /// Its median: ns, or a share.
    pub level: f64,
    /// By how much it changes steadily over the measured time, with an interval of 95 %: as a share of itself for latencies, as a
    /// difference for shares. `None` of too little.
    pub change: Option<TrendEstimate>,
    /// When it changed at once, in order of time.
    pub steps: Vec<ChangePoint>,
    /// In a sentence.
    pub sentence: String,
}

/// A moment from which on a figure was another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangePoint {
    /// When, at the earliest.
    pub at_ns: u64,
    /// Its median before, back to the change before.
    pub before: f64,
    /// Its median after, up to the next.
    pub after: f64,
    /// Share of shuffled series that split as well.
    pub p: f64,
}

/// Whether errors came evenly or in bursts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBursts {
    /// What it is.
    pub pattern: Pattern,
    /// Errors of measured arrivals.
    pub errors: u64,
    /// Measured arrivals.
    pub arrivals: u64,
    /// Variance of the number of errors in a window over what it would be if every request failed alike: 1 is even.
    pub dispersion: f64,
    /// Length of the windows that show it most.
    pub window_ns: u64,
    /// Share of runs with the same errors at random that are as uneven; `None` where there are too few to say.
    pub p: Option<f64>,
    /// Errors that lie in the bursts.
    pub in_bursts: u64,
    /// The bursts with most errors, in order of time.
    pub bursts: Vec<Burst>,
    /// How many there are.
    pub bursts_n: u64,
    /// In a sentence.
    pub sentence: String,
}

/// How errors came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// In bursts.
    Bursts,
    /// No less evenly than by chance.
    Even,
    /// There are too few to say.
    Unknown,
}

/// Errors that came together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Burst {
    /// Second of the first arrival that failed.
    pub from_ns: u64,
    /// End of the second of the last.
    pub to_ns: u64,
    /// How many failed.
    pub errors: u64,
    /// Of how many arrivals.
    pub arrivals: u64,
    /// What they were, the most frequent first: entry, outcome, status, count.
    pub classes: Vec<BurstClass>,
}

/// Errors of one kind in a burst.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BurstClass {
    /// The entry.
    pub entry: String,
    /// [`crate::sample::Outcome::as_str`].
    pub outcome: String,
    /// HTTP status or gRPC code, 0 where there was no answer.
    pub status: u16,
    /// How many.
    pub count: u64,
}
