//! Intervals of shares, and the design effect that widens them.

use proofload_run::findings::Share;

use super::BySecond;

/// The normal quantile of a two-sided 95 % interval.
pub(super) const Z: f64 = 1.959_963_984_540_054;

/// With fewer blocks than this their spread says nothing, and samples are taken as independent.
pub(super) const MIN_BLOCKS: usize = 5;

/// Hits and samples of every block of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hits {
    of_block: BySecond<(u32, u32)>,
}

impl Hits {
    /// Counts a sample of a block.
    pub(crate) fn add(&mut self, block: u32, hit: bool) {
        let (hits, n) = self.of_block.at(block);
        *hits += u32::from(hit);
        *n += 1;
    }

    /// Their share with Wilson's interval at the effective number of samples.
    pub(crate) fn share(&self) -> Share {
        let blocks = self.of_block.iter().map(|(_, (hits, n))| (u64::from(*hits), u64::from(*n)));
        let blocks: Vec<(u64, u64)> = blocks.filter(|block| block.1 > 0).collect();
        let (count, n) = blocks.iter().fold((0, 0), |(hits, n), block| (hits + block.0, n + block.1));
        if n == 0 {
            return Share::default();
        }
        let share = count as f64 / n as f64;
        let (low, high) = wilson(share, n as f64 / design_effect(&blocks));
        Share { count, n, share, low, high }
    }
}

impl FromIterator<(u32, bool)> for Hits {
    fn from_iter<I: IntoIterator<Item = (u32, bool)>>(members: I) -> Self {
        let mut hits = Self::default();
        members.into_iter().for_each(|(block, hit)| hits.add(block, hit));
        hits
    }
}

/// By how much the variance of a share over blocks exceeds that of independent samples (Kish's design effect, with
/// blocks of a second as clusters), from the hits and the samples of each block that has samples. At least 1:
/// correlation that would narrow an interval is not believed.
pub(super) fn design_effect(blocks: &[(u64, u64)]) -> f64 {
    let (hits, n) = blocks.iter().fold((0, 0), |(hits, n), block| (hits + block.0, n + block.1));
    if blocks.len() < MIN_BLOCKS || hits == 0 || hits == n {
        return 1.0;
    }
    let (count, n) = (blocks.len() as f64, n as f64);
    let share = hits as f64 / n;
    let spread: f64 = blocks.iter().map(|&(h, m)| (h as f64 - share * m as f64).powi(2)).sum();
    (spread * count / (count - 1.0) / (n * share * (1.0 - share))).max(1.0)
}

/// Wilson's score interval.
fn wilson(share: f64, n: f64) -> (f64, f64) {
    let z2 = Z * Z;
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    ((centre - half).clamp(0.0, share), (centre + half).clamp(share, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(members: impl Iterator<Item = (u32, bool)>) -> Share {
        members.collect::<Hits>().share()
    }

    #[test]
    fn wilson_matches_published_values() {
        let check = |count: f64, n: f64, low: f64, high: f64| {
            let (l, h) = wilson(count / n, n);
            assert!((l - low).abs() < 5e-4 && (h - high).abs() < 5e-4, "{count}/{n}: {l} {h}");
        };
        // Newcombe 1998, table I.
        check(81.0, 263.0, 0.2553, 0.3662);
        check(15.0, 148.0, 0.0624, 0.1605);
        check(0.0, 20.0, 0.0, 0.1611);
        check(1.0, 29.0, 0.0061, 0.1718);
    }

    #[test]
    fn blocks_that_agree_leave_the_interval_and_bursts_widen_it() {
        let spread_out = share((0..1000).map(|i| (i / 100, i % 10 == 0)));
        let in_one_burst = share((0..1000).map(|i| (i / 100, i < 100)));
        assert_eq!(spread_out.count, in_one_burst.count);
        assert!((spread_out.high - 0.1202).abs() < 1e-3, "{spread_out:?}");
        assert!(in_one_burst.high > 0.4, "all bad ones in one second: {in_one_burst:?}");
    }

    proptest! {
        /// An interval holds its share and lies within 0 to 1, and the order of the samples is all the same.
        #[test]
        fn intervals_hold_their_share(members in proptest::collection::vec((0u32..20, any::<bool>()), 0..400)) {
            let s = share(members.iter().copied());
            prop_assert_eq!(s.n, members.len() as u64);
            prop_assert!(0.0 <= s.low && s.low <= s.share && s.share <= s.high && s.high <= 1.0);
            prop_assert_eq!(s, share(members.into_iter().rev()));
        }
    }
}
