//! What a spike did, and how long its traces stayed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A peak between two times of the usual load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spike {
    /// Arrivals per second (open) or users (closed) before the peak.
    pub base_level: f64,
    /// At the peak.
    pub peak_level: f64,
    /// The band of the usual load: 95th percentile of the latency, second by second.
    pub band_p95_ns: u64,
    /// Errors and sheds per second of the usual load, at most.
    pub band_bad_per_s: f64,
    /// When latencies, errors and sheds were back inside the band for good, after the peak's end; `None` where they were not.
    pub recovered: Option<Within>,
    /// When no more requests were under way than before the peak, after its end; `None` where they stayed more.
    pub drained: Option<Within>,
    /// How long was watched after the peak.
    pub watched_ns: u64,
    /// Arrivals of the peak.
    pub arrivals: u64,
    /// Of them, answered in time.
    pub in_time: u64,
    /// Refused.
    pub sheds: u64,
    /// Failed or timed out.
    pub errors: u64,
    /// All of it in a sentence.
    pub sentence: String,
}

/// Something happened between two times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Within {
    /// Not before.
    pub from_ns: u64,
    /// Not after.
    pub to_ns: u64,
}
