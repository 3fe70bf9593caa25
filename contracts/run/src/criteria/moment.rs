//! What a rule has come to at one moment: over its window, or over its long and its short window, which end together.
//! No clock, and no counting: that is [`Tally`]'s.
//!
//! Two windows are for burn rates (Google SRE workbook, chapter 5): the long one says that enough of the budget has been
//! spent to matter, the short one that it is still being spent. So such a rule is missed only while both miss it.

use super::{Comparison, Tally, Threshold};
use crate::units::NS_PER_S;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    threshold: &'a Threshold,
    /// Over the only window, or the longer one.
    long: Counted,
    short: Option<Counted>,
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    tally: Tally,
    window_ns: u64,
}

impl<'a> Moment<'a> {
    /// What a rule's seconds come to, the latest first, with what is overdue at the moment. `whole_ns` is the length of
    /// all of them, for thresholds without a window.
    pub fn new<'b>(
        threshold: &'a Threshold,
        whole_ns: u64,
        latest_first: impl Iterator<Item = &'b Tally>,
        overdue: &Tally,
    ) -> Self {
        let window_ns = threshold.window_ns.unwrap_or(whole_ns);
        let seconds = |ns: u64| (ns / NS_PER_S) as usize;
        let (mut tally, mut short) = (*overdue, None);
        for (age, second) in latest_first.take(threshold.window_ns.map_or(usize::MAX, seconds)).enumerate() {
            if threshold.short_window_ns.map(seconds) == Some(age) {
                short = Some(tally);
            }
            tally.merge(second);
        }
        let short = threshold.short_window_ns.map(|window_ns| Counted { tally: short.unwrap_or(tally), window_ns });
        Self { threshold, long: Counted { tally, window_ns }, short }
    }

    /// Whether the threshold holds; `None` when there is nothing to judge. A short window without data leaves open what
    /// the long one misses.
    pub fn holds(&self) -> Option<bool> {
        let holds = |counted: &Counted| counted.tally.holds(self.threshold, counted.window_ns);
        match (holds(&self.long), &self.short) {
            (Some(false), Some(short)) => holds(short),
            (holds, _) => holds,
        }
    }

    /// The figure, where counts give it: not a percentile. Of two windows the one on the better side, since both have to
    /// miss.
    pub fn value(&self) -> Option<f64> {
        let value = |counted: &Counted| counted.tally.value(self.threshold, counted.window_ns);
        let Some(short) = &self.short else { return value(&self.long) };
        let (long, short) = (value(&self.long)?, value(short)?);
        Some(match self.threshold.comparison {
            Comparison::Less | Comparison::AtMost => long.min(short),
            Comparison::Greater | Comparison::AtLeast => long.max(short),
        })
    }

    /// See [`Tally::margin`]; of two windows the better one's.
    pub fn margin(&self) -> f64 {
        let margin = |counted: &Counted| counted.tally.margin(self.threshold, counted.window_ns);
        margin(&self.long).max(self.short.as_ref().map_or(f64::NEG_INFINITY, margin))
    }

    /// How many requests the judgement rests on.
    pub fn judged(&self) -> u64 {
        self.long.tally.judged(self.threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::criteria::{Request, Rule, Slo};
    use crate::sample::Outcome;

    /// Seconds of ten requests, of which so many were errors; nine of ten must be good, so each error is worth 1. A
    /// hundred errors are a second without any request.
    fn seconds(rule: &Rule, errors: &[u64]) -> Vec<Tally> {
        let request = |outcome| Request {
            entry: 0,
            outcome,
            intended_ns: 0,
            done_ns: 1,
            late_ns: 0,
            ttft_ns: None,
            itl_ns: None,
            tokens: 0,
        };
        let second = |errors: &u64| {
            let mut tally = Tally::default();
            (*errors..10).for_each(|_| tally.add(rule, &request(Outcome::Ok)));
            (0..*errors).filter(|_| *errors <= 10).for_each(|_| tally.add(rule, &request(Outcome::Timeout)));
            tally
        };
        errors.iter().map(second).collect()
    }

    #[test]
    fn both_windows_have_to_miss() {
        let check = |text: &str, errors: &[u64], overdue: u64, holds: Option<bool>, value: Option<f64>| {
            let rule = Rule::new(&text.parse().unwrap(), Some(Slo::new(9, 90.0, 0.1)), [("a", None)]);
            let seconds = seconds(&rule, errors);
            let mut late = Tally::default();
            (0..overdue).for_each(|_| late.add_overdue(&rule, 0));
            let moment = Moment::new(&rule.threshold, 0, seconds.iter().rev(), &late);
            assert_eq!((moment.holds(), moment.value()), (holds, value), "{text} {errors:?}");
        };
        let both = "burn_rate < 3 over 4s and 1s";
        check(both, &[0, 0, 0, 0], 0, Some(true), Some(0.0));
        check(both, &[4, 4, 4, 4], 0, Some(false), Some(4.0));
        // Was burning, and is no more; burns, but has not for long.
        check(both, &[8, 8, 8, 2], 0, Some(true), Some(2.0));
        check(both, &[0, 0, 0, 8], 0, Some(true), Some(2.0));
        check(both, &[0, 0, 6, 8], 0, Some(false), Some(3.5));
        // What came before the long window does not count, nor before the short one.
        check(both, &[10, 10, 0, 0, 6, 8], 0, Some(false), Some(3.5));
        check(both, &[10, 10, 0, 0, 0, 8], 0, Some(true), Some(2.0));
        // What hangs counts in both.
        check(both, &[0, 0, 100, 0], 30, Some(false), Some(5.0));
        // Without data it is neither kept nor missed.
        check(both, &[100, 100, 100, 100], 0, None, None);
        check(both, &[10, 10, 10, 100], 0, None, None);
        check(both, &[1, 1, 1, 100], 0, Some(true), None);
        check("burn_rate < 3 over any 4s", &[8, 8, 8, 2], 0, Some(false), Some(6.5));
        check("burn_rate > 3 over 4s and 1s", &[8, 8, 8, 2], 0, Some(true), Some(6.5));
        check("burn_rate < 3 else abort", &[8, 8, 8, 2, 2], 0, Some(false), Some(5.6));
    }
}
