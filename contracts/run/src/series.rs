//! Scraped time series: the target's `/metrics`, its statistics, the generator's own process, GPUs; all on the
//! run's clock. One point a line in `series-NNNNN.jsonl` while the run goes on, Parquet afterwards.

use serde::{Deserialize, Serialize};

/// Where a point came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The target's Prometheus text.
    Target,
    /// The target's inference statistics (KServe / Triton).
    Statistics,
    /// The generator's own process and its dispatcher.
    Generator,
    /// NVML on this machine.
    Gpu,
}

impl Source {
    /// The word in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Statistics => "statistics",
            Self::Generator => "generator",
            Self::Gpu => "gpu",
        }
    }

    /// The inverse of [`Source::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Target, Self::Statistics, Self::Generator, Self::Gpu].into_iter().find(|s| s.as_str() == word)
    }
}

/// One value of one series at one time. Names carry their unit (`…_seconds`, `…_bytes`, `…_ns`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesPoint {
    /// When it was read, on the run's clock.
    pub t_ns: u64,
    /// Which generator of a sharded run read it.
    pub shard: u16,
    /// Where it came from.
    pub source: Source,
    /// Metric name.
    pub name: String,
    /// Labels as `key="value",…`, sorted by key; empty where there are none.
    pub labels: String,
    /// The value, cumulative for counters.
    pub value: f64,
}
