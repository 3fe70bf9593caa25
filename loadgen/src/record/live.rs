//! Live figures from the samples as they come in: totals, the last seconds, and whether the target still answers.
//! Pure; its memory does not grow with the run.

use std::collections::{BTreeMap, VecDeque};

use proofload_run::histogram::{LatencyHistogram, Line};
use proofload_run::sample::{Outcome, Sample};

/// Seconds over which the progress line's percentiles and rates are taken.
const WINDOW_S: usize = 5;
/// Failures in a row that make a silence more than bad luck.
const LOST_FAILURES: u64 = 3;
/// How long nothing but broken connections may come before the target counts as lost.
const LOST_AFTER_NS: u64 = 3_000_000_000;

/// What finished within one second. Its memory is used again and again.
#[derive(Debug, Clone, Default)]
pub struct Second {
    latency: LatencyHistogram,
    late: LatencyHistogram,
    /// By outcome code.
    counts: [u64; Outcome::ALL.len()],
}

impl Second {
    fn add(&mut self, sample: &Sample) {
        self.counts[usize::from(sample.outcome().code())] += 1;
        if sample.sent_ns > 0 {
            self.late.record_ns(sample.generator_late_ns);
        }
        if sample.outcome() == Outcome::Ok {
            self.latency.record_ns(sample.latency_ns());
        }
    }

    fn clear(&mut self) {
        self.latency.clear();
        self.late.clear();
        self.counts = Default::default();
    }

    /// Name and value of everything that the audit writes down each second.
    pub fn series(&self) -> Vec<(&'static str, f64)> {
        let count = |wanted: fn(Outcome) -> bool| {
            let all = Outcome::ALL.iter().filter(|outcome| wanted(**outcome));
            all.map(|outcome| self.counts[usize::from(outcome.code())]).sum::<u64>() as f64
        };
        let late_ns = |percentile| self.late.percentile_ns(percentile).map(|ns| ns as f64);
        let mut series = vec![
            ("finished_ok", count(|outcome| outcome == Outcome::Ok)),
            ("finished_errors", count(Outcome::is_error)),
            ("finished_sheds", count(|outcome| outcome == Outcome::Shed)),
            ("dropped", count(|outcome| outcome == Outcome::Dropped)),
        ];
        if let (Some(p50_ns), Some(p99_ns)) = (late_ns(50.0), late_ns(99.0)) {
            let max_ns = self.late.max_ns() as f64;
            series.extend([("lateness_p50_ns", p50_ns), ("lateness_p99_ns", p99_ns), ("lateness_max_ns", max_ns)]);
        }
        series
    }
}

/// Progress figures over the last seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Recent {
    /// Requests that ended per second.
    pub finished_per_s: f64,
    /// Median latency of successes; `None` when there was none.
    pub p50_ns: Option<u64>,
    /// 95th percentile of the same.
    pub p95_ns: Option<u64>,
    /// 99th percentile of the same.
    pub p99_ns: Option<u64>,
    /// The generator's own lateness, 99th percentile.
    pub late_p99_ns: Option<u64>,
}

/// See the module.
#[derive(Debug)]
pub struct Live {
    current: Second,
    past: VecDeque<Second>,
    /// Successes of the current second, by entry.
    entries: Vec<LatencyHistogram>,
    totals: [u64; Outcome::ALL.len()],
    silence: Silence,
}

impl Live {
    /// Of a run with so many entries.
    pub fn new(entries: usize) -> Self {
        Self {
            current: Second::default(),
            past: VecDeque::with_capacity(WINDOW_S + 1),
            entries: vec![LatencyHistogram::default(); entries],
            totals: Default::default(),
            silence: Silence::default(),
        }
    }

    /// Takes in a finished sample. Allocates nothing.
    pub fn add(&mut self, sample: &Sample) {
        self.totals[usize::from(sample.outcome().code())] += 1;
        self.current.add(sample);
        self.silence.add(sample);
        if let (Outcome::Ok, Some(entry)) = (sample.outcome(), self.entries.get_mut(usize::from(sample.entry))) {
            entry.record_ns(sample.latency_ns());
        }
    }

