//! What the cache counts: handles made once, registered under the names of the catalogue, and read back for the
//! statistics.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Layer;
use crate::telemetry::catalogue::{self, Metric};

/// From 1 µs to 1 s, in steps of 1, 2 and 5: bounds that people name are bounds of buckets.
const SECONDS: [f64; 19] =
    [1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 2e-1, 5e-1, 1.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LayerLabel {
    layer: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    layer: &'static str,
    operation: &'static str,
}

/// What is done with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Looking an entry up.
    Get,
    /// Keeping one.
    Put,
}

/// The handles. Cloning gives others to the same.
#[derive(Debug, Clone)]
pub struct Meters {
    hits: Family<LayerLabel, Counter>,
    misses: Counter,
    saved_seconds: Counter<f64, AtomicU64>,
    operations: Family<OperationLabel, Histogram, fn() -> Histogram>,
}

impl Default for Meters {
    fn default() -> Self {
        let durations: fn() -> Histogram = || Histogram::new(SECONDS);
        let meters = Self {
            hits: Family::default(),
            misses: Counter::default(),
            saved_seconds: Counter::default(),
            operations: Family::new_with_constructor(durations),
        };
        // A series that is missing is not the same as one that is zero.
        Layer::ALL.into_iter().for_each(|layer| drop(meters.hits.get_or_create(&label(layer))));
        meters
    }
}

impl Meters {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let meters = Self::default();
        let Metric { name, help } = catalogue::CACHE_HITS;
        registry.register(name, help, meters.hits.clone());
        let Metric { name, help } = catalogue::CACHE_MISSES;
        registry.register(name, help, meters.misses.clone());
        let Metric { name, help } = catalogue::CACHE_SAVED_SECONDS;
        registry.register(name, help, meters.saved_seconds.clone());
        let Metric { name, help } = catalogue::CACHE_OPERATION_SECONDS;
        registry.register(name, help, meters.operations.clone());
        meters
    }

    /// Counts an answer that was not computed, and the nanoseconds that computing it once took.
    pub fn hit(&self, layer: Layer, computed_ns: u64) {
        self.hits.get_or_create(&label(layer)).inc();
        self.saved_seconds.inc_by(Duration::from_nanos(computed_ns).as_secs_f64());
    }

    /// Counts an answer that was looked for and had to be computed.
    pub fn miss(&self) {
        self.misses.inc();
    }

    /// Counts how long an operation on a layer took.
    pub fn operated(&self, layer: Layer, operation: Operation, took: Duration) {
        let operation = match operation {
            Operation::Get => "get",
            Operation::Put => "put",
        };
        let labels = OperationLabel { layer: layer.as_str(), operation };
        self.operations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Answers of a layer.
    pub fn hits(&self, layer: Layer) -> u64 {
        self.hits.get_or_create(&label(layer)).get()
    }

    /// Answers that had to be computed.
    pub fn misses(&self) -> u64 {
        self.misses.get()
    }

    /// Time of computing that was saved, in seconds.
    pub fn saved_seconds(&self) -> f64 {
        self.saved_seconds.get()
    }
}

fn label(layer: Layer) -> LayerLabel {
    LayerLabel { layer: layer.as_str() }
}
