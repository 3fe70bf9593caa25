//! Availability against what was promised of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Share;

/// How much of an error budget a run used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBudget {
    /// The share of requests that has to be served, 0 to 1.
    pub objective: f64,
    /// Whether the scenario states it; otherwise it is the default.
    pub declared: bool,
    /// Requests that failed or were refused, of all that were answered, failed or refused. Late ones count as served: how many
    /// may be late is the service level's affair.
    pub failed: Share,
    /// How fast the budget was used: 1 is exactly what the objective allows, 2 twice as much. With its interval.
    pub burn: f64,
    /// Lower end.
    pub burn_low: f64,
    /// Upper end.
    pub burn_high: f64,
    /// The fastest use within windows of several lengths, those that fit into the run.
    pub fastest: Vec<FastestBurn>,
    /// How many days the budget of thirty days lasts at this pace; `None` where nothing failed.
    pub lasts_days: Option<f64>,
    /// All of it in a sentence.
    pub sentence: String,
}

/// The window in which a budget was used fastest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FastestBurn {
    /// Length of the window.
    pub window_ns: u64,
    /// Its start on the run's clock.
    pub at_ns: u64,
    /// How fast.
    pub burn: f64,
}
