//! Thresholds that are watched while a run goes on: those over sliding windows, and those that end the run. Pure; its
//! memory is bounded by the longest window. What is counted is the contract's affair, so that the analyzer finds the same.

use std::collections::VecDeque;

use proofload_run::criteria::{Metric, Moment, Request, Rule, Tally, Threshold};
use proofload_run::sample::Sample;
use proofload_run::units::{NS_PER_S, format_duration_ns, significant};

use crate::progress::Standing;

/// After a second's end, what ended within it has come in by then.
const GRACE_NS: u64 = 100_000_000;

/// One threshold and what was counted for it.
#[derive(Debug)]
struct Watched {
    rule: Rule,
    /// Seconds of its window, the latest at the back; without a window one for all that was.
    seconds: VecDeque<Tally>,
    standing: Standing,
}

/// A threshold that was missed for the first time.
#[derive(Debug, Clone, PartialEq)]
pub struct Missed {
    /// The threshold.
    pub threshold: Threshold,
    /// The end of the window, on the run's clock.
    pub at_ns: u64,
    /// Whether the run is to end.
    pub abort: bool,
}

/// A request that has not ended: its entry and when it was intended.
pub type UnderWay = (u16, u64);

/// See the module.
#[derive(Debug)]
pub struct Watchdog {
    watched: Vec<Watched>,
    /// Ended, and not yet in any second.
    ended: Vec<Request>,
    /// Ended after the second that was judged last. Its memory and that of `ended` are used in turn.
    later: Vec<Request>,
    warm_until_ns: u64,
    until_ns: u64,
    /// The end of the second that is judged next.
    next_ns: u64,
}

impl Watchdog {
    /// Watches what is to be watched of a run's thresholds.
    pub fn new(rules: impl IntoIterator<Item = Rule>, warm_until_ns: u64, until_ns: u64) -> Self {
        let moves = |rule: &Rule| rule.threshold.window_ns.is_some() || rule.threshold.abort_after_ns.is_some();
        let watch = |rule: Rule| {
            let standing = Standing { threshold: rule.threshold.to_string(), ..Standing::default() };
            Watched { rule, seconds: VecDeque::new(), standing }
        };
        let watched = rules.into_iter().filter(moves).map(watch).collect();
        Self { watched, ended: Vec::new(), later: Vec::new(), warm_until_ns, until_ns, next_ns: NS_PER_S }
    }

    /// How each of the watched thresholds stands.
    pub fn standings(&self) -> Vec<Standing> {
        self.watched.iter().map(|watched| watched.standing.clone()).collect()
    }

    /// Takes in a request that has ended.
    pub fn add(&mut self, sample: &Sample) {
        if !self.watched.is_empty() {
            self.ended.push(Request::from(sample));
        }
    }

    /// Whether a second is over that can be judged now.
    pub fn is_due(&self, now_ns: u64) -> bool {
        !self.watched.is_empty() && now_ns >= self.next_ns + GRACE_NS && self.next_ns <= self.until_ns
    }

    /// Judges the next second with what is under way. Gives what was missed for the first time.
    pub fn turn(&mut self, under_way: &[UnderWay]) -> Vec<Missed> {
        let end_ns = self.next_ns;
        self.next_ns += NS_PER_S;
        self.later.extend(self.ended.iter().filter(|request| request.done_ns > end_ns));
        self.ended.retain(|request| request.done_ns <= end_ns);
        let late = self.later.iter().map(|request| (request.entry, request.intended_ns));
        let under_way: Vec<UnderWay> = under_way.iter().copied().chain(late).collect();
        let measured_ns = end_ns.saturating_sub(self.warm_until_ns);
        let missed = self.watched.iter_mut().filter_map(|watched| {
            // What came in the second in which the warm-up ended belongs to the window of no whole second after it.
            watched.count(&self.ended, self.warm_until_ns, measured_ns);
            watched.judge(end_ns, self.warm_until_ns, &under_way)
        });
        let missed = missed.collect();
        self.ended.clear();
        std::mem::swap(&mut self.ended, &mut self.later);
        missed
    }
}

impl Watched {
    /// Windows have what ended within them. What is counted as a whole has what the whole run's figures have: arrivals of
    /// measured time.
    fn is_measured(&self, intended_ns: u64, warm_until_ns: u64) -> bool {
        self.rule.threshold.window_ns.is_some() || intended_ns >= warm_until_ns
    }

