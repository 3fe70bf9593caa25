//! Keeps results back until those before them are there: `preserve_ordering`. Pure.

use std::collections::VecDeque;

/// Results in the order in which their places were taken.
#[derive(Debug)]
pub struct InOrder<T> {
    /// The number of the first place that has not been given out.
    first: u64,
    places: VecDeque<Option<T>>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self { first: 0, places: VecDeque::new() }
    }
}

impl<T> InOrder<T> {
    /// Takes the next place. Whoever takes one must fill it, or all behind it wait for ever.
    pub fn reserve(&mut self) -> u64 {
        self.places.push_back(None);
        self.first + (self.places.len() as u64 - 1)
    }

    /// Fills a place, and gives out all results that no empty place is before.
    pub fn fill(&mut self, place: u64, result: T) -> Vec<T> {
        let index = place.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(slot) = index.and_then(|index| self.places.get_mut(index)) {
            *slot = Some(result);
        }
        let ready = self.places.iter().take_while(|slot| slot.is_some()).count();
        self.first += ready as u64;
        self.places.drain(..ready).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In whatever order places are filled, results come out once each, in the order of their places, and none
        /// waits once all before it are there.
        #[test]
        fn results_come_out_in_order(order in (1usize..40).prop_flat_map(|count| Just((0..count).collect::<Vec<_>>()).prop_shuffle())) {
            let mut kept = InOrder::default();
            let places: Vec<_> = order.iter().map(|_| kept.reserve()).collect();
            let (mut filled, mut out) = (vec![false; order.len()], Vec::new());
            for index in order {
                out.extend(kept.fill(places[index], index));
                filled[index] = true;
                let due = filled.iter().take_while(|filled| **filled).count();
                prop_assert_eq!(&out, &(0..due).collect::<Vec<_>>());
            }
        }
    }
}
