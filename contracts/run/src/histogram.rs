//! Histograms of latency, one for each second and entry: small enough to keep for every second of any run, and merged
//! exactly, over seconds as over shards. Not the truth, which is the samples: a value is known to three digits.
//!
//! A line of `histograms-NNNNN.jsonl` is a [`Line`]: the successes of one entry that came in within the second that ends
//! at `end_ns`. Seconds without any have no line. Its `bins` are pairs, flat: how far the bin's largest value, in µs, lies
//! above that of the pair before it, and how many there are. The bins are those of HdrHistogram with three significant
//! digits from 1 µs to 60 s; what took longer is in the last bin and counted in `saturated`.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The largest latency that is told apart from a larger one, in µs.
const HIGHEST_US: u64 = 60_000_000;
const DIGITS: u8 = 3;

/// See the module. Recording allocates nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyHistogram {
    us: Histogram<u64>,
    saturated: u64,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        let us = Histogram::new_with_bounds(1, HIGHEST_US, DIGITS).expect("1 to 60 000 000 with 3 digits is valid");
        Self { us, saturated: 0 }
    }
}

impl LatencyHistogram {
    /// Counts a latency, to the µs below it.
    pub fn record_ns(&mut self, ns: u64) {
        let us = ns / 1000;
        self.saturated += u64::from(us > HIGHEST_US);
        self.us.saturating_record(us.clamp(1, HIGHEST_US));
    }

    /// How many were counted.
    pub fn n(&self) -> u64 {
        self.us.len()
    }

    /// How many of them took longer than 60 s.
    pub fn saturated(&self) -> u64 {
        self.saturated
    }

    /// A percentile (nearest rank) in ns, to three digits; `None` of nothing.
    pub fn percentile_ns(&self, percentile: f64) -> Option<u64> {
        // By rank and not by quantile, which is a fraction that may fall a hair beside the rank it means.
        let rank = ((self.n() as f64 * percentile / 100.0).ceil() as u64).max(1);
        let mut counted = 0;
        let recorded = self.us.iter_recorded().find(|value| {
            counted += value.count_since_last_iteration();
            counted >= rank
        });
        recorded.map(|value| self.us.highest_equivalent(value.value_iterated_to()) * 1000)
    }

    /// The largest in ns, to three digits; 0 of nothing.
    pub fn max_ns(&self) -> u64 {
        self.us.max() * 1000
    }

    /// Takes in what was counted elsewhere. Exact: all have the same bins.
    pub fn merge(&mut self, other: &Self) {
        // Same bounds everywhere, so adding cannot fail.
        let _ = self.us.add(&other.us);
        self.saturated += other.saturated;
    }

    /// Forgets everything and keeps its memory.
    pub fn clear(&mut self) {
        self.us.reset();
        self.saturated = 0;
    }

    /// The line of this second and entry.
    pub fn line(&self, end_ns: u64, shard: u16, entry: u16) -> Line {
        let (mut bins, mut before) = (Vec::new(), 0);
        for bin in self.us.iter_recorded() {
            let largest_us = bin.value_iterated_to();
            bins.extend([largest_us - before, bin.count_at_value()]);
            before = largest_us;
        }
        Line { end_ns, shard, entry, saturated: self.saturated, bins }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// End of the second, on the run's clock.
    pub end_ns: u64,
    /// The shard.
    pub shard: u16,
    /// Index into the manifest's entries.
    pub entry: u16,
    /// How many took longer than 60 s.
    #[serde(default, skip_serializing_if = "is_none")]
    pub saturated: u64,
    /// See the module.
    pub bins: Vec<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Line {
    /// The histogram, exactly as it was written; `None` when the line is none of ours.
    pub fn histogram(&self) -> Option<LatencyHistogram> {
        let (pairs, []) = self.bins.as_chunks::<2>() else { return None };
        let mut found = LatencyHistogram { saturated: self.saturated, ..LatencyHistogram::default() };
        let mut largest_us: u64 = 0;
        for [above, count] in pairs {
            largest_us = largest_us.checked_add(*above)?;
            found.us.record_n(largest_us, *count).ok()?;
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(latencies_ns: &[u64]) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::default();
        latencies_ns.iter().for_each(|ns| histogram.record_ns(*ns));
        histogram
    }

    #[test]
    fn what_is_beyond_the_bounds_is_counted() {
        let check = |ns: u64, percentile_ns: u64, saturated: u64| {
            let found = of(&[ns]);
            assert!(found.percentile_ns(50.0).unwrap().abs_diff(percentile_ns) <= percentile_ns / 1000, "{ns}");
            assert_eq!((found.n(), found.saturated()), (1, saturated), "{ns}");
        };
        check(0, 1000, 0);
        check(1500, 1000, 0);
        check(60_000_000_000, 60_000_000_000, 0);
        check(61_000_000_000, 60_000_000_000, 1);
        check(u64::MAX, 60_000_000_000, 1);
        assert_eq!(LatencyHistogram::default().percentile_ns(50.0), None);
    }

    #[test]
    fn lines_that_are_none_are_refused() {
        let check = |bins: &[u64], expected: Option<u64>| {
            let line = Line { end_ns: 1, shard: 0, entry: 0, saturated: 0, bins: bins.to_vec() };
            assert_eq!(line.histogram().map(|found| found.n()), expected, "{bins:?}");
        };
        check(&[], Some(0));
        check(&[5, 2, 1, 3], Some(5));
        check(&[5, 2, 1], None);
        check(&[u64::MAX, 1, 1, 1], None);
        check(&[200_000_000, 1], None);
    }

    #[test]
    fn a_percentile_is_of_its_rank() {
        let values: Vec<u64> = (1..=1000).map(|us| us * 1000).collect();
        let histogram = of(&values);
        for percentile in 1u32..100 {
            assert_eq!(histogram.percentile_ns(f64::from(percentile)), Some(u64::from(percentile) * 10_000));
        }
    }

    proptest! {
        /// However samples are dealt out to seconds and shards: read back and merged, they are the histogram of all, and
        /// its percentiles are those of the samples to three digits.
        #[test]
        fn merging_loses_nothing(
            latencies_us in proptest::collection::vec((1u32..27, any::<u64>()), 1..300),
            parts in 1usize..8,
            percentile in 1u32..100,
        ) {
            let ns: Vec<u64> = latencies_us.iter().map(|(bits, value)| 1000 * (value % (1 << bits)) + 1000).collect();
            let mut merged = LatencyHistogram::default();
            for part in 0..parts {
                let own: Vec<u64> = ns.iter().skip(part).step_by(parts).copied().collect();
                let text = serde_json::to_string(&of(&own).line(7, 3, 2)).unwrap();
                merged.merge(&serde_json::from_str::<Line>(&text).unwrap().histogram().unwrap());
            }
            prop_assert_eq!(&merged, &of(&ns));
            let mut sorted = ns;
            sorted.sort_unstable();
            let rank = (sorted.len() as f64 * f64::from(percentile) / 100.0).ceil() as usize;
            let (truth, found) = (sorted[rank.max(1) - 1].min(60_000_000_000), merged.percentile_ns(f64::from(percentile)));
            prop_assert!(found.unwrap().abs_diff(truth) <= truth / 1000 + 1000, "{:?} is not {}", found, truth);
        }
    }
}