    fn count(&mut self, ended: &[Request], warm_until_ns: u64, measured_ns: u64) {
        let mut tally = Tally::default();
        let measured = ended.iter().filter(|request| self.is_measured(request.intended_ns, warm_until_ns));
        measured.for_each(|request| tally.add(&self.rule, request));
        let window_ns = self.rule.threshold.window_ns;
        match (window_ns, self.seconds.back_mut()) {
            (None, Some(all)) => all.merge(&tally),
            (None, None) if measured_ns == 0 => {}
            _ => self.seconds.push_back(tally),
        }
        let kept = window_ns.map_or(1, |window_ns| (window_ns / NS_PER_S) as usize);
        while self.seconds.len() > kept {
            self.seconds.pop_front();
        }
    }

    fn judge(&mut self, end_ns: u64, warm_until_ns: u64, under_way: &[UnderWay]) -> Option<Missed> {
        let measured_ns = end_ns.saturating_sub(warm_until_ns);
        let threshold = &self.rule.threshold;
        let window_ns = threshold.window_ns.unwrap_or(measured_ns);
        let patient = threshold.abort_after_ns.unwrap_or(0);
        if measured_ns == 0 || measured_ns < window_ns {
            return None;
        }
        let mut overdue = Tally::default();
        let late = |(entry, intended_ns): &&UnderWay| {
            self.is_measured(*intended_ns, warm_until_ns) && self.rule.is_overdue(*entry, *intended_ns, end_ns)
        };
        under_way.iter().filter(late).for_each(|(entry, _)| overdue.add_overdue(&self.rule, *entry));
        let moment = Moment::new(threshold, window_ns, self.seconds.iter().rev(), &overdue);
        self.standing.figure = figure(threshold, &moment);
        if measured_ns < patient {
            return None;
        }
        let holds = moment.holds();
        let is_news = holds == Some(false) && !self.standing.was_missed;
        self.standing.holds = holds;
        self.standing.was_missed |= is_news;
        let abort = threshold.abort_after_ns.is_some();
        is_news.then(|| Missed { threshold: threshold.clone(), at_ns: end_ns, abort })
    }
}

