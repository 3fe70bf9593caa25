//! What batches of each size have taken, which size serves most, and which to try next. Pure: it sees sizes and times.
//!
//! A size is a label: what a batch was meant to hold. The search doubles the size while that pays, then halves the gaps
//! in which something better may lie: a batch takes no less than a smaller one, so a gap holds nothing better whose upper
//! end would not be faster than the best size even in the time of its lower end. Later it looks at the sizes around the
//! best one now and then, the more rarely the more that costs. When the best size takes much longer than it did, or much
//! less, the model has changed: all that was measured is forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

/// A size is known after so many executions; one alone may have been disturbed.
const KNOWN: u32 = 2;
/// The weight of the newest execution of a size, and of the newest in what it takes in the long run.
const NEWEST: f64 = 0.2;
const NEWEST_OF_MANY: f64 = 0.01;
/// Executions after which the long run is known, and how far the last ones may be off it.
const MANY: u32 = 20;
const CHANGED: f64 = 1.6;
/// How much faster a larger size must be, or the smaller one is kept.
const FASTER: f64 = 1.01;
/// How much faster the sizes of a gap might be, or it is not searched.
const PROMISING: f64 = 1.03;
/// Executions for one that tries a size that is not known, and for one that looks at a known one again, where the trial
/// takes no longer than they do.
const BETWEEN_TRIALS: f64 = 16.0;
const BETWEEN_LOOKS: f64 = 48.0;
/// Sizes that take so many times as long for an element as the best one are not looked at again.
const HOPELESS: f64 = 1.5;
/// Gaps of less than this share of a size are not searched.
const FINE: u32 = 32;

/// What batches of one size took.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// The time of one element, smoothed.
    element_s: f64,
    /// The same over a longer time.
    usual_s: f64,
    executions: u32,
}

impl Point {
    fn new(element_s: f64) -> Self {
        Self { element_s, usual_s: element_s, executions: 0 }
    }

    fn observe(&mut self, element_s: f64) {
        self.executions = self.executions.saturating_add(1);
        let each = 1.0 / f64::from(self.executions);
        self.element_s += NEWEST.max(each) * (element_s - self.element_s);
        self.usual_s += NEWEST_OF_MANY.max(each) * (element_s - self.usual_s);
    }

    fn has_changed(&self) -> bool {
        let off = self.element_s / self.usual_s;
        self.executions >= MANY && !(1.0 / CHANGED..CHANGED).contains(&off)
    }
}

/// The measured sizes of a model.
#[derive(Debug, Clone, Default)]
pub(super) struct Curve {
    points: BTreeMap<u32, Point>,
    since_trial: u32,
    /// Known sizes are looked at in turn.
    looks: usize,
}

impl Curve {
    /// Takes in an execution that was meant to hold `size` elements, and held `elements`; maybe as a trial.
    pub(super) fn observe(&mut self, size: u32, elements: u32, took: Duration, tried: bool) {
        let label = if u64::from(elements) * 4 > u64::from(size) * 3 { size } else { elements };
        self.since_trial = if tried { 0 } else { self.since_trial.saturating_add(1) };
        let element_s = took.as_secs_f64() / f64::from(elements.max(1));
        let point = self.points.entry(label).or_insert_with(|| Point::new(element_s));
        point.observe(element_s);
        self.looks += usize::from(tried && point.executions > KNOWN);
        if point.has_changed() {
            *self = Self::default();
        }
    }

    /// Takes in what a batch of a size took before, which what comes may soon change.
    pub(super) fn known_before(&mut self, size: u32, took: Duration) {
        let element_s = took.as_secs_f64() / f64::from(size.max(1));
        self.points.entry(size).or_insert_with(|| Point { executions: KNOWN, ..Point::new(element_s) });
    }

    /// The size that serves most; of sizes that serve about the same, the smallest. 1 while nothing is known.
    pub(super) fn best(&self, limit: u32) -> u32 {
        let mut best: Option<(u32, f64)> = None;
        for (size, point) in self.known(limit) {
            if best.is_none_or(|(_, element_s)| point.element_s * FASTER < element_s) {
                best = Some((size, point.element_s));
            }
        }
        best.map_or(1, |(size, _)| size)
    }

    /// The next larger size, where the largest that is known is the best one.
    pub(super) fn climb(&self, limit: u32) -> Option<u32> {
        let largest = self.known(limit).map(|(size, _)| size).last()?;
        (largest == self.best(limit) && largest < limit).then(|| largest.saturating_mul(2).min(limit))
    }

