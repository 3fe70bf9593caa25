//! What is believed of the rate at which a given share of requests goes bad: a posterior on a grid. Pure; knows neither
//! time nor targets.
//!
//! The share of bad requests at a rate is taken to be logistic in the rate's logarithm, `logit p = beta (ln rate - ln c - s eps)`:
//! half are bad at `c`, `beta` says how suddenly, and `s` how far a step may lie from the next at the same rate because the target
//! was slower or faster for its whole length (`eps` is normal, one for each step, and summed over). Without `s` intervals are far
//! too narrow: the seconds of a step share what slowed them. What is sought is not `c` but the rate whose share, over many
//! steps, is the allowed one.

/// Points of the grid: `ln c`, `s`, `beta`.
const SIZE: [usize; 3] = [221, 9, 10];
const SPREADS: [f64; 2] = [0.003, 0.10];
const STEEPNESSES: [f64; 2] = [2.5, 250.0];
/// Log-normal beliefs before anything was seen: where they are centred, and how wide they are.
const USUAL_SPREAD: [f64; 2] = [0.025, 0.7];
const USUAL_STEEPNESS: [f64; 2] = [30.0, 1.2];
/// No share is believed to be surer than this: a step has but so many requests.
const SUREST: f64 = 3e-4;
/// Half the width over which `eps` is summed, in standard deviations, and the number of its values.
const REACH: f64 = 4.0;
const NODES: usize = 17;

/// What a step has shown, as far as a posterior is concerned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Evidence {
    /// Arrivals per second.
    pub(super) rate_per_s: f64,
    /// The share of bad ones.
    pub(super) bad_share: f64,
    /// How many independent requests that share is worth.
    pub(super) weight: f64,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Posterior {
    centres: Vec<f64>,
    spreads: Vec<f64>,
    steepnesses: Vec<f64>,
    /// `ln c` minus the logarithm of the rate that is sought, by spread and steepness.
    offsets: Vec<f64>,
    /// Logarithms, the largest 0; steepness runs fastest, then spread.
    beliefs: Vec<f64>,
    nodes: Vec<(f64, f64)>,
}

impl Posterior {
    /// Before anything was seen: the rate is somewhere between these, all of them alike.
    pub(super) fn new(lowest_per_s: f64, highest_per_s: f64, allowed_share: f64) -> Self {
        let nodes = nodes();
        let spreads = between(SPREADS, SIZE[1]);
        let steepnesses = between(STEEPNESSES, SIZE[2]);
        let each = || spreads.iter().flat_map(|s| steepnesses.iter().map(move |b| (*s, *b)));
        let offsets: Vec<f64> = each().map(|(s, b)| offset(s, b, allowed_share, &nodes)).collect();
        let prior: Vec<f64> = each().map(|(s, b)| usual(s, USUAL_SPREAD) + usual(b, USUAL_STEEPNESS)).collect();
        // Half of the requests are bad well above the rate that is sought where the rise is gentle.
        let centres: Vec<f64> = between([lowest_per_s, highest_per_s * 1.8], SIZE[0]).iter().map(|c| c.ln()).collect();
        let beliefs = centres.iter().flat_map(|_| prior.iter().copied()).collect();
        Self { centres, spreads, steepnesses, offsets, beliefs, nodes }
    }

    /// Takes in a step.
    pub(super) fn add(&mut self, seen: Evidence) {
        let rate = seen.rate_per_s.ln();
        let mut at = 0;
        for centre in &self.centres {
            for spread in &self.spreads {
                for steepness in &self.steepnesses {
                    self.beliefs[at] +=
                        likelihood(&self.nodes, *steepness * (rate - centre), *steepness * spread, seen).ln();
                    at += 1;
                }
            }
        }
        let most = self.beliefs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.beliefs.iter_mut().for_each(|belief| *belief -= most);
    }

    /// Rates per second, ascending, each with the weight that it is the one.
    pub(super) fn rates(&self) -> Vec<(f64, f64)> {
        let offsets = self.offsets.len();
        let sought = |at: usize| (self.centres[at / offsets] - self.offsets[at % offsets]).exp();
        let mut rates: Vec<(f64, f64)> =
            (0..).zip(&self.beliefs).map(|(at, belief)| (sought(at), belief.exp())).collect();
        rates.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all: f64 = rates.iter().map(|(_, weight)| weight).sum();
        rates.iter_mut().for_each(|(_, weight)| *weight /= all);
        rates
    }

