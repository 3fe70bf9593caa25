//! What executions took, in figures with intervals, and how far two answers are apart. Pure.

use proofload_wire::tensor::Tensor;

use super::file::{Deviation, Interval};

/// Fewer executions have no interval of 95 % for their median.
pub(super) const LEAST: usize = 6;
/// Fewer have no 95th percentile worth naming.
const LEAST_FOR_P95: usize = 100;
/// Of a normal law: 95 % lie within.
const Z: f64 = 1.96;

/// The median of times in ascending order, with the interval between order statistics that holds it 19 times out of 20
/// (the normal approximation of the binomial law; H. A. David, "Order Statistics", 7.1). `None` of too few.
pub(super) fn median(ascending: &[f64]) -> Option<Interval> {
    let count = ascending.len();
    if count < LEAST {
        return None;
    }
    let half = Z * (count as f64).sqrt() / 2.0;
    let low = (count as f64 / 2.0 - half).floor().max(0.0) as usize;
    let high = ((count as f64 / 2.0 + half).ceil() as usize).min(count - 1);
    let value = f64::midpoint(ascending[(count - 1) / 2], ascending[count / 2]);
    Some(Interval { low: ascending[low], value, high: ascending[high] })
}

/// The 95th percentile of times in ascending order, by nearest rank; `None` of too few.
pub(super) fn p95(ascending: &[f64]) -> Option<f64> {
    let rank = (ascending.len() * 95).div_ceil(100);
    if ascending.len() < LEAST_FOR_P95 { None } else { ascending.get(rank - 1).copied() }
}

/// How many a second, of batches of a size that take such times in milliseconds.
pub(super) fn per_s(batch: u32, median_ms: Interval) -> Interval {
    let at = |ms: f64| f64::from(batch) * 1e3 / ms.max(1e-6);
    Interval { low: at(median_ms.high), value: at(median_ms.value), high: at(median_ms.low) }
}

/// How far outputs are off others, which are the reference. Real numbers are compared as such; of anything else it counts
/// whether it is the same.
///
/// # Errors
/// When they are not of the same kind and size.
pub(super) fn deviation(outputs: &[Tensor], reference: &[Tensor]) -> Result<Deviation, String> {
    if outputs.len() != reference.len() {
        return Err(format!("{} outputs cannot be compared with {}", outputs.len(), reference.len()));
    }
    let mut each = outputs.iter().zip(reference).map(|(output, reference)| of_one(output, reference));
    let worst = |one: Deviation, other: Deviation| Deviation {
        max_relative: one.max_relative.max(other.max_relative),
        rms_relative: one.rms_relative.max(other.rms_relative),
    };
    each.try_fold(Deviation { max_relative: 0.0, rms_relative: 0.0 }, |sum, one| Ok(worst(sum, one?)))
}

fn of_one(output: &Tensor, reference: &Tensor) -> Result<Deviation, String> {
    if output.shape != reference.shape {
        return Err(format!("output '{}' has shape {:?} and {:?}", output.name, output.shape, reference.shape));
    }
    if let (Ok(found), Ok(wanted)) = (output.to_f32(), reference.to_f32()) {
        return Ok(of_numbers(&found, &wanted));
    }
    let off = f64::from(u8::from(output.data != reference.data));
    Ok(Deviation { max_relative: off, rms_relative: off })
}

/// Numbers that are none are off by all there is.
fn of_numbers(found: &[f32], wanted: &[f32]) -> Deviation {
    let (mut largest, mut largest_off, mut squares, mut squares_off) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    for (found, wanted) in found.iter().zip(wanted) {
        let (found, wanted) = (f64::from(*found), f64::from(*wanted));
        let same = found.to_bits() == wanted.to_bits() || (found.is_nan() && wanted.is_nan());
        let off = if same { 0.0 } else { (found - wanted).abs() };
        let off = if off.is_finite() { off } else { f64::MAX.sqrt() };
        let wanted = if wanted.is_finite() { wanted } else { 0.0 };
        largest = largest.max(wanted.abs());
        largest_off = largest_off.max(off);
        squares += wanted * wanted;
        squares_off += off * off;
    }
    let share = |off: f64, of: f64| if off == 0.0 { 0.0 } else { off / of.max(f64::MIN_POSITIVE) };
    let max_relative = share(largest_off, largest).min(f64::MAX);
    Deviation { max_relative, rms_relative: share(squares_off.sqrt(), squares.sqrt()).min(f64::MAX) }
}

#[cfg(test)]
mod tests {
    use rand_core::{RngCore as _, SeedableRng as _};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    #[test]
    fn medians_have_intervals_and_enough_times_a_p95() {
        let times = |count: usize| (1..=count).map(|at| at as f64).collect::<Vec<_>>();
        assert_eq!((median(&times(5)), p95(&times(99))), (None, None));
        let six = median(&times(6)).unwrap();
        assert_eq!((six.low, six.value, six.high), (1.0, 3.5, 6.0));
        let many = median(&times(101)).unwrap();
        assert_eq!((many.low, many.value, many.high), (41.0, 51.0, 62.0));
        assert_eq!((p95(&times(100)), p95(&times(200))), (Some(95.0), Some(190.0)));
        let speed = per_s(4, Interval { low: 1.0, value: 2.0, high: 4.0 });
        assert_eq!((speed.low, speed.value, speed.high), (1000.0, 2000.0, 4000.0));
    }

    /// Times of a skewed law whose median is known.
    #[test]
    fn the_interval_holds_the_true_median() {
        let mut rng = Pcg64Mcg::seed_from_u64(7);
        let mut uniform = || (f64::from(rng.next_u32()) + 0.5) / (f64::from(u32::MAX) + 1.0);
        for count in [6, 20, 200] {
            let holds = (0..1000).filter(|_| {
                let mut times: Vec<f64> = (0..count).map(|_| -uniform().ln()).collect();
                times.sort_unstable_by(f64::total_cmp);
                let found = median(&times).unwrap();
                (found.low..=found.high).contains(&std::f64::consts::LN_2)
            });
            let share = holds.count();
            assert!(share >= 935, "{share} of 1000 with {count} times");
        }
    }

    #[test]
    fn answers_are_compared_by_their_numbers() {
        let reals = |values: &[f32]| Tensor::from_f32("y", vec![values.len() as i64], values).unwrap();
        let check = |found: &[f32], wanted: &[f32], expected: (f64, f64)| {
            let deviation = deviation(&[reals(found)], &[reals(wanted)]).unwrap();
            let close = |found: f64, wanted: f64| (found - wanted).abs() <= 1e-6 * wanted.abs();
            let is = close(deviation.max_relative, expected.0) && close(deviation.rms_relative, expected.1);
            assert!(is, "{found:?} {wanted:?}: {deviation:?}");
        };
        check(&[1.0, -4.0], &[1.0, -4.0], (0.0, 0.0));
        check(&[1.0, -3.0], &[1.0, -4.0], (0.25, 1.0 / 17.0_f64.sqrt()));
        check(&[f32::NAN], &[f32::NAN], (0.0, 0.0));
        let off = deviation(&[reals(&[f32::NAN])], &[reals(&[1.0])]).unwrap();
        assert!(off.max_relative > 1e9, "{off:?}");
        assert!(deviation(&[reals(&[1.0])], &[reals(&[1.0, 2.0])]).is_err());
        assert!(deviation(&[], &[reals(&[1.0])]).is_err());
    }
}