    /// Another size that is to be tried now, if one is: of at most `limit`, and of less than what waits only where more
    /// waits than the best size takes.
    pub(super) fn trial(&self, limit: u32, waiting: u64) -> Option<u32> {
        let limit = limit.min(u32::try_from(waiting).unwrap_or(u32::MAX));
        let best = self.best(limit);
        if self.points.get(&best).is_none_or(|point| point.executions < KNOWN) {
            return None;
        }
        let climb = self.climb(limit);
        if climb.is_some() {
            // This is not put off.
            return climb;
        }
        if waiting <= u64::from(best) {
            return None;
        }
        if let Some(size) = self.gap(best, limit) {
            return Some(size).filter(|size| self.is_due(*size, best, BETWEEN_TRIALS));
        }
        let others: Vec<u32> = self.around(best, limit).filter(|size| *size != best).collect();
        let next = self.looks.checked_rem(others.len()).and_then(|index| others.get(index).copied());
        next.filter(|size| self.is_due(*size, best, BETWEEN_LOOKS))
    }

    /// The middle of the gap, of those in which something better may lie, that is nearest to the best size; beyond the
    /// largest size that is known there is a gap, too.
    fn gap(&self, best: u32, limit: u32) -> Option<u32> {
        let known: Vec<(u32, f64)> = self.known(limit).map(|(size, point)| (size, point.element_s)).collect();
        let best_s = self.points.get(&best)?.element_s;
        let may_be_better =
            |(size, element_s): (u32, f64), end: u32| element_s * f64::from(size) / f64::from(end) * PROMISING < best_s;
        let within = known.windows(2).filter_map(|pair| {
            let [low, high] = pair else { return None };
            middle(low.0, high.0).filter(|_| may_be_better(*low, high.0 - 1))
        });
        let beyond = known.last().filter(|largest| largest.0 < limit && may_be_better(**largest, limit));
        let beyond = beyond.map(|largest| largest.0.saturating_mul(2).min(limit));
        within.chain(beyond).min_by_key(|size| size.abs_diff(best))
    }

    /// Known sizes between half and twice the best one that are not much worse.
    fn around(&self, best: u32, limit: u32) -> impl Iterator<Item = u32> {
        let best_s = self.points.get(&best).map_or(0.0, |point| point.element_s);
        let near = move |size: u32, point: &Point| {
            (best / 2..=best.saturating_mul(2)).contains(&size) && point.element_s < HOPELESS * best_s
        };
        self.known(limit).filter(move |(size, point)| near(*size, point)).map(|(size, _)| size)
    }

    /// The time of a batch of any size: on lines through those that were measured, and never shorter than a smaller one.
    pub(super) fn time_s(&self, elements: u32) -> Option<f64> {
        let at = |(size, point): (&u32, &Point)| (f64::from(*size), f64::from(*size) * point.element_s);
        let below = self.points.range(..=elements).next_back().map(at);
        let above = self.points.range(elements..).next().map(at);
        let elements = f64::from(elements);
        Some(match (below, above) {
            (Some((low, low_s)), Some((high, high_s))) if high > low => {
                low_s + (high_s - low_s) * (elements - low) / (high - low)
            }
            (Some((size, time_s)), None) => match self.points.range(..size as u32).next_back().map(at) {
                Some((other, other_s)) => time_s + ((time_s - other_s) / (size - other)).max(0.0) * (elements - size),
                // Hope for the best, or nobody would ever try.
                None => time_s,
            },
            (Some((_, time_s)), Some(_)) | (None, Some((_, time_s))) => time_s,
            (None, None) => return None,
        })
    }

    fn known(&self, limit: u32) -> impl Iterator<Item = (u32, &Point)> {
        let within = self.points.range(..=limit.max(1));
        within.filter(|(_, point)| point.executions >= KNOWN).map(|(size, point)| (*size, point))
    }

    /// Whether enough has been served at the best size to pay for a trial of another one.
    fn is_due(&self, size: u32, best: u32, between: f64) -> bool {
        let time_s = |size| self.time_s(size).unwrap_or(0.0);
        let cost = (time_s(size) / time_s(best)).max(1.0);
        f64::from(self.since_trial) >= between * cost
    }
}

