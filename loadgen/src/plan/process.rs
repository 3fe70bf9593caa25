//! How arrivals are spaced: gaps of mean 1 of a stationary renewal process. Rates are the profile's affair.

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::{exponential, uniform};

/// How arrivals are spaced at a steady rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Process {
    /// Evenly.
    Constant,
    /// As independent users would come: exponential gaps.
    Poisson,
    /// In clumps, or more evenly than at random: gamma gaps.
    Gamma {
        /// Squared coefficient of variation of the gaps, above 0: 1 is as random as Poisson, above it burstier.
        burstiness: f64,
    },
}

impl Process {
    /// The word in scenarios and manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
            Self::Gamma { .. } => "gamma",
        }
    }

    /// Squared coefficient of variation of the gaps.
    pub(super) fn burstiness(self) -> f64 {
        match self {
            Self::Constant => 0.0,
            Self::Poisson => 1.0,
            Self::Gamma { burstiness } => burstiness,
        }
    }

    /// The gap before the first arrival. Where gaps vary, the process is taken up in the middle, as an observer who
    /// comes by at random finds it: begun with a whole gap, a bursty process would have too many arrivals at first
    /// (Cox, *Renewal Theory*, 1962, chapter 2).
    pub(super) fn first_gap(self, rng: &mut Pcg64) -> f64 {
        match self {
            Self::Constant => 0.0,
            Self::Poisson => exponential(rng),
            Self::Gamma { burstiness } => {
                // The gap that covers a random moment is drawn by its length, which adds 1 to the shape.
                let covering = gamma(rng, 1.0 / burstiness + 1.0) * burstiness;
                covering * uniform(rng)
            }
        }
    }

    /// The next gap.
    pub(super) fn gap(self, rng: &mut Pcg64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Poisson => exponential(rng),
            Self::Gamma { burstiness } => gamma(rng, 1.0 / burstiness) * burstiness,
        }
    }
}

/// A gamma number with this shape and scale 1 (Marsaglia and Tsang 2000; below a shape of 1 by their boost).
fn gamma(rng: &mut Pcg64, shape: f64) -> f64 {
    if shape < 1.0 {
        let boost = libm::pow(1.0 - uniform(rng), 1.0 / shape);
        return gamma(rng, shape + 1.0) * boost;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / libm::sqrt(9.0 * d);
    loop {
        let x = normal(rng);
        let v = libm::pow(1.0 + c * x, 3.0);
        let log_u = libm::log(1.0 - uniform(rng));
        if v > 0.0 && log_u < 0.5 * x * x + d * (1.0 - v + libm::log(v)) {
            return d * v;
        }
    }
}

/// A standard normal number (Box and Muller 1958; one of the pair, so that every draw takes as much of the stream).
fn normal(rng: &mut Pcg64) -> f64 {
    let radius = libm::sqrt(2.0 * exponential(rng));
    radius * libm::cos(std::f64::consts::TAU * uniform(rng))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and squared coefficient of variation.
    fn moments(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        (mean, variance / mean.powi(2))
    }

    #[test]
    fn gaps_have_mean_one_and_the_spread_asked_for() {
        for burstiness in [0.25, 1.0, 4.0, 16.0] {
            let process = Process::Gamma { burstiness };
            let mut rng = super::super::stream(3, 1);
            let gaps: Vec<f64> = (0..400_000).map(|_| process.gap(&mut rng)).collect();
            let (mean, spread) = moments(&gaps);
            // The mean's standard error is sqrt(burstiness / n), 0.63 % at 16; the spread's some 2.5 % there.
            assert!((mean - 1.0).abs() < 0.025, "{burstiness}: {mean}");
            assert!((spread / burstiness - 1.0).abs() < 0.1, "{burstiness}: {spread}");
        }
    }

    /// The mean of the forward recurrence time of a renewal process is (1 + burstiness) / 2 gaps.
    #[test]
    fn a_process_is_taken_up_in_the_middle() {
        for burstiness in [0.25, 1.0, 4.0] {
            let process = Process::Gamma { burstiness };
            let mut rng = super::super::stream(5, 1);
            let first: Vec<f64> = (0..200_000).map(|_| process.first_gap(&mut rng)).collect();
            let expected = f64::midpoint(1.0, burstiness);
            assert!((moments(&first).0 / expected - 1.0).abs() < 0.03, "{burstiness}: {}", moments(&first).0);
        }
    }
}
