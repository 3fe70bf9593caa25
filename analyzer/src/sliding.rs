//! Thresholds over sliding windows: whether they held over every whole window that ended on a second of the run's clock,
//! after the warm-up and before the load's end. What a window counts, and when two of them miss together, is the
//! contract's affair.

use proofload_run::criteria::{Moment, Request, Rule, Tally, Threshold, format_bound};
use proofload_run::findings::ThresholdResult;
use proofload_run::sample::Outcome;
use proofload_run::units::{NS_PER_S, format_duration_ns, significant};
use proofload_run::verdict::Verdict;

use crate::samples::Row;
use crate::scope::Scope;
use crate::stats::Percentiles;

/// One second of one threshold.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    /// What ended within it.
    ended: Tally,
    /// What was overdue at its end.
    overdue: Tally,
}

/// What came of all windows.
#[derive(Debug, Default)]
struct Windows {
    judged: u64,
    missed: u64,
    first_missed_s: u64,
    /// The end of the worst one, and how many successes and overdue requests it had.
    worst_s: Option<(u64, u64)>,
}

/// A threshold over windows while samples are looked at: first the seconds are counted, then, of the worst window, the
/// percentile is looked for that counts cannot give.
#[derive(Debug)]
pub(crate) struct Sliding<'a> {
    threshold: &'a Threshold,
    window_ns: u64,
    rule: Rule,
    closed_ns: u64,
    warm_until_ns: u64,
    driven_ns: u64,
    /// Samples that it is about.
    covered: u64,
    seconds: Vec<Second>,
    /// Once they have been counted.
    windows: Option<Windows>,
    times: Option<Percentiles>,
}

impl<'a> Sliding<'a> {
    /// Of a threshold that has a window. An entry that is not there has no data.
    pub(crate) fn new(threshold: &'a Threshold, window_ns: u64, scope: &Scope<'_>) -> Self {
        let manifest = scope.manifest();
        let entries = manifest.entries.iter().map(|entry| (entry.name.as_str(), entry.slo));
        Self {
            threshold,
            window_ns,
            rule: Rule::new(threshold, manifest.slo, entries),
            closed_ns: scope.closed_ns,
            warm_until_ns: warm_until_ns(scope),
            driven_ns: scope.driven_ns,
            covered: 0,
            seconds: vec![Second::default(); second_of(scope.driven_ns) + 1],
            windows: None,
            times: None,
        }
    }

    /// Looks at a sample.
    pub(crate) fn add(&mut self, row: &Row) {
        if !self.rule.covers(row.entry) {
            return;
        }
        match (&self.windows, &mut self.times) {
            (None, _) => self.count(row),
            (Some(Windows { worst_s: Some((end_s, _)), .. }), Some(times)) => {
                time_at(&self.rule, row, self.window_ns, *end_s).into_iter().for_each(|time_ns| times.add(time_ns));
            }
            _ => {}
        }
    }

    fn count(&mut self, row: &Row) {
        self.covered += 1;
        let done_ns = if row.done_ns == 0 { self.closed_ns } else { row.done_ns };
        if let Some(second) = self.seconds.get_mut(second_of(done_ns)) {
            second.ended.add(&self.rule, &request(row, done_ns));
        }
        let Some(patience_ns) = self.rule.patience_ns(row.entry) else { return };
        let from = second_of(row.intended_ns.saturating_add(patience_ns).saturating_add(1));
        for second in self.seconds.iter_mut().take(second_of(done_ns)).skip(from) {
            second.overdue.add_overdue(&self.rule, row.entry);
        }
    }

    /// A look is over. Says whether another is wanted.
    pub(crate) fn turn(&mut self) -> bool {
        if let Some(times) = &mut self.times {
            return times.turn();
        }
        if self.windows.is_some() {
            return false;
        }
        let found = match self.covered {
            0 => Windows::default(),
            _ => windows(self.threshold, self.window_ns, &self.seconds, self.warm_until_ns, self.driven_ns),
        };
        let percentile = self.threshold.metric.percentile().filter(|_| found.worst_s.is_some());
        self.times = percentile.map(|percentile| Percentiles::of_any(&[percentile]));
        self.windows = Some(found);
        self.times.is_some()
    }

