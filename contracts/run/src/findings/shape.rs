//! The shape of the latency: over its ranks, and over time. Nothing is computed here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How latencies are spread, beyond the few percentiles that every part of a run states.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyShape {
    /// Exact percentiles of the measured successes, in ascending order, up to the last that has a sample beyond it.
    pub curve: Vec<CurvePoint>,
    /// All successes by the time of their intended arrival and by their latency, warm-up and settling included.
    pub heat: HeatMap,
}

/// One exact percentile (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CurvePoint {
    /// Which, above 0 and below 100.
    pub percentile: f64,
    /// Its value.
    pub latency_ns: u64,
    /// Whether there are ten samples beyond it.
    pub enough: bool,
}

/// Counts by time and latency. Row `r` holds latencies from `10^(r / rows_per_decade)` ns up to the next row's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeatMap {
    /// Width of a column on the run's clock.
    pub column_ns: u64,
    /// Rows for each factor of ten.
    pub rows_per_decade: u32,
    /// Columns that have samples, in order of time.
    pub columns: Vec<HeatColumn>,
}

/// One column of a heat map.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeatColumn {
    /// Start on the run's clock.
    pub t_ns: u64,
    /// The lowest row that has samples.
    pub first_row: u32,
    /// Samples of that row and those above it, up to the highest that has some.
    pub n: Vec<u64>,
}
