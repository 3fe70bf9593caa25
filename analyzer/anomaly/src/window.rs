//! Windows of deviations, summed up as features: what an anomaly would look like in ten seconds, in half a minute, and
//! in the minutes in which memory leaks. A run's own level is learned as it goes, because no two runs of one service
//! are quite alike. Knows no other run and judges nothing.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::metric::{Metric, Role};
use crate::recording::Second;
use crate::robust::quantile;

/// Length of a window, seconds.
pub const WINDOW_S: usize = 10;
/// From the beginning of a window to that of the next, seconds.
pub const HOP_S: usize = 5;
/// Seconds that are kept: the longest that a feature looks back.
const KEPT_S: usize = 240;
/// A step is from the mean of so many seconds before the window, with a gap of half a window, to that of the window.
const BEFORE_S: usize = 20;
const GAP_S: usize = 5;
/// In means a second counts at most so many spreads: one wild second is no trend.
const CLIP: f64 = 8.0;
/// A run's own level is learned as if so many seconds at the level of other runs had come before,
const OWN_LEVEL_FROM_S: f64 = 60.0;
/// and follows over so many seconds once it is known.
const OWN_LEVEL_OVER_S: f64 = 600.0;
/// A deviation from it counts at most so many spreads.
const OWN_LEVEL_CLIP: f64 = 2.0;
/// While something is odd it is not learned, for so many seconds at most: an anomaly is not to become usual, but a run
/// that differs from its start must not be odd for ever.
const LONGEST_HELD_S: usize = 300;
/// The surprise of errors, as a power of ten, is told apart up to this.
const MOST_SURPRISE: f64 = 40.0;

/// What is computed of a metric in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Mean of so many seconds up to the window's end.
    Mean(usize),
    /// How far the window's mean is from that of the seconds before.
    Step,
    /// The largest of the window.
    Max,
    /// The smallest of the window.
    Min,
    /// Growth over so many seconds up to the window's end, by least squares.
    Slope(usize),
    /// Steady growth over as many: of the steps from each quarter's median to the next the median, times three. A jump is
    /// none.
    Growth(usize),
    /// How unlikely so many errors are in so many seconds: minus the logarithm to base ten.
    Surprise(usize),
}

/// A feature: a statistic of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Index of the metric.
    pub metric: usize,
    /// What of it.
    pub statistic: Statistic,
}

/// The features of these metrics, in their order.
pub fn features(metrics: &[Metric]) -> Vec<Feature> {
    let of = |metric: &Metric| {
        use Statistic::{Growth, Max, Mean, Min, Slope, Step, Surprise};
        let own: &[Statistic] = match metric.role {
            Role::ErrorRate => &[Max, Surprise(10), Surprise(30)],
            Role::Queue => &[Max],
            Role::Goodput | Role::Utilisation => &[Min],
            // That memory stays at another level than usual is what its peaks do; only that it grows is odd.
            Role::Memory => return vec![Step, Growth(60), Growth(120), Growth(240)],
            Role::Temperature => &[Slope(60)],
            _ => &[],
        };
        [Mean(10), Mean(30), Mean(60), Step].into_iter().chain(own.iter().copied()).collect::<Vec<Statistic>>()
    };
    let all = metrics.iter().enumerate();
    all.flat_map(|(index, metric)| of(metric).into_iter().map(move |statistic| Feature { metric: index, statistic }))
        .collect()
}

/// The latest seconds of a run, from the end of its warm-up.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    features: Vec<Feature>,
    error_rate: Option<usize>,
    /// Errors of healthy runs as a share of the requests.
    usual_errors: f64,
    warm_up_s: usize,
    t_s: usize,
    deviations: VecDeque<Vec<f64>>,
    /// Errors and requests.
    errors: VecDeque<(f64, f64)>,
    own_level: Vec<f64>,
    is_odd: bool,
    held_s: usize,
}

impl Windows {
    /// Before the first second.
    pub fn new(metrics: &[Metric], usual_errors: f64, warm_up_s: usize) -> Self {
        Self {
            features: features(metrics),
            error_rate: metrics.iter().position(|metric| metric.role == Role::ErrorRate),
            usual_errors,
            warm_up_s,
            t_s: 0,
            deviations: VecDeque::with_capacity(KEPT_S),
            errors: VecDeque::with_capacity(KEPT_S),
            own_level: vec![0.0; metrics.len()],
            is_odd: false,
            held_s: 0,
        }
    }

