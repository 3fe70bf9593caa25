//! A set of latencies with the second each belongs to, sorted once: exact percentiles, mean, distribution.

use proofload_run::findings::{Latency, LatencyBin, Percentile};

use super::interval::{MIN_BLOCKS, Z, design_effect, tally};

/// The percentiles that every latency states.
const STATED: [f64; 5] = [50.0, 90.0, 95.0, 99.0, 99.9];

/// So many samples must lie beyond a percentile before it is more than one unlucky request.
const ENOUGH_BEYOND: f64 = 10.0;

/// Bins for each factor of ten in the distribution.
const BINS_PER_DECADE: f64 = 20.0;

/// Latencies in ascending order, each with the second of its intended arrival.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Population {
    sorted: Vec<(u64, u32)>,
}

impl FromIterator<(u64, u32)> for Population {
    fn from_iter<I: IntoIterator<Item = (u64, u32)>>(members: I) -> Self {
        let mut sorted: Vec<(u64, u32)> = members.into_iter().collect();
        sorted.sort_unstable();
        Self { sorted }
    }
}

impl Population {
    /// How many.
    pub(crate) fn n(&self) -> u64 {
        self.sorted.len() as u64
    }

    /// Largest; `None` of nothing.
    pub(crate) fn max_ns(&self) -> Option<u64> {
        self.sorted.last().map(|member| member.0)
    }

    /// The value at a percentile by nearest rank: the smallest sample such that at least so many per cent are not
    /// above it. No interpolation: the answer is a latency that somebody had.
    pub(crate) fn value(&self, percentile: f64) -> Option<u64> {
        let rank = (self.sorted.len() as f64 * percentile / 100.0).ceil() as usize;
        self.sorted.get(rank.max(1) - 1).or(self.sorted.last()).map(|member| member.0)
    }

    /// A percentile with its interval: the order statistics between which it lies with 95 % probability, by the
    /// binomial's normal approximation (Woodruff 1952) times the design effect.
    pub(crate) fn percentile(&self, percentile: f64) -> Option<Percentile> {
        let latency_ns = self.value(percentile)?;
        let (n, p) = (self.sorted.len() as f64, percentile / 100.0);
        let effect = design_effect(&tally(self.sorted.iter().map(|&(ns, block)| (block, ns <= latency_ns))));
        let half = Z * (n * p * (1.0 - p) * effect).sqrt();
        let low = ((n * p - half).floor().max(1.0) as usize).min(self.sorted.len());
        let high = (n * p + half).ceil() as usize + 1;
        Some(Percentile {
            percentile,
            latency_ns,
            low_ns: self.sorted[low - 1].0.min(latency_ns),
            high_ns: self.sorted.get(high - 1).map(|member| member.0),
            enough: enough(self.n(), percentile),
        })
    }

    /// Mean and its interval, from the spread of the seconds' sums around what the mean predicts for them.
    pub(crate) fn mean(&self) -> Option<(f64, f64, f64)> {
        if self.sorted.is_empty() {
            return None;
        }
        let n = self.sorted.len() as f64;
        let mean = self.sorted.iter().map(|member| member.0 as f64).sum::<f64>() / n;
        let half = Z * self.variance_of_sum(mean).sqrt() / n;
        Some((mean, (mean - half).max(0.0), mean + half))
    }

    fn variance_of_sum(&self, mean: f64) -> f64 {
        let independent: f64 = self.sorted.iter().map(|member| (member.0 as f64 - mean).powi(2)).sum();
        let mut blocks: Vec<(f64, bool)> = Vec::new();
        for &(ns, block) in &self.sorted {
            let block = block as usize;
            if blocks.len() <= block {
                blocks.resize(block + 1, (0.0, false));
            }
            blocks[block].0 += ns as f64 - mean;
            blocks[block].1 = true;
        }
        blocks.retain(|block| block.1);
        if blocks.len() < MIN_BLOCKS {
            return independent;
        }
        let count = blocks.len() as f64;
        let clustered: f64 = blocks.iter().map(|block| block.0 * block.0).sum::<f64>() * count / (count - 1.0);
        clustered.max(independent)
    }

    /// All that a report states; `None` of nothing.
    pub(crate) fn summary(&self) -> Option<Latency> {
        let (mean_ns, mean_low_ns, mean_high_ns) = self.mean()?;
        let percentiles = STATED.iter().filter_map(|&p| self.percentile(p)).collect();
        Some(Latency { n: self.n(), mean_ns, mean_low_ns, mean_high_ns, max_ns: self.max_ns()?, percentiles })
    }

