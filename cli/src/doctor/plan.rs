//! How large a scenario's run would be. Pure.

use proofload_loadgen::scenario::{Model, Scenario};
use proofload_run::manifest::LoadModel;
use proofload_run::units::{format_duration_ns, significant};

use super::check::Check;

/// Connections that "as many as needed" is taken to mean before a run has shown it.
const UNLIMITED_CONNECTIONS: u64 = 1_024;

/// What a run would ask of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Size {
    /// Connections it may open.
    pub(crate) connections: u64,
    /// Length of the plan.
    pub(crate) duration_ns: u64,
    /// The highest level.
    pub(crate) peak: f64,
}

impl Size {
    /// Of a validated scenario.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        let steps = &scenario.load.steps;
        let peak = steps.iter().map(|step| step.level_start.max(step.level_end)).fold(0.0, f64::max);
        let connections = match &scenario.load.model {
            Model::Open { .. } => scenario.load.max_connections.map_or(UNLIMITED_CONNECTIONS, u64::from),
            Model::Closed { .. } => peak.ceil() as u64,
        };
        Self { connections, duration_ns: steps.last().map_or(0, |step| step.end_ns), peak }
    }
}

/// The scenario in one line.
pub(crate) fn check(scenario: &Scenario, size: &Size) -> Check {
    let unit = match scenario.load.model.load_model() {
        LoadModel::Open => "arrivals/s",
        LoadModel::Closed => "users",
    };
    let text = format!(
        "`{}` is valid: {} in {} step(s), at most {} {unit}, {} entr{} in the mix",
        scenario.name,
        format_duration_ns(size.duration_ns as f64),
        scenario.load.steps.len(),
        significant(size.peak),
        scenario.mix.len(),
        if scenario.mix.len() == 1 { "y" } else { "ies" },
    );
    Check::fine("scenario", text)
}
