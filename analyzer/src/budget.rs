//! Availability, and how fast an error budget was used (Google's SRE workbook, "Alerting on SLOs": the burn rate over windows).
//! Knows shares and the timeline, nothing of samples.

use proofload_run::findings::{Bucket, ErrorBudget, FastestBurn, Share, Timeline};
use proofload_run::units::{NS_PER_S, format_duration_ns, significant};

/// What is promised where nothing is said.
const DEFAULT_OBJECTIVE: f64 = 0.999;
/// The windows of usual alerts.
const WINDOWS_S: [u64; 3] = [300, 3600, 6 * 3600];
/// Days that a budget is for.
const DAYS: f64 = 30.0;

/// How much of the budget was used; `None` where nothing was answered, failed or refused.
pub(crate) fn budget(declared: Option<f64>, failed: Share, timeline: &Timeline) -> Option<ErrorBudget> {
    let objective = declared.unwrap_or(DEFAULT_OBJECTIVE);
    let allowed = 1.0 - objective;
    if failed.n == 0 {
        return None;
    }
    let burn = |share: f64| share / allowed;
    let mut found = ErrorBudget {
        objective,
        declared: declared.is_some(),
        burn: burn(failed.share),
        burn_low: burn(failed.low),
        burn_high: burn(failed.high),
        fastest: WINDOWS_S.iter().filter_map(|s| fastest(timeline, s * NS_PER_S, allowed)).collect(),
        lasts_days: (failed.share > 0.0).then(|| DAYS / burn(failed.share)),
        failed,
        sentence: String::new(),
    };
    found.sentence = sentence(&found);
    Some(found)
}

/// The window of this length in which most was used; `None` where it is longer than the run.
fn fastest(timeline: &Timeline, window_ns: u64, allowed: f64) -> Option<FastestBurn> {
    let count = usize::try_from(window_ns.div_ceil(timeline.bucket_ns.max(1))).ok()?;
    let burn = |window: &[Bucket]| {
        let failed: f64 = window.iter().map(|b| b.errors_per_s + b.sheds_per_s).sum();
        let all = failed + window.iter().map(|b| b.throughput_per_s).sum::<f64>();
        if all > 0.0 { failed / all / allowed } else { 0.0 }
    };
    let windows = timeline.buckets.windows(count.max(1)).map(|window| (window[0].t_ns, burn(window)));
    let (at_ns, burn) = windows.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?;
    Some(FastestBurn { window_ns, at_ns, burn })
}

fn sentence(found: &ErrorBudget) -> String {
    let percent = |share: f64| format!("{} %", significant(share * 100.0));
    let whose = if found.declared { "the scenario states" } else { "is usual; state slo.availability for another" };
    let objective = format!("{} % {whose}", trimmed(found.objective * 100.0));
    let Some(days) = found.lasts_days else {
        return format!("nothing of {} requests failed or was refused ({objective})", found.failed.n);
    };
    let fastest =
        found.fastest.first().filter(|fastest| fastest.burn > found.burn).map_or_else(String::new, |fastest| {
            format!(
                "; fastest {} times that within {}",
                significant(fastest.burn),
                format_duration_ns(fastest.window_ns as f64)
            )
        });
    format!(
        "{} were served, {} times as many failed as are allowed ({objective}): a month's error budget lasts {} days{fastest}",
        percent(1.0 - found.failed.share),
        significant(found.burn),
        significant(days)
    )
}

/// A percentage with the digits that it was written with: 99.95 and not 100.
fn trimmed(percent: f64) -> String {
    let text = format!("{percent:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(errors: &[f64]) -> Timeline {
        let bucket = |(at, errors_per_s): (usize, &f64)| Bucket {
            t_ns: at as u64 * 100 * NS_PER_S,
            errors_per_s: *errors_per_s,
            throughput_per_s: 100.0 - errors_per_s,
            ..Bucket::default()
        };
        Timeline { bucket_ns: 100 * NS_PER_S, buckets: errors.iter().enumerate().map(bucket).collect() }
    }

    #[test]
    fn what_is_used_of_a_budget() {
        let check = |declared, count: u64, n: u64, burn: f64, days: Option<f64>, part: &str| {
            let share = count as f64 / n as f64;
            let failed = Share { count, n, share, low: share / 2.0, high: share * 2.0 };
            let found = budget(declared, failed, &timeline(&[0.0; 4])).unwrap();
            assert!((found.burn - burn).abs() < 1e-9 && (found.burn_high - 2.0 * burn).abs() < 1e-9, "{found:?}");
            assert_eq!(found.lasts_days.map(f64::round), days, "{found:?}");
            assert!(found.sentence.contains(part), "{}", found.sentence);
        };
        check(None, 0, 1000, 0.0, None, "nothing of 1000 requests failed");
        check(None, 1, 1000, 1.0, Some(30.0), "99.9 % is usual");
        check(None, 10, 1000, 10.0, Some(3.0), "lasts 3 days");
        check(Some(0.9995), 5, 1000, 10.0, Some(3.0), "99.95 % the scenario states");
        assert_eq!(budget(None, Share::default(), &timeline(&[])), None);
    }

    #[test]
    fn the_fastest_window_is_the_first_of_the_worst() {
        let check = |errors: &[f64], expected: Option<(u64, f64)>| {
            let found = fastest(&timeline(errors), 300 * NS_PER_S, 0.01);
            let found = found.map(|found| (found.at_ns / NS_PER_S, (found.burn * 1000.0).round() / 1000.0));
            assert_eq!(found, expected, "{errors:?}");
        };
        check(&[0.0, 0.0, 3.0, 0.0, 0.0], Some((0, 1.0)));
        check(&[0.0, 0.0, 0.0, 3.0, 6.0, 0.0], Some((200, 3.0)));
        check(&[9.0, 9.0], None);
    }
}
