//! Arrivals of the open model, by time rescaling: a unit-rate process is mapped through the inverse of the
//! cumulative rate, so that any profile keeps its exact number of arrivals (constant) or its exact law (Poisson).

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::profile::area;
use super::{Arrival, Mix, Profile, exponential, stream};

/// How arrivals are spaced at a steady rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Process {
    /// Evenly.
    Constant,
    /// As independent users would come: exponential gaps.
    Poisson,
}

impl Process {
    /// The word in scenarios and manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        }
    }
}

/// The arrivals of a profile, in order.
#[derive(Debug, Clone)]
pub struct Arrivals {
    profile: Profile,
    mix: Mix,
    process: Process,
    gaps: Pcg64,
    draws: Pcg64,
    sequence: u64,
    step: usize,
    /// Expected arrivals from the start of `step` to the next arrival.
    ahead: f64,
}

impl Arrivals {
    /// The arrivals of a profile with a mix; the same arguments give the same arrivals.
    pub fn new(profile: Profile, mix: Mix, process: Process, seed: u64) -> Self {
        let mut gaps = stream(seed, 1);
        let ahead = match process {
            Process::Constant => 0.0,
            Process::Poisson => exponential(&mut gaps),
        };
        Self { profile, mix, process, gaps, draws: stream(seed, 2), sequence: 0, step: 0, ahead }
    }

    fn gap(&mut self) -> f64 {
        match self.process {
            Process::Constant => 1.0,
            Process::Poisson => exponential(&mut self.gaps),
        }
    }

    /// Moves on to the step that holds the next arrival and says when in that step it is, in seconds.
    fn offset_s(&mut self) -> Option<f64> {
        loop {
            let step = self.profile.steps().get(self.step)?;
            let within = area(step);
            if self.ahead < within {
                let length_s = (step.end_ns - step.start_ns) as f64 / 1e9;
                return Some(inverse(step.level_start, step.level_end, length_s, self.ahead));
            }
            self.ahead -= within;
            self.step += 1;
        }
    }
}

/// When a rate going linearly from `from` to `to` per second within `length_s` has produced `count` arrivals.
/// This form of the quadratic's root does not cancel when the slope is small.
fn inverse(from: f64, to: f64, length_s: f64, count: f64) -> f64 {
    let slope = (to - from) / length_s;
    let root = (from * from + 2.0 * slope * count).max(0.0).sqrt();
    if count == 0.0 { 0.0 } else { 2.0 * count / (from + root) }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let offset_s = self.offset_s()?;
        let step = &self.profile.steps()[self.step];
        let intended_ns = (step.start_ns + (offset_s * 1e9) as u64).min(step.end_ns - 1);
        let (entry, payload) = self.mix.draw(&mut self.draws);
        let sequence = self.sequence;
        self.sequence += 1;
        let step = self.step as u16;
        self.ahead += self.gap();
        Some(Arrival { sequence, intended_ns, unique: sequence, payload, step, entry })
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::tests::steps;
    use super::*;
    use proptest::prelude::*;

    fn plan(pieces: &[(f64, f64, f64)], process: Process, seed: u64) -> Vec<Arrival> {
        Arrivals::new(Profile::new(steps(pieces)), Mix::new([(1.0, 1)]), process, seed).collect()
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced_and_counted() {
        let times: Vec<u64> = plan(&[(1.0, 4.0, 4.0), (0.5, 10.0, 10.0)], Process::Constant, 1)
            .iter()
            .map(|a| a.intended_ns / 1_000_000)
            .collect();
        assert_eq!(times, [0, 250, 500, 750, 1000, 1100, 1200, 1300, 1400]);
    }

    #[test]
    fn a_ramp_has_the_arrivals_of_its_area() {
        let arrivals = plan(&[(10.0, 0.0, 100.0)], Process::Constant, 1);
        assert_eq!(arrivals.len(), 500);
        // A rate of 10 t has produced 5 t² arrivals.
        let expected_s = (250.0_f64 / 5.0).sqrt();
        assert!((arrivals[250].intended_ns as f64 / 1e9 - expected_s).abs() < 1e-6);
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_spread_of_an_exponential() {
        let arrivals = plan(&[(100.0, 1000.0, 1000.0)], Process::Poisson, 42);
        let gaps: Vec<f64> = arrivals.windows(2).map(|w| (w[1].intended_ns - w[0].intended_ns) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let sd = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        // Standard errors over 100 000 gaps: 0.32 % of the mean, 0.45 % of the deviation.
        assert!((mean / 1e6 - 1.0).abs() < 0.015, "{mean}");
        assert!((sd / 1e6 - 1.0).abs() < 0.025, "{sd}");
    }

    proptest! {
        /// Arrivals never go back in time, stay inside their step, are numbered without gaps, and constant
        /// arrivals number the area of the profile, give or take one.
        #[test]
        fn arrivals_are_ordered_and_inside_their_steps(
            pieces in proptest::collection::vec((0.01f64..3.0, 0.0f64..300.0, 0.0f64..300.0), 1..6),
            poisson: bool,
            seed: u64,
        ) {
            let process = if poisson { Process::Poisson } else { Process::Constant };
            let profile = Profile::new(steps(&pieces));
            let arrivals = plan(&pieces, process, seed);
            for (n, arrival) in arrivals.iter().enumerate() {
                let step = &profile.steps()[usize::from(arrival.step)];
                prop_assert!((step.start_ns..step.end_ns).contains(&arrival.intended_ns));
                prop_assert_eq!(arrival.sequence, n as u64);
            }
            prop_assert!(arrivals.is_sorted_by_key(|a| a.intended_ns));
            if !poisson {
                prop_assert!((arrivals.len() as f64 - profile.area()).abs() <= 1.0);
            }
        }
    }
}
