//! How large a scenario's run would be. Pure.

use proofload_loadgen::plan::Think;
use proofload_loadgen::scenario::{Model, Scenario};
use proofload_run::manifest::LoadModel;
use proofload_run::units::{format_duration_ns, significant};

use super::check::Check;

/// The fastest answer that a closed-model user is assumed to get, in seconds: less than a local server of small
/// tensors needs.
const FASTEST_ANSWER_S: f64 = 0.001;
/// Connections that "as many as needed" is taken to mean before a run has shown it.
const UNLIMITED_CONNECTIONS: u64 = 1_024;

/// What a run would ask of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Size {
    /// Samples it would record, at the most.
    pub(crate) samples: u64,
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
        let level_seconds: f64 = steps
            .iter()
            .map(|step| (step.level_start + step.level_end) / 2.0 * ((step.end_ns - step.start_ns) as f64 / 1e9))
            .sum();
        let peak = steps.iter().map(|step| step.level_start.max(step.level_end)).fold(0.0, f64::max);
        let (samples, connections) = match &scenario.load.model {
            Model::Open { .. } => {
                (level_seconds, scenario.load.max_connections.map_or(UNLIMITED_CONNECTIONS, u64::from))
            }
            Model::Closed { think } => (level_seconds / (mean_think_s(*think) + FASTEST_ANSWER_S), peak.ceil() as u64),
        };
        Self {
            samples: samples.ceil() as u64,
            connections,
            duration_ns: steps.last().map_or(0, |step| step.end_ns),
            peak,
        }
    }
}

fn mean_think_s(think: Think) -> f64 {
    match think {
        Think::Constant { ns } | Think::Exponential { mean_ns: ns } => ns as f64 / 1e9,
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
