//! What each metric should be under the load that the service got, and how far it usually is from that.
//!
//! The load explains most: its latest second and its moving averages, bent where queues begin to grow. Behind a cache
//! not the load counts but what the cache leaves over; power follows utilisation, temperature follows power, and memory
//! follows the most that was ever in flight. So a fault shows in the metric that it begins with, and less in those that
//! follow. Fitted by ridge regression with Huber's loss, which a few wild seconds do not move.

mod covariates;

use serde::{Deserialize, Serialize};

pub use covariates::Covariates;
use covariates::{Layout, Scales};

use crate::matrix::{Factor, Symmetric};
use crate::metric::Metric;
use crate::recording::{Recording, Second};
use crate::robust::{TO_SIGMA, centre_and_spread, quantile};

/// Ridge: so much of the mean square of each column is added to it, against columns that hardly vary.
const RIDGE: f64 = 1e-4;
/// From so many standard deviations on a deviation counts by its size and not by its square.
const HUBER: f64 = 1.5;
/// Rounds of reweighting; changes are below a thousandth of the spread after ten.
const ROUNDS: usize = 12;
/// Deviations are told apart up to so many spreads.
const FARTHEST: f64 = 50.0;
/// In how many ranges of load the spread is taken.
const RANGES: usize = 8;

/// See the module. Made of healthy runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    metrics: Vec<Metric>,
    scales: Scales,
    equations: Vec<Equation>,
}

/// What one metric should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Equation {
    /// The columns that explain it, and their weights.
    columns: Vec<usize>,
    weights: Vec<f64>,
    spread: Spread,
}

impl Equation {
    fn expected(&self, row: &[f64]) -> f64 {
        self.columns.iter().zip(&self.weights).map(|(column, weight)| row[*column] * weight).sum()
    }
}

/// How far a metric usually is from what is expected, by level of load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Spread {
    /// Level and spread, ascending.
    knots: Vec<(f64, f64)>,
}

/// The rows of all training runs: covariates, levels of load, and transformed metrics.
struct Rows {
    columns: usize,
    covariates: Vec<f64>,
    levels: Vec<f64>,
    /// Metric by metric.
    targets: Vec<Vec<f64>>,
}

impl Expectation {
    /// Learns it from healthy runs, which all have the same metrics; the first seconds of each are left out.
    pub fn fit(runs: &[&Recording], warm_up_s: usize) -> Self {
        let metrics = runs.first().map(|run| run.metrics().to_vec()).unwrap_or_default();
        let scales = Scales::of(runs, warm_up_s);
        let layout = Layout::of(&metrics);
        let rows = Rows::of(runs, warm_up_s, &scales, &layout, &metrics);
        let gram = rows.gram();
        let fitted = metrics.iter().enumerate().map(|(index, metric)| {
            let columns = layout.explaining(metric.role);
            let (weights, left_over) = rows.regress(&gram, &columns, &rows.targets[index]);
            let typical = quantile(&mut runs.iter().flat_map(|run| run.measured(index)).collect::<Vec<f64>>(), 0.5);
            let spread = Spread::of(&rows.levels, &left_over, metric.role.least_deviation(typical));
            Equation { columns, weights, spread }
        });
        let equations = fitted.collect();
        Self { metrics, scales, equations }
    }

    /// The metrics that it knows.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// What explains the metrics of a run, before its first second.
    pub fn covariates(&self) -> Covariates {
        Covariates::new(self.scales.clone(), &self.metrics)
    }

    /// How far each metric is from what is expected, in usual distances.
    pub fn deviations(&self, so_far: &mut Covariates, second: Second<'_>) -> Vec<f64> {
        so_far.push(second);
        let (row, level) = (so_far.row(), so_far.level());
        let values = so_far.values().iter().zip(&self.metrics);
        let deviation = |((value, metric), equation): ((&f64, &Metric), &Equation)| {
            let off = metric.role.transformed(*value, second.offered) - equation.expected(row);
            // A metric that this run does not have is as expected.
            if off.is_finite() { (off / equation.spread.at(level)).clamp(-FARTHEST, FARTHEST) } else { 0.0 }
        };
        let mut found: Vec<f64> = values.zip(&self.equations).map(deviation).collect();
        so_far.hold(second, &mut found);
        found
    }
}

