//! The weighted mix: which entry and which of its payloads a request takes.

use rand_core::RngCore;
use rand_pcg::Pcg64;

use super::{Zipf, uniform};

/// Weights and payload counts of the entries.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    cumulative: Vec<f64>,
    payloads: Vec<u32>,
    /// By entry: the law by which its requests repeat, if they do.
    repeats: Vec<Option<Zipf>>,
}

/// What a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Draw {
    /// Index of the entry.
    pub(super) entry: u16,
    /// Index of the payload within the entry.
    pub(super) payload: u32,
    /// Which of a set of contents, where the entry's requests repeat.
    pub(super) item: Option<u32>,
}

impl Mix {
    /// A mix of entries, each with a weight of 0 or more (not all 0) and at least one payload.
    pub fn new(entries: impl IntoIterator<Item = (f64, u32)>) -> Self {
        let mut mix = Self { cumulative: Vec::new(), payloads: Vec::new(), repeats: Vec::new() };
        entries.into_iter().for_each(|(weight, count)| mix.push(weight, count));
        mix
    }

    /// Adds an entry.
    pub(super) fn push(&mut self, weight: f64, payloads: u32) {
        self.cumulative.push(self.cumulative.last().copied().unwrap_or(0.0) + weight);
        self.payloads.push(payloads.max(1));
        self.repeats.push(None);
    }

    /// How many entries.
    pub(super) fn len(&self) -> usize {
        self.payloads.len()
    }

    /// The same mix, in which the contents of an entry's requests repeat by this law.
    #[must_use]
    pub fn repeating(mut self, entry: usize, law: Zipf) -> Self {
        if let Some(repeats) = self.repeats.get_mut(entry) {
            *repeats = Some(law);
        }
        self
    }

    /// Draws an entry and what its request carries.
    pub(super) fn draw(&self, rng: &mut Pcg64) -> Draw {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let at = uniform(rng) * total;
        let entry = self.cumulative.partition_point(|bound| *bound <= at).min(self.payloads.len().saturating_sub(1));
        self.draw_of(entry as u16, rng)
    }

    /// Draws what a request of this entry carries. An item always has the same payload.
    pub(super) fn draw_of(&self, entry: u16, rng: &mut Pcg64) -> Draw {
        let count = self.payloads.get(usize::from(entry)).copied().unwrap_or(1);
        match self.repeats.get(usize::from(entry)).and_then(Option::as_ref) {
            Some(law) => {
                let item = law.draw(rng);
                Draw { entry, payload: item % count, item: Some(item) }
            }
            None => Draw { entry, payload: (rng.next_u64() % u64::from(count)) as u32, item: None },
        }
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
            let Draw { entry, payload, item } = mix.draw(&mut rng);
            assert_eq!(item, None);
            assert!(payload < [1, 5, 4][usize::from(entry)]);
            counts[usize::from(entry)] += 1;
        }
        assert_eq!(counts[1], 0);
        // 10 000 expected; five standard deviations of a binomial are 433.
        assert!(counts[0].abs_diff(10_000) < 433, "{counts:?}");
        assert_eq!(mix.shares(), [0.25, 0.0, 0.75]);
    }

    #[test]
    fn an_item_of_a_repeating_entry_always_has_the_same_payload() {
        let mix = Mix::new([(1.0, 3), (1.0, 2)]).repeating(0, Zipf::new(7, 0.5));
        let mut rng = super::super::stream(7, 1);
        let mut seen = [false; 7];
        for draw in (0..1000).map(|_| mix.draw(&mut rng)) {
            match (draw.entry, draw.item) {
                (0, Some(item)) => {
                    assert_eq!(draw.payload, item % 3);
                    seen[item as usize] = true;
                }
                (entry, item) => assert_eq!((entry, item), (1, None)),
            }
        }
        assert_eq!(seen, [true; 7]);
    }
}
