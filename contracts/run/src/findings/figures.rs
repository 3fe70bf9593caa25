//! The plain figures of any part of a run: counts, rates, shares and latency.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where every intended arrival went, by [`crate::sample::Outcome::as_str`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyBin {
    /// From, inclusive.
    pub from_ns: f64,
    /// To, exclusive.
    pub to_ns: f64,
    /// Successes in it.
    pub n: u64,
}
