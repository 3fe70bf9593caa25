//! Intervals of what costs and skills are made of: means of neighbouring seconds, and ratios of sums. All at 95 %.

/// Blocks into which a series is cut: so few that they hardly depend on one another, and enough to know their spread.
const BLOCKS: usize = 15;
/// With fewer values there would be too few blocks of two.
const LEAST: usize = 16;
/// Two-sided 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// The quantile of Student's t for a two-sided 95 % interval: the first terms of its Cornish-Fisher expansion
/// (Abramowitz and Stegun 26.7.5), within 0.1 % from 8 degrees of freedom on.
fn student(degrees: f64) -> f64 {
    let (z, z3, z5, z7) = (Z, Z.powi(3), Z.powi(5), Z.powi(7));
    z + (z3 + z) / (4.0 * degrees)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * degrees.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * degrees.powi(3))
}

/// Half the interval of the mean of a series whose neighbours depend on one another: means of blocks, with Student's t.
/// `None` where there is too little of it.
pub(crate) fn half_of_mean(values: &[f64]) -> Option<f64> {
    let pairs: Vec<(f64, f64)> = values.iter().map(|value| (*value, 1.0)).collect();
    half_of_blocks(&blocks(&pairs)?)
}

/// A sum over a sum, such as seconds over requests, and its interval, where each pair is of a second. `None` of nothing.
pub(crate) fn ratio(pairs: &[(f64, f64)]) -> Option<(f64, Option<[f64; 2]>)> {
    let (above, below) = sums(pairs);
    let value = (below > 0.0).then_some(above / below)?;
    let half = blocks(pairs).and_then(|blocks| half_of_blocks(&blocks));
    Some((value, half.map(|half| [(value - half).max(0.0), value + half])))
}

fn sums(pairs: &[(f64, f64)]) -> (f64, f64) {
    pairs.iter().fold((0.0, 0.0), |(a, b), pair| (a + pair.0, b + pair.1))
}

/// Sums of blocks of neighbours; the first values that fill no block are part of none.
fn blocks(pairs: &[(f64, f64)]) -> Option<Vec<(f64, f64)>> {
    (pairs.len() >= LEAST).then(|| {
        let count = (pairs.len() / 2).min(BLOCKS);
        let length = pairs.len() / count;
        pairs[pairs.len() - count * length..].chunks(length).map(sums).collect()
    })
}

/// The spread of a ratio over blocks that count as independent (Cochran, Sampling Techniques, 6.3).
pub(crate) fn half_of_blocks(blocks: &[(f64, f64)]) -> Option<f64> {
    let (above, below) = sums(blocks);
    let (count, ratio) = (blocks.len() as f64, above / below);
    let squares: f64 = blocks.iter().map(|(a, b)| (a - ratio * b).powi(2)).sum();
    let half = student(count - 1.0) * (squares * count / (count - 1.0)).sqrt() / below;
    half.is_finite().then_some(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_t_is_the_tables() {
        let check = |degrees: f64, expected: f64| {
            assert!((student(degrees) - expected).abs() < 2e-3, "{degrees}: {}", student(degrees));
        };
        check(9.0, 2.262);
        check(14.0, 2.145);
        check(30.0, 2.042);
        check(1e6, 1.960);
    }

    /// Uniform in 0 to 1 (`SplitMix64`).
    fn unit(state: &mut u64) -> f64 {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Shares of intervals that hold the truth, of series whose neighbours are correlated by so much.
    fn coverage(correlation: f64, length: usize) -> f64 {
        let mut state = 7;
        let mut normal = || (0..12).map(|_| unit(&mut state)).sum::<f64>() - 6.0;
        let trials = 2000;
        let mut held = 0;
        for _ in 0..trials {
            let mut value = normal();
            let values: Vec<f64> = (0..length)
                .map(|_| {
                    value = correlation * value + (1.0 - correlation * correlation).sqrt() * normal();
                    50.0 + 5.0 * value
                })
                .collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            held += u32::from((mean - 50.0).abs() <= half_of_mean(&values).unwrap());
        }
        f64::from(held) / f64::from(trials)
    }

    #[test]
    fn intervals_of_means_hold_what_they_say() {
        let check = |correlation: f64, length: usize, least: f64| {
            let found = coverage(correlation, length);
            assert!((least..=0.985).contains(&found), "correlation {correlation}, {length} values: {found}");
        };
        check(0.0, 16, 0.935);
        check(0.0, 30, 0.935);
        check(0.0, 300, 0.935);
        check(0.5, 300, 0.92);
        check(0.8, 600, 0.90);
    }

    #[test]
    fn ratios_of_sums() {
        let pairs: Vec<(f64, f64)> = (0..60).map(|i| (f64::from(i % 3), 10.0)).collect();
        let (value, interval) = ratio(&pairs).unwrap();
        let [low, high] = interval.unwrap();
        assert!((value - 0.1).abs() < 1e-12 && low < 0.1 && 0.1 < high, "{low} {high}");
        assert_eq!(ratio(&pairs[..15]).unwrap().1, None, "too few for an interval");
        assert_eq!(ratio(&[]), None);
        assert_eq!(ratio(&[(1.0, 0.0)]), None);
    }
}
