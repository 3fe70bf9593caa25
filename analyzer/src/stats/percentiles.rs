//! Some percentiles of a set of numbers, exactly, without keeping the numbers.

use super::bins::{Bins, Fineness, key};
use super::search::Search;

/// The rank of a percentile among so many, from 1 (nearest rank): the smallest number such that at least so many per
/// cent are not above it. No interpolation: the answer is a latency that somebody had.
pub(super) fn rank(n: u64, percentile: f64) -> u64 {
    ((n as f64 * percentile / 100.0).ceil() as u64).clamp(1, n.max(1))
}

/// So many searches are asked one after the other, of more those in whose range a number lies.
const FEW: usize = 6;

/// Percentiles of numbers that are added again and again, all of them in every look, until no further look is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Percentiles {
    wanted: Vec<f64>,
    ascend: bool,
    are_whole: bool,
    n: u64,
    largest: Option<u64>,
    /// Until the first look is over.
    bins: Option<Bins>,
    searches: Vec<Search>,
}

impl Percentiles {
    /// Of whole numbers.
    pub(crate) fn of_whole(wanted: &[f64]) -> Self {
        Self::new(wanted, true, Fineness::Coarse)
    }

    /// Of whole numbers of which there are very many, such as all of a run.
    pub(crate) fn of_many(wanted: &[f64]) -> Self {
        Self::new(wanted, true, Fineness::Fine)
    }

    /// Of any numbers.
    pub(crate) fn of_any(wanted: &[f64]) -> Self {
        Self::new(wanted, false, Fineness::Coarse)
    }

    fn new(wanted: &[f64], are_whole: bool, fineness: Fineness) -> Self {
        let bins = Some(Bins::new(fineness));
        Self {
            wanted: wanted.to_vec(),
            ascend: wanted.is_sorted(),
            are_whole,
            n: 0,
            largest: None,
            bins,
            searches: Vec::new(),
        }
    }

    /// Looks at a number.
    pub(crate) fn add(&mut self, number: f64) {
        let key = key(number);
        if let Some(bins) = &mut self.bins {
            self.largest = self.largest.max(Some(key));
            return bins.add(key);
        }
        if self.searches.len() <= FEW || !self.ascend {
            return self.searches.iter_mut().for_each(|search| search.add(key));
        }
        let first = self.searches.partition_point(|search| search.last_key() < key);
        let asking = self.searches[first..].iter_mut().take_while(|search| search.covers(key));
        asking.for_each(|search| search.add(key));
    }

    /// A look is over. Says whether another is wanted.
    pub(crate) fn turn(&mut self) -> bool {
        let Some(mut bins) = self.bins.take() else {
            // All of them have to turn.
            return self.searches.iter_mut().fold(false, |open, search| search.turn() | open);
        };
        bins.settle();
        self.n = bins.n();
        let cells = self.wanted.iter().filter_map(|percentile| bins.cell(rank(self.n, *percentile)));
        self.searches = cells.map(|cell| Search::new(cell, self.are_whole)).collect();
        self.searches.iter().any(|search| search.key().is_none())
    }

    /// How many numbers there are, once a look is over.
    pub(crate) fn n(&self) -> u64 {
        self.n
    }

    /// The largest; `None` of nothing.
    pub(crate) fn largest(&self) -> Option<f64> {
        self.largest.map(super::bins::value)
    }

    /// The value at one of the wanted percentiles; `None` of nothing.
    pub(crate) fn value(&self, percentile: f64) -> Option<f64> {
        let at = self.wanted.iter().position(|wanted| wanted.total_cmp(&percentile).is_eq())?;
        self.searches.get(at)?.found()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn percentiles(numbers: &[f64], wanted: &[f64], are_whole: bool) -> Percentiles {
        let mut found = Percentiles::new(wanted, are_whole, Fineness::Coarse);
        loop {
            numbers.iter().for_each(|number| found.add(*number));
            if !found.turn() {
                return found;
            }
        }
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let check = |numbers: &[f64], percentile: f64, expected: Option<f64>| {
            let found = percentiles(numbers, &[50.0, percentile], true);
            assert_eq!(found.value(percentile), expected, "p{percentile} of {numbers:?}");
            assert_eq!(found.value(12.5), None, "nobody wanted it");
        };
        check(&[], 50.0, None);
        check(&[7.0], 1.0, Some(7.0));
        check(&[7.0], 99.9, Some(7.0));
        check(&[15.0, 20.0, 35.0, 40.0, 50.0], 30.0, Some(20.0));
        check(&[15.0, 20.0, 35.0, 40.0, 50.0], 40.0, Some(20.0));
        check(&[15.0, 20.0, 35.0, 40.0, 50.0], 50.0, Some(35.0));
        check(&[3.0, 1.0, 2.0, 4.0], 75.0, Some(3.0));
        check(&[3.0, 1.0, 2.0, 4.0], 75.1, Some(4.0));
        check(&[-3.0, 1.0, -2.0, 4.0], 25.0, Some(-3.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// However many numbers, whatever their order: the same as by sorting them.
        #[test]
        fn values_are_those_of_sorting(
            numbers in proptest::collection::vec((0_i64..1 << 40, 0_u32..40), 1..200),
            repeats in 1_usize..300,
            drawn in proptest::collection::vec(0.1_f64..99.99, 1..30),
            in_order: bool,
        ) {
            let mut wanted = drawn;
            if in_order {
                wanted.sort_by(f64::total_cmp);
            }
            let spread = |(number, bits): &(i64, u32)| ((number >> bits) - 1000) as f64;
            let once: Vec<f64> = numbers.iter().map(spread).collect();
            let all = once.repeat(repeats);
            let found = percentiles(&all, &wanted, true);
            let mut sorted = all;
            sorted.sort_by(f64::total_cmp);
            prop_assert_eq!((found.n(), found.largest()), (sorted.len() as u64, sorted.last().copied()));
            for percentile in wanted {
                let rank = (sorted.len() as f64 * percentile / 100.0).ceil() as usize;
                prop_assert_eq!(found.value(percentile), Some(sorted[rank.max(1) - 1]));
            }
        }
    }
}
