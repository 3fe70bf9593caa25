//! What a threshold over a sliding window counts, and when it holds. The generator while it runs and the analyzer
//! afterwards use the same counts, so that the two cannot disagree. No clock, no samples kept.
//!
//! Counting at the bound is exact and small: p95 is below 500 ms when enough successes are below 500 ms, whatever the
//! others took. A request belongs to the moment in which it ended. One that has not ended and has waited longer than
//! the bound already is counted as too slow, so that a target which hangs is seen while it hangs.

use super::{Comparison, Metric, Threshold};
use crate::sample::Outcome;

/// What was counted for one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tally {
    /// Successes.
    ok: u64,
    /// Those whose latency compares with the bound as the threshold wants.
    within: u64,
    errors: u64,
    sheds: u64,
    sum_ns: f64,
    max_ns: u64,
}

impl Tally {
    /// Counts a request that has ended. One that was never sent, or was in flight at the end, has not.
    pub fn add(&mut self, threshold: &Threshold, outcome: Outcome, latency_ns: u64) {
        match outcome {
            Outcome::Ok => {
                self.ok += 1;
                self.within += u64::from(threshold.comparison.holds(latency_ns as f64, threshold.bound));
                self.sum_ns += latency_ns as f64;
                self.max_ns = self.max_ns.max(latency_ns);
            }
            Outcome::Shed => self.sheds += 1,
            Outcome::InFlight | Outcome::Dropped => {}
            _ => self.errors += 1,
        }
    }