    /// While something is odd, it is not taken for the run's own level, as long as it does not last.
    pub fn hold(&mut self, is_odd: bool) {
        self.is_odd = is_odd;
    }

    /// Takes in a second; gives the features of the window that ends with it, if one does.
    pub fn push(&mut self, second: Second<'_>, mut deviations: Vec<f64>) -> Option<Vec<f64>> {
        self.t_s += 1;
        let measured_s = self.t_s.saturating_sub(self.warm_up_s);
        if measured_s == 0 {
            return None;
        }
        self.level(&mut deviations, measured_s);
        if self.deviations.len() == KEPT_S {
            self.deviations.pop_front();
            self.errors.pop_front();
        }
        self.deviations.push_back(deviations);
        let rate = self.error_rate.map_or(0.0, |place| second.values[place]);
        self.errors.push_back(((rate * second.offered).max(0.0), second.offered));
        let is_end = measured_s >= WINDOW_S && (measured_s - WINDOW_S).is_multiple_of(HOP_S);
        is_end.then(|| self.features.iter().map(|feature| self.value(*feature)).collect())
    }

    /// The window that ended with the latest second: its first second, and the second after its last.
    pub fn bounds_s(&self) -> (usize, usize) {
        (self.t_s - WINDOW_S.min(self.t_s), self.t_s)
    }

    /// Takes the run's own level off, and learns it.
    fn level(&mut self, deviations: &mut [f64], measured_s: usize) {
        let pace = 1.0 / (OWN_LEVEL_FROM_S + measured_s as f64).min(OWN_LEVEL_OVER_S);
        self.held_s = if self.is_odd { self.held_s + 1 } else { 0 };
        let pace = if (1..=LONGEST_HELD_S).contains(&self.held_s) { 0.0 } else { pace };
        for (value, level) in deviations.iter_mut().zip(&mut self.own_level) {
            *value -= *level;
            *level += pace * value.clamp(-OWN_LEVEL_CLIP, OWN_LEVEL_CLIP);
        }
    }

    /// The latest seconds of a metric, the latest first, none before the warm-up's end.
    fn back(&self, metric: usize, seconds: usize) -> impl Iterator<Item = f64> + '_ {
        self.deviations.iter().rev().take(seconds).map(move |row| row[metric])
    }

    fn value(&self, Feature { metric, statistic }: Feature) -> f64 {
        let clipped = |value: f64| value.clamp(-CLIP, CLIP);
        match statistic {
            Statistic::Mean(seconds) => mean(self.back(metric, seconds).map(clipped)).unwrap_or(0.0),
            Statistic::Step => {
                let now = mean(self.back(metric, WINDOW_S).map(clipped));
                let before = self.back(metric, WINDOW_S + GAP_S + BEFORE_S).skip(WINDOW_S + GAP_S);
                now.zip(mean(before.map(clipped))).map_or(0.0, |(now, before)| now - before)
            }
            Statistic::Max => self.back(metric, WINDOW_S).fold(f64::NEG_INFINITY, f64::max),
            Statistic::Min => self.back(metric, WINDOW_S).fold(f64::INFINITY, f64::min),
            Statistic::Slope(seconds) => self.slope(metric, seconds),
            Statistic::Growth(seconds) => self.growth(metric, seconds),
            Statistic::Surprise(seconds) => {
                let counted = self.errors.iter().rev().take(seconds);
                let (errors, requests) = counted.fold((0.0, 0.0), |sum, second| (sum.0 + second.0, sum.1 + second.1));
                surprise(errors.round(), requests * self.usual_errors)
            }
        }
    }

    /// Unknown while there are fewer seconds.
    fn growth(&self, metric: usize, seconds: usize) -> f64 {
        if self.deviations.len() < seconds {
            return 0.0;
        }
        let quarter = |age: usize| self.back(metric, seconds).skip(age * seconds / 4).take(seconds / 4);
        let median = |age: usize| quantile(&mut quarter(age).collect::<Vec<f64>>(), 0.5);
        let [d, c, b, a] = [0, 1, 2, 3].map(median);
        let mut steps = [b - a, c - b, d - c];
        steps.sort_by(f64::total_cmp);
        3.0 * steps[1]
    }

    /// Growth over the seconds that there are, of as many as asked for; of fewer than a third of them it is unknown.
    fn slope(&self, metric: usize, seconds: usize) -> f64 {
        let n = self.deviations.len().min(seconds);
        if n * 3 < seconds {
            return 0.0;
        }
        let middle = (n as f64 - 1.0) / 2.0;
        let (mut products, mut squares) = (0.0, 0.0);
        for (age, value) in self.back(metric, n).enumerate() {
            let from_middle = middle - age as f64;
            products += from_middle * value;
            squares += from_middle * from_middle;
        }
        products / squares * n as f64
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0_u32), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

