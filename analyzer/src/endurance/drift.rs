//! How a figure went on over a run: a steady drift, changes at once, or neither. A line is drawn through points of equal length
//! (`proofload_statistics::slope`), changes are looked for beside it (`change_points`), and whichever explains the points better is
//! told. Where there were changes, the drift is what is left between them. Knows points and no requests.

use proofload_run::findings::{ChangePoint, Drift, Trend, TrendEstimate};
use proofload_run::units::{NS_PER_S, format_duration_ns, significant};
use proofload_statistics::slope::{self, Point, Slope, Z_95, median_of};

use super::change_points::{Change, change_points};

/// With fewer points nothing is said.
const LEAST_POINTS: usize = 20;
/// A drift, or a change, of less than this matters to nobody (methods measured for changes between builds: 2 %).
const LEAST_CHANGE: f64 = 0.02;
/// That there is no drift is said when the interval excludes one of this size; ours.
const MOST_UNSEEN: f64 = 0.10;
/// Shuffles are the same in every analysis of a run.
const SEED: u64 = 0x5eed;

/// How changes of a figure are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Latencies in ns, by factors.
    Latency,
    /// Shares, by differences.
    Share,
}

/// A figure over a run: when, in the middle of each point, and how much.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Course {
    pub(super) what: &'static str,
    pub(super) scale: Scale,
    pub(super) point_ns: u64,
    pub(super) points: Vec<(u64, f64)>,
}

/// What the figure did; `explained` is what of each point is the load's doing, in the scale's own numbers.
pub(super) fn drift(course: &Course, explained: Option<&[f64]>) -> Drift {
    let level = median_of(course.points.iter().map(|point| point.1).collect());
    let mut drift = Drift {
        what: course.what.to_owned(),
        trend: Trend::Unknown,
        n: course.points.len() as u64,
        point_ns: course.point_ns,
        level,
        change: None,
        steps: Vec::new(),
        sentence: String::new(),
    };
    if course.points.len() < LEAST_POINTS || (course.scale == Scale::Latency && level <= 0.0) {
        drift.sentence =
            format!("{} cannot be judged: {} points are too few, {LEAST_POINTS} would do", course.what, drift.n);
        return drift;
    }
    let points = points(course, explained);
    let steps = steps(&points);
    let through: Vec<&[Point]> = parts(&points, &steps);
    if let Some(found) = steady(&through) {
        let over = points.last().map_or(0.0, |last| last.0) - points[0].0;
        let change = [found.low, found.value, found.high].map(|slope| told(course.scale, slope * over));
        drift.trend = trend(change);
        drift.change = Some(TrendEstimate { low: change[0], value: change[1], high: Some(change[2]) });
    }
    drift.steps = told_steps(course, &steps);
    drift.sentence = sentence(course, &drift);
    drift
}

/// Points as lines are drawn through them: seconds, and logarithms of latencies.
fn points(course: &Course, explained: Option<&[f64]>) -> Vec<Point> {
    let own = |value: f64| if course.scale == Scale::Latency { value.max(1.0).ln() } else { value };
    let by_load = |index: usize| explained.and_then(|explained| explained.get(index)).copied().unwrap_or(0.0);
    let placed = course.points.iter().enumerate();
    placed.map(|(index, (t_ns, value))| (*t_ns as f64 / NS_PER_S as f64, own(*value) - by_load(index))).collect()
}

/// The changes, where steps explain the points better than a line does.
fn steps(points: &[Point]) -> Vec<Change> {
    let values: Vec<f64> = points.iter().map(|point| point.1).collect();
    let steps = change_points(&values, LEAST_CHANGE, SEED);
    if steps.is_empty() {
        return steps;
    }
    let slope = slope::value(points);
    let middle = slope::intercept(points, slope);
    let off_line: f64 = points.iter().map(|point| (point.1 - middle - slope * point.0).abs()).sum();
    let off_part = |part: &[Point]| {
        let middle = median_of(part.iter().map(|point| point.1).collect());
        part.iter().map(|point| (point.1 - middle).abs()).sum::<f64>()
    };
    let off_steps: f64 = parts(points, &steps).into_iter().map(off_part).sum();
    // Schwarz's criterion for deviations of Laplace's law: a line has two parameters, steps a place and a level each.
    let n = points.len() as f64;
    let score = |off: f64, parameters: f64| 2.0 * n * (off.max(f64::MIN_POSITIVE) / n).ln() + parameters * n.ln();
    let better = score(off_steps, 2.0 * steps.len() as f64 + 1.0) < score(off_line, 2.0);
    if better { steps } else { Vec::new() }
}

