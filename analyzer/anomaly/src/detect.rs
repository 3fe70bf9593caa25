//! Three detectors of odd windows. Each knows healthy windows and gives a score; how high is odd, the model learns from
//! runs that the detector has not seen.

use linfa::DatasetBase;
use linfa::traits::Fit;
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use crate::forest::{ForestError, IsolationForest};
use crate::matrix::Symmetric;
use crate::robust::{centre_and_spread, quantile};
use crate::window::{Feature, Statistic};

/// How many scores a window gets: of the forest, of its neighbours, of its largest deviation.
pub(crate) const DETECTORS: usize = 3;

const TREES: usize = 100;
/// Which neighbour's distance counts.
const NEIGHBOUR: usize = 10;
/// Healthy windows that are kept to be neighbours, at most.
const MOST_KEPT: usize = 4000;
/// A feature varies at least so much between healthy windows, in its own unit.
const LEAST_SPREAD: f64 = 0.3;
/// Features are told apart up to so many spreads.
const FARTHEST: f64 = 40.0;
/// The shares of healthy windows by which a feature's tail is known: three in a hundred exceed the first quantile, ten
/// times fewer the second.
const TAIL: (f64, f64) = (0.97, 0.997);
/// The first quantile, and how far the second lies beyond it, are at least so many spreads: otherwise metrics that
/// hardly vary would always come first.
const LEAST_TAIL: (f64, f64) = (1.7, 0.6);
/// In joint distances a feature counts at most so many spreads.
const JOINT_CLIP: f64 = 6.0;
/// The diagonal of a covariance is raised by this share and this much, so that it can be inverted and a metric that
/// hardly varies does not count for more than all others.
const RAISED: (f64, f64) = (0.05, 0.15);
/// The groups of features whose joint distance is a feature of its own.
const JOINT: [Statistic; 3] = [Statistic::Mean(10), Statistic::Mean(30), Statistic::Step];

/// How features are brought to one scale, and which distances are taken of several together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// Centre and spread of each feature, and of each joint distance after them.
    scale: Vec<(f64, f64)>,
    joints: Vec<Joint>,
}

/// The distance of several features from their centre, given how they vary together (Mahalanobis).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Joint {
    places: Vec<usize>,
    /// Inverse of the covariance's Cholesky factor, row by row.
    whitening: Vec<f64>,
}

impl Joint {
    fn fit(places: Vec<usize>, rows: &[Vec<f64>]) -> Self {
        let mut covariance = Symmetric::new(places.len());
        for row in rows {
            covariance.add_outer(&Self::picked(&places, row));
        }
        covariance.scale(1.0 / rows.len().max(1) as f64);
        covariance.add_diagonal(|_, value| RAISED.0 * value + RAISED.1);
        let whitening = covariance.factor().inverse();
        Self { places, whitening }
    }

    fn picked(places: &[usize], row: &[f64]) -> Vec<f64> {
        places.iter().map(|place| row[*place].clamp(-JOINT_CLIP, JOINT_CLIP)).collect()
    }

    fn distance(&self, row: &[f64]) -> f64 {
        let picked = Self::picked(&self.places, row);
        let white = |weights: &[f64]| weights.iter().zip(&picked).map(|(a, b)| a * b).sum::<f64>();
        self.whitening.chunks_exact(self.places.len().max(1)).map(|weights| white(weights).powi(2)).sum::<f64>().sqrt()
    }
}

impl Shape {
    pub(crate) fn fit(features: &[Feature], rows: &[Vec<f64>]) -> Self {
        let mut made = Self { scale: Vec::new(), joints: Vec::new() };
        let scale_of = |column: &mut dyn Iterator<Item = f64>| {
            let (centre, spread) = centre_and_spread(&column.collect::<Vec<f64>>());
            (centre, spread.max(LEAST_SPREAD))
        };
        made.scale = (0..features.len()).map(|place| scale_of(&mut rows.iter().map(|row| row[place]))).collect();
        let scaled: Vec<Vec<f64>> = rows.iter().map(|row| made.shaped(row)).collect();
        for statistic in JOINT {
            let places = (0..features.len()).filter(|place| features[*place].statistic == statistic).collect();
            let joint = Joint::fit(places, &scaled);
            let scale = scale_of(&mut scaled.iter().map(|row| joint.distance(row)));
            made.joints.push(joint);
            made.scale.push(scale);
        }
        made
    }

