//! Whether memory grows, how fast, and when it will be at its limit. Method: the slope of Theil and Sen through the minima
//! of blocks, so that what comes and goes with the load is not taken for growth, with Sen's interval (P. K. Sen, "Estimates
//! of the regression coefficient based on Kendall's tau", 1968), and a guard: both the last third and the first two thirds
//! have to rise by more than 0.6 of it, or else it is a step, or a filling that comes to its end. Pure.

use schemars::JsonSchema;
use serde::Serialize;

/// Blocks of which the minima are taken.
const BLOCKS: usize = 20;
/// Less than this says nothing.
const LEAST_S: f64 = 60.0;
/// Points that a block has at least.
const LEAST_POINTS: usize = 3;
/// Of a normal law: 90 % lie within.
const Z: f64 = 1.645;
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Estimate")]
pub struct Estimate {
    /// Its lower end.
    pub low: f64,
    /// The estimate.
    pub value: f64,
    /// Its upper end; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

/// What memory does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "MemoryGrowth")]
#[serde(tag = "trend", rename_all = "snake_case")]
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

/// What memory does that was used like this, in order of time, on the way to a limit.
pub fn growth(points: &[Point], limit_bytes: f64) -> Growth {
    let Some(minima) = minima(points) else { return Growth::Unknown };
    let slopes = slopes(&minima);
    let slope = middle(&slopes);
    let (low, high) = interval(&slopes, minima.len());
    let (early, late) = minima.split_at(minima.len() * 2 / 3);
    let keeps_on = [early, late].iter().all(|part| middle(&self::slopes(part)) > GUARD * slope);
    if low <= 0.0 || !keeps_on {
        return Growth::Steady;
    }
    let room_bytes = (limit_bytes - peak(points, &minima, slope)).max(0.0);
    Growth::Growing {
        bytes_per_s: Estimate { low, value: slope, high: Some(high) },
        limit_in_s: Estimate { low: room_bytes / high, value: room_bytes / slope, high: Some(room_bytes / low) },
    }
}

/// The least of each block, oldest first; `None` of too little.
fn minima(points: &[Point]) -> Option<Vec<Point>> {
    let (first, last) = (points.first()?, points.last()?);
    let lasted_s = last.at_s - first.at_s;
    if lasted_s < LEAST_S || points.len() < BLOCKS * LEAST_POINTS {
        return None;
    }
    let mut least: [Option<Point>; BLOCKS] = [None; BLOCKS];
    for point in points {
        let block = ((point.at_s - first.at_s) / lasted_s * BLOCKS as f64) as usize;
        let least = &mut least[block.min(BLOCKS - 1)];
        if least.is_none_or(|least| point.used_bytes < least.used_bytes) {
            *least = Some(*point);
        }
    }
    // A gap in the readings leaves blocks without any.
    let found: Vec<Point> = least.into_iter().flatten().collect();
    (found.len() >= BLOCKS / 2).then_some(found)
}

/// Of every two points, ascending.
fn slopes(points: &[Point]) -> Vec<f64> {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (index, one) in points.iter().enumerate() {
        let others = points[index + 1..].iter().filter(|other| other.at_s > one.at_s);
        slopes.extend(others.map(|other| (other.used_bytes - one.used_bytes) / (other.at_s - one.at_s)));
    }
    slopes.sort_unstable_by(f64::total_cmp);
    slopes
}

/// The median of ascending values; 0 of none.
fn middle(ascending: &[f64]) -> f64 {
    let half = ascending.len() / 2;
    match ascending.len() {
        0 => 0.0,
        n if n % 2 == 1 => ascending[half],
        _ => f64::midpoint(ascending[half - 1], ascending[half]),
    }
}

/// Sen's interval of the slope through so many points, widened.
fn interval(slopes: &[f64], points: usize) -> (f64, f64) {
    let (count, points) = (slopes.len() as f64, points as f64);
    let half = WIDEN * Z * (points * (points - 1.0) * (2.0 * points + 5.0) / 18.0).sqrt() / 2.0;
    let at = |rank: f64| slopes[(rank.max(0.0) as usize).min(slopes.len() - 1)];
    (at(count / 2.0 - half), at(count / 2.0 + half))
}

/// How high the peaks are at the end: the line through the minima, and what nearly all points stay below of what they lie
/// above it.
fn peak(points: &[Point], minima: &[Point], slope: f64) -> f64 {
    let above = |point: &Point| point.used_bytes - slope * point.at_s;
    let mut base: Vec<f64> = minima.iter().map(above).collect();
    base.sort_unstable_by(f64::total_cmp);
    let line = middle(&base);
    let mut over: Vec<f64> = points.iter().map(|point| above(point) - line).collect();
    over.sort_unstable_by(f64::total_cmp);
    let nearly_all = over[(over.len() * 19 / 20).min(over.len() - 1)];
    line + nearly_all.max(0.0) + slope * points.last().map_or(0.0, |point| point.at_s)
}

#[cfg(test)]
mod tests {
    use rand_core::{RngCore as _, SeedableRng as _};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    const MB: f64 = 1e6;

