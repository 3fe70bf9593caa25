//! How large a scenario's run would be. Pure.

use proofload_loadgen::scenario::Scenario;
use proofload_run::manifest::LoadModel;
use proofload_run::units::{format_duration_ns, significant};

use super::check::Check;

/// Requests per second that one closed-model user is assumed to make when it never thinks: more than a local
/// server of small tensors gives it.
const CLOSED_RATE_PER_USER: f64 = 1_000.0;
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
        let (samples, connections) = match scenario.load.model.load_model() {
            LoadModel::Open => (level_seconds, scenario.load.max_connections.map_or(UNLIMITED_CONNECTIONS, u64::from)),
            LoadModel::Closed => (level_seconds * CLOSED_RATE_PER_USER, peak.ceil() as u64),
        };
        Self {
            samples: samples.ceil() as u64,
            connections,
            duration_ns: steps.last().map_or(0, |step| step.end_ns),
            peak,
        }
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
