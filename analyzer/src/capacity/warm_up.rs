//! Whether a target has warmed up: MSER-5 (White, 1997: the start to leave out is the one that makes the mean of the rest
//! surest) on the mean latencies of short, equal times. Pure.

/// Times whose latencies are averaged before they are looked at.
const TOGETHER: usize = 5;
/// Fewer averages say nothing.
const FEWEST: usize = 4;
/// Means of the first and the last third that differ by more are still moving.
const ALIKE: f64 = 0.10;

/// Whether these means, one after the other, come from a target that no longer changes: hardly anything has to be left out
/// at the start, and the ends agree. Few of them are never steady.
pub(super) fn is_steady(means: &[f64]) -> bool {
    let averages: Vec<f64> = means.chunks_exact(TOGETHER).map(average).collect();
    if averages.len() < FEWEST {
        return false;
    }
    let third = means.len() / 3;
    let (first, last) = (average(&means[..third]), average(&means[means.len() - third..]));
    left_out(&averages) <= averages.len() / 4 && (last / first - 1.0).abs() <= ALIKE
}

fn average(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}

/// How many of the first to leave out; at most half.
fn left_out(averages: &[f64]) -> usize {
    let unsure = |from: usize| {
        let rest = &averages[from..];
        let mean = average(rest);
        rest.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (rest.len() as f64).powi(2)
    };
    (0..averages.len() / 2).min_by(|a, b| unsure(*a).total_cmp(&unsure(*b))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_is_what_no_longer_changes() {
        let wave = |at: usize| 0.02 * (at as f64 * 1.7).sin();
        let check = |shape: &dyn Fn(usize) -> f64, count: usize, expected| {
            let means: Vec<f64> = (0..count).map(|at| shape(at) + wave(at)).collect();
            assert_eq!(is_steady(&means), expected, "{means:?}");
        };
        check(&|_| 1.0, 20, true);
        check(&|_| 1.0, 19, false);
        check(&|at| 1.0 + 0.5 * (-(at as f64) / 6.0).exp(), 20, false);
        check(&|at| 1.0 + 0.02 * at as f64, 20, false);
        check(&|at| if at < 3 { 5.0 } else { 1.0 }, 20, false);
    }
}
