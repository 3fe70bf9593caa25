//! Whether memory grows, how fast, and when it will be at its limit. Method: the slope of Theil and Sen through the minima
//! of blocks, so that what comes and goes with the load is not taken for growth, with Sen's interval (`slope`), and a guard:
//! both the last third and the first two thirds have to rise by more than 0.6 of it, or else it is a step, or a filling that
//! comes to its end.
//!
//! Two ask. Who watches memory while it is used has ten minutes of it and wants an answer at once ([`growth`]); who has a whole
//! run wants to see the line, and an interval that holds for it ([`fit`]).

use crate::slope::{self, Slope, Z_90};

/// Blocks of which the minima are taken while memory is watched.
const BLOCKS: usize = 20;
/// Less than this says nothing.
const LEAST_S: f64 = 60.0;
/// Points that a block has at least.
const LEAST_POINTS: usize = 3;
/// Blocks are not independent, and few: what Sen's interval has to be widened by to hold (see the tests).
const WIDEN: f64 = 1.6;
/// Of the slope, what each part has to rise by.
const GUARD: f64 = 0.6;

/// How much was used at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Seconds, from anywhere.
    pub at_s: f64,
    /// Bytes.
    pub used_bytes: f64,
}

/// An estimate with the interval in which it lies nine times out of ten.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Its lower end.
    pub low: f64,
    /// The estimate.
    pub value: f64,
    /// Its upper end; absent where there is none.
    pub high: Option<f64>,
}

/// What memory does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Growth {
    /// Too little is known.
    Unknown,
    /// It does not grow, or not by the same all the time.
    Steady,
    /// It grows.
    Growing {
        /// Bytes a second.
        bytes_per_s: Estimate,
        /// Seconds until its peaks reach the limit; 0 where they have.
        limit_in_s: Estimate,
    },
}

/// A line through the minima of memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The least of each block, oldest first.
    pub minima: Vec<Point>,
    /// Bytes a second, with an interval of 90 %.
    pub bytes_per_s: Slope,
    /// Whether it rises all the time, and does not come to its end or make one step.
    pub keeps_on: bool,
    /// What the line is at zero seconds.
    pub base_bytes: f64,
    /// How high the peaks are at the end, by the line.
    pub peak_bytes: f64,
}

impl Fit {
    /// Whether it grows: more than nothing by its interval, and all the time.
    pub fn grows(&self) -> bool {
        self.bytes_per_s.low > 0.0 && self.keeps_on
    }

    /// Seconds until the peaks reach the limit, where it grows; 0 where they have.
    pub fn limit_in_s(&self, limit_bytes: f64) -> Option<Estimate> {
        let Slope { low, value, high } = self.bytes_per_s;
        let room_bytes = (limit_bytes - self.peak_bytes).max(0.0);
        self.grows().then(|| Estimate {
            low: room_bytes / high,
            value: room_bytes / value,
            high: Some(room_bytes / low),
        })
    }
}

/// What memory does that was used like this, in order of time, on the way to a limit.
pub fn growth(points: &[Point], limit_bytes: f64) -> Growth {
    let Some(fit) = fit_widened(points, BLOCKS, |_, _| WIDEN) else { return Growth::Unknown };
    let Slope { low, value, high } = fit.bytes_per_s;
    match fit.limit_in_s(limit_bytes) {
        None => Growth::Steady,
        Some(limit_in_s) => Growth::Growing { bytes_per_s: Estimate { low, value, high: Some(high) }, limit_in_s },
    }
}

/// The line through the minima of so many blocks, with an interval that is as wide as what they have in common makes it;
/// `None` of too little.
pub fn fit(points: &[Point], blocks: usize) -> Option<Fit> {
    // Minima that wander have no interval of their own: ten times as wide is wider than any that was seen to hold.
    fit_widened(points, blocks, |minima, value| slope::widening(&[minima], value).clamp(WIDEN, 10.0 * WIDEN))
}

fn fit_widened(points: &[Point], blocks: usize, widen: impl Fn(&[slope::Point], f64) -> f64) -> Option<Fit> {
    let minima = minima(points, blocks)?;
    let placed: Vec<slope::Point> = minima.iter().map(|point| (point.at_s, point.used_bytes)).collect();
    let value = slope::value(&placed);
    let bytes_per_s = slope::slope(&placed, Z_90, widen(&placed, value))?;
    let (early, late) = placed.split_at(placed.len() * 2 / 3);
    let base_bytes = slope::intercept(&placed, value);
    Some(Fit {
        bytes_per_s,
        keeps_on: [early, late].iter().all(|part| slope::value(part) > GUARD * value),
        base_bytes,
        peak_bytes: peak(points, base_bytes, value),
        minima,
    })
}

/// The least of each block, oldest first; `None` of too little.
fn minima(points: &[Point], blocks: usize) -> Option<Vec<Point>> {
    let (first, last) = (points.first()?, points.last()?);
    let lasted_s = last.at_s - first.at_s;
    if lasted_s < LEAST_S || points.len() < blocks * LEAST_POINTS {
        return None;
    }
    let mut least: Vec<Option<Point>> = vec![None; blocks];
    for point in points {
        let block = ((point.at_s - first.at_s) / lasted_s * blocks as f64) as usize;
        let least = &mut least[block.min(blocks - 1)];
        if least.is_none_or(|least| point.used_bytes < least.used_bytes) {
            *least = Some(*point);
        }
    }
    // A gap in the readings leaves blocks without any.
    let found: Vec<Point> = least.into_iter().flatten().collect();
    (found.len() >= blocks / 2).then_some(found)
}

/// How high the peaks are at the end: the line, and what nearly all points stay below of what they lie above it.
fn peak(points: &[Point], base_bytes: f64, slope: f64) -> f64 {
    let mut over: Vec<f64> = points.iter().map(|point| point.used_bytes - slope * point.at_s - base_bytes).collect();
    over.sort_unstable_by(f64::total_cmp);
    let nearly_all = over[(over.len() * 19 / 20).min(over.len() - 1)];
    base_bytes + nearly_all.max(0.0) + slope * points.last().map_or(0.0, |point| point.at_s)
}

#[cfg(test)]
#[path = "growth_tests.rs"]
mod tests;
