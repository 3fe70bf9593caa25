//! What is counted about jobs: how many wait and run, what became of them, how long they waited and ran.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric as Registrable, Registry};

use super::{Kind, State};
use crate::telemetry::catalogue::{
    JOB_RESULT_BYTES, JOB_RUN_SECONDS, JOB_WAIT_SECONDS, JOBS, JOBS_QUEUED, JOBS_REFUSED, JOBS_RUNNING, Metric,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

type Durations = Family<KindLabel, Histogram, fn() -> Histogram>;

/// The handles.
#[derive(Debug, Clone)]
pub struct Meters {
    ended: Family<EndLabels, Counter>,
    refused: Counter,
    waited: Durations,
    ran: Durations,
    queued: Gauge<i64, AtomicI64>,
    running: Gauge<i64, AtomicI64>,
    result_bytes: Gauge<i64, AtomicI64>,
}

/// From 1 ms, doubling, to 35 minutes.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(1e-3, 2.0, 22))
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            ended: Family::default(),
            refused: Counter::default(),
            waited: Family::new_with_constructor(durations),
            ran: Family::new_with_constructor(durations),
            queued: Gauge::default(),
            running: Gauge::default(),
            result_bytes: Gauge::default(),
        }
    }
}

impl Meters {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let meters = Self::default();
        add(registry, JOBS, &meters.ended);
        add(registry, JOBS_REFUSED, &meters.refused);
        add(registry, JOB_WAIT_SECONDS, &meters.waited);
        add(registry, JOB_RUN_SECONDS, &meters.ran);
        add(registry, JOBS_QUEUED, &meters.queued);
        add(registry, JOBS_RUNNING, &meters.running);
        add(registry, JOB_RESULT_BYTES, &meters.result_bytes);
        meters
    }

    pub(super) fn refused(&self) {
        self.refused.inc();
    }

    pub(super) fn began(&self, kind: Kind, waited: Duration) {
        self.waited.get_or_create(&KindLabel { kind: kind.as_str() }).observe(waited.as_secs_f64());
    }

    pub(super) fn ran(&self, kind: Kind, ran: Duration) {
        self.ran.get_or_create(&KindLabel { kind: kind.as_str() }).observe(ran.as_secs_f64());
    }

    pub(super) fn ended(&self, kind: Kind, state: State) {
        self.ended.get_or_create(&EndLabels { kind: kind.as_str(), outcome: state.as_str() }).inc();
    }

    pub(super) fn levels(&self, queued: usize, running: usize, result_bytes: usize) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.queued.set(number(queued));
        self.running.set(number(running));
        self.result_bytes.set(number(result_bytes));
    }
}

fn add(registry: &mut Registry, Metric { name, help }: Metric, metric: &(impl Registrable + Clone)) {
    registry.register(name, help, metric.clone());
}
