//! Further looks at a set of numbers, for the one of a rank: those in its range are gathered while they are few, and
//! counted in narrower ranges otherwise. So it is found exactly, in memory that does not grow with their number.

use std::ops::RangeInclusive;

use super::bins::{Cell, value};

/// So many are gathered at most.
const GATHERED: u64 = 16_384;
/// Into so many ranges a range is divided.
const PARTS: u64 = 1024;

/// A part of a range.
#[derive(Debug, Clone, Copy)]
struct Part {
    n: u64,
    least: u64,
    most: u64,
}

impl Part {
    const EMPTY: Self = Self { n: 0, least: u64::MAX, most: 0 };

    fn add(&mut self, key: u64) {
        self.n += 1;
        self.least = self.least.min(key);
        self.most = self.most.max(key);
    }
}

/// What a look takes down.
#[derive(Debug, Clone)]
enum Look {
    Gather(Vec<u64>),
    Divide(Box<[Part]>),
    /// The key.
    Found(u64),
}

/// See the module. Every look is [`Search::add`] for all numbers of the set, then [`Search::turn`].
#[derive(Debug, Clone)]
pub(super) struct Search {
    keys: RangeInclusive<u64>,
    rank: u64,
    look: Look,
}

impl Search {
    /// For the number that lies there. Whole numbers are found sooner when it is known that there are no others.
    pub(super) fn new(cell: Cell, are_whole: bool) -> Self {
        let (keys, look) = match cell.only(are_whole) {
            Some(key) => (key..=key, Look::Found(key)),
            None if cell.n <= GATHERED => (cell.keys, Look::Gather(Vec::new())),
            None => (cell.keys, Look::Divide(vec![Part::EMPTY; PARTS as usize].into())),
        };
        Self { keys, rank: cell.rank, look }
    }

    /// The number's key, once it is found.
    pub(super) fn key(&self) -> Option<u64> {
        if let Look::Found(key) = self.look { Some(key) } else { None }
    }

    /// The number, once it is found.
    pub(super) fn found(&self) -> Option<f64> {
        self.key().map(value)
    }

    /// The last key that it asks for: of searches for ascending ranks of one set the last keys ascend, too.
    pub(super) fn last_key(&self) -> u64 {
        *self.keys.end()
    }

    /// Whether a key may be the one.
    pub(super) fn covers(&self, key: u64) -> bool {
        self.keys.contains(&key)
    }

    /// Whether it will be found by this look, and which keys are gathered for it.
    pub(super) fn gathers(&self) -> Option<&RangeInclusive<u64>> {
        matches!(self.look, Look::Gather(_)).then_some(&self.keys)
    }

    /// Looks at a number.
    pub(super) fn add(&mut self, key: u64) {
        if !self.keys.contains(&key) {
            return;
        }
        let (from, width) = (*self.keys.start(), self.width());
        match &mut self.look {
            Look::Gather(keys) => keys.push(key),
            Look::Divide(parts) => parts[((key - from) / width) as usize].add(key),
            Look::Found(_) => {}
        }
    }

    /// Of a part.
    fn width(&self) -> u64 {
        (self.keys.end() - self.keys.start()) / PARTS + 1
    }

    /// The look is over. Says whether another is wanted.
    pub(super) fn turn(&mut self) -> bool {
        let next = match &mut self.look {
            Look::Found(_) => return false,
            Look::Gather(keys) => {
                let at = (self.rank as usize).min(keys.len()).saturating_sub(1);
                // A set that has changed between two looks is no set; its range is then all that is known.
                let found = if keys.is_empty() { *self.keys.start() } else { *keys.select_nth_unstable(at).1 };
                (self.keys, self.look) = (found..=found, Look::Found(found));
                return false;
            }
            Look::Divide(parts) => narrowed(parts, self.rank),
        };
        *self = Self::new(next, false);
        self.key().is_none()
    }
}

/// The part in which a rank lies, as narrow as what lies in it.
fn narrowed(parts: &[Part], rank: u64) -> Cell {
    let mut rank = rank;
    let holds = |part: &&Part| {
        let behind = rank > part.n;
        rank -= if behind { part.n } else { 0 };
        !behind
    };
    let part = parts.iter().find(holds).copied().unwrap_or(Part { n: 0, least: 0, most: 0 });
    Cell { keys: part.least..=part.most, rank, n: part.n }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::bins::key;
    use proptest::prelude::*;

    /// The number of a rank, and in how many looks it was found.
    fn search(numbers: &[f64], rank: u64, are_whole: bool) -> (f64, u32) {
        let keys = || numbers.iter().map(|number| key(*number));
        let range = keys().min().unwrap()..=keys().max().unwrap();
        let mut search = Search::new(Cell { keys: range, rank, n: numbers.len() as u64 }, are_whole);
        let mut looks = 0;
        while search.key().is_none() {
            keys().for_each(|key| search.add(key));
            looks += 1;
            assert_eq!(search.turn(), search.key().is_none());
        }
        (search.found().unwrap(), looks)
    }

    #[test]
    fn few_take_one_look_and_many_a_few() {
        let check =
            |numbers: &[f64], rank: u64, expected: (f64, u32)| assert_eq!(search(numbers, rank, true), expected);
        check(&[5.0, 3.0, 9.0, 3.0], 3, (5.0, 1));
        check(&[7.0; 3], 2, (7.0, 0));
        let many: Vec<f64> = (0..100_000).map(|number| f64::from(number) + 1e9).collect();
        check(&many, 77_778, (1e9 + 77_777.0, 2));
        let mut same = vec![4.5; 100_000];
        check(&same, 50_000, (4.5, 0));
        same.extend([1.0, 8.0]);
        check(&same, 50_000, (4.5, 1));
    }

    proptest! {
        /// Whatever the numbers and however many are the same, what is found is what sorting gives.
        #[test]
        fn what_is_found_is_what_sorting_gives(
            numbers in proptest::collection::vec(-1e6..1e12_f64, 1..60),
            clones in 1_usize..600,
            at in 0.0..1.0_f64,
        ) {
            let all: Vec<f64> = numbers.iter().flat_map(|number| std::iter::repeat_n(*number, clones)).collect();
            let mut sorted = all.clone();
            sorted.sort_by(f64::total_cmp);
            let index = (at * all.len() as f64) as usize;
            prop_assert_eq!(search(&all, index as u64 + 1, false).0.to_bits(), sorted[index].to_bits());
        }
    }
}