/// How unlikely at least so many events are where so many are usual, of independent ones: −log10 of the tail of
/// Poisson's distribution, at most [`MOST_SURPRISE`].
fn surprise(events: f64, usual: f64) -> f64 {
    if events < 1.0 || usual <= 0.0 {
        return 0.0;
    }
    let first = events * usual.ln() - usual - libm::lgamma(events + 1.0);
    // Terms fall by usual / n each; below the mean the tail is most of everything.
    let (mut term, mut sum, mut n) = (1.0, 1.0, events);
    while term > 1e-9 * sum && n < events + 10_000.0 {
        n += 1.0;
        term *= usual / n;
        sum += term;
    }
    (-(first + sum.ln()) / std::f64::consts::LN_10).clamp(0.0, MOST_SURPRISE)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these figures are exact")]
mod tests {
    use super::*;

    #[test]
    fn surprise_is_the_tail_of_poisson() {
        let check = |events: f64, usual: f64, tail: f64| {
            let found = 10f64.powf(-surprise(events, usual));
            assert!((found / tail - 1.0).abs() < 1e-3, "{events} of {usual}: {found} is not {tail}");
        };
        check(0.0, 2.0, 1.0);
        check(1.0, 0.01, 0.009_950_2);
        check(3.0, 0.5, 0.014_387_7);
        check(5.0, 5.0, 0.559_507);
        check(20.0, 5.0, 3.452_1e-7);
        assert_eq!(surprise(1e5, 1e-3), MOST_SURPRISE);
    }

    #[test]
    fn windows_end_where_they_should() {
        let metrics = [Metric::named("gpu_mem_mib")];
        let mut windows = Windows::new(&metrics, 0.0, 20);
        let mut ends = Vec::new();
        for t_s in 0..60_usize {
            let value = if t_s < 20 { 1e3 } else { t_s as f64 * 0.1 - 2.0 };
            let second = Second { offered: 1.0, values: &[0.0] };
            if let Some(found) = windows.push(second, vec![value]) {
                ends.push((windows.bounds_s(), found));
            }
        }
        let bounds: Vec<(usize, usize)> = ends.iter().map(|(bounds, _)| *bounds).collect();
        assert_eq!(bounds, [(20, 30), (25, 35), (30, 40), (35, 45), (40, 50), (45, 55), (50, 60)]);
        let (_, last) = &ends[6];
        // But for what is learned of the run's own level: the step, and growth where there is a minute.
        let expected = [3.45 - 1.45, 0.0, 0.0, 0.0];
        for (found, expected) in last.iter().zip(expected) {
            assert!((found - expected).abs() < 0.5, "{last:?}");
        }
    }

    #[test]
    fn growth_is_steady_and_a_jump_is_none() {
        let check = |of: fn(usize) -> f64| {
            let metrics = [Metric::named("memory")];
            let mut windows = Windows::new(&metrics, 0.0, 0);
            let nothing = Second { offered: 1.0, values: &[0.0] };
            let last = (0..240).filter_map(|t_s| windows.push(nothing, vec![of(t_s)])).last().unwrap();
            // What is learned of the run's own level takes some off.
            assert!(last[1..].iter().all(|growth| growth.abs() < 2.0), "{last:?}");
        };
        check(|_| 3.0);
        check(|t_s| if t_s < 200 { 0.0 } else { 30.0 });
        check(|t_s| if t_s < 100 { 0.0 } else { 30.0 });
    }

    #[test]
    fn a_leak_grows_in_every_window_that_looks_for_it() {
        let metrics = [Metric::named("memory")];
        let mut windows = Windows::new(&metrics, 0.0, 0);
        let leak =
            (0..240).filter_map(|t_s| windows.push(Second { offered: 1.0, values: &[0.0] }, vec![t_s as f64 * 0.1]));
        let last = leak.last().unwrap();
        let [_, minute, two, four] = last[..] else { panic!("{last:?}") };
        assert!(minute > 3.0 && two > 6.0 && four > 12.0, "{last:?}");
    }
}
