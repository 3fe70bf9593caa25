//! The first look at a set of numbers: how many there are in each of many narrow ranges, so that the range of any
//! rank is known. While there are few they are kept as they are, in memory that does not grow with their number.

use std::ops::RangeInclusive;

/// So many numbers are kept before they are counted.
const FEW: usize = 4096;
/// Bits of a key below its sign and its power of two.
const MANTISSA: u32 = 52;

/// A number as an integer of the same order, that of `f64::total_cmp`. Equal steps of it are nearly equal factors.
pub(super) fn key(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// The inverse of [`key`].
pub(super) fn value(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

/// How finely is counted, in bits: into so many equal ranges between two powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fineness {
    /// 256: for the many sets of which only some values are wanted.
    Coarse = 8,
    /// 8,192: for sets of all samples, so that a range holds few of them.
    Fine = 13,
}

/// Where the number of a rank lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    /// Its key is one of these.
    pub(super) keys: RangeInclusive<u64>,
    /// Its rank among those that lie there, from 1.
    pub(super) rank: u64,
    /// How many lie there.
    pub(super) n: u64,
}

impl Cell {
    /// The key itself, where no other number can lie.
    pub(super) fn only(&self, are_whole: bool) -> Option<u64> {
        let (from, to) = (*self.keys.start(), *self.keys.end());
        let (first, last) = match are_whole && from != to {
            true => (key(value(from).ceil()), key(value(to).floor())),
            false => (from, to),
        };
        (first == last).then_some(first)
    }
}

/// Counts of the numbers between two powers of two.
#[derive(Debug, Clone)]
struct Page {
    id: u16,
    n: u64,
    counts: Box<[u64]>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Bins {
    fineness: Fineness,
    n: u64,
    few: Vec<u64>,
    /// In ascending order.
    pages: Vec<Page>,
}

impl Bins {
    pub(super) fn new(fineness: Fineness) -> Self {
        Self { fineness, n: 0, few: Vec::new(), pages: Vec::new() }
    }

    /// How many.
    pub(super) fn n(&self) -> u64 {
        self.n
    }

    /// Counts a number.
    pub(super) fn add(&mut self, key: u64) {
        self.n += 1;
        if !self.pages.is_empty() {
            return self.count(key);
        }
        self.few.push(key);
        if self.few.len() > FEW {
            let few = std::mem::take(&mut self.few);
            few.into_iter().for_each(|key| self.count(key));
        }
    }

    fn count(&mut self, key: u64) {
        let (id, bits) = ((key >> MANTISSA) as u16, self.fineness as u32);
        let found = self.pages.binary_search_by_key(&id, |page| page.id);
        let at = found.unwrap_or_else(|at| {
            self.pages.insert(at, Page { id, n: 0, counts: vec![0; 1 << bits].into() });
            at
        });
        let page = &mut self.pages[at];
        page.n += 1;
        page.counts[(key >> (MANTISSA - bits)) as usize & ((1 << bits) - 1)] += 1;
    }

    /// Nothing more comes: makes ready to be asked.
    pub(super) fn settle(&mut self) {
        self.few.sort_unstable();
    }

    /// Where the number of a rank lies, ranks counted from 1; `None` beyond the last.
    pub(super) fn cell(&self, rank: u64) -> Option<Cell> {
        let index = usize::try_from(rank.checked_sub(1)?).ok()?;
        if let Some(key) = self.few.get(index) {
            return Some(Cell { keys: *key..=*key, rank: 1, n: 1 });
        }
        let mut rank = rank;
        let page = self.pages.iter().find(|page| !passed(&mut rank, page.n))?;
        let (slot, n) = (0_u64..).zip(page.counts.iter()).find(|(_, n)| !passed(&mut rank, **n))?;
        let shift = MANTISSA - self.fineness as u32;
        let from = u64::from(page.id) << MANTISSA | slot << shift;
        Some(Cell { keys: from..=from + ((1 << shift) - 1), rank, n: *n })
    }
}

/// Whether a rank lies behind so many numbers; then it is counted from there.
fn passed(rank: &mut u64, n: u64) -> bool {
    let behind = *rank > n;
    *rank -= if behind { n } else { 0 };
    behind
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_keep_the_order() {
        let ascending = [-1e300, -2.0, -1.0, -1e-310, -0.0, 0.0, 1e-310, 0.5, 1.0, 1.0 + f64::EPSILON, 7e9, 1e300];
        for pair in ascending.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
        }
        ascending.iter().for_each(|number| assert_eq!(value(key(*number)).to_bits(), number.to_bits()));
    }

    #[test]
    fn a_range_may_hold_one_whole_number_only() {
        let check = |from: f64, to: f64, are_whole: bool, expected: Option<f64>| {
            let cell = Cell { keys: key(from)..=key(to), rank: 1, n: 1 };
            assert_eq!(cell.only(are_whole), expected.map(key), "{from} to {to}");
        };
        check(0.0, 1e-310, true, Some(0.0));
        check(0.0, 1e-310, false, None);
        check(256.0, 256.9, true, Some(256.0));
        check(256.0, 257.0, true, None);
        check(-1.0, -0.9, true, Some(-1.0));
        check(-257.9, -257.0, true, Some(-257.0));
        check(2.5, 2.5, false, Some(2.5));
    }

    proptest! {
        /// Few or many: the cell of a rank holds the number of that rank, and as many others as it says.
        #[test]
        fn cells_hold_the_number_of_their_rank(
            numbers in proptest::collection::vec(-50_000_i64..50_000_000_000, 1..300),
            repeats in 1_usize..40,
            rank in 1_u64..400,
        ) {
            let mut bins = Bins::new(Fineness::Coarse);
            let mut keys: Vec<u64> = numbers.iter().map(|number| key(*number as f64)).collect();
            (0..repeats).for_each(|_| keys.iter().for_each(|key| bins.add(*key)));
            bins.settle();
            keys.sort_unstable();
            let all: Vec<u64> = keys.iter().flat_map(|key| std::iter::repeat_n(*key, repeats)).collect();
            let cell = bins.cell(rank);
            prop_assert_eq!(cell.is_some(), rank <= all.len() as u64);
            if let Some(cell) = cell {
                let inside: Vec<u64> = all.iter().copied().filter(|key| cell.keys.contains(key)).collect();
                prop_assert_eq!(inside[cell.rank as usize - 1], all[rank as usize - 1]);
                // Of few each stands alone, the same or not.
                prop_assert!(cell.n == inside.len() as u64 || cell.keys.start() == cell.keys.end());
            }
        }
    }
}
