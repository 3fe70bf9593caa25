//! What was run, where, against what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::criteria::Slo;
use crate::manifest::{ClockAnchor, EndReason, Host, LoadModel, ScenarioKind, Target, Tool};

/// What was run, where, against what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// Unique name of the run.
    pub run_id: String,
    /// What wrote the run.
    pub tool: Tool,
    /// Scenario name.
    pub scenario: String,
    /// Which question it asks.
    pub kind: ScenarioKind,
    /// In the author's words.
    pub description: String,
    /// The file it came from.
    pub scenario_path: String,
    /// The file's text.
    pub scenario_as_written: String,
    /// `--set` overrides.
    pub overrides: Vec<String>,
    /// Seed of the plan.
    pub seed: u64,
    /// Fingerprint of the plan.
    pub plan_fingerprint: String,
    /// Open or closed.
    pub load_model: LoadModel,
    /// `constant`, `poisson`; empty in a closed model.
    pub arrivals: String,
    /// The service level of the run.
    pub slo: Option<Slo>,
    /// The generating machine.
    pub host: Host,
    /// What the load went to.
    pub target: Target,
    /// One clock per shard.
    pub clocks: Vec<ClockAnchor>,
    /// Length of the plan.
    pub planned_ns: u64,
    /// How much of it was driven.
    pub driven_ns: u64,
    /// Of that, what the figures cover: without warm-up and settling.
    pub measured_ns: u64,
    /// Why it ended; `None` when its process was killed.
    pub end: Option<EndReason>,
    /// More about the end.
    pub end_detail: String,
}