    /// The mean of how much higher the rate is at which half of the requests are bad: 1 is a cliff.
    pub(super) fn gentleness(&self) -> f64 {
        let weights = self.beliefs.iter().map(|belief| belief.exp());
        let (sum, all) = weights
            .zip(self.offsets.iter().cycle())
            .fold((0.0, 0.0), |(sum, all), (weight, offset)| (sum + weight * offset, all + weight));
        (sum / all).exp()
    }
}

/// Values of a standard normal variable, each with its share of the probability.
fn nodes() -> Vec<(f64, f64)> {
    let step = 2.0 * REACH / (NODES - 1) as f64;
    let all: Vec<(f64, f64)> =
        (0..NODES).map(|at| -REACH + step * at as f64).map(|x| (x, (-x * x / 2.0).exp())).collect();
    let sum: f64 = all.iter().map(|(_, weight)| weight).sum();
    all.into_iter().map(|(x, weight)| (x, weight / sum)).collect()
}

/// So many values from the first to the last, each larger by the same factor.
fn between([first, last]: [f64; 2], count: usize) -> Vec<f64> {
    let width = (last / first).ln();
    (0..count).map(|at| first * (width * at as f64 / (count - 1) as f64).exp()).collect()
}

fn usual(value: f64, [centre, width]: [f64; 2]) -> f64 {
    -0.5 * ((value / centre).ln() / width).powi(2)
}

/// `sum over eps of  p^(bad w) (1-p)^(good w)`, scaled so that it does not vanish.
fn likelihood(nodes: &[(f64, f64)], distance: f64, spread: f64, seen: Evidence) -> f64 {
    let Evidence { bad_share, weight, .. } = seen;
    let sum: f64 = nodes
        .iter()
        .map(|(eps, share)| {
            let p = logistic(distance - spread * eps).clamp(SUREST, 1.0 - SUREST);
            share * (weight * (bad_share * p.ln() + (1.0 - bad_share) * (1.0 - p).ln())).exp()
        })
        .sum();
    sum.max(f64::MIN_POSITIVE)
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// How far below the logarithm of `c` the rate lies whose share of bad requests, over many steps, is `allowed`.
fn offset(spread: f64, steepness: f64, allowed: f64, nodes: &[(f64, f64)]) -> f64 {
    let share = |x: f64| -> f64 { nodes.iter().map(|(eps, w)| w * logistic(steepness * (x - spread * eps))).sum() };
    let (mut low, mut high) = (-8.0, 2.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if share(middle) < allowed { low = middle } else { high = middle }
    }
    -low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantile(posterior: &Posterior, share: f64) -> f64 {
        let mut below = 0.0;
        let rates = posterior.rates();
        rates
            .iter()
            .find(|(_, weight)| {
                below += weight;
                below >= share
            })
            .unwrap()
            .0
    }

    #[test]
    fn a_curve_is_found_again() {
        let check = |capacity: f64, steepness: f64, allowed: f64| {
            let centre = capacity.ln() + ((1.0 - allowed) / allowed).ln() / steepness;
            let mut posterior = Posterior::new(capacity / 3.0, capacity * 2.0, allowed);
            for at in 0..12 {
                let rate_per_s = capacity * (0.85 + 0.025 * f64::from(at));
                let bad_share = logistic(steepness * (rate_per_s.ln() - centre));
                posterior.add(Evidence { rate_per_s, bad_share, weight: 20.0 });
            }
            let (low, middle, high) =
                (quantile(&posterior, 0.05), quantile(&posterior, 0.5), quantile(&posterior, 0.95));
            assert!(low < capacity && capacity < high, "{capacity}: {low} to {high}");
            assert!((middle / capacity - 1.0).abs() < 0.03, "{capacity}: {middle}");
        };
        check(100.0, 40.0, 0.05);
        check(4321.0, 90.0, 0.05);
        check(3.0, 30.0, 0.05);
        check(250.0, 60.0, 0.01);
    }

    #[test]
    fn more_evidence_narrows_and_a_step_that_says_nothing_changes_nothing() {
        let mut posterior = Posterior::new(50.0, 200.0, 0.05);
        let width = |posterior: &Posterior| quantile(posterior, 0.95) / quantile(posterior, 0.05);
        let before = width(&posterior);
        posterior.add(Evidence { rate_per_s: 100.0, bad_share: 0.5, weight: 0.0 });
        assert!((width(&posterior) - before).abs() < 1e-9);
        for rate_per_s in [90.0, 110.0, 95.0, 105.0] {
            let bad_share = if rate_per_s > 100.0 { 0.5 } else { 0.0 };
            posterior.add(Evidence { rate_per_s, bad_share, weight: 20.0 });
        }
        assert!(before > 3.0 && width(&posterior) < 1.25, "{before} to {}", width(&posterior));
    }
}