    /// The features of a window on one scale, joint distances after them.
    pub(crate) fn shaped(&self, row: &[f64]) -> Vec<f64> {
        let scaled = |value: f64, scale: &(f64, f64)| ((value - scale.0) / scale.1).clamp(-FARTHEST, FARTHEST);
        let mut shaped: Vec<f64> = row.iter().zip(&self.scale).map(|(value, scale)| scaled(*value, scale)).collect();
        for (joint, scale) in self.joints.iter().zip(&self.scale[row.len()..]) {
            let distance = scaled(joint.distance(&shaped[..row.len()]), scale);
            shaped.push(distance);
        }
        shaped
    }
}

/// The three detectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Detectors {
    forest: IsolationForest,
    /// Healthy windows, row by row.
    neighbours: Vec<f32>,
    /// Of each feature the first quantile of its tail, and how much further the second lies.
    tails: Vec<(f64, f64)>,
}

impl Detectors {
    /// Learns healthy windows, all on one scale.
    pub(crate) fn fit(rows: &[Vec<f64>], seed: u64) -> Result<Self, ForestError> {
        let columns = rows.first().map_or(0, Vec::len);
        let flat: Vec<f64> = rows.iter().flatten().copied().collect();
        let view = ArrayView2::from_shape((rows.len(), columns), &flat)
            .map_err(|_| ForestError::TooSmall { rows: rows.len(), columns })?;
        let forest = IsolationForest::params().trees(TREES).seed(seed).fit(&DatasetBase::from(view))?;
        let kept = rows.iter().step_by(rows.len().div_ceil(MOST_KEPT).max(1));
        let neighbours = kept.flatten().map(|value| *value as f32).collect();
        let tail = |place: usize| {
            let mut sizes: Vec<f64> = rows.iter().map(|row| row[place].abs()).collect();
            let first = quantile(&mut sizes, TAIL.0).max(LEAST_TAIL.0);
            (first, (quantile(&mut sizes, TAIL.1) - first).max(LEAST_TAIL.1))
        };
        Ok(Self { forest, neighbours, tails: (0..columns).map(tail).collect() })
    }

    /// The scores of a window.
    pub(crate) fn scores(&self, row: &[f64]) -> [f64; DETECTORS] {
        [self.forest.score(row), self.neighbour_distance(row), self.strengths(row).fold(0.0, f64::max)]
    }

    /// How rare each feature is: 1 is what three healthy windows in a hundred exceed, and each further 1 is ten times as
    /// rare, as far as tails fall off exponentially.
    pub(crate) fn strengths(&self, row: &[f64]) -> impl Iterator<Item = f64> {
        row.iter().zip(&self.tails).map(|(value, (first, further))| {
            let size = value.abs();
            if size <= *first { size / first } else { 1.0 + (size - first) / further }
        })
    }

    /// Distance to the tenth nearest healthy window.
    fn neighbour_distance(&self, row: &[f64]) -> f64 {
        let row: Vec<f32> = row.iter().map(|value| *value as f32).collect();
        let mut nearest = [f32::INFINITY; NEIGHBOUR];
        for other in self.neighbours.chunks_exact(row.len().max(1)) {
            let distance: f32 = row.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
            if distance < nearest[NEIGHBOUR - 1] {
                let place = nearest.partition_point(|held| *held <= distance);
                nearest[place..].rotate_right(1);
                nearest[place] = distance;
            }
        }
        let farthest = nearest.iter().rev().find(|held| held.is_finite()).copied().unwrap_or(0.0);
        f64::from(farthest).sqrt()
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these figures are exact")]
mod tests {
    use super::*;

    #[test]
    fn the_tenth_neighbour_counts() {
        let rows: Vec<Vec<f64>> = (0..40).map(|n| vec![f64::from(n), 0.0]).collect();
        let detectors = Detectors::fit(&rows, 1).unwrap();
        assert_eq!(detectors.neighbour_distance(&[0.0, 0.0]), 9.0);
        assert_eq!(detectors.neighbour_distance(&[20.0, 0.0]), 5.0);
        assert_eq!(detectors.neighbour_distance(&[-1.0, 0.0]), 10.0);
        let few = Detectors::fit(&rows[..3], 1).unwrap();
        assert_eq!(few.neighbour_distance(&[4.0, 0.0]), 4.0);
    }

    #[test]
    fn what_varies_together_is_far_off_only_when_it_parts() {
        let rows: Vec<Vec<f64>> = (-50..50).map(|n| vec![f64::from(n) / 25.0, f64::from(n) / 25.0 + 0.01]).collect();
        let joint = Joint::fit(vec![0, 1], &rows);
        assert!(joint.distance(&[2.0, -2.0]) > 3.0 * joint.distance(&[2.0, 2.0]));
    }
}
