//! What a threshold over a sliding window counts, and when it holds. The generator while it runs and the analyzer
//! afterwards use the same counts, so that the two cannot disagree. No clock, no samples kept.
//!
//! Counting at the bound is exact and small: p95 is below 500 ms when enough successes are below 500 ms, whatever the
//! others took. A request belongs to the moment in which it ended. One that has not ended and has waited longer than
//! the bound already is counted as too slow, so that a target which hangs is seen while it hangs.

use super::{Comparison, Metric, Slo, Threshold};
use crate::sample::{Outcome, Sample};
use crate::units::NS_PER_S;

/// A share is counted in parts of this, so that sums are exact in any order.
const WHOLE: f64 = 1e9;

/// What windows need to know of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// Index into the run's entries.
    pub entry: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// When the plan wanted it sent.
    pub intended_ns: u64,
    /// When it ended.
    pub done_ns: u64,
    /// The generator's own lateness.
    pub late_ns: u64,
    /// From the intended arrival to the first token.
    pub ttft_ns: Option<u64>,
    /// Mean time between tokens.
    pub itl_ns: Option<f64>,
    /// Tokens of its answer.
    pub tokens: u32,
}

impl From<&Sample> for Request {
    fn from(sample: &Sample) -> Self {
        Self {
            entry: sample.entry,
            outcome: sample.outcome(),
            intended_ns: sample.intended_ns,
            done_ns: sample.done_ns,
            late_ns: sample.generator_late_ns,
            ttft_ns: sample.first_token_latency_ns(),
            itl_ns: sample.mean_gap_ns(),
            tokens: sample.tokens_out,
        }
    }
}

impl Request {
    fn latency_ns(&self) -> u64 {
        self.done_ns.saturating_sub(self.intended_ns)
    }

    /// The time that a metric is about, of a success that has one.
    pub fn time_ns(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::FirstToken(_) => self.ttft_ns.map(|ns| ns as f64),
            Metric::TokenGap(_) => self.itl_ns,
            _ => Some(self.latency_ns() as f64),
        }
    }
}

/// A threshold together with the entries that it covers and the service level of each.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The threshold.
    pub threshold: Threshold,
    /// By entry; `None` where it does not cover the entry.
    levels: Vec<Option<Option<Slo>>>,
}

impl Rule {
    /// The rule of a run whose entries have these names and service levels, where `common` is the level of those
    /// without one.
    pub fn new<'a>(
        threshold: &Threshold,
        common: Option<Slo>,
        entries: impl IntoIterator<Item = (&'a str, Option<Slo>)>,
    ) -> Self {
        let covers = |name: &str| threshold.entry.as_ref().is_none_or(|entry| entry == name);
        let level = |(name, own): (&str, Option<Slo>)| covers(name).then_some(own.or(common));
        Self { threshold: threshold.clone(), levels: entries.into_iter().map(level).collect() }
    }

    /// Whether it is about this entry.
    pub fn covers(&self, entry: u16) -> bool {
        self.levels.get(usize::from(entry)).is_some_and(Option::is_some)
    }

    fn slo(&self, entry: u16) -> Option<Slo> {
        self.levels.get(usize::from(entry)).copied().flatten().flatten()
    }

    /// How long a request of this entry may be under way before it is too slow already; `None` when it never is.
    pub fn patience_ns(&self, entry: u16) -> Option<u64> {
        let wants_less = matches!(self.threshold.comparison, Comparison::Less | Comparison::AtMost);
        match self.threshold.metric {
            _ if !self.covers(entry) => None,
            Metric::Percentile(_) | Metric::Mean | Metric::Max if wants_less => Some(self.threshold.bound as u64),
            Metric::BurnRate => self.slo(entry).map(|slo| slo.latency_ns),
            _ => None,
        }
    }

    /// Whether a request that was intended then and is under way at `at_ns` is too slow already.
    pub fn is_overdue(&self, entry: u16, intended_ns: u64, at_ns: u64) -> bool {
        self.patience_ns(entry).is_some_and(|patience_ns| at_ns.saturating_sub(intended_ns) > patience_ns)
    }
}

