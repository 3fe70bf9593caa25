//! The meters of a model: handles made once, so that counting a request costs a few atomic operations. They belong to
//! the model and not to a registry, so they come and go with it.

use std::fmt::Error;
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
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

/// The labels that every metric of a model has, named as Triton names them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ModelLabels {
    /// The model's name.
    pub model: String,
    /// Its version.
    pub version: String,
}

/// From 10 µs, doubling, to 21 s: fine enough for a tiny model, wide enough for a queue.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(1e-5, 2.0, 22))
}

/// From 1, doubling, to 1024.
fn batch_sizes() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 11))
}

/// The phases of a request, as the label `phase` names them.
const PHASES: [&str; 4] = ["queue", "copy_in", "compute", "copy_out"];

/// What one model counts. Cloning gives another handle to the same.
#[derive(Debug, Clone)]
pub struct Meters {
    phases: [Histogram; PHASES.len()],
    request: Histogram,
    batch: Histogram,
    outcomes: [Counter; Outcome::ALL.len()],
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            phases: PHASES.map(|_| durations()),
            request: durations(),
            batch: batch_sizes(),
            outcomes: Outcome::ALL.map(|_| Counter::default()),
        }
    }
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

/// Gives the meters of models to a scrape, whichever models there are then: what is not served any more has no series.
///
/// # Errors
/// When the encoder fails.
pub(super) fn encode(rows: &[(ModelLabels, Meters)], encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let Metric { name, help } = PHASE_SECONDS;
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (ModelLabels { model, version }, meters) in rows {
        for (phase, histogram) in PHASES.iter().zip(&meters.phases) {
            let labels = [("model", model.as_str()), ("version", version), ("phase", phase)];
            histogram.encode(metric.encode_family(&labels)?)?;
        }
    }
    encode_histograms(REQUEST_SECONDS, rows, |meters| &meters.request, encoder)?;
    encode_histograms(BATCH_ELEMENTS, rows, |meters| &meters.batch, encoder)?;
    let Metric { name, help } = REQUESTS;
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (ModelLabels { model, version }, meters) in rows {
        for (outcome, counter) in Outcome::ALL.iter().zip(&meters.outcomes) {
            let labels = [("model", model.as_str()), ("version", version), ("outcome", outcome.label())];
            counter.encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn encode_histograms(
    Metric { name, help }: Metric,
    rows: &[(ModelLabels, Meters)],
    of: fn(&Meters) -> &Histogram,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, meters) in rows {
        of(meters).encode(metric.encode_family(labels)?)?;
    }
    Ok(())
}
