//! The relief service's metrics: what became of its requests and where their time went.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use proofload_wire::phases::Phases;

use super::laps::Laps;
use super::progressive::Stage;
use crate::telemetry::catalogue::{Metric, RELIEF_PHASE_SECONDS, RELIEF_REQUESTS, RELIEF_STAGES, RELIEF_STEP_SECONDS};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

/// What became of a relief request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The mesh was made.
    Success,
    /// The house was full.
    Rejected,
    /// The picture or a parameter was wrong.
    Invalid,
    /// The picture did not arrive in time, or waited too long for the model.
    TimedOut,
    /// Its client went away first.
    Cancelled,
    /// The model or the service failed.
    Failed,
}

impl Outcome {
    fn label(self) -> OutcomeLabel {
        let outcome = match self {
            Self::Success => "success",
            Self::Rejected => "rejected",
            Self::Invalid => "invalid",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        };
        OutcomeLabel { outcome }
    }
}

/// The handles.
#[derive(Debug, Clone)]
pub struct Meters {
    outcomes: Family<OutcomeLabel, Counter>,
    phases: Family<PhaseLabel, Histogram, fn() -> Histogram>,
    steps: Family<StepLabel, Histogram, fn() -> Histogram>,
    stages: Family<StageLabel, Counter>,
}

/// From 100 µs, doubling, to 26 s.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(1e-4, 2.0, 19))
}

impl Default for Meters {
    fn default() -> Self {
        let (phases, steps) = (
            Family::new_with_constructor(durations as fn() -> Histogram),
            Family::new_with_constructor(durations as fn() -> Histogram),
        );
        Self { outcomes: Family::default(), phases, steps, stages: Family::default() }
    }
}

impl Meters {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let meters = Self::default();
        let Metric { name, help } = RELIEF_REQUESTS;
        registry.register(name, help, meters.outcomes.clone());
        let Metric { name, help } = RELIEF_PHASE_SECONDS;
        registry.register(name, help, meters.phases.clone());
        let Metric { name, help } = RELIEF_STEP_SECONDS;
        registry.register(name, help, meters.steps.clone());
        let Metric { name, help } = RELIEF_STAGES;
        registry.register(name, help, meters.stages.clone());
        meters
    }

    /// Counts a stage of a progressive relief that was computed.
    pub fn stage(&self, stage: Stage) {
        self.stages.get_or_create(&StageLabel { stage: stage.as_str() }).inc();
    }

    /// How many of this stage were computed.
    pub fn stages(&self, stage: Stage) -> u64 {
        self.stages.get_or_create(&StageLabel { stage: stage.as_str() }).get()
    }

    /// Counts what became of a request.
    pub fn outcome(&self, outcome: Outcome) {
        self.outcomes.get_or_create(&outcome.label()).inc();
    }

    /// How many requests came to that.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.get_or_create(&outcome.label()).get()
    }

    /// Counts the steps of a request that got its mesh, by name: which they are says where it was made.
    pub fn steps(&self, laps: &Laps) {
        for lap in laps.iter() {
            let seconds = lap.to.saturating_duration_since(lap.from).as_secs_f64();
            self.steps.get_or_create(&StepLabel { step: lap.step.as_str() }).observe(seconds);
        }
    }

    /// Counts the phases of a request that got its mesh.
    pub fn phases(&self, phases: &Phases) {
        let times = [
            ("queue", phases.queue_ns),
            ("copy_in", phases.copy_in_ns),
            ("compute", phases.compute_ns),
            ("copy_out", phases.copy_out_ns),
        ];
        for (phase, ns) in times {
            self.phases.get_or_create(&PhaseLabel { phase }).observe(Duration::from_nanos(ns).as_secs_f64());
        }
    }
}