    /// Counts in bins of equal width on a logarithmic scale, from the smallest to the largest, without gaps.
    pub(crate) fn distribution(&self) -> Vec<LatencyBin> {
        let bin_of = |ns: u64| ((ns.max(1) as f64).log10() * BINS_PER_DECADE).floor() as i32;
        let edge = |bin: i32| 10_f64.powf(f64::from(bin) / BINS_PER_DECADE);
        let (Some(first), Some(last)) = (self.sorted.first(), self.sorted.last()) else { return Vec::new() };
        let first = bin_of(first.0);
        let mut bins: Vec<LatencyBin> =
            (first..=bin_of(last.0)).map(|bin| LatencyBin { from_ns: edge(bin), to_ns: edge(bin + 1), n: 0 }).collect();
        for &(ns, _) in &self.sorted {
            bins[usize::try_from(bin_of(ns) - first).unwrap_or(0)].n += 1;
        }
        bins
    }
}

/// Whether this many samples are enough for this percentile: ten beyond it, on both sides.
pub(crate) fn enough(n: u64, percentile: f64) -> bool {
    let p = percentile / 100.0;
    // The smallest difference that matters is far above the rounding of `n · (1 − p)`.
    n as f64 * p.min(1.0 - p) >= ENOUGH_BEYOND - 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Population {
        values.into_iter().enumerate().map(|(i, v)| (v, (i / 10) as u32)).collect()
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let check = |values: &[u64], percentile: f64, expected: Option<u64>| {
            assert_eq!(of(values.iter().copied()).value(percentile), expected, "p{percentile} of {values:?}");
        };
        check(&[], 50.0, None);
        check(&[7], 1.0, Some(7));
        check(&[7], 99.9, Some(7));
        check(&[15, 20, 35, 40, 50], 30.0, Some(20));
        check(&[15, 20, 35, 40, 50], 40.0, Some(20));
        check(&[15, 20, 35, 40, 50], 50.0, Some(35));
        check(&[3, 1, 2, 4], 75.0, Some(3));
        check(&[3, 1, 2, 4], 75.1, Some(4));
    }

    #[test]
    fn ten_samples_must_lie_beyond() {
        let check = |n, percentile, expected| assert_eq!(enough(n, percentile), expected, "p{percentile} of {n}");
        check(200, 95.0, true);
        check(199, 95.0, false);
        check(1000, 99.0, true);
        check(999, 99.0, false);
        check(10_000, 99.9, true);
        check(9_999, 99.9, false);
        check(20, 50.0, true);
    }

    #[test]
    fn the_interval_of_a_median_is_the_textbook_one() {
        let population = of(1..=100);
        let median =
            Population { sorted: population.sorted.iter().map(|m| (m.0, 0)).collect() }.percentile(50.0).unwrap();
        assert_eq!((median.latency_ns, median.low_ns, median.high_ns), (50, 40, Some(61)));
    }

    /// Thirty seconds of fifty samples, each second with an offset of its own: the sum of two uniform numbers, whose
    /// median and mean are known. As independent samples their intervals would hold the truth in 3 runs of 10.
    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut state = 1_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 44
        };
        let truth = 1_u64 << 20;
        let (mut medians, mut means) = (0, 0);
        for _ in 0..400 {
            let seconds = (0..30).flat_map(|second| {
                let offset = uniform();
                (0..50).map(|_| (offset + uniform(), second)).collect::<Vec<_>>()
            });
            let run: Population = seconds.collect();
            let median = run.percentile(50.0).unwrap();
            medians += u32::from(median.low_ns <= truth && median.high_ns.is_none_or(|high| high >= truth));
            let (_, low, high) = run.mean().unwrap();
            means += u32::from(low <= truth as f64 && truth as f64 <= high);
        }
        assert!((360..=392).contains(&medians) && (360..=392).contains(&means), "{medians} and {means} of 400");
    }

    #[test]
    fn the_mean_of_correlated_seconds_has_a_wide_interval() {
        let alternating: Population = (0..1000).map(|i| (100 + 100 * (i % 2), (i / 100) as u32)).collect();
        let by_second: Population = (0..1000).map(|i| (100 + 100 * (i / 100 % 2), (i / 100) as u32)).collect();
        let width = |p: &Population| p.mean().map(|(_, low, high)| high - low).unwrap();
        assert!(width(&by_second) > 5.0 * width(&alternating));
    }

    proptest! {
        /// A percentile is one of the samples, lies in its interval, grows with its rank, and at least its share of
        /// the samples is not above it.
        #[test]
        fn percentiles_hold_what_they_say(values in proptest::collection::vec(0u64..1_000_000, 1..500)) {
            let population = of(values.iter().copied());
            let mut before = 0;
            for p in [1.0, 25.0, 50.0, 90.0, 95.0, 99.0, 99.9] {
                let found = population.percentile(p).unwrap();
                let not_above = values.iter().filter(|v| **v <= found.latency_ns).count();
                prop_assert!(values.contains(&found.latency_ns));
                prop_assert!(not_above as f64 >= values.len() as f64 * p / 100.0);
                prop_assert!(found.low_ns <= found.latency_ns && found.high_ns.is_none_or(|h| h >= found.latency_ns));
                prop_assert!(found.latency_ns >= before);
                before = found.latency_ns;
            }
            let binned: u64 = population.distribution().iter().map(|bin| bin.n).sum();
            prop_assert_eq!(binned, values.len() as u64);
        }
    }
}
