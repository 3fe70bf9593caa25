//! Arrivals of the open model. Drawn ones come by time rescaling: a unit-rate process is mapped through the inverse of
//! the cumulative rate, so that any profile keeps its exact number of arrivals (constant) or its exact law (Poisson,
//! gamma). Replayed ones come when the recording says.

use std::sync::Arc;

use rand_pcg::Pcg64;
use serde::{Serialize, Serializer};

use super::mix::Draw;
use super::profile::area;
use super::{Arrival, Burst, Mix, Process, Profile, Recording, stream};

/// When arrivals come.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Timing {
    /// Drawn for the profile's rate.
    Drawn {
        /// How they are spaced.
        process: Process,
        /// Whether they are then gathered into bursts.
        burst: Option<Burst>,
    },
    /// As recorded; the profile only says into which step an arrival falls.
    #[serde(serialize_with = "count")]
    Replayed(Arc<Recording>),
}

/// A recording can be long, and its file is named beside it: its length says enough.
fn count<S: Serializer>(recording: &Arc<Recording>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(recording.len() as u64)
}

impl From<Process> for Timing {
    fn from(process: Process) -> Self {
        Self::Drawn { process, burst: None }
    }
}

impl Timing {
    /// The word in manifests.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Drawn { process, .. } => process.as_str(),
            Self::Replayed(_) => "replay",
        }
    }

    /// About the most arrivals in any stretch of this length: what a backlog should hold.
    pub fn most_within(&self, profile: &Profile, window_ns: u64) -> f64 {
        let at_peak = |window_ns: u64| profile.peak() * (window_ns as f64 / 1e9);
        match self {
            Self::Drawn { process, burst } => {
                let mean = at_peak(window_ns + burst.map_or(0, |burst| burst.every_ns));
                // Four standard deviations of a count with this burstiness.
                mean + 4.0 * (process.burstiness() * mean).sqrt()
            }
            Self::Replayed(recording) => recording.most_within(window_ns) as f64,
        }
    }
}

/// The arrivals of a profile, in order.
#[derive(Debug, Clone)]
pub struct Arrivals {
    profile: Profile,
    mix: Mix,
    draws: Pcg64,
    sequence: u64,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Drawn(Drawn),
    Replayed { recording: Arc<Recording>, next: usize },
}

impl Arrivals {
    /// The arrivals of a profile with a mix; the same arguments give the same arrivals.
    pub fn new(profile: Profile, mix: Mix, timing: impl Into<Timing>, seed: u64) -> Self {
        let source = match timing.into() {
            Timing::Drawn { process, burst } => Source::Drawn(Drawn::new(process, burst, seed)),
            Timing::Replayed(recording) => Source::Replayed { recording, next: 0 },
        };
        Self { profile, mix, draws: stream(seed, 2), sequence: 0, source }
    }

    /// When the next arrival comes, its step, and its entry where that is not drawn.
    fn due(&mut self) -> Option<(u64, u16, Option<u16>)> {
        match &mut self.source {
            Source::Drawn(drawn) => {
                let (intended_ns, step) = drawn.due(&self.profile)?;
                Some((intended_ns, step, None))
            }
            Source::Replayed { recording, next } => {
                let (intended_ns, entry) = recording.get(*next)?;
                if intended_ns >= self.profile.end_ns() {
                    return None;
                }
                *next += 1;
                Some((intended_ns, self.profile.step_at(intended_ns), entry))
            }
        }
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let (intended_ns, step, entry) = self.due()?;
        let Draw { entry, payload, item } = match entry {
            Some(entry) => self.mix.draw_of(entry, &mut self.draws),
            None => self.mix.draw(&mut self.draws),
        };
        let sequence = self.sequence;
        self.sequence += 1;
        let content = item.map_or(sequence, u64::from);
        Some(Arrival { sequence, intended_ns, unique: sequence, content, payload, step, entry })
    }
}

/// Moments drawn for a profile.
#[derive(Debug, Clone)]
struct Drawn {
    process: Process,
    burst: Option<Burst>,
    gaps: Pcg64,
    step: usize,
    /// Expected arrivals from the start of `step` to the next arrival.
    ahead: f64,
}

impl Drawn {
    fn new(process: Process, burst: Option<Burst>, seed: u64) -> Self {
        let mut gaps = stream(seed, 1);
        let ahead = process.first_gap(&mut gaps);
        Self { process, burst, gaps, step: 0, ahead }
    }

    fn due(&mut self, profile: &Profile) -> Option<(u64, u16)> {
        let offset_s = self.offset_s(profile)?;
        let step = &profile.steps()[self.step];
        // Rounding must not carry an arrival over the end of its step.
        let offset_ns = ((offset_s * 1e9) as u64).min(step.end_ns - step.start_ns - 1);
        self.ahead += self.process.gap(&mut self.gaps);
        let offset_ns = self.burst.map_or(offset_ns, |burst| burst.squeeze(offset_ns));
        Some((step.start_ns + offset_ns, self.step as u16))
    }

