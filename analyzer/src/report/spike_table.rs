//! The table on a spike.

use proofload_run::findings::{Findings, Spike, Within};

use super::format::{count, duration, number, percent};
use super::tables::{Table, head, num, text};

/// Without rows where the run had no spike.
pub(super) fn spike(findings: &Findings) -> Table {
    Table {
        title: "The peak, and after it",
        note: "As before means: 95th percentile and errors and sheds of three seconds in a row inside what they were before the \
               peak. Times are known to a second, or what the timeline's buckets are wide."
            .to_owned(),
        head: head(&["What", "Figure"]),
        rows: findings.spike.as_ref().map_or_else(Vec::new, rows),
    }
}

fn rows(found: &Spike) -> Vec<Vec<super::tables::Cell>> {
    let share = |n: u64| format!("{} ({})", percent(n as f64 / found.arrivals.max(1) as f64), count(n));
    let within = |within: &Option<Within>| match within {
        None => format!("not within {}", duration(found.watched_ns as f64)),
        Some(Within { to_ns: 0, .. }) => "at once".to_owned(),
        Some(Within { from_ns, to_ns }) => {
            format!("{} to {} after the peak", duration(*from_ns as f64), duration(*to_ns as f64))
        }
    };
    let all = [
        ("load before, at the peak", format!("{}, {}", number(found.base_level), number(found.peak_level))),
        ("arrivals of the peak", count(found.arrivals)),
        ("answered in time", share(found.in_time)),
        ("refused", share(found.sheds)),
        ("failed or timed out", share(found.errors)),
        ("p95 before, at most", duration(found.band_p95_ns as f64)),
        ("as before again", within(&found.recovered)),
        ("no more under way than before", within(&found.drained)),
    ];
    all.into_iter().map(|(what, figure)| vec![text(what), num(figure)]).collect()
}
