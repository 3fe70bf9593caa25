//! Intervals of ratios over requests that come in clusters: neighbours share a queue, a batch and a pause, so the moment of time
//! is what repeats and not the request. Linearised (Taylor) variances with moments as clusters, as in survey sampling; the quantile is
//! Student's, by the number of moments that hold any of the rarer kind. Numbers only.

/// With fewer moments there is no interval.
const FEWEST: usize = 5;
/// Of two sides at 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// Half the width of the 95 % interval of a statistic, from what each moment adds to it beyond its share (its influence).
/// `rare` is how many of the moments hold any of what is rare. `None` of too few.
pub(super) fn half_width(influences: impl Iterator<Item = f64>, rare: usize) -> Option<f64> {
    let (n, squares) = influences.fold((0_usize, 0.0), |(n, sum), z| (n + 1, sum + z * z));
    (rare >= FEWEST).then(|| {
        let n = n as f64;
        student(rare - 1) * (squares * n / (n - 1.0)).sqrt()
    })
}

/// The 97.5 % quantile of Student's distribution, by Fisher's expansion: within 0.5 % from four degrees on.
fn student(degrees: usize) -> f64 {
    let v = degrees as f64;
    let powers = [Z, Z.powi(3), Z.powi(5), Z.powi(7)];
    let [one, three, five, seven] = powers;
    let first = (three + one) / 4.0;
    let second = (5.0 * five + 16.0 * three + 3.0 * one) / 96.0;
    let third = (3.0 * seven + 19.0 * five + 17.0 * three - 15.0 * one) / 384.0;
    one + first / v + second / (v * v) + third / (v * v * v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_tables() {
        let check = |degrees, expected: f64| {
            let found = student(degrees);
            assert!((found / expected - 1.0).abs() < 0.005, "{degrees}: {found} and not {expected}");
        };
        check(4, 2.776);
        check(5, 2.571);
        check(10, 2.228);
        check(30, 2.042);
        check(1000, 1.962);
    }

    #[test]
    fn too_few_moments_have_no_interval() {
        let equal = |n: usize| std::iter::repeat_n(0.1, n);
        assert_eq!(half_width(equal(100), 4), None);
        let found = half_width(equal(100), 100).unwrap();
        // A hundred times 0.1² is 1; its root, a little corrected, times 1.984.
        assert!((found - 1.984 * (100.0_f64 / 99.0).sqrt()).abs() < 2e-3, "{found}");
        assert!(half_width(equal(100), 5).unwrap() > found, "few moments with any are less sure");
    }
}