    /// What came of it.
    pub(crate) fn judged(&self) -> ThresholdResult {
        let none = Windows::default();
        let (threshold, windows) = (self.threshold, self.windows.as_ref().unwrap_or(&none));
        let value = windows.worst_s.and_then(|(end_s, _)| self.value(end_s));
        let (verdict, note) = verdict(windows, threshold);
        ThresholdResult {
            threshold: threshold.clone(),
            text: threshold.to_string(),
            default: false,
            value,
            value_text: value.map_or_else(|| "no data".to_owned(), |value| format_bound(threshold.metric, value)),
            n: windows.worst_s.map_or(0, |(_, n)| n),
            verdict,
            note,
        }
    }

    /// The figure of the worst window, exactly.
    fn value(&self, end_s: u64) -> Option<f64> {
        match self.threshold.metric.percentile() {
            Some(percentile) => self.times.as_ref()?.value(percentile),
            None => moment(self.threshold, &self.seconds, end_s).value().filter(|value| value.is_finite()),
        }
    }
}

fn warm_until_ns(scope: &Scope<'_>) -> u64 {
    scope.manifest().steps.iter().filter(|step| step.warm_up).map(|step| step.end_ns).max().unwrap_or(0)
}

/// The second in which a moment lies, by its end.
fn second_of(t_ns: u64) -> usize {
    t_ns.div_ceil(NS_PER_S) as usize
}

fn request(row: &Row, done_ns: u64) -> Request {
    Request {
        entry: row.entry,
        outcome: row.outcome,
        intended_ns: row.intended_ns,
        done_ns,
        late_ns: row.late_ns,
        ttft_ns: row.ttft_ns(),
        itl_ns: row.itl_ns(),
        tokens: row.tokens_out,
    }
}

/// What the threshold came to over the windows that end with this second.
fn moment<'a>(threshold: &'a Threshold, seconds: &[Second], end_s: u64) -> Moment<'a> {
    let end = end_s as usize;
    let latest_first = seconds[..=end].iter().rev().map(|second| &second.ended);
    Moment::new(threshold, 0, latest_first, &seconds[end].overdue)
}

fn windows(threshold: &Threshold, window_ns: u64, seconds: &[Second], from_ns: u64, until_ns: u64) -> Windows {
    let mut windows = Windows::default();
    let mut worst = f64::INFINITY;
    for end_s in (from_ns + window_ns).div_ceil(NS_PER_S)..=until_ns / NS_PER_S {
        let moment = moment(threshold, seconds, end_s);
        let Some(holds) = moment.holds() else { continue };
        windows.judged += 1;
        if !holds {
            if windows.missed == 0 {
                windows.first_missed_s = end_s;
            }
            windows.missed += 1;
        }
        let margin = moment.margin();
        if windows.worst_s.is_none() || margin < worst {
            (worst, windows.worst_s) = (margin, Some((end_s, moment.judged())));
        }
    }
    windows
}

/// The time by which a request counts in the window that ends with this second, if it does. What was overdue at its end
/// counts with its age then.
fn time_at(rule: &Rule, row: &Row, window_ns: u64, end_s: u64) -> Option<f64> {
    let end_ns = end_s * NS_PER_S;
    if row.done_ns == 0 || row.done_ns > end_ns {
        let overdue = rule.is_overdue(row.entry, row.intended_ns, end_ns);
        return overdue.then(|| (end_ns - row.intended_ns) as f64);
    }
    let counts = row.outcome == Outcome::Ok && row.done_ns > end_ns - window_ns;
    if counts { request(row, row.done_ns).time_ns(rule.threshold.metric) } else { None }
}

fn verdict(windows: &Windows, threshold: &Threshold) -> (Verdict, String) {
    let lengths = [threshold.window_ns, threshold.short_window_ns].into_iter().flatten();
    let lengths: Vec<String> = lengths.map(|window_ns| format_duration_ns(window_ns as f64)).collect();
    let together = if lengths.len() > 1 { " together" } else { "" };
    let length = format!("{}{together}", lengths.join(" and "));
    match windows {
        Windows { judged: 0, .. } => {
            (Verdict::Fail, format!("no window of {length} has data for it, and no data is never a pass"))
        }
        Windows { missed: 0, judged, .. } => (Verdict::Pass, format!("the worst of {judged} windows of {length}")),
        Windows { missed, judged, first_missed_s, worst_s } => {
            let worst_s = worst_s.map_or(0, |(end_s, _)| end_s);
            let note = format!(
                "missed over {missed} of {judged} windows of {length}, first over the one that ended at {} s, worst at {} s",
                significant(*first_missed_s as f64),
                significant(worst_s as f64)
            );
            (Verdict::Fail, note)
        }
    }
}