/// What its windows have come to. Of a percentile only the share within its bound is counted.
fn figure(threshold: &Threshold, moment: &Moment<'_>) -> String {
    if threshold.metric.percentile().is_some() {
        return format!("{} % within", significant(100.0 * moment.margin()));
    }
    let Some(value) = moment.value() else { return String::new() };
    match threshold.metric {
        Metric::Mean | Metric::Max => format_duration_ns(value),
        Metric::ErrorRate | Metric::ShedRate => format!("{} %", significant(100.0 * value)),
        Metric::BurnRate => significant(value),
        _ => format!("{}/s", significant(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofload_run::criteria::Slo;

    const MS: u64 = 1_000_000;

    fn sample(done_ms: u64, latency_ms: u64, entry: u16) -> Sample {
        let (intended_ns, done_ns) = ((done_ms - latency_ms) * MS, done_ms * MS);
        Sample { intended_ns, done_ns, entry, sent_ns: 1, ..Sample::default() }
    }

    /// Runs ten seconds of ten requests each; those that end in `slow` (s) take 300 ms. Gives when what was missed.
    fn missed(threshold: &str, slow: std::ops::Range<u64>, under_way: &[UnderWay]) -> Vec<(u64, bool)> {
        let slo = Slo::new(100 * MS, 90.0, 0.01);
        let rule = Rule::new(&threshold.parse().unwrap(), Some(slo), [("a", None), ("b", None)]);
        let mut watchdog = Watchdog::new([rule], 2000 * MS, 10_000 * MS);
        let mut found = Vec::new();
        for tick in 1..=110 {
            let now_ms = tick * 100;
            let latency_ms = if slow.contains(&((now_ms - 50) / 1000)) { 300 } else { 10 };
            watchdog.add(&sample(now_ms + 350 - 50, latency_ms, 1));
            while watchdog.is_due(now_ms * MS) {
                found.extend(watchdog.turn(under_way).iter().map(|m| (m.at_ns / NS_PER_S, m.abort)));
            }
        }
        found
    }

    #[test]
    fn what_is_missed_is_told_once_and_in_time() {
        let check = |threshold: &str, slow: std::ops::Range<u64>, expected: &[(u64, bool)]| {
            assert_eq!(missed(threshold, slow.clone(), &[]), expected, "{threshold} {slow:?}");
        };
        check("p90 < 100ms over any 2s", 0..0, &[]);
        check("p90 < 100ms over any 2s", 5..8, &[(6, false)]);
        check("b: p90 < 100ms over any 2s else abort", 5..8, &[(6, true)]);
        check("a: p90 < 100ms over any 2s", 5..8, &[]);
        check("nobody: p90 < 100ms over any 2s", 5..8, &[]);
        check("burn_rate < 6 over any 2s", 5..8, &[(7, false)]);
        check("b: burn_rate < 5 over any 2s else abort after 6s", 5..8, &[(8, true)]);
        check("burn_rate < 2 else abort", 5..8, &[(7, true)]);
        check("goodput > 7/s over any 2s", 5..8, &[(6, false)]);
        // Both windows at once: when the short one is over the bound but the long one not yet, and the other way round.
        check("burn_rate < 3 over 6s and 1s", 5..6, &[]);
        check("burn_rate < 3 over 6s and 1s", 5..10, &[(8, false)]);
        check("b: burn_rate < 3 over 6s and 1s else abort after 7s", 5..10, &[(9, true)]);
        check("burn_rate < 3 over 6s and 1s", 4..6, &[]);
        check("burn_rate < 3 over any 6s", 4..6, &[(8, false)]);
        // Bad for a second, and good again before it counts or before patience ends.
        check("burn_rate < 6 over any 2s else abort", 5..6, &[]);
        check("p60 < 100ms over any 2s else abort after 6s", 5..6, &[]);
        // The warm-up does not count, nor a window that reaches into it.
        check("p90 < 100ms over any 2s", 0..1, &[]);
        check("max < 100ms else abort", 5..6, &[(6, true)]);
        check("max < 100ms else abort after 6s", 5..6, &[(8, true)]);
        check("max < 100ms", 5..6, &[]);
    }

    #[test]
    fn thresholds_stand_somewhere_while_the_run_goes_on() {
        let check = |threshold: &str, seconds: u64, holds, figure: &str| {
            let rule = Rule::new(&threshold.parse().unwrap(), None, [("a", None)]);
            let mut watchdog = Watchdog::new([rule], 0, 10_000 * MS);
            for n in 0..seconds * 4 {
                watchdog.add(&sample(n * 250 + 200, if n % 4 == 0 { 150 } else { 50 }, 0));
            }
            (0..seconds).for_each(|_| drop(watchdog.turn(&[])));
            let standings = watchdog.standings();
            assert_eq!((standings[0].holds, standings[0].figure.as_str()), (holds, figure), "{threshold} {seconds}");
            assert_eq!(standings[0].was_missed, holds == Some(false));
        };
        check("p75 < 100ms over any 2s", 1, None, "");
        check("p75 < 100ms over any 2s", 2, Some(true), "75 % within");
        check("p90 < 100ms over any 2s", 2, Some(false), "75 % within");
        check("error_rate < 1% over any 2s", 2, Some(true), "0 %");
        check("throughput > 3/s over any 2s", 3, Some(true), "4/s");
        check("max < 1s else abort", 2, Some(true), "150 ms");
        check("max < 100ms else abort after 9s", 2, None, "150 ms");
    }

    #[test]
    fn the_warm_up_counts_nowhere() {
        let check = |threshold: &str, latency_ms: u64, done_ms: u64, expected: bool| {
            let rule = Rule::new(&threshold.parse().unwrap(), None, [("a", None)]);
            let mut watchdog = Watchdog::new([rule], 1500 * MS, 10_000 * MS);
            watchdog.add(&sample(done_ms, latency_ms, 0));
            let missed: Vec<Missed> = (0..4).flat_map(|_| watchdog.turn(&[(0, 1400 * MS)])).collect();
            assert_eq!(!missed.is_empty(), expected, "{threshold}: {latency_ms} ms until {done_ms} ms");
        };
        check("throughput < 0.1/s else abort", 100, 1900, true);
        // It ended after the warm-up, and was sent within it.
        check("throughput < 0.1/s else abort", 500, 1900, false);
        check("throughput < 0.1/s else abort", 100, 1400, false);
        check("max < 1s else abort", 100, 1900, false);
        check("max < 1s over any 2s", 100, 1900, true);
    }

    #[test]
    fn what_hangs_is_seen_while_it_hangs() {
        let hanging = vec![(1, 3000 * MS); 30];
        assert_eq!(missed("p90 < 100ms over any 2s", 0..0, &hanging), [(4, false)]);
        assert_eq!(missed("a: p90 < 100ms over any 2s", 0..0, &hanging), []);
        assert_eq!(missed("burn_rate < 5 over any 2s", 0..0, &hanging), [(4, false)]);
        assert_eq!(missed("error_rate < 1% over any 2s", 0..0, &hanging), []);
    }
}