impl Rows {
    fn of(runs: &[&Recording], warm_up_s: usize, scales: &Scales, layout: &Layout, metrics: &[Metric]) -> Self {
        let columns = layout.columns();
        let mut rows =
            Self { columns, covariates: Vec::new(), levels: Vec::new(), targets: vec![Vec::new(); metrics.len()] };
        for run in runs {
            let mut so_far = Covariates::new(scales.clone(), metrics);
            for (t_s, second) in run.seconds().enumerate() {
                so_far.push(second);
                if t_s >= warm_up_s {
                    rows.covariates.extend_from_slice(so_far.row());
                    rows.levels.push(so_far.level());
                    let values = so_far.values().iter().zip(metrics);
                    let transformed = values.map(|(value, metric)| metric.role.transformed(*value, second.offered));
                    rows.targets.iter_mut().zip(transformed).for_each(|(target, value)| target.push(value));
                }
            }
        }
        rows
    }

    fn len(&self) -> usize {
        self.levels.len()
    }

    fn each(&self) -> impl Iterator<Item = &[f64]> {
        self.covariates.chunks_exact(self.columns)
    }

    /// Sums of products of columns, over the number of rows.
    fn gram(&self) -> Vec<f64> {
        let mut gram = Symmetric::new(self.columns);
        self.each().for_each(|row| gram.add_outer(row));
        gram.scale(1.0 / self.len().max(1) as f64);
        gram.into_full()
    }

    fn factor(&self, gram: &[f64], columns: &[usize]) -> Factor {
        let mut picked = Symmetric::of(columns.len(), |i, j| gram[columns[i] * self.columns + columns[j]]);
        // The constant, which is the first, is not held back.
        picked.add_diagonal(|i, value| if i == 0 { 0.0 } else { RIDGE * value + 1e-9 });
        picked.factor()
    }

    /// Weights of these columns, and what they leave over.
    fn regress(&self, gram: &[f64], columns: &[usize], target: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let factor = self.factor(gram, columns);
        let mut weights = vec![0.0; columns.len()];
        let is_measured: Vec<bool> = target.iter().map(|value| value.is_finite()).collect();
        let centre = quantile(&mut target.iter().copied().filter(|value| value.is_finite()).collect::<Vec<f64>>(), 0.5);
        weights[0] = centre;
        let mut left_over = self.left_over(columns, &weights, target);
        for round in 0..ROUNDS {
            let limit = if round == 0 { f64::INFINITY } else { HUBER * centre_and_spread(&left_over).1 };
            let mut step = vec![0.0; columns.len()];
            for ((row, off), _) in self.each().zip(&left_over).zip(&is_measured).filter(|(_, measured)| **measured) {
                let off = off.clamp(-limit, limit);
                step.iter_mut().zip(columns).for_each(|(sum, column)| *sum += row[*column] * off);
            }
            step.iter_mut().for_each(|sum| *sum /= self.len().max(1) as f64);
            factor.solve(&mut step);
            weights.iter_mut().zip(&step).for_each(|(weight, by)| *weight += by);
            left_over = self.left_over(columns, &weights, target);
        }
        (weights, left_over)
    }

    /// Nothing is left over where nothing was measured.
    fn left_over(&self, columns: &[usize], weights: &[f64], target: &[f64]) -> Vec<f64> {
        let expected = |row: &[f64]| columns.iter().zip(weights).map(|(c, weight)| row[*c] * weight).sum::<f64>();
        self.each()
            .zip(target)
            .map(|(row, value)| if value.is_finite() { value - expected(row) } else { 0.0 })
            .collect()
    }
}

impl Spread {
    /// The scaled median of deviations in ranges of as many seconds each.
    fn of(levels: &[f64], left_over: &[f64], least: f64) -> Self {
        let mut order: Vec<usize> = (0..levels.len()).collect();
        order.sort_by(|a, b| levels[*a].total_cmp(&levels[*b]));
        let knot = |range: &[usize]| {
            let mut sizes: Vec<f64> = range.iter().map(|row| left_over[*row].abs()).collect();
            let middle = levels[range[range.len() / 2]];
            (middle, (TO_SIGMA * quantile(&mut sizes, 0.5)).max(least))
        };
        let knots: Vec<(f64, f64)> = order.chunks(order.len().div_ceil(RANGES).max(1)).map(knot).collect();
        Self { knots: if knots.is_empty() { vec![(0.0, least)] } else { knots } }
    }

    /// Between two knots on the line between them, beyond the last as there.
    fn at(&self, level: f64) -> f64 {
        let above = self.knots.partition_point(|knot| knot.0 < level);
        match (above.checked_sub(1).map(|below| self.knots[below]), self.knots.get(above)) {
            (Some(below), Some(above)) if above.0 > below.0 => {
                below.1 + (above.1 - below.1) * (level - below.0) / (above.0 - below.0)
            }
            (_, Some(knot)) => knot.1,
            (Some(knot), None) => knot.1,
            (None, None) => 1.0,
        }
    }
}
