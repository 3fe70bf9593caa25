//! The live progress of a run: one line that is redrawn in a terminal, a plain line every few seconds elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use proofload_loadgen::progress::Snapshot;
use proofload_run::units::{format_duration_ns, significant};

use crate::console::note;

/// How often a plain line is printed where no terminal is.
const PLAIN_EVERY_NS: u64 = 5_000_000_000;

/// Where progress goes.
pub(crate) enum Progress {
    /// Nowhere.
    Quiet,
    /// A redrawn line.
    Bar(ProgressBar),
    /// Lines, the next one not before this time.
    Lines {
        /// On the run's clock.
        next_ns: u64,
    },
}

impl Progress {
    /// A bar in a terminal, lines elsewhere.
    pub(crate) fn new(quiet: bool, scenario: &str) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines { next_ns: 0 };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} {bar:24.cyan/dim} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
        bar.set_prefix(scenario.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self::Bar(bar)
    }

    /// Shows the latest state.
    pub(crate) fn show(&mut self, snapshot: &Snapshot) {
        match self {
            Self::Quiet => {}
            Self::Bar(bar) => {
                bar.set_length(snapshot.total_ns / 1_000_000);
                bar.set_position(snapshot.elapsed_ns.min(snapshot.total_ns) / 1_000_000);
                bar.set_message(line(snapshot));
            }
            Self::Lines { next_ns } => {
                if snapshot.elapsed_ns >= *next_ns {
                    *next_ns = snapshot.elapsed_ns + PLAIN_EVERY_NS;
                    note(&line(snapshot));
                }
            }
        }
    }

    /// Removes the line.
    pub(crate) fn finish(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// The state in one line.
fn line(snapshot: &Snapshot) -> String {
    let seconds = |ns: u64| ns / 1_000_000_000;
    let left = snapshot.total_ns.saturating_sub(snapshot.elapsed_ns).div_ceil(1_000_000_000);
    let p95 = snapshot.p95_ns.map_or_else(|| "–".to_owned(), |ns| format_duration_ns(ns as f64));
    let waiting = if snapshot.backlog > 0 { format!(" (+{} waiting)", snapshot.backlog) } else { String::new() };
    let lost = if snapshot.target_lost_since_ns.is_some() { " · TARGET DOES NOT ANSWER" } else { "" };
    let missed = snapshot.missed.as_ref().map(|threshold| format!(" · MISSED {threshold}")).unwrap_or_default();
    format!(
        "{}/{} s · {} · {}/s · p95 {p95} · {} ok · {} errors · {} sheds · {} in flight{waiting} · {left} s left{missed}{lost}",
        seconds(snapshot.elapsed_ns),
        seconds(snapshot.total_ns),
        step(snapshot),
        significant(snapshot.finished_per_s),
        snapshot.ok,
        snapshot.errors,
        snapshot.sheds,
        snapshot.in_flight,
    )
}

fn step(snapshot: &Snapshot) -> String {
    match snapshot.step {
        Some(_) => format!("{} at {}", snapshot.step_name, significant(snapshot.level)),
        None if snapshot.elapsed_ns == 0 => "connecting".to_owned(),
        None => "draining".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_matters() {
        let running = Snapshot {
            elapsed_ns: 12_400_000_000,
            total_ns: 30_000_000_000,
            step: Some(1),
            step_name: "hold".into(),
            level: 40.0,
            finished_per_s: 39.8,
            p50_ns: Some(3_000_000),
            p95_ns: Some(23_456_000),
            ok: 480,
            errors: 1,
            sheds: 2,
            in_flight: 3,
            ..Snapshot::default()
        };
        let check = |snapshot: &Snapshot, expected: &str| assert_eq!(line(snapshot), expected);
        check(
            &running,
            "12/30 s · hold at 40 · 39.8/s · p95 23.5 ms · 480 ok · 1 errors · 2 sheds · 3 in flight · 18 s left",
        );
        let lost = Snapshot { target_lost_since_ns: Some(1), backlog: 7, ..running.clone() };
        assert!(line(&lost).contains("3 in flight (+7 waiting)") && line(&lost).ends_with("TARGET DOES NOT ANSWER"));
        let missed = Snapshot { missed: Some("p95 < 1 s over any 5 s".to_owned()), ..running.clone() };
        assert!(line(&missed).ends_with("18 s left · MISSED p95 < 1 s over any 5 s"));
        let draining = Snapshot { step: None, p95_ns: None, ..running };
        assert!(line(&draining).contains("draining") && line(&draining).contains("p95 –"));
    }
}
