//! Thresholds over sliding windows: whether they held over every whole window that ended on a second of the run's clock,
//! after the warm-up and before the load's end. What a window counts, and when two of them miss together, is the
//! contract's affair.

use proofload_run::criteria::{Moment, Request, Rule, Tally, Threshold, format_bound};
use proofload_run::findings::ThresholdResult;
use proofload_run::sample::Outcome;
use proofload_run::units::{NS_PER_S, format_duration_ns, significant};
use proofload_run::verdict::Verdict;

use crate::load::Row;
use crate::scope::Scope;

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

/// Judges a threshold over windows. An entry that is not there has no data.
pub(crate) fn judge(threshold: &Threshold, window_ns: u64, scope: &Scope<'_>) -> ThresholdResult {
    let manifest = scope.manifest();
    let entries = manifest.entries.iter().map(|entry| (entry.name.as_str(), entry.slo));
    let rule = Rule::new(threshold, manifest.slo, entries);
    let rows: Vec<&Row> = scope.run.rows.iter().filter(|row| rule.covers(row.entry)).collect();
    let seconds = seconds(&rule, &rows, scope);
    let windows = match rows.is_empty() {
        true => Windows::default(),
        false => windows(threshold, window_ns, &seconds, warm_until_ns(scope), scope.driven_ns),
    };
    let value = windows.worst_s.and_then(|(end_s, _)| value(&rule, window_ns, end_s, &rows, &seconds));
    let (verdict, note) = verdict(&windows, threshold);
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

fn seconds(rule: &Rule, rows: &[&Row], scope: &Scope<'_>) -> Vec<Second> {
    let last = second_of(scope.driven_ns);
    let mut seconds = vec![Second::default(); last + 1];
    for row in rows {
        let done_ns = if row.done_ns == 0 { scope.closed_ns } else { row.done_ns };
        if let Some(second) = seconds.get_mut(second_of(done_ns)) {
            second.ended.add(rule, &request(row, done_ns));
        }
        let Some(patience_ns) = rule.patience_ns(row.entry) else { continue };
        let from = second_of(row.intended_ns.saturating_add(patience_ns).saturating_add(1));
        for second in seconds.iter_mut().take(second_of(done_ns)).skip(from) {
            second.overdue.add_overdue(rule, row.entry);
        }
    }
    seconds
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

/// The figure of one window, exactly. What was overdue at its end counts with its age then.
fn value(rule: &Rule, window_ns: u64, end_s: u64, rows: &[&Row], seconds: &[Second]) -> Option<f64> {
    let Some(percentile) = rule.threshold.metric.percentile() else {
        return moment(&rule.threshold, seconds, end_s).value().filter(|value| value.is_finite());
    };
    let end_ns = end_s * NS_PER_S;
    let within = |row: &&&Row| row.done_ns > end_ns - window_ns && row.done_ns <= end_ns;
    let ended = rows.iter().filter(within).filter(|row| row.outcome == Outcome::Ok);
    let under_way = rows.iter().filter(|row| row.done_ns == 0 || row.done_ns > end_ns);
    let overdue = under_way.filter(|row| rule.is_overdue(row.entry, row.intended_ns, end_ns));
    let ages = overdue.map(|row| end_ns - row.intended_ns);
    let times = ended.filter_map(|row| request(row, row.done_ns).time_ns(rule.threshold.metric));
    let mut times: Vec<f64> = times.chain(ages.map(|ns| ns as f64)).collect();
    times.sort_unstable_by(f64::total_cmp);
    let rank = ((times.len() as f64 * percentile / 100.0).ceil() as usize).max(1);
    times.get(rank - 1).copied()
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