    /// The histograms of the current second, which ends at `end_ns`.
    pub fn lines(&self, end_ns: u64, shard: u16) -> Vec<Line> {
        let entries = (0_u16..).zip(&self.entries).filter(|(_, histogram)| histogram.n() > 0);
        entries.map(|(entry, histogram)| histogram.line(end_ns, shard, entry)).collect()
    }

    /// A second has passed: gives what it held.
    pub fn turn(&mut self) -> &Second {
        let mut fresh = if self.past.len() < WINDOW_S { None } else { self.past.pop_front() }.unwrap_or_default();
        fresh.clear();
        self.entries.iter_mut().for_each(LatencyHistogram::clear);
        self.past.push_back(std::mem::replace(&mut self.current, fresh));
        &self.past[self.past.len() - 1]
    }

    /// Figures over the last whole seconds.
    pub fn recent(&self) -> Recent {
        if self.past.is_empty() {
            return Recent::default();
        }
        let (mut latency, mut late) = (LatencyHistogram::default(), LatencyHistogram::default());
        for second in &self.past {
            latency.merge(&second.latency);
            late.merge(&second.late);
        }
        let finished: u64 = self.past.iter().flat_map(|second| second.counts).sum();
        Recent {
            finished_per_s: finished as f64 / self.past.len() as f64,
            p50_ns: latency.percentile_ns(50.0),
            p95_ns: latency.percentile_ns(95.0),
            p99_ns: latency.percentile_ns(99.0),
            late_p99_ns: late.percentile_ns(99.0),
        }
    }

