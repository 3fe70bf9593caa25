//! How many latencies there are of each size, on a logarithmic scale.

use std::collections::BTreeMap;

use proofload_run::findings::LatencyBin;

/// Bins for each factor of ten.
const BINS_PER_DECADE: f64 = 20.0;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Distribution {
    bins: BTreeMap<i32, u64>,
}

impl Distribution {
    /// Counts a latency.
    pub(crate) fn add(&mut self, ns: u64) {
        *self.bins.entry(bin_of(ns)).or_default() += 1;
    }

    /// Counts in bins of equal width on a logarithmic scale, from the smallest to the largest, without gaps.
    pub(crate) fn bins(&self) -> Vec<LatencyBin> {
        let (Some(first), Some(last)) = (self.bins.keys().next(), self.bins.keys().next_back()) else {
            return Vec::new();
        };
        let edge = |bin: i32| 10_f64.powf(f64::from(bin) / BINS_PER_DECADE);
        let n = |bin: i32| self.bins.get(&bin).copied().unwrap_or(0);
        (*first..=*last).map(|bin| LatencyBin { from_ns: edge(bin), to_ns: edge(bin + 1), n: n(bin) }).collect()
    }
}

fn bin_of(ns: u64) -> i32 {
    ((ns.max(1) as f64).log10() * BINS_PER_DECADE).floor() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Everything is in a bin, and in the one between whose edges it lies.
        #[test]
        fn everything_is_in_its_bin(latencies in proptest::collection::vec(0_u64..1_000_000_000, 0..300)) {
            let mut distribution = Distribution::default();
            latencies.iter().for_each(|ns| distribution.add(*ns));
            let bins = distribution.bins();
            prop_assert_eq!(bins.iter().map(|bin| bin.n).sum::<u64>(), latencies.len() as u64);
            for bin in &bins {
                let (from, to) = (bin.from_ns * 0.999_999, bin.to_ns * 1.000_001);
                let inside = latencies.iter().filter(|ns| (from..to).contains(&((**ns).max(1) as f64))).count() as u64;
                prop_assert!(bin.n <= inside);
            }
            prop_assert!(bins.windows(2).all(|pair| (pair[0].to_ns - pair[1].from_ns).abs() < 1e-9 * pair[1].from_ns));
        }
    }
}
