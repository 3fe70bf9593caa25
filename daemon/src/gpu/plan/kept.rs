//! What is kept for shapes that come again, within a number of bytes: what was used the longest ago goes first. It is taken
//! out to be used and put back afterwards, so that nothing that failed stays. Pure; what goes is given back, so that whoever
//! holds memory for it can free it.

use std::collections::BTreeMap;

/// What a plan is made for: the shapes of its inputs.
pub type Shapes = Vec<Vec<usize>>;

/// See the module.
#[derive(Debug)]
pub struct Kept<V> {
    budget_bytes: usize,
    used_bytes: usize,
    uses: u64,
    entries: BTreeMap<Shapes, Entry<V>>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    last_use: u64,
}

impl<V> Kept<V> {
    /// Nothing yet, and at most so many bytes.
    pub fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, used_bytes: 0, uses: 0, entries: BTreeMap::new() }
    }

    /// Takes out what is kept for these shapes.
    pub fn take(&mut self, shapes: &Shapes) -> Option<V> {
        let entry = self.entries.remove(shapes)?;
        self.used_bytes -= entry.bytes;
        Some(entry.value)
    }

    /// Keeps something of so many bytes, as what was used last; gives back what has to go for it, itself if it alone is more
    /// than the budget.
    pub fn put(&mut self, shapes: Shapes, value: V, bytes: usize) -> Vec<V> {
        if bytes > self.budget_bytes {
            return vec![value];
        }
        let mut gone: Vec<V> = self.take(&shapes).into_iter().collect();
        while self.used_bytes + bytes > self.budget_bytes {
            gone.extend(self.drop_oldest());
        }
        self.uses += 1;
        self.used_bytes += bytes;
        self.entries.insert(shapes, Entry { value, bytes, last_use: self.uses });
        gone
    }

    /// Lets go of what was used the longest ago.
    pub fn drop_oldest(&mut self) -> Option<V> {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last_use)?.0.clone();
        self.take(&oldest)
    }

    /// Bytes of all that is kept.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shapes(batch: usize) -> Shapes {
        vec![vec![batch, 3]]
    }

    #[test]
    fn what_was_used_the_longest_ago_goes_first() {
        let mut kept = Kept::new(10);
        assert!(kept.put(shapes(1), 'a', 4).is_empty());
        assert!(kept.put(shapes(2), 'b', 4).is_empty());
        let a = kept.take(&shapes(1)).expect("kept");
        assert_eq!((a, kept.used_bytes()), ('a', 4));
        assert!(kept.put(shapes(1), a, 4).is_empty());
        assert_eq!(kept.put(shapes(3), 'c', 4), ['b']);
        assert_eq!((kept.take(&shapes(2)), kept.used_bytes(), kept.len()), (None, 8, 2));
        assert_eq!(kept.put(shapes(4), 'd', 11), ['d'], "it alone is too much");
        assert_eq!(kept.put(shapes(1), 'e', 5), ['a'], "the one in its place goes");
        assert_eq!((kept.used_bytes(), kept.is_empty()), (9, false));
    }

    proptest! {
        #[test]
        fn bytes_are_those_of_what_is_kept(puts in proptest::collection::vec((0_usize..6, 1_usize..30), 0..60)) {
            let mut kept = Kept::new(20);
            let mut alive = 0;
            for (batch, bytes) in puts {
                alive += bytes;
                alive -= kept.put(shapes(batch), bytes, bytes).iter().sum::<usize>();
                prop_assert_eq!(kept.used_bytes(), alive);
                prop_assert!(alive <= 20);
            }
        }
    }
}
