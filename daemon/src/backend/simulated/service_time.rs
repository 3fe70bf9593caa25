//! How long a simulated execution takes: a declared distribution and batch curve, drawn from a seed. Pure: the same
//! declaration and seed give the same times.

use std::f64::consts::TAU;
use std::time::Duration;

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// How service times spread around their mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// Always the mean.
    Constant,
    /// Memoryless.
    Exponential,
    /// Skewed, with this coefficient of variation (standard deviation over mean), above 0.
    Lognormal {
        /// Standard deviation over mean.
        cv: f64,
    },
}

/// A declared service time. A batch of n elements takes `base + per_element × n` on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServiceTimeSpec {
    /// The part that does not depend on the batch, in seconds.
    pub base_s: f64,
    /// What every batch element adds, in seconds.
    pub per_element_s: f64,
    /// How single times spread around it.
    pub spread: Spread,
}

/// Draws service times.
#[derive(Debug, Clone)]
pub struct ServiceTimes {
    spec: ServiceTimeSpec,
    random: Pcg64Mcg,
}

impl ServiceTimes {
    /// The sequence of one instance. Instances with different numbers draw different sequences.
    pub fn new(spec: ServiceTimeSpec, seed: u64, instance: u64) -> Self {
        let mixed = seed ^ instance.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { spec, random: Pcg64Mcg::seed_from_u64(mixed) }
    }

    /// The time of the next execution, of a batch of `elements`.
    pub fn next(&mut self, elements: u32) -> Duration {
        let mean_s = self.spec.base_s + self.spec.per_element_s * f64::from(elements);
        let factor = match self.spec.spread {
            Spread::Constant => 1.0,
            Spread::Exponential => -self.uniform().ln(),
            Spread::Lognormal { cv } => self.lognormal(cv),
        };
        Duration::try_from_secs_f64(mean_s * factor).unwrap_or(Duration::MAX)
    }

    /// Uniform over (0, 1], from 53 random bits.
    fn uniform(&mut self) -> f64 {
        ((self.random.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Lognormal with mean 1: sigma² = ln(1 + cv²), mu = −sigma²/2; the normal deviate after Box and Muller.
    fn lognormal(&mut self, cv: f64) -> f64 {
        let variance = (cv * cv).ln_1p();
        let normal = (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos();
        (variance.sqrt() * normal - variance / 2.0).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_moments(spread: Spread, expected_cv: f64) {
        let spec = ServiceTimeSpec { base_s: 0.002, per_element_s: 0.001, spread };
        let mut times = ServiceTimes::new(spec, 7, 0);
        let drawn: Vec<f64> = (0..200_000).map(|_| times.next(3).as_secs_f64()).collect();
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let variance = drawn.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
        assert!((mean / 0.005 - 1.0).abs() < 0.01, "{spread:?}: mean {mean}");
        assert!((variance.sqrt() / mean - expected_cv).abs() < 0.02, "{spread:?}: cv {}", variance.sqrt() / mean);
    }

    #[test]
    fn mean_and_spread_are_as_declared() {
        check_moments(Spread::Constant, 0.0);
        check_moments(Spread::Exponential, 1.0);
        check_moments(Spread::Lognormal { cv: 0.5 }, 0.5);
    }

    #[test]
    fn a_seed_is_a_sequence() {
        let spec = ServiceTimeSpec { base_s: 0.01, per_element_s: 0.0, spread: Spread::Exponential };
        let draw = |seed, instance| {
            let mut times = ServiceTimes::new(spec, seed, instance);
            [times.next(1), times.next(1), times.next(1)]
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
    }
}