    /// Moves on to the step that holds the next arrival and says when in that step it is, in seconds.
    fn offset_s(&mut self, profile: &Profile) -> Option<f64> {
        loop {
            let step = profile.steps().get(self.step)?;
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

    /// Counts in unit intervals of a renewal process with gaps of a squared coefficient of variation b have, over long
    /// intervals, a variance of b times their mean.
    #[test]
    fn gamma_arrivals_are_as_bursty_as_asked_and_keep_their_rate() {
        for burstiness in [0.25, 4.0] {
            let arrivals = plan(&[(400.0, 100.0, 100.0)], Process::Gamma { burstiness }, 11);
            let mut counts = [0.0_f64; 400];
            for arrival in &arrivals {
                counts[(arrival.intended_ns / 1_000_000_000) as usize] += 1.0;
            }
            let mean = counts.iter().sum::<f64>() / 400.0;
            let variance = counts.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / 400.0;
            // Four standard errors: of the mean sqrt(burstiness / 40 000), of the variance sqrt(2 / 400).
            assert!((mean / 100.0 - 1.0).abs() < 0.02 * burstiness.sqrt(), "{burstiness}: {mean}");
            assert!((variance / (100.0 * burstiness) - 1.0).abs() < 0.28, "{burstiness}: {variance}");
        }
    }

    #[test]
    fn bursts_keep_the_count_of_every_period_and_leave_the_rest_quiet() {
        let profile = Profile::new(steps(&[(20.0, 50.0, 50.0)]));
        let burst = Some(Burst { every_ns: 5_000_000_000, length_ns: 500_000_000 });
        let timing = Timing::Drawn { process: Process::Constant, burst };
        let arrivals: Vec<_> = Arrivals::new(profile, Mix::new([(1.0, 1)]), timing, 1).collect();
        assert_eq!(arrivals.len(), 1000);
        assert!(arrivals.iter().all(|a| a.intended_ns % 5_000_000_000 < 500_000_000));
        for period in 0..4 {
            assert_eq!(arrivals.iter().filter(|a| a.intended_ns / 5_000_000_000 == period).count(), 250);
        }
    }

    #[test]
    fn a_recording_is_replayed_with_its_moments_and_entries() {
        let profile = Profile::new(steps(&[(1.0, 3.0, 3.0)]));
        let recording = Recording::new(vec![900, 100, 500], vec![1, 0, 1], 1.0);
        let timing = Timing::Replayed(Arc::new(recording));
        let arrivals = Arrivals::new(profile, Mix::new([(1.0, 1), (0.0, 4)]), timing, 1);
        let found: Vec<_> = arrivals.map(|a| (a.sequence, a.intended_ns, a.entry, a.payload < 4)).collect();
        assert_eq!(found, [(0, 0, 0, true), (1, 400, 1, true), (2, 800, 1, true)]);
    }

    fn processes() -> impl Strategy<Value = (Process, Option<Burst>)> {
        let process = prop_oneof![
            Just(Process::Constant),
            Just(Process::Poisson),
            (0.1f64..20.0).prop_map(|burstiness| Process::Gamma { burstiness }),
        ];
        let burst = (2u64..3_000_000_000, 0.0f64..1.0)
            .prop_map(|(every_ns, share)| Burst { every_ns, length_ns: (every_ns as f64 * share) as u64 });
        (process, proptest::option::of(burst))
    }

    proptest! {
        /// Arrivals never go back in time, stay inside their step, are numbered without gaps, and constant
        /// arrivals number the area of the profile, give or take one.
        #[test]
        fn arrivals_are_ordered_and_inside_their_steps(
            pieces in proptest::collection::vec((0.01f64..3.0, 0.0f64..300.0, 0.0f64..300.0), 1..6),
            (process, burst) in processes(),
            seed: u64,
        ) {
            let profile = Profile::new(steps(&pieces));
            let timing = Timing::Drawn { process, burst };
            let arrivals: Vec<_> = Arrivals::new(profile.clone(), Mix::new([(1.0, 1)]), timing, seed).collect();
            for (n, arrival) in arrivals.iter().enumerate() {
                let step = &profile.steps()[usize::from(arrival.step)];
                prop_assert!((step.start_ns..step.end_ns).contains(&arrival.intended_ns));
                prop_assert_eq!(arrival.sequence, n as u64);
            }
            prop_assert!(arrivals.is_sorted_by_key(|a| a.intended_ns));
            if process == Process::Constant {
                prop_assert!((arrivals.len() as f64 - profile.area()).abs() <= 1.0);
            }
        }
    }
}
