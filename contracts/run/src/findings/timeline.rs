//! The run over time, as the generator saw it and as its target and GPUs said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The run over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    /// Width of a bucket; a second, more in long runs.
    pub bucket_ns: u64,
    /// The buckets, from the run's zero, without gaps.
    pub buckets: Vec<Bucket>,
}

/// One bucket of time. Arrivals and their latency count when they were intended, the rest when it happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// One series worth showing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
