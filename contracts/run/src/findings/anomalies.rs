//! What was odd in a run and not explained by its load. Nothing is computed here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a run was compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComparedWith {
    /// Earlier healthy runs: p-values are shares of their windows.
    HealthyRuns,
    /// Itself, for want of earlier runs: weaker, since what lasts is taken for usual, and without p-values.
    Itself,
}

/// The anomalies of a run. Windows are ten seconds long and begin every five.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Anomalies {
    /// What the run was compared with.
    pub compared_with: ComparedWith,
    /// How many healthy runs that were; 0 where the run was compared with itself.
    pub healthy_runs: u64,
    /// Seconds at the beginning of the run that were left out.
    pub warm_up_s: u64,
    /// The share of the windows of healthy runs that counts as odd; two odd ones in a row are an anomaly.
    pub alpha: f64,
    /// Windows of the run.
    pub windows: u64,
    /// Of these, not judged: the healthy runs never had such a load.
    pub windows_unjudged: u64,
    /// Of these, odd.
    pub windows_odd: u64,
    /// The lowest and the highest load that the healthy runs had, requests per second; `None` where there were none.
    pub known_load_per_s: Option<(f64, f64)>,
    /// The metrics that were looked at.
    pub metrics: Vec<String>,
    /// What was found, in order of time.
    pub episodes: Vec<AnomalyEpisode>,
    /// What a reader must know of these figures, such as that there were too few healthy runs.
    pub notes: Vec<String>,
}

/// Odd windows that are near in time and odd in the same metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnomalyEpisode {
    /// Start on the run's clock.
    pub start_ns: u64,
    /// End on the run's clock.
    pub end_ns: u64,
    /// Odd windows in it.
    pub windows: u64,
    /// Share of the windows of healthy runs that are as odd as its oddest; `None` where the run was compared with itself.
    pub p: Option<f64>,
    /// The metrics, the one that was off most first.
    pub metrics: Vec<AnomalousMetric>,
    /// The load in it, requests per second: this much is legitimate.
    pub offered_per_s: f64,
    /// The load in the minute before it.
    pub offered_before_per_s: f64,
    /// Title of the report's chart that shows the first metric; empty where none does.
    pub chart: String,
}

/// A metric that was off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnomalousMetric {
    /// Its name.
    pub name: String,
    /// How rare it was on average: 1 is what three healthy windows in a hundred exceed, each further 1 ten times as rare.
    pub strength: f64,
}
