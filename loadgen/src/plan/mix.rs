//! The weighted mix: which entry and which of its payloads a request takes.

use rand_core::RngCore;
use rand_pcg::Pcg64;

use super::uniform;

/// Weights and payload counts of the entries.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    cumulative: Vec<f64>,
    payloads: Vec<u32>,
}

impl Mix {
    /// A mix of entries, each with a weight of 0 or more (not all 0) and at least one payload.
    pub fn new(entries: impl IntoIterator<Item = (f64, u32)>) -> Self {
        let (mut cumulative, mut payloads, mut sum) = (Vec::new(), Vec::new(), 0.0);
        for (weight, count) in entries {
            sum += weight;
            cumulative.push(sum);
            payloads.push(count.max(1));
        }
        Self { cumulative, payloads }
    }

    /// Draws an entry and a payload.
    pub(super) fn draw(&self, rng: &mut Pcg64) -> (u16, u32) {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let at = uniform(rng) * total;
        let entry = self.cumulative.partition_point(|bound| *bound <= at).min(self.payloads.len().saturating_sub(1));
        let count = self.payloads.get(entry).copied().unwrap_or(1);
        (entry as u16, (rng.next_u64() % u64::from(count)) as u32)
    }

    /// The share of each entry, summing to 1.
    pub fn shares(&self) -> Vec<f64> {
        let total = self.cumulative.last().copied().unwrap_or(1.0);
        let before = std::iter::once(0.0).chain(self.cumulative.iter().copied());
        self.cumulative.iter().zip(before).map(|(bound, before)| (bound - before) / total).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_by_weight_and_a_weight_of_zero_never_comes() {
        let mix = Mix::new([(1.0, 1), (0.0, 5), (3.0, 4)]);
        let mut rng = super::super::stream(7, 1);
        let mut counts = [0u32; 3];
        for _ in 0..40_000 {
            let (entry, payload) = mix.draw(&mut rng);
            assert!(payload < [1, 5, 4][usize::from(entry)]);
            counts[usize::from(entry)] += 1;
        }
        assert_eq!(counts[1], 0);
        // 10 000 expected; five standard deviations of a binomial are 433.
        assert!(counts[0].abs_diff(10_000) < 433, "{counts:?}");
        assert_eq!(mix.shares(), [0.25, 0.0, 0.75]);
    }
}
