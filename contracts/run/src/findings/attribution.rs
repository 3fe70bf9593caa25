//! Why the slow requests of a run were slow: where they lost their time against typical ones, and what they have in common.
//! Nothing is computed here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The slow successes of a run, or of one entry, beside its typical ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attribution {
    /// The entry; `None` for the whole run.
    pub entry: Option<String>,
    /// Measured successes.
    pub n: u64,
    /// Slow are those at this percentile of latency and above.
    pub percentile: f64,
    /// Its value.
    pub slow_from_ns: u64,
    /// The median.
    pub median_ns: u64,
    /// Typical are those from this latency, the 40th percentile …
    pub typical_from_ns: u64,
    /// … to this one, the 60th.
    pub typical_to_ns: u64,
    /// The slow ones.
    pub slow: Group,
    /// The typical ones.
    pub typical: Group,
    /// Where the time went, in the order in which it is spent; what no request of either kind had is left out. The parts of a
    /// request add up to its latency, exactly, so the means add up to the mean latency and the shares to 1.
    pub parts: Vec<SlowPart>,
    /// What the slow ones have in common, by kind, and in each the most frequent among them first.
    pub traits: Vec<SlowTrait>,
    /// What the target and its GPUs were like while they were served.
    pub state: Vec<SlowState>,
    /// When they were sent; `None` where there are too few moments to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<SlowWhen>,
    /// The slowest of all.
    pub examples: Vec<SlowExample>,
    /// All of it in a sentence.
    pub sentence: String,
    /// What a reader must know of these figures.
    pub notes: Vec<String>,
}

/// Requests of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// How many.
    pub n: u64,
    /// Their mean latency.
    pub mean_latency_ns: f64,
    /// Of these, with an answer that states the server's phases.
    pub with_phases: u64,
}

/// One part of the latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlowPart {
    /// `generator late`, `waiting for a connection`, `opening a connection`, `queue`, `copy-in`, `compute`, `copy-out`,
    /// `not stated by the server`, `receiving the answer`, `earlier attempts`, `unexplained / network`.
    pub name: String,
    /// Mean over the typical ones.
    pub typical_ns: f64,
    /// Mean over the slow ones.
    pub slow_ns: f64,
    /// The difference of the two, of the difference of the mean latencies. Negative where the slow ones spent less.
    pub share: f64,
    /// Lower end of its interval (95 %, by moments of time); `None` of too few moments.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// Something that requests have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlowTrait {
    /// `step`, `entry`, `batch size`, `cache`, `connection`, `attempts`.
    pub kind: String,
    /// Which, such as the step's name.
    pub value: String,
    /// How many of the slow ones.
    pub slow: u64,
    /// How many of all.
    pub all: u64,
    /// Of the slow ones.
    pub slow_share: f64,
    /// Of all.
    pub all_share: f64,
    /// The one over the other: so many times as frequent among the slow ones as among all.
    pub lift: f64,
    /// Lower end of its interval (95 %, by moments of time); `None` of too few moments.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// What was scraped while requests were served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlowState {
    /// What it is.
    pub what: String,
    /// Its unit.
    pub unit: String,
    /// The metric that it was read from.
    pub metric: String,
    /// Mean, each typical request counted once.
    pub typical: f64,
    /// Mean, each slow request counted once.
    pub slow: f64,
    /// Lower end of the interval of the difference (95 %, by moments of time); `None` of too few moments.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Moments with a slow request for which it was scraped.
    pub moments: u64,
}

/// When the slow requests were sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlowWhen {
    /// Length of a moment: a second, more in long runs.
    pub moment_ns: u64,
    /// Moments in which anything succeeded.
    pub moments: u64,
    /// The fewest of them that hold half of the slow ones.
    pub half_in: u64,
    /// The fewest that would hold half of all.
    pub half_of_all_in: u64,
    /// Start of the moment with most of them.
    pub worst_at_ns: u64,
    /// How many it holds.
    pub worst_n: u64,
}

/// One of the slowest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlowExample {
    /// When it was intended, on the run's clock.
    pub intended_ns: u64,
    /// Its latency.
    pub latency_ns: u64,
    /// Its entry.
    pub entry: String,
    /// Its step, or slice of a ramp.
    pub step: String,
    /// Size of the batch; 0 where it is not known.
    pub batch_size: u16,
    /// W3C trace id, 32 hexadecimal digits; `None` where the request carried none.
    pub trace_id: Option<String>,
    /// Its parts, in ns, by name; what took no time is left out. They add up to the latency.
    pub parts: Vec<(String, i64)>,
}
