//! The metrics of a run, one row a second without gaps. Holds values and judges nothing.

use serde::{Deserialize, Serialize};

use crate::metric::Metric;

/// One second as it comes in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Second<'a> {
    /// Requests that were offered in it: what the load generator meant to send.
    pub offered: f64,
    /// The metrics, in the order of the recording's. What is no number was not measured: the last value stands.
    pub values: &'a [f64],
}

/// The seconds of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    metrics: Vec<Metric>,
    offered: Vec<f64>,
    /// Row by row.
    values: Vec<f64>,
}

impl Recording {
    /// An empty one.
    pub fn new(metrics: Vec<Metric>) -> Self {
        Self { metrics, offered: Vec::new(), values: Vec::new() }
    }

    /// Adds a second. A row that is too short is filled up with what was not measured.
    pub fn push(&mut self, offered: f64, values: &[f64]) {
        self.offered.push(offered);
        let missing = std::iter::repeat(f64::NAN);
        self.values.extend(values.iter().copied().chain(missing).take(self.metrics.len()));
    }

    /// Its metrics.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// How many seconds it has.
    pub fn len(&self) -> usize {
        self.offered.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.offered.is_empty()
    }

    /// What was offered, second by second.
    pub fn offered(&self) -> &[f64] {
        &self.offered
    }

    /// The seconds in order.
    pub fn seconds(&self) -> impl Iterator<Item = Second<'_>> {
        let columns = self.metrics.len();
        self.offered
            .iter()
            .enumerate()
            .map(move |(row, &offered)| Second { offered, values: &self.values[row * columns..(row + 1) * columns] })
    }

    /// The values of a metric that were measured.
    pub fn measured(&self, metric: usize) -> impl Iterator<Item = f64> + '_ {
        let columns = self.metrics.len().max(1);
        self.values.iter().skip(metric).step_by(columns).copied().filter(|value| value.is_finite())
    }

    /// Its first seconds, at most so many.
    #[must_use]
    pub fn first(mut self, seconds: usize) -> Self {
        self.offered.truncate(seconds);
        self.values.truncate(seconds * self.metrics.len());
        self
    }

    /// The same with only these metrics, in this order; what it has not, was not measured.
    #[must_use]
    pub fn with_metrics(&self, wanted: &[Metric]) -> Self {
        let places: Vec<Option<usize>> =
            wanted.iter().map(|metric| self.metrics.iter().position(|own| own.name == metric.name)).collect();
        let mut picked = Self::new(wanted.to_vec());
        for second in self.seconds() {
            let values: Vec<f64> =
                places.iter().map(|place| place.map_or(f64::NAN, |place| second.values[place])).collect();
            picked.push(second.offered, &values);
        }
        picked
    }
}
