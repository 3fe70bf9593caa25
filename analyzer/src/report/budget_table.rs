//! The table on availability.

use proofload_run::findings::{ErrorBudget, Findings};

use super::format::{count, duration, number, percent};
use super::tables::{Cell, Table, head, num, text};

/// Without rows where the run says nothing of it.
pub(super) fn budget(findings: &Findings) -> Table {
    Table {
        title: "Availability and error budget",
        note: "Served means answered rightly, however late; errors, timeouts and refusals are not. A burn rate of 1 uses in thirty \
               days what the objective allows in thirty days."
            .to_owned(),
        head: head(&["What", "Figure"]),
        rows: findings.error_budget.as_ref().map_or_else(Vec::new, rows),
    }
}

fn rows(found: &ErrorBudget) -> Vec<Vec<Cell>> {
    let failed = &found.failed;
    let promised = if found.declared { "stated" } else { "by default" };
    let mut all = vec![
        ("objective".to_owned(), format!("{:.4} % ({promised})", found.objective * 100.0)),
        (
            "failed or refused".to_owned(),
            format!("{} ({} of {})", percent(failed.share), count(failed.count), count(failed.n)),
        ),
        (
            "burn rate".to_owned(),
            format!("{} ({} to {})", number(found.burn), number(found.burn_low), number(found.burn_high)),
        ),
    ];
    all.extend(found.fastest.iter().map(|fastest| {
        let (window, at) = (duration(fastest.window_ns as f64), duration(fastest.at_ns as f64));
        (format!("fastest within {window}"), format!("{}, from {at} on", number(fastest.burn)))
    }));
    let lasts =
        found.lasts_days.map_or_else(|| "as long as nothing fails".to_owned(), |days| format!("{} days", number(days)));
    all.push(("a month's budget lasts, at this pace".to_owned(), lasts));
    all.into_iter().map(|(what, figure)| vec![text(what), num(figure)]).collect()
}
