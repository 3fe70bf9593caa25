//! The meters of a model: handles registered once, so that counting a request costs a few atomic operations.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use proofload_wire::phases::Phases;

use super::catalogue::{BATCH_ELEMENTS, Metric, PHASE_SECONDS, REQUEST_SECONDS, REQUESTS};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It got its outputs.
    Success,
    /// It did not fit the model.
    Invalid,
    /// The queue was full.
    Rejected,
    /// It waited for as long as its queue lets it.
    TimedOut,
    /// Its caller's deadline came while it waited.
    DeadlineExceeded,
    /// Its client went away first.
    Cancelled,
    /// The backend failed.
    BackendFailed,
    /// The daemon was stopping.
    Stopping,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Success,
        Self::Invalid,
        Self::Rejected,
        Self::TimedOut,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::BackendFailed,
        Self::Stopping,
    ];

    /// The value of the label `outcome`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Invalid => "invalid",
            Self::Rejected => "rejected",
            Self::TimedOut => "timed_out",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Cancelled => "cancelled",
            Self::BackendFailed => "backend_failed",
            Self::Stopping => "stopping",
        }
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.label().encode(encoder)
    }
}

/// The labels that every metric of a model has, named as Triton names them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ModelLabels {
    /// The model's name.
    pub model: String,
    /// Its version.
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    model: String,
    version: String,
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    model: String,
    version: String,
    outcome: Outcome,
}

/// The metric families, before any model has its handles.
pub struct Families {
    phases: Family<PhaseLabels, Histogram, fn() -> Histogram>,
    requests: Family<ModelLabels, Histogram, fn() -> Histogram>,
    batches: Family<ModelLabels, Histogram, fn() -> Histogram>,
    outcomes: Family<OutcomeLabels, Counter>,
}

/// From 10 µs, doubling, to 21 s: fine enough for a tiny model, wide enough for a queue.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(1e-5, 2.0, 22))
}

/// From 1, doubling, to 1024.
fn batch_sizes() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 11))
}

impl Families {
    /// Registers the families.
    pub fn register(registry: &mut Registry) -> Self {
        let families = Self {
            phases: Family::new_with_constructor(durations),
            requests: Family::new_with_constructor(durations),
            batches: Family::new_with_constructor(batch_sizes),
            outcomes: Family::default(),
        };
        let Metric { name, help } = PHASE_SECONDS;
        registry.register(name, help, families.phases.clone());
        let Metric { name, help } = REQUEST_SECONDS;
        registry.register(name, help, families.requests.clone());
        let Metric { name, help } = BATCH_ELEMENTS;
        registry.register(name, help, families.batches.clone());
        let Metric { name, help } = REQUESTS;
        registry.register(name, help, families.outcomes.clone());
        families
    }

    /// The handles of one model.
    pub fn meters(&self, model: &str, version: i64) -> Meters {
        let labels = ModelLabels { model: model.to_owned(), version: version.to_string() };
        let phase = |phase| PhaseLabels { model: labels.model.clone(), version: labels.version.clone(), phase };
        let outcome = |outcome| OutcomeLabels { model: labels.model.clone(), version: labels.version.clone(), outcome };
        Meters {
            phases: ["queue", "copy_in", "compute", "copy_out"]
                .map(|name| self.phases.get_or_create(&phase(name)).clone()),
            request: self.requests.get_or_create(&labels).clone(),
            batch: self.batches.get_or_create(&labels).clone(),
            outcomes: Outcome::ALL.map(|kind| self.outcomes.get_or_create(&outcome(kind)).clone()),
        }
    }
}

/// The handles of one model.
#[derive(Debug, Clone)]
pub struct Meters {
    phases: [Histogram; 4],
    request: Histogram,
    batch: Histogram,
    outcomes: [Counter; Outcome::ALL.len()],
}

impl Meters {
    /// Counts an execution.
    pub fn executed(&self, elements: u32) {
        self.batch.observe(f64::from(elements));
    }

    /// Counts the phases of a request that got its outputs.
    pub fn phases(&self, phases: &Phases) {
        let times = [phases.queue_ns, phases.copy_in_ns, phases.compute_ns, phases.copy_out_ns];
        let seconds = |ns| Duration::from_nanos(ns).as_secs_f64();
        self.phases.iter().zip(times).for_each(|(histogram, ns)| histogram.observe(seconds(ns)));
        self.request.observe(seconds(phases.total_ns()));
    }

    /// Counts what became of a request.
    pub fn outcome(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].inc();
    }

    /// How many requests came to that.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].get()
    }
}
