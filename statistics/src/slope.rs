//! The slope of a noisy series: the median of the slopes of all pairs of points (H. Theil 1950; P. K. Sen, "Estimates of the
//! regression coefficient based on Kendall's tau", 1968), with Sen's interval, and by how much neighbours that resemble each
//! other widen it. A third of the points may be anything. Nothing here knows what the numbers mean.

/// Of a normal law: 90 % lie within.
pub const Z_90: f64 = 1.645;
/// Of a normal law: 95 % lie within.
pub const Z_95: f64 = 1.960;
/// Series that resemble themselves more than this are not told from random walks: no interval would hold.
const MOST_ALIKE: f64 = 0.95;

/// With fewer points what they have in common is not told.
const LEAST_POINTS: usize = 10;
/// Nor with fewer that are as good as independent.
const LEAST_FREEDOM: f64 = 3.0;

/// A point: where, and how much.
pub type Point = (f64, f64);

/// A slope with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// Lower end.
    pub low: f64,
    /// The estimate.
    pub value: f64,
    /// Upper end.
    pub high: f64,
}

/// The slope through points in order of `x`, with Sen's interval of this many standard deviations, made so many times as
/// wide; `None` where no two points lie apart. Takes time and memory with the square of the points: some hundreds are many.
pub fn slope(points: &[Point], deviations: f64, widen: f64) -> Option<Slope> {
    common(&[points], deviations, widen)
}

/// The slope that parts have in common which may lie at different heights (R. M. Hirsch, J. R. Slack and R. A. Smith, "Techniques of
/// trend analysis for monthly water quality data", 1982): of pairs within a part. Otherwise as [`slope`].
pub fn common(parts: &[&[Point]], deviations: f64, widen: f64) -> Option<Slope> {
    let mut slopes: Vec<f64> = parts.iter().flat_map(|part| slopes(part)).collect();
    slopes.sort_unstable_by(f64::total_cmp);
    let pairs_variance = |part: &&[Point]| {
        let n = part.len() as f64;
        n * (n - 1.0) * (2.0 * n + 5.0) / 18.0
    };
    let half = widen * deviations * parts.iter().map(pairs_variance).sum::<f64>().sqrt() / 2.0;
    let (count, last) = (slopes.len() as f64, slopes.len().checked_sub(1)?);
    let at = |rank: f64| slopes[(rank.max(0.0) as usize).min(last)];
    Some(Slope { low: at(count / 2.0 - half), value: median(&slopes), high: at(count / 2.0 + half) })
}

/// The slope alone; 0 where no two points lie apart.
pub fn value(points: &[Point]) -> f64 {
    median_of(slopes(points))
}

/// Of every two points, in any order.
fn slopes(points: &[Point]) -> Vec<f64> {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (index, one) in points.iter().enumerate() {
        let others = points[index + 1..].iter().filter(|other| other.0 > one.0);
        slopes.extend(others.map(|other| (other.1 - one.1) / (other.0 - one.0)));
    }
    slopes
}

/// The median of ascending values; 0 of none.
pub fn median(ascending: &[f64]) -> f64 {
    let half = ascending.len() / 2;
    match ascending.len() {
        0 => 0.0,
        n if n % 2 == 1 => ascending[half],
        _ => f64::midpoint(ascending[half - 1], ascending[half]),
    }
}

/// The median of values in any order; 0 of none.
pub fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    median(&values)
}

/// Where a line of this slope meets `x = 0`, with as many points above it as below.
pub fn intercept(points: &[Point], slope: f64) -> f64 {
    median_of(points.iter().map(|point| point.1 - slope * point.0).collect())
}

/// By how much an interval of the slope that these parts have in common has to be widened for what neighbours have in common, at
/// least 1; infinite where they resemble each other so much that nothing can be said, or are too few.
///
/// What lies off lines of this slope is taken by its ranks, so that single points far off do not hide what the others have in
/// common (K. H. Hamed and A. R. Rao, "A modified Mann-Kendall trend test for autocorrelated data", 1998). The variance is as
/// many times larger as an autoregression of the first order says, or the sum of the autocorrelations up to the first that is
/// not positive, whichever is more; both are too small in short series, by about (2 + 4r)/n, which is put back first. As many
/// times fewer points are as good as independent, for which Student's law is wider than the normal one.
pub fn widening(parts: &[&[Point]], slope: f64) -> f64 {
    let off = |part: &&[Point]| {
        let base = intercept(part, slope);
        part.iter().map(|point| point.1 - slope * point.0 - base).collect::<Vec<f64>>()
    };
    let off = ranks(&parts.iter().flat_map(off).collect::<Vec<f64>>());
    let n = off.len() as f64;
    let unbiased = |lag: usize| (n * autocorrelation(&off, lag) + 2.0) / (n - 4.0);
    let first = unbiased(1).max(0.0);
    if off.len() < LEAST_POINTS || first >= MOST_ALIKE {
        return f64::INFINITY;
    }
    let regressive = (1.0 + first) / (1.0 - first);
    let lags = (1..=off.len() / 4).map(unbiased).take_while(|r| *r > 0.0);
    let inflation = regressive.max(1.0 + 2.0 * lags.sum::<f64>());
    let freedom = n / inflation - 2.0;
    if freedom < LEAST_FREEDOM {
        return f64::INFINITY;
    }
    // Student's quantile over the normal one, to the first order (Abramowitz and Stegun, 26.7.5).
    inflation.sqrt() * (1.0 + (Z_95 * Z_95 + 1.0) / (4.0 * freedom))
}