    /// Readings of ten minutes, two a second: 30 GB with noise that lasts for about a minute, and what `more` adds in MB
    /// at a second.
    fn readings(seed: u64, more: impl Fn(f64) -> f64) -> Vec<Point> {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut normal = move || (0..12).map(|_| f64::from(rng.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0;
        let mut slow = 0.0;
        let point = |half: usize| {
            let at_s = half as f64 / 2.0;
            slow = 0.99 * slow + normal() * 25.0 * (1.0_f64 - 0.99 * 0.99).sqrt();
            Point { at_s, used_bytes: (30_000.0 + slow + 4.0 * normal() + more(at_s)) * MB }
        };
        (0..1200).map(point).collect()
    }

    fn sawtooth(at_s: f64, period_s: f64) -> f64 {
        600.0 * (at_s % period_s) / period_s
    }

    #[test]
    fn what_does_not_leak_is_not_called_a_leak() {
        let check = |name: &str, more: &dyn Fn(u64, f64) -> f64| {
            let wrong = (0..60).filter(|seed| {
                let found = growth(&readings(*seed, |at_s| more(*seed, at_s)), 45_000.0 * MB);
                // What is alarming is a limit that is less than four hours away.
                matches!(found, Growth::Growing { limit_in_s, .. } if limit_in_s.value < 4.0 * 3600.0)
            });
            let wrong: Vec<u64> = wrong.collect();
            assert!(wrong.is_empty(), "{name}: {wrong:?}");
        };
        check("flat", &|_, _| 0.0);
        check("a plateau", &|seed, at_s| 2000.0 * (1.0 - (-at_s / (60.0 + 3.0 * seed as f64)).exp()));
        check("a step", &|seed, at_s| if at_s > 100.0 + 6.0 * seed as f64 { 900.0 } else { 0.0 });
        check("a sawtooth", &|seed, at_s| sawtooth(at_s, 40.0 + seed as f64));
    }

    #[test]
    fn leaks_are_found_with_the_time_that_is_left() {
        let check = |name: &str, more: &dyn Fn(u64, f64) -> f64| {
            let (mut close, mut covered) = (0, 0);
            for seed in 0..60 {
                let leak_mb_per_s = 1.0 + 7.0 * seed as f64 / 60.0;
                let points = readings(seed, |at_s| leak_mb_per_s * at_s + more(seed, at_s));
                let Growth::Growing { bytes_per_s, limit_in_s } = growth(&points, 45_000.0 * MB) else { continue };
                let true_s = (45_000.0 - 30_000.0) / leak_mb_per_s - 600.0;
                close += usize::from((limit_in_s.value / true_s - 1.0).abs() < 0.2);
                let holds = |truth: f64| bytes_per_s.low <= truth && bytes_per_s.high.is_some_and(|high| truth <= high);
                covered += usize::from(holds(leak_mb_per_s * MB));
            }
            assert!(close >= 57 && covered >= 54, "{name}: {close} of 60 within 20 %, {covered} in their interval");
        };
        check("a line", &|_, _| 0.0);
        check("under a sawtooth", &|seed, at_s| sawtooth(at_s, 20.0 + seed as f64 / 2.0));
    }

    #[test]
    fn too_little_is_unknown() {
        let whole = readings(1, |_| 0.0);
        let check = |points: &[Point], expected| {
            assert_eq!(growth(points, 45_000.0 * MB) == Growth::Unknown, expected, "{}", points.len());
        };
        check(&[], true);
        check(&whole[..100], true);
        check(&whole[..200], false);
        let sparse: Vec<Point> = whole.iter().step_by(30).copied().collect();
        check(&sparse, true);
    }

    #[test]
    fn at_the_limit_no_time_is_left() {
        let points: Vec<Point> =
            (0..600).map(|at| Point { at_s: f64::from(at), used_bytes: 100.0 * f64::from(at) }).collect();
        let Growth::Growing { bytes_per_s, limit_in_s } = growth(&points, 50_000.0) else { panic!("it grows") };
        assert!((bytes_per_s.value - 100.0).abs() < 1e-6, "{bytes_per_s:?}");
        assert_eq!((limit_in_s.low, limit_in_s.value), (0.0, 0.0));
    }
}