    /// Takes in what was counted elsewhere for the same threshold.
    pub fn merge(&mut self, other: &Self) {
        self.ok += other.ok;
        self.within += other.within;
        self.errors += other.errors;
        self.sheds += other.sheds;
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Whether the threshold holds over a window of this length with so many overdue requests (see [`is_overdue`]);
    /// `None` when there is nothing to judge.
    pub fn holds(&self, threshold: &Threshold, window_ns: u64, overdue: u64) -> Option<bool> {
        if let (Metric::Percentile(percentile), true) = (threshold.metric, self.ok + overdue > 0) {
            return Some(self.percentile_holds(threshold.comparison, percentile, overdue));
        }
        self.value(threshold, window_ns, overdue).map(|value| threshold.comparison.holds(value, threshold.bound))
    }

    /// Nearest rank, as the analyzer's percentiles.
    fn percentile_holds(&self, comparison: Comparison, percentile: f64, overdue: u64) -> bool {
        let n = self.ok + overdue;
        let rank = ((n as f64 * percentile / 100.0).ceil() as u64).clamp(1, n);
        match comparison {
            Comparison::Less | Comparison::AtMost => self.within >= rank,
            Comparison::Greater | Comparison::AtLeast => self.within > n - rank,
        }
    }

    /// How many requests the judgement of this threshold rests on.
    pub fn judged(&self, threshold: &Threshold) -> u64 {
        match threshold.metric {
            Metric::Percentile(_) | Metric::Mean | Metric::Max => self.ok,
            _ => self.ok + self.errors + self.sheds,
        }
    }

    /// How far the figure is on the right side of the bound, for telling the worst of several windows: the smaller the
    /// worse, in units that only this threshold has.
    pub fn margin(&self, threshold: &Threshold, window_ns: u64, overdue: u64) -> f64 {
        if let Metric::Percentile(_) = threshold.metric {
            return self.within as f64 / (self.ok + overdue).max(1) as f64;
        }
        let value = self.value(threshold, window_ns, overdue).unwrap_or(threshold.bound);
        match threshold.comparison {
            Comparison::Less | Comparison::AtMost => threshold.bound - value,
            Comparison::Greater | Comparison::AtLeast => value - threshold.bound,
        }
    }

    /// The figure, where counts give it: not a percentile. An overdue request counts with the bound that it has passed.
    pub fn value(&self, threshold: &Threshold, window_ns: u64, overdue: u64) -> Option<f64> {
        let some_of = |part: f64, n: u64| (n > 0).then(|| part / n as f64);
        let ended = self.ok + self.errors + self.sheds;
        match threshold.metric {
            Metric::Mean => some_of(self.sum_ns + overdue as f64 * threshold.bound, self.ok + overdue),
            Metric::Max if overdue > 0 => Some(f64::INFINITY),
            Metric::Max => (self.ok > 0).then_some(self.max_ns as f64),
            Metric::ErrorRate => some_of(self.errors as f64, ended),
            Metric::ShedRate => some_of(self.sheds as f64, ended),
            Metric::Throughput => Some(self.ok as f64 / (window_ns as f64 / 1e9)),
            Metric::Percentile(_)
            | Metric::FirstToken(_)
            | Metric::TokenGap(_)
            | Metric::TokensPerS
            | Metric::Goodput
            | Metric::BreakingPoint => None,
        }
    }
}

/// Whether a request that ends at `done_ns` (`u64::MAX` when that is not known yet) is overdue at `at_ns`: still under way,
/// and for longer than the threshold allows an answer to take.
pub fn is_overdue(threshold: &Threshold, intended_ns: u64, done_ns: u64, at_ns: u64) -> bool {
    let of_latency = matches!(threshold.metric, Metric::Percentile(_) | Metric::Mean | Metric::Max)
        && matches!(threshold.comparison, Comparison::Less | Comparison::AtMost);
    of_latency && done_ns > at_ns && at_ns.saturating_sub(intended_ns) as f64 > threshold.bound
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn tally(threshold: &Threshold, latencies_ms: &[u64], errors: u64, sheds: u64) -> Tally {
        let mut tally = Tally::default();
        latencies_ms.iter().for_each(|ms| tally.add(threshold, Outcome::Ok, ms * MS));
        (0..errors).for_each(|_| tally.add(threshold, Outcome::Timeout, MS));
        (0..sheds).for_each(|_| tally.add(threshold, Outcome::Shed, MS));
        tally
    }

    #[test]
    fn windows_hold_or_not() {
        let check =
            |text: &str, latencies_ms: &[u64], errors: u64, sheds: u64, overdue: u64, expected: Option<bool>| {
                let threshold: Threshold = text.parse().unwrap();
                let tally = tally(&threshold, latencies_ms, errors, sheds);
                assert_eq!(tally.holds(&threshold, 2_000_000_000, overdue), expected, "{text} {latencies_ms:?}");
            };
        check("p50 < 10ms", &[], 0, 0, 0, None);
        check("p50 < 10ms", &[5, 9, 20, 30], 0, 0, 0, Some(true));
        check("p50 < 10ms", &[5, 9, 20, 30], 0, 0, 1, Some(false));
        check("p50 < 10ms", &[], 0, 0, 1, Some(false));
        check("p50 > 10ms", &[5, 9, 20, 30], 0, 0, 0, Some(false));
        check("p75 > 10ms", &[5, 9, 20, 30], 0, 0, 0, Some(true));
        check("mean < 10ms", &[5, 9], 0, 0, 0, Some(true));
        check("mean <= 10ms", &[5, 9], 0, 0, 50, Some(true));
        check("mean < 7ms", &[5, 9], 0, 0, 0, Some(false));
        check("max <= 9ms", &[5, 9], 0, 0, 0, Some(true));
        check("max <= 9ms", &[5, 9], 0, 0, 1, Some(false));
        check("error_rate < 10%", &[5], 0, 0, 7, Some(true));
        check("error_rate < 10%", &[5], 1, 0, 0, Some(false));
        check("error_rate < 10%", &[], 0, 0, 7, None);
        check("shed_rate <= 50%", &[5], 0, 1, 0, Some(true));
        check("throughput >= 1/s", &[5, 5], 9, 0, 0, Some(true));
        check("throughput >= 1/s", &[5], 9, 0, 0, Some(false));
    }

    #[test]
    fn what_takes_too_long_is_overdue_before_it_ends() {
        let check = |text: &str, intended_ms: u64, done_ms: u64, expected: bool| {
            let threshold: Threshold = text.parse().unwrap();
            assert_eq!(
                is_overdue(&threshold, intended_ms * MS, done_ms * MS, 1000 * MS),
                expected,
                "{text} {intended_ms}"
            );
        };
        check("p95 < 100ms", 800, 1200, true);
        check("p95 < 100ms", 800, 1000, false);
        check("p95 < 100ms", 950, 1200, false);
        check("p95 < 100ms", 1100, 1200, false);
        check("p95 > 100ms", 800, 1200, false);
        check("error_rate < 1%", 100, 1200, false);
    }

    proptest! {
        /// Counting at the bound says the same as sorting, and counts merge.
        #[test]
        fn counts_say_what_the_percentile_says(
            latencies in proptest::collection::vec(1u64..40, 1..60),
            percentile in 1u32..100,
            bound in 1u64..40,
            sign in 0usize..4,
            cut in 0usize..60,
        ) {
            let threshold = Threshold {
                metric: Metric::Percentile(f64::from(percentile)),
                comparison: [Comparison::Less, Comparison::AtMost, Comparison::Greater, Comparison::AtLeast][sign],
                bound: bound as f64 * MS as f64,
                ..("p50 < 1ms".parse().unwrap())
            };
            let mut sorted = latencies.clone();
            sorted.sort_unstable();
            let rank = (sorted.len() as f64 * f64::from(percentile) / 100.0).ceil().max(1.0) as usize;
            let expected = threshold.comparison.holds(sorted[rank - 1] as f64 * MS as f64, threshold.bound);
            let (first, rest) = latencies.split_at(cut.min(latencies.len()));
            let mut merged = tally(&threshold, first, 1, 0);
            merged.merge(&tally(&threshold, rest, 0, 2));
            prop_assert_eq!(merged.holds(&threshold, 1, 0), Some(expected));
            prop_assert_eq!(merged, tally(&threshold, &latencies, 1, 2));
        }
    }
}
