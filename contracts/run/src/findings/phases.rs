//! Where the time of requests went, by their answers and by the server's counters, and in which batches.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the latency of an entry's successes went. The means of the parts add up to the mean latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerPhase {
    /// `queue`, `compute input`, `compute infer`, `compute output`.
    pub name: String,
    /// Mean over the successes.
    pub mean_ns: f64,
}

/// The batches that an entry's successes were computed in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