/// The stretches between changes.
fn parts<'a>(points: &'a [Point], steps: &[Change]) -> Vec<&'a [Point]> {
    let ends = steps.iter().map(|step| step.at).chain([points.len()]);
    let mut from = 0;
    ends.map(|to| &points[std::mem::replace(&mut from, to)..to]).collect()
}

/// The common slope of all stretches; `None` where they wander so much that no interval would hold.
fn steady(parts: &[&[Point]]) -> Option<Slope> {
    let value = slope::common(parts, Z_95, 1.0)?.value;
    let widen = slope::widening(parts, value);
    if widen.is_finite() { slope::common(parts, Z_95, widen) } else { None }
}

fn told(scale: Scale, change: f64) -> f64 {
    if scale == Scale::Latency { change.exp_m1() } else { change }
}

fn trend([low, value, high]: [f64; 3]) -> Trend {
    match () {
        () if low > 0.0 && value >= LEAST_CHANGE => Trend::Rises,
        () if high < 0.0 && value <= -LEAST_CHANGE => Trend::Falls,
        () if low > -MOST_UNSEEN && high < MOST_UNSEEN => Trend::Level,
        () => Trend::Unknown,
    }
}

/// The changes with the medians of the figure itself on both sides.
fn told_steps(course: &Course, steps: &[Change]) -> Vec<ChangePoint> {
    let ends: Vec<usize> =
        [0].into_iter().chain(steps.iter().map(|step| step.at)).chain([course.points.len()]).collect();
    let median = |from: usize, to: usize| median_of(course.points[from..to].iter().map(|point| point.1).collect());
    let told = |(step, ends): (&Change, &[usize])| ChangePoint {
        at_ns: course.points[step.at].0.saturating_sub(course.point_ns / 2),
        before: median(ends[0], ends[1]),
        after: median(ends[1], ends[2]),
        p: step.p,
    };
    steps.iter().zip(ends.windows(3)).map(told).collect()
}

/// A value of the figure as it reads.
pub(super) fn figure(scale: Scale, value: f64) -> String {
    match scale {
        Scale::Latency => format_duration_ns(value),
        Scale::Share => format!("{} %", significant(value * 100.0)),
    }
}

/// A change of the figure as it reads, with its sign.
fn difference(scale: Scale, change: f64) -> String {
    let unit = if scale == Scale::Latency { "%" } else { "points" };
    let sign = if change > 0.0 { "+" } else { "" };
    format!("{sign}{} {unit}", significant(change * 100.0))
}

fn sentence(course: &Course, found: &Drift) -> String {
    let (what, scale) = (course.what, course.scale);
    let steps: Vec<String> = found.steps.iter().map(|step| step_sentence(scale, step)).collect();
    let steps = if steps.is_empty() { String::new() } else { format!("{what} changed at once: {}", steps.join("; ")) };
    let between = if found.steps.is_empty() { "" } else { " between these changes" };
    let Some(TrendEstimate { low, value, high }) = found.change else {
        let why = "neighbouring points resemble each other too much for an interval";
        return if steps.is_empty() { format!("{what} cannot be judged: {why}") } else { steps };
    };
    let interval = format!(
        "{} (95 % interval {} to {}) over the measured time",
        difference(scale, value),
        difference(scale, low),
        high.map_or_else(|| "any".to_owned(), |high| difference(scale, high))
    );
    let steady = match found.trend {
        Trend::Rises => format!("{what} rises{between}: {interval}"),
        Trend::Falls => format!("{what} falls{between}: {interval}"),
        Trend::Level => format!("{what} does not drift{between}: {interval}"),
        Trend::Unknown => format!("whether {what} drifts{between} cannot be said: {interval}"),
    };
    if steps.is_empty() { steady } else { format!("{steps}. Otherwise, {steady}") }
}

fn step_sentence(scale: Scale, step: &ChangePoint) -> String {
    let by = match scale {
        Scale::Latency => step.after / step.before.max(1.0) - 1.0,
        Scale::Share => step.after - step.before,
    };
    format!(
        "from {} on {} instead of {} ({}, p = {})",
        format_duration_ns(step.at_ns as f64),
        figure(scale, step.after),
        figure(scale, step.before),
        difference(scale, by),
        significant(step.p)
    )
}

#[cfg(test)]
#[path = "drift_tests.rs"]
mod tests;