    /// Samples so far, by the outcome's word; outcomes that never came are left out.
    pub fn outcomes(&self) -> BTreeMap<String, u64> {
        let counted = Outcome::ALL.iter().map(|outcome| (outcome.as_str().to_owned(), self.total(*outcome)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// Samples so far, in the order of [`Outcome::ALL`].
    pub fn totals(&self) -> [u64; Outcome::ALL.len()] {
        Outcome::ALL.map(|outcome| self.total(outcome))
    }

    /// Samples of one outcome so far.
    pub fn total(&self, outcome: Outcome) -> u64 {
        self.totals[usize::from(outcome.code())]
    }

    /// Errors so far.
    pub fn errors(&self) -> u64 {
        Outcome::ALL.iter().filter(|outcome| outcome.is_error()).map(|outcome| self.total(*outcome)).sum()
    }

    /// When the last answer came, if the target has stopped answering. See `Silence`.
    pub fn lost_since(&self, now_ns: u64, timeout_ns: u64) -> Option<u64> {
        self.silence.lost_since(now_ns, timeout_ns)
    }
}

/// Watches for a target that no longer answers at all: nothing but broken and refused connections for three
/// seconds, or nothing but these and timeouts for three times the time limit. Refusals and server errors are
/// answers.
#[derive(Debug, Default)]
struct Silence {
    last_answer_ns: u64,
    first_failure_ns: Option<u64>,
    failures: u64,
    timeouts: bool,
}

impl Silence {
    fn add(&mut self, sample: &Sample) {
        match sample.outcome() {
            Outcome::InFlight | Outcome::Dropped => {}
            Outcome::ConnectError | Outcome::TransportError => self.fail(sample.done_ns),
            Outcome::Timeout => {
                self.fail(sample.done_ns);
                self.timeouts = true;
            }
            Outcome::Ok | Outcome::Shed | Outcome::ServerError | Outcome::Rejected | Outcome::BadBody => {
                *self = Self { last_answer_ns: self.last_answer_ns.max(sample.done_ns), ..Self::default() };
            }
        }
    }

    fn fail(&mut self, at_ns: u64) {
        self.failures += 1;
        self.first_failure_ns.get_or_insert(at_ns);
    }

    fn lost_since(&self, now_ns: u64, timeout_ns: u64) -> Option<u64> {
        let patience_ns = if self.timeouts { LOST_AFTER_NS.max(3 * timeout_ns) } else { LOST_AFTER_NS };
        let first_ns = self.first_failure_ns?;
        (self.failures >= LOST_FAILURES && now_ns.saturating_sub(first_ns) >= patience_ns)
            .then_some(self.last_answer_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{ConnectError, Ok, Shed, Timeout};

    fn sample(outcome: Outcome, done_ms: u64, latency_ms: u64) -> Sample {
        Sample {
            intended_ns: (done_ms - latency_ms) * 1_000_000,
            sent_ns: 1,
            done_ns: done_ms * 1_000_000,
            generator_late_ns: 40_000,
            outcome: outcome.code(),
            ..Sample::default()
        }
    }

    #[test]
    fn seconds_and_totals() {
        let mut live = Live::new(2);
        for n in 0..100 {
            live.add(&sample(Ok, 1000 + n, n + 1));
        }
        live.add(&sample(Shed, 1200, 1));
        live.add(&sample(Timeout, 1200, 900));
        assert_eq!(live.recent(), Recent::default(), "the running second is not over");
        let lines = live.lines(2_000_000_000, 7);
        let told: Vec<_> = lines.iter().map(|l| (l.end_ns, l.shard, l.entry, l.histogram().unwrap().n())).collect();
        assert_eq!(told, [(2_000_000_000, 7, 0, 100)], "an entry without successes has no line");
        let series = live.turn().series();
        assert!(live.lines(3_000_000_000, 7).is_empty());
        let value = |name: &str| series.iter().find(|(n, _)| *n == name).unwrap().1;
        assert_eq!((value("finished_ok"), value("finished_errors"), value("finished_sheds")), (100.0, 1.0, 1.0));
        assert!((value("lateness_p99_ns") - 40_000.0).abs() < 100.0);
        let recent = live.recent();
        assert!((recent.finished_per_s - 102.0).abs() < 1e-9);
        assert!(recent.p50_ns.unwrap().abs_diff(50_000_000) < 100_000, "{recent:?}");
        assert!(recent.p95_ns.unwrap().abs_diff(95_000_000) < 100_000, "{recent:?}");
        assert!(recent.p99_ns.unwrap().abs_diff(99_000_000) < 100_000, "{recent:?}");
        assert!(recent.late_p99_ns.unwrap().abs_diff(40_000) < 100, "{recent:?}");
        assert_eq!(live.errors(), 1);
        assert_eq!(
            live.outcomes().into_iter().collect::<Vec<_>>(),
            [("ok".into(), 100), ("shed".into(), 1), ("timeout".into(), 1)]
        );
        for _ in 0..WINDOW_S {
            live.turn();
        }
        assert_eq!(live.recent().p95_ns, None, "old seconds leave the window");
    }

    #[test]
    fn a_target_is_lost_only_when_nothing_is_answered() {
        let check = |samples: &[(Outcome, u64)], now_ms: u64, expected: Option<u64>| {
            let mut live = Live::new(2);
            for (outcome, at_ms) in samples {
                live.add(&sample(*outcome, *at_ms, 0));
            }
            assert_eq!(
                live.lost_since(now_ms * 1_000_000, 10_000_000_000),
                expected.map(|ms| ms * 1_000_000),
                "{samples:?}"
            );
        };
        let refused = [(Ok, 500), (ConnectError, 1000), (ConnectError, 1100), (ConnectError, 1200)];
        check(&refused, 3900, None);
        check(&refused, 4000, Some(500));
        check(&refused[..3], 9000, None);
        check(&refused[1..], 4000, Some(0));
        check(&[(ConnectError, 1000), (Shed, 1100), (ConnectError, 1200), (ConnectError, 1300)], 9000, None);
        check(&[(Ok, 500), (Timeout, 11_000), (Timeout, 11_100), (Timeout, 11_200)], 20_000, None);
        check(&[(Ok, 500), (Timeout, 11_000), (Timeout, 11_100), (Timeout, 11_200)], 41_000, Some(500));
    }
}
