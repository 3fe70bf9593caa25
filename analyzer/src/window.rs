//! Which part of the plan a sample belongs to: warm-up, settling, or a measured window. A window is a step of the
//! plan, or a slice of one where the step is a ramp. Knows the manifest's steps and no statistics.

use proofload_run::manifest::Step;
use proofload_run::units::NS_PER_S;

use crate::samples::Row;

/// A ramp is cut into this many slices at most, so that each has a level of its own.
const MAX_RAMP_SLICES: u64 = 20;
/// And none is shorter than this: below it the slice's percentiles would be noise.
const MIN_RAMP_SLICE_NS: u64 = 2 * NS_PER_S;

/// A step, or a slice of a ramp.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    pub(crate) name: String,
    pub(crate) step: u16,
    pub(crate) start_ns: u64,
    pub(crate) measured_from_ns: u64,
    /// Clipped to the end of the driven part of the run.
    pub(crate) end_ns: u64,
    pub(crate) level: f64,
    pub(crate) warm_up: bool,
    pub(crate) cut_short: bool,
}

impl Window {
    /// Length of the measured part; nothing of a warm-up is measured.
    pub(crate) fn measured_ns(&self) -> u64 {
        if self.warm_up { 0 } else { self.end_ns.saturating_sub(self.measured_from_ns) }
    }
}

/// Where a sample belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A warm-up step.
    WarmUp,
    /// The settling part of a step.
    Settling,
    /// The measured part of this window.
    Measured(usize),
}

/// All windows of a run, in order of time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Windows {
    pub(crate) all: Vec<Window>,
    /// For each step of the plan, its first window and how many it has.
    of_step: Vec<(usize, usize)>,
}

impl Windows {
    /// Cuts the plan into windows, as far as it was driven.
    pub(crate) fn new(steps: &[Step], driven_ns: u64) -> Self {
        let mut windows = Self { all: Vec::new(), of_step: Vec::new() };
        for (index, step) in steps.iter().enumerate() {
            let slices = slices(step, u16::try_from(index).unwrap_or(u16::MAX), driven_ns);
            windows.of_step.push((windows.all.len(), slices.len()));
            windows.all.extend(slices);
        }
        windows
    }

    /// Where a sample belongs, by the step it was planned in and the time it was intended at.
    pub(crate) fn place(&self, row: &Row) -> Place {
        let Some(&(first, count)) = self.of_step.get(usize::from(row.step)) else { return Place::Settling };
        let slices = &self.all[first..first + count];
        if slices.iter().any(|window| window.warm_up) {
            return Place::WarmUp;
        }
        let later = slices.iter().take_while(|window| window.start_ns <= row.intended_ns).count();
        let index = first + later.saturating_sub(1);
        match self.all.get(index) {
            Some(window) if count > 0 && row.intended_ns >= window.measured_from_ns => Place::Measured(index),
            _ => Place::Settling,
        }
    }

    /// The window in whose measured part this time lies.
    pub(crate) fn measured_at(&self, t_ns: u64) -> Option<usize> {
        let index = self.all.partition_point(|window| window.start_ns <= t_ns).checked_sub(1)?;
        let window = &self.all[index];
        (!window.warm_up && t_ns >= window.measured_from_ns && t_ns < window.end_ns).then_some(index)
    }

    /// Length of all that is measured.
    pub(crate) fn measured_ns(&self) -> u64 {
        self.all.iter().map(Window::measured_ns).sum()
    }
}

/// The windows of one step. A step that the run did not reach still gets one, of no length, so that the report
/// shows it.
fn slices(step: &Step, index: u16, driven_ns: u64) -> Vec<Window> {
    let length = step.end_ns.saturating_sub(step.start_ns);
    let ramp = (step.level_end - step.level_start).abs() > f64::EPSILON && !step.warm_up;
    let count = if ramp { (length / MIN_RAMP_SLICE_NS).clamp(1, MAX_RAMP_SLICES) } else { 1 };
    let edge = |slice: u64| step.start_ns + length / count * slice + length % count * slice / count;
    let level =
        |slice: u64| step.level_start + (step.level_end - step.level_start) * (slice as f64 + 0.5) / count as f64;
    (0..count)
        .map(|slice| {
            let (start_ns, planned_end) = (edge(slice), edge(slice + 1));
            let settle = if slice == 0 { step.settle_ns } else { 0 };
            Window {
                name: if count == 1 { step.name.clone() } else { format!("{} {}/{count}", step.name, slice + 1) },
                step: index,
                start_ns,
                measured_from_ns: start_ns.saturating_add(settle).min(planned_end),
                end_ns: planned_end.min(driven_ns.max(start_ns)),
                level: level(slice),
                warm_up: step.warm_up,
                cut_short: planned_end > driven_ns,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofload_run::sample::Outcome;

    fn step(name: &str, seconds: (u64, u64), levels: (f64, f64), settle_s: u64, warm_up: bool) -> Step {
        Step {
            name: name.to_owned(),
            start_ns: seconds.0 * NS_PER_S,
            end_ns: seconds.1 * NS_PER_S,
            level_start: levels.0,
            level_end: levels.1,
            settle_ns: settle_s * NS_PER_S,
            warm_up,
        }
    }

    fn row(step: u16, intended_s: f64) -> Row {
        Row { step, intended_ns: (intended_s * 1e9) as u64, outcome: Outcome::Ok, ..Row::EMPTY }
    }

    #[test]
    fn samples_find_their_window() {
        let steps = [
            step("warm-up", (0, 2), (10.0, 10.0), 0, true),
            step("hold", (2, 12), (10.0, 10.0), 2, false),
            step("ramp", (12, 32), (10.0, 30.0), 0, false),
        ];
        let windows = Windows::new(&steps, 32 * NS_PER_S);
        assert_eq!(windows.all.len(), 12);
        assert_eq!(windows.measured_ns(), 28 * NS_PER_S);
        let check = |step, at, expected| assert_eq!(windows.place(&row(step, at)), expected, "{step} at {at}");
        check(0, 1.0, Place::WarmUp);
        check(1, 3.9, Place::Settling);
        check(1, 4.0, Place::Measured(1));
        check(1, 11.9, Place::Measured(1));
        check(2, 12.0, Place::Measured(2));
        check(2, 31.9, Place::Measured(11));
        check(7, 31.9, Place::Settling);
        assert_eq!(windows.measured_at(NS_PER_S), None);
        assert_eq!(windows.measured_at(5 * NS_PER_S), Some(1));
        assert_eq!(windows.measured_at(32 * NS_PER_S), None);
        assert!((windows.all[2].level - 11.0).abs() < 1e-9, "the level is that of the slice's middle");
    }

    #[test]
    fn a_run_that_ended_early_has_shorter_windows() {
        let steps = [step("a", (0, 10), (5.0, 5.0), 1, false), step("b", (10, 20), (9.0, 9.0), 1, false)];
        let windows = Windows::new(&steps, 7 * NS_PER_S);
        assert_eq!(windows.measured_ns(), 6 * NS_PER_S);
        assert!(windows.all.iter().all(|window| window.cut_short));
        assert_eq!(windows.all[1].measured_ns(), 0);
    }
}