/// What was counted for one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Successes.
    ok: u64,
    /// Those that have the time which the threshold is about.
    timed: u64,
    /// Those whose time compares with the bound as the threshold wants.
    within: u64,
    /// Tokens of successes.
    tokens: u64,
    /// Those that kept their service level.
    good: u64,
    /// What did not keep it: errors, sheds, late answers, and what waited for a connection for too long.
    bad: u64,
    /// How many might have been bad, in parts of [`WHOLE`].
    budget: u64,
    errors: u64,
    sheds: u64,
    /// Under way, and too slow already.
    overdue: u64,
    sum_ns: u128,
    max_ns: u64,
}

impl Tally {
    /// Counts a request that has ended, if the rule is about it.
    pub fn add(&mut self, rule: &Rule, request: &Request) {
        if !rule.covers(request.entry) {
            return;
        }
        let slo = rule.slo(request.entry);
        match request.outcome {
            Outcome::Ok => self.add_success(rule, slo, request),
            Outcome::InFlight => {}
            Outcome::Dropped => self.add_unsent(slo, request),
            Outcome::Shed => {
                self.sheds += 1;
                self.spend(slo, true);
            }
            _ => {
                self.errors += 1;
                self.spend(slo, true);
            }
        }
    }

    fn add_success(&mut self, rule: &Rule, slo: Option<Slo>, request: &Request) {
        let latency_ns = request.latency_ns();
        let in_time = slo.is_none_or(|slo| slo.is_in_time(latency_ns, request.ttft_ns, request.itl_ns));
        self.ok += 1;
        if let Some(time_ns) = request.time_ns(rule.threshold.metric) {
            self.timed += 1;
            self.within += u64::from(rule.threshold.comparison.holds(time_ns, rule.threshold.bound));
        }
        self.tokens += u64::from(request.tokens);
        self.good += u64::from(in_time);
        self.spend(slo, !in_time);
        self.sum_ns += u128::from(latency_ns);
        self.max_ns = self.max_ns.max(latency_ns);
    }

    /// What was never sent is the target's doing when it waited for a connection for too long.
    fn add_unsent(&mut self, slo: Option<Slo>, request: &Request) {
        let waited_ns = request.latency_ns().saturating_sub(request.late_ns);
        if slo.is_some_and(|slo| waited_ns > slo.latency_ns) {
            self.spend(slo, true);
        }
    }

    /// Counts a request that is under way and too slow already.
    pub fn add_overdue(&mut self, rule: &Rule, entry: u16) {
        self.overdue += 1;
        self.spend(rule.slo(entry), true);
    }

    fn spend(&mut self, slo: Option<Slo>, is_bad: bool) {
        if let Some(slo) = slo {
            self.bad += u64::from(is_bad);
            self.budget += (slo.bad_fraction() * WHOLE).round() as u64;
        }
    }