/// A size between two that are known, unless they are so near that it does not matter.
fn middle(low: u32, high: u32) -> Option<u32> {
    let gap = high - low;
    (gap > 1 && gap > high / FINE).then(|| low + gap / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(times_ms: &[(u32, f64)]) -> Curve {
        let mut curve = Curve::default();
        for (size, ms) in times_ms {
            for _ in 0..KNOWN {
                curve.observe(*size, *size, Duration::from_secs_f64(ms / 1000.0), false);
            }
        }
        curve
    }

    #[test]
    fn the_fastest_size_is_the_best_and_a_larger_one_must_pay() {
        let check = |times_ms: &[(u32, f64)], limit, expected| {
            assert_eq!(known(times_ms).best(limit), expected, "{times_ms:?} up to {limit}");
        };
        check(&[], 8, 1);
        check(&[(1, 10.0), (2, 11.0), (4, 13.0)], 8, 4);
        check(&[(1, 10.0), (2, 11.0), (4, 13.0)], 3, 2);
        check(&[(1, 10.0), (2, 20.0), (4, 40.0)], 8, 1);
        check(&[(1, 10.0), (2, 19.9)], 8, 1);
        check(&[(1, 10.0), (2, 12.0), (4, 90.0)], 8, 2);
    }

    #[test]
    fn what_is_tried_next() {
        let check = |times_ms: &[(u32, f64)], limit, since_trial, expected| {
            let curve = Curve { since_trial, ..known(times_ms) };
            assert_eq!(curve.trial(limit, 1000), expected, "{times_ms:?} up to {limit}");
        };
        check(&[], 8, 99, None);
        check(&[(1, 10.0)], 1, 99, None);
        check(&[(1, 10.0)], 8, 0, Some(2));
        check(&[(1, 10.0), (2, 11.0), (4, 12.0)], 6, 0, Some(6));
        check(&[(1, 10.0), (2, 11.0), (4, 12.0)], 4, 999, None);
        check(&[(1, 10.0), (2, 11.0), (4, 19.0)], 4, 99, Some(3));
        check(&[(8, 10.0), (16, 24.0)], 16, 27, None);
        check(&[(8, 10.0), (16, 24.0)], 16, 28, Some(12));
        check(&[(8, 10.0), (16, 90.0)], 16, 79, None);
        check(&[(8, 10.0), (16, 90.0)], 16, 80, Some(12));
        check(&[(8, 10.0), (9, 21.0), (12, 99.0)], 12, 999, None);
        check(&[(8, 10.0), (9, 21.0)], 12, 999, None);
        check(&[(8, 10.0), (9, 21.0)], 32, 999, Some(18));
        check(&[(8, 10.0), (9, 11.25)], 9, 53, None);
        check(&[(8, 10.0), (9, 11.25)], 9, 54, Some(9));
    }

    #[test]
    fn what_waits_is_not_taken_apart_to_try_something() {
        let curve = Curve { since_trial: 99, ..known(&[(1, 10.0), (2, 11.0), (4, 19.0), (8, 30.0)]) };
        let trials = [1, 2, 3, 4, 8, 9].map(|waiting| curve.trial(16, waiting));
        assert_eq!(trials, [None, None, Some(3), None, None, Some(9)]);
    }

    #[test]
    fn a_model_that_changes_is_measured_anew() {
        let mut curve = known(&[(1, 10.0), (2, 11.0)]);
        for _ in 0..MANY {
            curve.observe(2, 2, Duration::from_millis(11), false);
        }
        assert_eq!(curve.best(8), 2);
        for _ in 0..10 {
            curve.observe(2, 2, Duration::from_millis(40), false);
        }
        assert_eq!(curve.trial(8, 100), Some(4), "the others are forgotten");
    }

    #[test]
    fn what_was_known_before_is_where_it_starts() {
        let mut curve = Curve::default();
        for (size, ms) in [(1, 10), (4, 13), (8, 17), (16, 60)] {
            curve.known_before(size, Duration::from_millis(ms));
        }
        assert_eq!((curve.best(16), curve.trial(16, 100)), (8, None), "there is nothing to climb to");
        // What comes counts more than what was.
        for _ in 0..30 {
            curve.observe(8, 8, Duration::from_millis(80), false);
        }
        assert_eq!(curve.best(16), 4);
    }

    #[test]
    fn a_batch_that_was_not_filled_counts_as_what_it_held() {
        let mut curve = Curve::default();
        for elements in [7, 7, 3, 3] {
            curve.observe(8, elements, Duration::from_millis(10), false);
        }
        assert_eq!(curve.points.keys().copied().collect::<Vec<_>>(), [3, 8]);
        assert_eq!(curve.time_s(3).map(|s| (s * 1000.0).round()), Some(10.0));
    }
}
