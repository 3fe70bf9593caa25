//! What is believed of a target's capacity: the highest rate at which it keeps both what its service level allows of bad
//! requests and what it allows of errors. Two posteriors, of which the lower rate counts. Pure.

use proofload_run::capacity::Seen;

use super::posterior::{Evidence, Posterior};

/// Independent requests that a second is worth: those of one second share what slowed them (`ESS` of simulated servers).
const PER_SECOND: f64 = 2.5;
/// A request is worth less than one even where they are few.
const PER_REQUEST: f64 = 0.2;
/// Beyond this share a step says that it lies above, and nothing finer: what waits piles up for as long as it lasts.
const BEYOND: f64 = 0.5;
/// What such a step is worth.
const BEYOND_WEIGHT: f64 = 8.0;

/// What a service level allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Allowed {
    /// Share of requests that may be bad: late, failed or shed.
    pub(super) bad_share: f64,
    /// Share of requests that may fail.
    pub(super) error_share: f64,
}

/// What was counted in the measured part of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Counts {
    /// Arrivals per second.
    pub(super) rate_per_s: f64,
    /// Length.
    pub(super) seconds: f64,
    /// Requests of which is known whether they were bad.
    pub(super) n: u64,
    /// Bad ones.
    pub(super) bad: u64,
    /// Failed ones.
    pub(super) errors: u64,
}

impl From<&Seen> for Counts {
    fn from(seen: &Seen) -> Self {
        let measured = || seen.seconds.iter().filter(|second| second.n > 0);
        Self {
            rate_per_s: seen.planned.rate_per_s,
            seconds: measured().count() as f64,
            n: measured().map(|second| second.n).sum(),
            bad: measured().map(|second| second.bad).sum(),
            errors: measured().map(|second| second.errors).sum(),
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Belief {
    allowed: Allowed,
    between_per_s: [f64; 2],
    steps: Vec<Counts>,
    bad: Posterior,
    /// From the first error on.
    errors: Option<Posterior>,
}

impl Belief {
    /// Before anything was seen: the capacity lies between these rates.
    pub(super) fn new(between_per_s: [f64; 2], allowed: Allowed) -> Self {
        let bad = Posterior::new(between_per_s[0], between_per_s[1], allowed.bad_share);
        Self { allowed, between_per_s, steps: Vec::new(), bad, errors: None }
    }

    /// Takes in a step.
    pub(super) fn add(&mut self, step: Counts) {
        evidence(&step, step.bad).into_iter().for_each(|seen| self.bad.add(seen));
        self.steps.push(step);
        match &mut self.errors {
            Some(errors) => evidence(&step, step.errors).into_iter().for_each(|seen| errors.add(seen)),
            None if step.errors > 0 => {
                let [low, high] = self.between_per_s;
                let mut errors = Posterior::new(low, high, self.allowed.error_share);
                self.steps.iter().filter_map(|step| evidence(step, step.errors)).for_each(|seen| errors.add(seen));
                self.errors = Some(errors);
            }
            None => {}
        }
    }

    /// The rates below which the capacity lies with these probabilities, ascending.
    pub(super) fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        let bad = self.bad.rates();
        match &self.errors {
            None => shares.map(|share| quantile(&bad, share)),
            Some(errors) => {
                let lower = lower_of(bad, errors.rates());
                shares.map(|share| quantile(&lower, share))
            }
        }
    }

    /// How much higher the rate is at which half of the requests are bad: 1 is a cliff.
    pub(super) fn gentleness(&self) -> f64 {
        self.bad.gentleness()
    }
}

/// A step as evidence of so many of its requests; `None` where it has measured nothing.
fn evidence(step: &Counts, count: u64) -> Option<Evidence> {
    let Counts { rate_per_s, seconds, n, .. } = *step;
    if n == 0 {
        return None;
    }
    let bad_share = count as f64 / n as f64;
    let weight = (PER_SECOND * seconds).min(PER_REQUEST * n as f64);
    Some(match bad_share < BEYOND {
        true => Evidence { rate_per_s, bad_share, weight },
        false => Evidence { rate_per_s, bad_share: BEYOND, weight: BEYOND_WEIGHT.min(weight) },
    })
}

/// The rate below which so much of the weight lies.
fn quantile(rates: &[(f64, f64)], share: f64) -> f64 {
    let mut below = 0.0;
    let found = rates.iter().find(|(_, weight)| {
        below += weight;
        below >= share
    });
    found.or(rates.last()).map_or(0.0, |(rate, _)| *rate)
}

/// The distribution of the lower of two rates that know nothing of each other.
fn lower_of(one: Vec<(f64, f64)>, other: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let marked =
        |rates: Vec<(f64, f64)>, which: usize| rates.into_iter().map(move |(rate, weight)| (rate, weight, which));
    let mut all: Vec<(f64, f64, usize)> = marked(one, 0).chain(marked(other, 1)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    // What of each lies above the rate that is looked at.
    let mut above = [1.0_f64, 1.0];
    all.into_iter()
        .map(|(rate, weight, which)| {
            above[which] -= weight;
            (rate, weight * above[1 - which].max(0.0))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Allowed = Allowed { bad_share: 0.05, error_share: 0.01 };

    fn counts(rate_per_s: f64, bad: u64, errors: u64) -> Counts {
        Counts { rate_per_s, seconds: 8.0, n: 800, bad: 8 * bad, errors: 8 * errors }
    }

    #[test]
    fn the_lower_of_what_lateness_and_errors_allow() {
        let check = |errors_above: f64, expected: [f64; 2]| {
            let mut belief = Belief::new([50.0, 200.0], ALLOWED);
            for rate in [80.0, 84.0, 88.0, 92.0, 96.0, 104.0, 108.0, 112.0] {
                let errors = if rate > errors_above { 4 } else { 0 };
                let late = if rate > 100.0 { 40 } else { 0 };
                belief.add(counts(rate, late + errors, errors));
            }
            let [low, middle, high] = belief.quantiles([0.05, 0.5, 0.95]);
            assert!(low <= middle && middle <= high);
            assert!(expected[0] < middle && middle < expected[1], "errors above {errors_above}: {low} {middle} {high}");
        };
        check(1000.0, [96.0, 104.0]);
        check(90.0, [80.0, 94.0]);
    }

    #[test]
    fn the_lower_of_two_known_rates() {
        let check = |one: &[(f64, f64)], other: &[(f64, f64)], expected: &[(f64, f64)]| {
            let lower: Vec<(f64, f64)> = lower_of(one.to_vec(), other.to_vec());
            let lower: Vec<(f64, f64)> = lower.into_iter().filter(|(_, weight)| *weight > 1e-12).collect();
            assert_eq!(lower, expected);
        };
        check(&[(1.0, 1.0)], &[(2.0, 1.0)], &[(1.0, 1.0)]);
        check(&[(3.0, 1.0)], &[(2.0, 1.0)], &[(2.0, 1.0)]);
        check(&[(1.0, 0.5), (3.0, 0.5)], &[(2.0, 1.0)], &[(1.0, 0.5), (2.0, 0.5)]);
    }

    #[test]
    fn a_step_that_measured_nothing_is_no_evidence() {
        assert_eq!(evidence(&Counts { n: 0, ..counts(10.0, 0, 0) }, 0), None);
        let hopeless = evidence(&counts(10.0, 99, 0), 792).unwrap();
        assert_eq!((hopeless.bad_share, hopeless.weight), (BEYOND, BEYOND_WEIGHT));
    }
}
