//! Statistics of raw samples: exact percentiles, means, shares, and their intervals. Knows numbers and blocks of
//! time, not requests.
//!
//! Samples are looked at one by one and never kept, however many there are: the first look counts them in bins, and
//! further looks gather the few that can be the value of a wanted rank (`bins`, `search`). What comes out is one of
//! the samples, as if all had been sorted.
//!
//! Neighbouring requests are not independent: they share queues, batches and pauses. Every interval here is
//! therefore widened by a design effect measured on the run itself: how much more a share differs from one second
//! to the next than it would if requests were independent.

mod bins;
mod by_second;
mod distribution;
mod interval;
mod moments;
mod percentiles;
mod population;
mod search;

pub(crate) use by_second::BySecond;
pub(crate) use distribution::Distribution;
pub(crate) use interval::Hits;
pub(crate) use percentiles::Percentiles;
pub(crate) use population::Population;

use proofload_run::units::NS_PER_S;

/// Blocks are counted in tables with a place for each; a time beyond this (46 days) shares the last one.
const MAX_BLOCK: u32 = 4_000_000;

/// So many samples must lie beyond a percentile before it is more than one unlucky request.
const ENOUGH_BEYOND: f64 = 10.0;

/// The block of time, a second, that a sample belongs to.
pub(crate) fn block(t_ns: u64) -> u32 {
    u32::try_from(t_ns / NS_PER_S).unwrap_or(MAX_BLOCK).min(MAX_BLOCK)
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
}
