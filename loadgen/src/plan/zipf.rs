//! Popularity by Zipf's law: item k of n is asked for in proportion to 1 / k^exponent. What an item is, is not its
//! affair.

use std::sync::Arc;

use rand_pcg::Pcg64;

use super::uniform;

/// See the module. Eight bytes of memory an item.
#[derive(Debug, Clone, PartialEq)]
pub struct Zipf {
    cumulative: Arc<[f64]>,
}

impl Zipf {
    /// A law over `items`, 1 or more; an exponent of 0 makes all alike.
    pub fn new(items: u32, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=items.max(1)).map(|rank| {
            sum += libm::pow(f64::from(rank), -exponent);
            sum
        });
        Self { cumulative: weights.collect() }
    }

    /// Draws an item, from 0, the most popular first.
    pub(super) fn draw(&self, rng: &mut Pcg64) -> u32 {
        let total = self.cumulative.last().copied().unwrap_or(1.0);
        let at = uniform(rng) * total;
        let item = self.cumulative.partition_point(|bound| *bound <= at);
        item.min(self.cumulative.len() - 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_by_their_rank() {
        let zipf = Zipf::new(1000, 1.2);
        let mut rng = super::super::stream(1, 1);
        let mut counts = [0u32; 1000];
        for _ in 0..1_000_000 {
            counts[zipf.draw(&mut rng) as usize] += 1;
        }
        let total: f64 = (1..=1000).map(|rank| f64::from(rank).powf(-1.2)).sum();
        for rank in [1usize, 2, 3, 10, 100] {
            let expected = 1e6 * (rank as f64).powf(-1.2) / total;
            let off = (f64::from(counts[rank - 1]) - expected).abs();
            assert!(off < 5.0 * expected.sqrt(), "rank {rank}: {} instead of {expected}", counts[rank - 1]);
        }
    }

    #[test]
    fn an_exponent_of_zero_makes_all_alike_and_one_item_is_always_drawn() {
        let mut rng = super::super::stream(1, 1);
        let even = Zipf::new(4, 0.0);
        let mut counts = [0u32; 4];
        (0..40_000).for_each(|_| counts[even.draw(&mut rng) as usize] += 1);
        assert!(counts.iter().all(|n| n.abs_diff(10_000) < 433), "{counts:?}");
        assert_eq!(Zipf::new(1, 1.0).draw(&mut rng), 0);
    }
}
