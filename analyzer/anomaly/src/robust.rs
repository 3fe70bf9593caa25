//! Medians and what is made of them: figures that a few wild values do not move.

/// From the median of absolute deviations to a standard deviation, for normally distributed values.
pub(crate) const TO_SIGMA: f64 = 1.4826;

/// A quantile between 0 and 1 (nearest rank); 0 of nothing. Reorders the values.
pub(crate) fn quantile(values: &mut [f64], q: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let rank = ((values.len() as f64 * q).ceil() as usize).clamp(1, values.len()) - 1;
    *values.select_nth_unstable_by(rank, f64::total_cmp).1
}

/// Median and scaled median of absolute deviations.
pub(crate) fn centre_and_spread(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    let centre = quantile(&mut sorted, 0.5);
    sorted.iter_mut().for_each(|value| *value = (*value - centre).abs());
    (centre, TO_SIGMA * quantile(&mut sorted, 0.5))
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these figures are exact")]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_ranks() {
        let check = |q: f64, expected: f64| assert_eq!(quantile(&mut [5.0, 1.0, 4.0, 2.0, 3.0], q), expected, "{q}");
        check(0.0, 1.0);
        check(0.2, 1.0);
        check(0.5, 3.0);
        check(0.99, 5.0);
        check(1.0, 5.0);
        assert_eq!(quantile(&mut [], 0.5), 0.0);
        let (centre, spread) = centre_and_spread(&[1.0, 2.0, 3.0, 4.0, 1e9]);
        assert_eq!((centre, spread), (3.0, TO_SIGMA));
    }
}
