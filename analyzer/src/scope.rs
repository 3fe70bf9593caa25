//! A run with a place for every sample: what the figures cover, and what they leave out. The one view that all
//! analyses share; it counts and computes nothing.

use proofload_run::events::EventKind;
use proofload_run::manifest::{EndReason, Manifest};
use proofload_run::sample::Outcome;

use crate::load::Run;
use crate::samples::Row;
use crate::stats::block;
use crate::window::{Place, Window, Windows};

/// A run and its windows.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) run: &'a Run,
    pub(crate) windows: Windows,
    /// Until when load was driven, on the run's clock.
    pub(crate) driven_ns: u64,
    /// When what was still in flight was given up: its age is taken then.
    pub(crate) closed_ns: u64,
}

/// A sample in its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) row: &'a Row,
    pub(crate) place: Place,
    /// The window in whose measured part the answer came, if it was a success.
    pub(crate) answered_in: Option<usize>,
    /// The second that it was intended in.
    pub(crate) block: u32,
    /// How old it was when it ended or was given up, from its intended arrival.
    pub(crate) age_ns: u64,
}

impl Seen<'_> {
    /// The window, if the figures cover the sample.
    pub(crate) fn measured_in(&self) -> Option<usize> {
        if let Place::Measured(window) = self.place { Some(window) } else { None }
    }

    /// Whether the figures cover it and it is a success.
    pub(crate) fn is_measured_success(&self) -> bool {
        self.row.outcome == Outcome::Ok && self.measured_in().is_some()
    }
}

impl<'a> Scope<'a> {
    pub(crate) fn new(run: &'a Run) -> Self {
        let driven_ns = driven_until(run);
        let windows = Windows::new(&run.manifest.steps, driven_ns);
        let closed_ns = run.manifest.end.as_ref().map_or(driven_ns, |end| end.at_ns);
        Self { run, windows, driven_ns, closed_ns }
    }

    /// Finds the place of a sample.
    pub(crate) fn see<'b>(&self, row: &'b Row) -> Seen<'b> {
        let answered = || self.windows.measured_at(row.done_ns);
        let until_ns = if row.done_ns == 0 { self.closed_ns } else { row.done_ns };
        Seen {
            row,
            place: self.windows.place(row),
            answered_in: if row.outcome == Outcome::Ok { answered() } else { None },
            block: block(row.intended_ns),
            age_ns: until_ns.saturating_sub(row.intended_ns),
        }
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
}

/// Until when load was driven: the plan's end, or the moment the run was stopped, or, of a run that was killed,
/// the last thing it recorded.
fn driven_until(run: &Run) -> u64 {
    let planned = run.manifest.steps.last().map_or(0, |step| step.end_ns);
    match &run.manifest.end {
        None => planned.min(run.samples.extent().last_seen_ns),
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
