//! What happened in a run, as a table whose numbers stand in the charts over time.

use proofload_run::findings::{Findings, Happening};

use super::format::{count, number};
use super::tables::{Cell, Table, head, num, text};

/// The table; without rows where nothing happened.
pub(super) fn happenings(findings: &Findings) -> Table {
    let rows = (1..).zip(&findings.happenings).map(|(at, one)| row(at, one));
    Table {
        title: "What happened",
        note: "The numbers stand above the charts over time. Those of a kind that were near in time stand together."
            .to_owned(),
        head: head(&["#No.", "#At", "#Until", "What", "#Times", "Details of the first"]),
        rows: rows.collect(),
    }
}

fn row(at: u64, one: &Happening) -> Vec<Cell> {
    let seconds = |ns: u64| format!("{}\u{a0}s", number(ns as f64 / 1e9));
    let until = if one.until_ns > one.t_ns { seconds(one.until_ns) } else { String::new() };
    vec![
        num(at.to_string()),
        num(seconds(one.t_ns)),
        num(until),
        text(one.what.clone()),
        num(count(one.n)),
        text(one.detail.clone()),
    ]
}
