//! A run with every sample in its place: what the figures cover, and what they leave out. The one view that all
//! analyses share; it counts and computes nothing.

use proofload_run::events::EventKind;
use proofload_run::manifest::{EndReason, Manifest};
use proofload_run::sample::Outcome;

use crate::load::{Row, Run};
use crate::window::{Place, Window, Windows};

/// A run, its windows, and the place of each of its samples.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) run: &'a Run,
    pub(crate) windows: Windows,
    pub(crate) places: Vec<Place>,
    /// Until when load was driven, on the run's clock.
    pub(crate) driven_ns: u64,
    /// When what was still in flight was given up: its age is taken then.
    pub(crate) closed_ns: u64,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(run: &'a Run) -> Self {
        let driven_ns = driven_until(run);
        let windows = Windows::new(&run.manifest.steps, driven_ns);
        let places = run.rows.iter().map(|row| windows.place(row)).collect();
        let closed_ns = run.manifest.end.as_ref().map_or(driven_ns, |end| end.at_ns);
        Self { run, windows, places, driven_ns, closed_ns }
    }

    /// The samples that the figures cover, each with its window.
    pub(crate) fn measured(&self) -> impl Iterator<Item = (usize, &'a Row)> {
        self.run.rows.iter().zip(&self.places).filter_map(|(row, place)| match place {
            Place::Measured(window) => Some((*window, row)),
            Place::WarmUp | Place::Settling => None,
        })
    }

    /// The successes whose answer came in measured time, each with the window it came in.
    pub(crate) fn answered(&self) -> impl Iterator<Item = (usize, &'a Row)> {
        let windows = &self.windows;
        let successes = self.run.rows.iter().filter(|row| row.outcome == Outcome::Ok);
        successes.filter_map(|row| Some((windows.measured_at(row.done_ns)?, row)))
    }

    /// Whether a window was run so far that it can be judged. What was begun of a step when the limit had been found is
    /// as good as not run.
    pub(crate) fn was_run(&self, window: &Window) -> bool {
        let found = self.manifest().end.as_ref().is_some_and(|end| end.reason == EndReason::LimitFound);
        window.measured_ns() > 0 && !(found && window.cut_short)
    }

    /// The manifest.
    pub(crate) fn manifest(&self) -> &'a Manifest {
        &self.run.manifest
    }

    /// Age of a request when it was given up, from its intended arrival.
    pub(crate) fn age_ns(&self, row: &Row) -> u64 {
        let until = if row.done_ns == 0 { self.closed_ns } else { row.done_ns };
        until.saturating_sub(row.intended_ns)
    }
}

/// Until when load was driven: the plan's end, or the moment the run was stopped, or, of a run that was killed,
/// the last thing it recorded.
fn driven_until(run: &Run) -> u64 {
    let planned = run.manifest.steps.last().map_or(0, |step| step.end_ns);
    let last_seen = || run.rows.iter().map(|row| row.done_ns.max(row.intended_ns)).max().unwrap_or(0);
    match &run.manifest.end {
        None => planned.min(last_seen()),
        Some(end) if end.reason == EndReason::Completed => planned,
        Some(end) => planned.min(stop_requested(run).unwrap_or(end.at_ns)),
    }
}

fn stop_requested(run: &Run) -> Option<u64> {
    let stop = |kind: &EventKind| {
        matches!(kind, EventKind::StopRequested { .. } | EventKind::TargetLost { .. } | EventKind::LimitFound { .. })
    };
    run.events.iter().filter(|event| stop(&event.kind)).map(|event| event.t_ns).min()
}