    /// Takes in what was counted elsewhere for the same rule.
    pub fn merge(&mut self, other: &Self) {
        self.ok += other.ok;
        self.timed += other.timed;
        self.within += other.within;
        self.tokens += other.tokens;
        self.good += other.good;
        self.bad += other.bad;
        self.budget += other.budget;
        self.errors += other.errors;
        self.sheds += other.sheds;
        self.overdue += other.overdue;
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Whether the threshold holds over a window of this length; `None` when there is nothing to judge.
    pub fn holds(&self, threshold: &Threshold, window_ns: u64) -> Option<bool> {
        if let (Some(percentile), true) = (threshold.metric.percentile(), self.timed + self.overdue > 0) {
            return Some(self.percentile_holds(threshold.comparison, percentile));
        }
        self.value(threshold, window_ns).map(|value| threshold.comparison.holds(value, threshold.bound))
    }

    /// Nearest rank, as the analyzer's percentiles.
    fn percentile_holds(&self, comparison: Comparison, percentile: f64) -> bool {
        let n = self.timed + self.overdue;
        let rank = ((n as f64 * percentile / 100.0).ceil() as u64).clamp(1, n);
        match comparison {
            Comparison::Less | Comparison::AtMost => self.within >= rank,
            Comparison::Greater | Comparison::AtLeast => self.within > n - rank,
        }
    }

    /// How many requests the judgement of this threshold rests on.
    pub fn judged(&self, threshold: &Threshold) -> u64 {
        match threshold.metric {
            Metric::Percentile(_) | Metric::FirstToken(_) | Metric::TokenGap(_) | Metric::Mean | Metric::Max => {
                self.timed + self.overdue
            }
            Metric::BurnRate => self.ok + self.errors + self.sheds + self.overdue,
            _ => self.ok + self.errors + self.sheds,
        }
    }

    /// How far the figure is on the right side of the bound, for telling the worst of several windows: the smaller the
    /// worse, in units that only this threshold has.
    pub fn margin(&self, threshold: &Threshold, window_ns: u64) -> f64 {
        if threshold.metric.percentile().is_some() {
            return self.within as f64 / (self.timed + self.overdue).max(1) as f64;
        }
        let value = self.value(threshold, window_ns).unwrap_or(threshold.bound);
        match threshold.comparison {
            Comparison::Less | Comparison::AtMost => threshold.bound - value,
            Comparison::Greater | Comparison::AtLeast => value - threshold.bound,
        }
    }

    /// The figure, where counts give it: not a percentile. An overdue request counts with the bound that it has passed.
    pub fn value(&self, threshold: &Threshold, window_ns: u64) -> Option<f64> {
        let some_of = |part: f64, n: u64| (n > 0).then(|| part / n as f64);
        let per_s = |count: u64| Some(count as f64 / (window_ns as f64 / NS_PER_S as f64));
        let (ended, overdue) = (self.ok + self.errors + self.sheds, self.overdue);
        match threshold.metric {
            Metric::Mean => some_of(self.sum_ns as f64 + overdue as f64 * threshold.bound, self.ok + overdue),
            Metric::Max if overdue > 0 => Some(f64::INFINITY),
            Metric::Max => (self.ok > 0).then_some(self.max_ns as f64),
            Metric::ErrorRate => some_of(self.errors as f64, ended),
            Metric::ShedRate => some_of(self.sheds as f64, ended),
            Metric::Throughput => per_s(self.ok),
            Metric::Goodput => per_s(self.good),
            Metric::BurnRate => some_of(self.bad as f64 * WHOLE, self.budget),
            Metric::TokensPerS => per_s(self.tokens),
            Metric::Percentile(_) | Metric::FirstToken(_) | Metric::TokenGap(_) | Metric::BreakingPoint => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    /// Entry `a` keeps p90 < 20 ms, `b` p99 < 40 ms.
    fn rule(text: &str) -> Rule {
        let levels = [("a", None), ("b", Some(Slo::new(40 * MS, 99.0, 0.01)))];
        Rule::new(&text.parse().unwrap(), Some(Slo::new(20 * MS, 90.0, 0.01)), levels)
    }

    fn request(entry: u16, outcome: Outcome, latency_ms: u64) -> Request {
        let done_ns = latency_ms * MS;
        // A stream whose first half is waiting, and whose tokens are 1 ms apart.
        let (ttft_ns, itl_ns) = (Some(done_ns / 2), Some(MS as f64));
        Request { entry, outcome, intended_ns: 0, done_ns, late_ns: 0, ttft_ns, itl_ns, tokens: 3 }
    }

    fn tally(rule: &Rule, latencies_ms: &[u64], errors: u64, sheds: u64) -> Tally {
        let mut tally = Tally::default();
        latencies_ms.iter().for_each(|ms| tally.add(rule, &request(0, Outcome::Ok, *ms)));
        (0..errors).for_each(|_| tally.add(rule, &request(0, Outcome::Timeout, 1)));
        (0..sheds).for_each(|_| tally.add(rule, &request(0, Outcome::Shed, 1)));
        tally
    }

    #[test]
    fn windows_hold_or_not() {
        let check =
            |text: &str, latencies_ms: &[u64], errors: u64, sheds: u64, overdue: u64, expected: Option<bool>| {
                let rule = rule(text);
                let mut tally = tally(&rule, latencies_ms, errors, sheds);
                (0..overdue).for_each(|_| tally.add_overdue(&rule, 0));
                assert_eq!(tally.holds(&rule.threshold, 2_000_000_000), expected, "{text} {latencies_ms:?}");
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
        check("goodput >= 1/s", &[5, 20], 9, 0, 0, Some(true));
        check("ttft_p50 < 10ms", &[5, 9, 30, 40], 0, 0, 0, Some(true));
        check("ttft_p75 < 10ms", &[5, 9, 30, 40], 0, 0, 0, Some(false));
        check("itl_p99 < 1ms", &[5, 9], 0, 0, 0, Some(false));
        check("itl_p99 < 1ms", &[], 3, 0, 0, None);
        check("tokens_per_s >= 3/s", &[5, 9], 9, 0, 0, Some(true));
        check("tokens_per_s > 3/s", &[5, 9], 0, 0, 0, Some(false));
        check("goodput >= 1/s", &[5, 21], 0, 0, 0, Some(false));
        // One bad of ten spends the budget of p90 just so.
        check("burn_rate <= 1", &[5, 5, 5, 5, 5, 5, 5, 5, 5, 21], 0, 0, 0, Some(true));
        check("burn_rate < 1", &[5, 5, 5, 5, 5, 5, 5, 5, 5, 21], 0, 0, 0, Some(false));
        check("burn_rate <= 5", &[5, 5, 21], 1, 1, 1, Some(false));
        check("burn_rate < 6.7", &[5, 5, 21], 1, 1, 1, Some(true));
        check("burn_rate < 14.4", &[], 0, 0, 0, None);
        check("burn_rate < 9", &[], 0, 0, 3, Some(false));
        check("b: burn_rate < 9", &[90], 7, 0, 0, None);
        check("nobody: burn_rate < 9", &[90], 7, 0, 0, None);
    }

    #[test]
    fn each_entry_spends_its_own_budget() {
        let rule = rule("burn_rate < 1");
        let check = |requests: &[Request], expected: Option<f64>| {
            let mut tally = Tally::default();
            requests.iter().for_each(|request| tally.add(&rule, request));
            assert_eq!(tally.value(&rule.threshold, NS_PER_S), expected, "{requests:?}");
        };
        let ok = |entry, ms| request(entry, Outcome::Ok, ms);
        check(&[ok(0, 30)], Some(10.0));
        check(&[ok(1, 30)], Some(0.0));
        check(&[ok(1, 41)], Some(100.0));
        // One bad where 0.1 + 0.01 were allowed.
        check(&[ok(0, 10), ok(1, 41)], Some(1e9 / 110_000_000.0));
        check(&[request(0, Outcome::Dropped, 20)], None);
        check(&[request(0, Outcome::Dropped, 21)], Some(10.0));
        check(&[Request { late_ns: MS, ..request(0, Outcome::Dropped, 21) }], None);
        check(&[request(0, Outcome::InFlight, 21)], None);
    }

    #[test]
    fn what_takes_too_long_is_overdue_before_it_ends() {
        let check = |text: &str, entry: u16, intended_ms: u64, expected: bool| {
            let found = rule(text).is_overdue(entry, intended_ms * MS, 1000 * MS);
            assert_eq!(found, expected, "{text} {entry} {intended_ms}");
        };
        check("p95 < 100ms", 0, 800, true);
        check("p95 < 100ms", 0, 900, false);
        check("p95 < 100ms", 0, 1100, false);
        check("p95 > 100ms", 0, 800, false);
        check("b: p95 < 100ms", 0, 800, false);
        check("error_rate < 1%", 0, 100, false);
        check("goodput > 1/s", 0, 100, false);
        check("burn_rate < 1", 0, 970, true);
        check("burn_rate < 1", 1, 970, false);
        check("b: burn_rate < 1", 0, 970, false);
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
            let mut rule = rule("p50 < 1ms");
            rule.threshold = Threshold {
                metric: Metric::Percentile(f64::from(percentile)),
                comparison: [Comparison::Less, Comparison::AtMost, Comparison::Greater, Comparison::AtLeast][sign],
                bound: bound as f64 * MS as f64,
                ..rule.threshold
            };
            let mut sorted = latencies.clone();
            sorted.sort_unstable();
            let rank = (sorted.len() as f64 * f64::from(percentile) / 100.0).ceil().max(1.0) as usize;
            let expected = rule.threshold.comparison.holds(sorted[rank - 1] as f64 * MS as f64, rule.threshold.bound);
            let (first, rest) = latencies.split_at(cut.min(latencies.len()));
            let mut merged = tally(&rule, first, 1, 0);
            merged.merge(&tally(&rule, rest, 0, 2));
            prop_assert_eq!(merged.holds(&rule.threshold, 1), Some(expected));
            prop_assert_eq!(merged, tally(&rule, &latencies, 1, 2));
        }
    }
}
