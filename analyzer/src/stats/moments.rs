//! Mean and spread of whole numbers, over all and over the seconds they belong to. Sums are of whole numbers, so that
//! they are exact, whatever the order of the samples.

use super::BySecond;
use super::interval::{MIN_BLOCKS, Z};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Moments {
    n: u64,
    sum: u128,
    squares: u128,
    max: u64,
    /// How many, and their sum.
    seconds: BySecond<(u32, u64)>,
}

impl Moments {
    pub(super) fn add(&mut self, number: u64, second: u32) {
        self.n += 1;
        self.sum += u128::from(number);
        self.squares = self.squares.saturating_add(u128::from(number) * u128::from(number));
        self.max = self.max.max(number);
        let (n, sum) = self.seconds.at(second);
        *n += 1;
        *sum = sum.saturating_add(number);
    }

    pub(super) fn n(&self) -> u64 {
        self.n
    }

    /// Largest; `None` of nothing.
    pub(super) fn max(&self) -> Option<u64> {
        (self.n > 0).then_some(self.max)
    }

    /// How many belong to each second that has some.
    pub(super) fn n_by_second(&self) -> impl Iterator<Item = (u32, u64)> {
        self.seconds.iter().map(|(second, (n, _))| (second, u64::from(*n))).filter(|(_, n)| *n > 0)
    }

    /// Mean and its interval, from the spread of the seconds' sums around what the mean predicts for them.
    pub(super) fn mean(&self) -> Option<(f64, f64, f64)> {
        if self.n == 0 {
            return None;
        }
        let n = self.n as f64;
        let mean = self.sum as f64 / n;
        let half = Z * self.variance_of_sum().sqrt() / n;
        Some((mean, (mean - half).max(0.0), mean + half))
    }

    fn variance_of_sum(&self) -> f64 {
        let independent = self.around_mean();
        self.clustered().map_or(independent, |spread| spread.max(independent))
    }

    /// The sum of squared differences from the mean.
    fn around_mean(&self) -> f64 {
        let n = u128::from(self.n);
        let (quotient, rest) = (self.sum / n, self.sum % n);
        let whole = quotient.saturating_mul(quotient).saturating_mul(n);
        let whole = whole.saturating_add((2 * quotient).saturating_mul(rest));
        (self.squares.saturating_sub(whole) as f64 - (rest as f64).powi(2) / n as f64).max(0.0)
    }

    /// The same as the seconds tell it; `None` of too few of them.
    fn clustered(&self) -> Option<f64> {
        let all = i128::try_from(self.sum).unwrap_or(i128::MAX);
        let off = |(_, &(n, sum)): (u32, &(u32, u64))| {
            let times_n = i128::from(sum).saturating_mul(i128::from(self.n));
            times_n.saturating_sub(all.saturating_mul(i128::from(n))) as f64 / self.n as f64
        };
        let filled = self.seconds.iter().filter(|(_, (n, _))| *n > 0);
        let (count, spread) = filled.map(off).fold((0, 0.0), |(count, spread), off| (count + 1, spread + off * off));
        (count >= MIN_BLOCKS).then(|| spread * count as f64 / (count as f64 - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(numbers: impl Iterator<Item = (u64, u32)>) -> Moments {
        let mut moments = Moments::default();
        numbers.for_each(|(number, second)| moments.add(number, second));
        moments
    }

    #[test]
    fn the_mean_of_correlated_seconds_has_a_wide_interval() {
        let alternating = of((0..1000).map(|i| (100 + 100 * (i % 2), (i / 100) as u32)));
        let by_second = of((0..1000).map(|i| (100 + 100 * (i / 100 % 2), (i / 100) as u32)));
        let width = |moments: &Moments| moments.mean().map(|(_, low, high)| high - low).unwrap();
        assert!(width(&by_second) > 5.0 * width(&alternating));
    }

    proptest! {
        /// The spread is that of the textbook, and the order is all the same.
        #[test]
        fn spreads_are_those_of_the_textbook(
            numbers in proptest::collection::vec((0_u64..10_000_000_000, 0_u32..9), 1..200),
        ) {
            let found = of(numbers.iter().copied());
            prop_assert_eq!(&found, &of(numbers.iter().rev().copied()));
            let n = numbers.len() as f64;
            let mean = numbers.iter().map(|number| number.0 as f64).sum::<f64>() / n;
            let expected: f64 = numbers.iter().map(|number| (number.0 as f64 - mean).powi(2)).sum();
            prop_assert!((found.around_mean() - expected).abs() <= 1e-6 * expected.max(1.0));
            let mut seconds = std::collections::BTreeMap::<u32, f64>::new();
            numbers.iter().for_each(|number| *seconds.entry(number.1).or_default() += number.0 as f64 - mean);
            let count = seconds.len() as f64;
            let expected = seconds.values().map(|off| off * off).sum::<f64>() * count / (count - 1.0);
            prop_assert_eq!(found.clustered().is_some(), seconds.len() >= MIN_BLOCKS);
            prop_assert!(found.clustered().is_none_or(|found| (found - expected).abs() <= 1e-6 * expected.max(1.0)));
        }
    }
}