/// How much values resemble those `lag` places before them, −1 to 1; 0 where all are the same.
pub fn autocorrelation(values: &[f64], lag: usize) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let all: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let pairs = values.iter().zip(values.iter().skip(lag));
    let common: f64 = pairs.map(|(one, other)| (one - mean) * (other - mean)).sum();
    if all > 0.0 { common / all } else { 0.0 }
}

/// The place of each value among all, from 0; the same value has the middle of its places.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    for same in order.chunk_by(|a, b| values[*a].total_cmp(&values[*b]).is_eq()) {
        let middle = from as f64 + (same.len() - 1) as f64 / 2.0;
        same.iter().for_each(|index| ranks[*index] = middle);
        from += same.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_core::{RngCore as _, SeedableRng as _};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    /// So many values, each `alike` times the one before and a new one beside it: standard deviation 1.
    fn series(seed: u64, n: usize, alike: f64) -> Vec<f64> {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut normal = move || (0..12).map(|_| f64::from(rng.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0;
        let mut last = normal();
        let next = |_| {
            last = alike * last + (1.0 - alike * alike).sqrt() * normal();
            last
        };
        (0..n).map(next).collect()
    }

    fn placed(values: &[f64]) -> Vec<Point> {
        values.iter().enumerate().map(|(at, value)| (at as f64, *value)).collect()
    }

    #[test]
    fn slopes_are_medians_of_all_pairs() {
        let check = |values: &[f64], expected: Option<f64>| {
            let found = slope(&placed(values), Z_95, 1.0);
            assert_eq!(found.map(|found| found.value), expected, "{values:?}");
            assert!((value(&placed(values)) - expected.unwrap_or(0.0)).abs() < 1e-12);
        };
        check(&[], None);
        check(&[3.0], None);
        check(&[3.0, 5.0], Some(2.0));
        // Hand-made: slopes 1, 5, 1, 9, 0.5 ... of 0, 1, 10, 2: 1, 5, 2/3, 9, 0.5, −8.
        check(&[0.0, 1.0, 10.0, 2.0], Some(f64::midpoint(2.0 / 3.0, 1.0)));
        check(&[0.0, 2.0, 4.0, 600.0, 8.0, 10.0, 12.0, 14.0], Some(2.0));
        assert_eq!(slope(&[(1.0, 2.0), (1.0, 5.0)], Z_95, 1.0), None);
    }

    #[test]
    fn intervals_hold_where_neighbours_resemble_each_other() {
        let check = |alike: f64, n: usize, least: usize, most_plain: usize| {
            let (mut covered, mut plain) = (0, 0);
            for seed in 0..400 {
                let points = placed(&series(1000 + seed, n, alike));
                let widen = widening(&[&points], value(&points));
                let holds = |widen: f64| slope(&points, Z_95, widen).is_some_and(|s| s.low <= 0.0 && 0.0 <= s.high);
                covered += usize::from(!widen.is_finite() || holds(widen));
                plain += usize::from(holds(1.0));
            }
            println!("alike {alike}, {n} points: {covered} of 400 with the widening, {plain} without");
            assert!(covered >= least && plain <= most_plain, "{alike} {n}: {covered} and {plain} of 400");
        };
        check(0.0, 120, 374, 400);
        check(0.0, 30, 374, 400);
        check(0.5, 120, 368, 340);
        check(0.8, 120, 360, 240);
        check(0.9, 120, 350, 190);
    }

    #[test]
    fn what_wanders_has_no_interval() {
        let wander = |seed| {
            let steps = series(seed, 120, 0.0);
            placed(
                &steps
                    .iter()
                    .scan(0.0, |at, step| {
                        *at += step;
                        Some(*at)
                    })
                    .collect::<Vec<f64>>(),
            )
        };
        let said = (0..100).filter(|seed| widening(&[&wander(*seed)], value(&wander(*seed))).is_finite()).count();
        println!("{said} of 100 random walks were given an interval");
        assert!(said < 70, "{said}");
        assert!(widening(&[&placed(&[1.0; 9])], 0.0).is_infinite(), "too few");
    }

    #[test]
    fn ranks_of_the_same_are_their_middle() {
        let check = |values: &[f64], expected: &[f64]| assert_eq!(ranks(values), expected);
        check(&[], &[]);
        check(&[5.0, 1.0, 3.0], &[2.0, 0.0, 1.0]);
        check(&[5.0, 1.0, 5.0, 1.0, 7.0], &[2.5, 0.5, 2.5, 0.5, 4.0]);
    }

    proptest! {
        /// The interval holds the slope, a wider one holds a narrower one, and a line that is added moves all by its slope.
        #[test]
        fn intervals_hold_their_slope(
            values in proptest::collection::vec(-100.0_f64..100.0, 2..40),
            more in -10.0_f64..10.0,
        ) {
            let points = placed(&values);
            let narrow = slope(&points, Z_90, 1.0).unwrap();
            let wide = slope(&points, Z_95, 1.5).unwrap();
            prop_assert!(narrow.low <= narrow.value && narrow.value <= narrow.high);
            prop_assert!(wide.low <= narrow.low && narrow.high <= wide.high);
            let moved: Vec<Point> = points.iter().map(|(x, y)| (*x, y + more * x)).collect();
            let moved = slope(&moved, Z_90, 1.0).unwrap();
            prop_assert!((moved.value - narrow.value - more).abs() < 1e-6);
        }
    }
}
