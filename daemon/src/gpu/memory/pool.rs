//! Memory that is taken from a driver in large blocks and handed out in pieces: the smallest free piece that is large enough
//! is split, and neighbours that are free become one again. It knows offsets and sizes; whose memory it is and where it lies
//! is for whoever keeps the blocks. Pure.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::gpu::plan::memory::ALIGNMENT_BYTES;

const ALIGNMENT: u64 = ALIGNMENT_BYTES as u64;
/// The driver hands memory out in pages of this size.
const PAGE: u64 = 2 << 20;
/// As large as a block is where the budget allows it: few calls to the driver, and room for several plans.
const BLOCK: u64 = 128 << 20;
/// A block is no larger part of the budget than this, unless one piece of it has to be.
const PART_OF_BUDGET: u64 = 16;

/// The number of a block.
pub type BlockId = u32;

/// A piece that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// In which block.
    pub block: BlockId,
    /// Bytes from its beginning.
    pub offset: u64,
    /// Its size, with what it was rounded up by.
    pub bytes: u64,
}

/// What the blocks look like.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, JsonSchema)]
#[schemars(rename = "GpuMemoryPool")]
pub struct Figures {
    /// Bytes of all blocks: what the driver has given.
    pub reserved_bytes: u64,
    /// Bytes that are handed out.
    pub used_bytes: u64,
    /// The largest piece that could be handed out without another block.
    pub largest_free_bytes: u64,
    /// Bytes of blocks in which nothing is handed out.
    pub unused_block_bytes: u64,
    /// How many blocks there are.
    pub blocks: usize,
    /// How many free pieces.
    pub free_pieces: usize,
    /// The share of the free bytes that does not lie in the largest free piece: 0 where all of it does.
    pub fragmentation: f64,
}

/// A piece of a block, free or not.
#[derive(Debug, Clone, Copy)]
struct Segment {
    bytes: u64,
    free: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Pool {
    blocks: BTreeMap<BlockId, u64>,
    /// All of every block, by block and offset: free ones have no free neighbour.
    segments: BTreeMap<(BlockId, u64), Segment>,
    /// The free ones, by size.
    free: BTreeSet<(u64, BlockId, u64)>,
    next: BlockId,
    reserved: u64,
    used: u64,
}

/// How many bytes are handed out for so many.
pub fn rounded(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(ALIGNMENT)
}

/// The sizes of a block to ask the driver for, best first, when a piece of `bytes` finds no room and `left` bytes of the
/// budget are not reserved; none where it cannot be had.
pub fn block_sizes(bytes: u64, left: u64, budget: u64) -> Vec<u64> {
    let least = rounded(bytes).next_multiple_of(PAGE);
    let usual = BLOCK.min(budget / PART_OF_BUDGET).next_multiple_of(PAGE);
    let mut sizes = vec![least.max(usual), least, rounded(bytes)];
    sizes.retain(|size| *size <= left);
    sizes.dedup();
    sizes
}

impl Pool {
    /// Takes in a block of so many bytes, all of it free.
    pub fn add(&mut self, bytes: u64) -> BlockId {
        let block = self.next;
        self.next += 1;
        self.blocks.insert(block, bytes);
        self.reserved += bytes;
        self.insert_free(block, 0, bytes);
        block
    }

    /// Hands out a piece of at least so many bytes; `None` where there is no room.
    pub fn take(&mut self, bytes: u64) -> Option<Piece> {
        let bytes = rounded(bytes);
        let (found, block, offset) = self.free.range((bytes, 0, 0)..).next().copied()?;
        self.free.remove(&(found, block, offset));
        self.segments.insert((block, offset), Segment { bytes, free: false });
        if found > bytes {
            self.insert_free(block, offset + bytes, found - bytes);
        }
        self.used += bytes;
        Some(Piece { block, offset, bytes })
    }

    /// Takes a piece back. Says whether it was one that was handed out; if not, nothing changes.
    pub fn give(&mut self, piece: Piece) -> bool {
        let Piece { block, offset, bytes } = piece;
        let known = self.segments.get(&(block, offset));
        if known.is_none_or(|segment| segment.free || segment.bytes != bytes) {
            return false;
        }
        self.used -= bytes;
        let (mut from, mut to) = (offset, offset + bytes);
        if let Some(after) = self.segments.get(&(block, to)).copied().filter(|after| after.free) {
            self.remove_free(block, to, after.bytes);
            to += after.bytes;
        }
        let before = self.segments.range((block, 0)..(block, offset)).next_back();
        if let Some((at, before)) = before.map(|((_, at), before)| (*at, *before)).filter(|(_, before)| before.free) {
            self.remove_free(block, at, before.bytes);
            from = at;
        }
        self.segments.remove(&(block, offset));
        self.insert_free(block, from, to - from);
        true
    }

    /// Lets go of a block in which nothing is handed out.
    fn remove(&mut self, block: BlockId, bytes: u64) {
        self.remove_free(block, 0, bytes);
        self.blocks.remove(&block);
        self.reserved -= bytes;
    }

    /// Lets go of every block in which nothing is handed out, and says which they were, with their sizes.
    pub fn trim(&mut self) -> Vec<(BlockId, u64)> {
        let unused: Vec<_> = self.unused().collect();
        for (block, bytes) in &unused {
            self.remove(*block, *bytes);
        }
        unused
    }

    fn unused(&self) -> impl Iterator<Item = (BlockId, u64)> {
        let is_unused = |(block, bytes): &(&BlockId, &u64)| self.free.contains(&(**bytes, **block, 0));
        self.blocks.iter().filter(is_unused).map(|(block, bytes)| (*block, *bytes))
    }

    /// What it looks like.
    pub fn figures(&self) -> Figures {
        let largest = self.free.last().map_or(0, |(bytes, ..)| *bytes);
        let free = self.reserved - self.used;
        Figures {
            reserved_bytes: self.reserved,
            used_bytes: self.used,
            largest_free_bytes: largest,
            unused_block_bytes: self.unused().map(|(_, bytes)| bytes).sum(),
            blocks: self.blocks.len(),
            free_pieces: self.free.len(),
            fragmentation: if free == 0 { 0.0 } else { 1.0 - largest as f64 / free as f64 },
        }
    }

    fn insert_free(&mut self, block: BlockId, offset: u64, bytes: u64) {
        self.segments.insert((block, offset), Segment { bytes, free: true });
        self.free.insert((bytes, block, offset));
    }

    fn remove_free(&mut self, block: BlockId, offset: u64, bytes: u64) {
        self.segments.remove(&(block, offset));
        self.free.remove(&(bytes, block, offset));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_smallest_piece_that_is_large_enough_is_split() {
        let mut pool = Pool::default();
        assert_eq!(pool.take(1), None);
        let block = pool.add(4096);
        let piece = |offset, bytes| Piece { block, offset, bytes };
        let taken: Vec<_> = [1024, 1, 512, 300].into_iter().filter_map(|bytes| pool.take(bytes)).collect();
        assert_eq!(taken, [piece(0, 1024), piece(1024, 256), piece(1280, 512), piece(1792, 512)]);
        assert!(pool.give(taken[0]) && pool.give(taken[2]));
        // 512 free at 1280, 1024 at 0, the rest from 2304 on.
        assert_eq!(pool.take(400), Some(piece(1280, 512)));
        assert_eq!(pool.take(600), Some(piece(0, 768)));
        assert_eq!(pool.take(1793), None);
        assert!(!pool.give(piece(0, 512)) && !pool.give(piece(1, 256)) && !pool.give(piece(2304, 1792)));
        let figures = pool.figures();
        assert_eq!((figures.used_bytes, figures.largest_free_bytes, figures.free_pieces), (2048, 1792, 2));
        assert!((figures.fragmentation - 256.0 / 2048.0).abs() < 1e-12);
        assert_eq!(pool.trim(), []);
    }

    #[test]
    fn blocks_are_large_where_the_budget_allows_it() {
        let (mib, gib) = (1 << 20, 1 << 30);
        let check = |bytes: u64, left: u64, budget: u64, expected: &[u64]| {
            assert_eq!(block_sizes(bytes, left, budget), expected, "{bytes} of {left} of {budget}");
        };
        check(1, 10 * gib, 10 * gib, &[128 * mib, 2 * mib, 256]);
        check(300 * mib + 1, 10 * gib, 10 * gib, &[302 * mib, 300 * mib + 256]);
        check(5 * mib, 7 * mib, 64 * mib, &[6 * mib, 5 * mib]);
        check(mib, mib, 64 * mib, &[mib]);
        check(mib + 1, mib, 64 * mib, &[]);
    }

    /// What a pool does, one after the other.
    #[derive(Debug, Clone)]
    enum Act {
        Add(u64),
        Take(u64),
        Give(usize),
        Trim,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            1 => (1_u64..40).prop_map(|pages| Act::Add(pages * 256)),
            6 => (1_u64..3000).prop_map(Act::Take),
            5 => (0_usize..64).prop_map(Act::Give),
            1 => Just(Act::Trim),
        ];
        proptest::collection::vec(act, 0..200)
    }

    proptest! {
        /// Pieces never overlap, lie within their block and at even places; figures are those of what is handed out; when
        /// all is given back, each block is one free piece and goes.
        #[test]
        fn a_pool_is_what_a_list_of_its_pieces_says(acts in acts()) {
            let mut pool = Pool::default();
            let mut blocks: BTreeMap<BlockId, u64> = BTreeMap::new();
            let mut pieces: Vec<Piece> = Vec::new();
            for act in acts {
                match act {
                    Act::Add(bytes) => _ = blocks.insert(pool.add(bytes), bytes),
                    Act::Take(bytes) => match pool.take(bytes) {
                        Some(piece) => {
                            prop_assert!(piece.bytes >= bytes && piece.bytes < bytes + 256 && piece.offset % 256 == 0);
                            prop_assert!(piece.offset + piece.bytes <= blocks[&piece.block]);
                            let apart = |other: &Piece| {
                                other.block != piece.block
                                    || piece.offset + piece.bytes <= other.offset
                                    || other.offset + other.bytes <= piece.offset
                            };
                            prop_assert!(pieces.iter().all(apart), "{piece:?} in {pieces:?}");
                            pieces.push(piece);
                        }
                        None => prop_assert!(pool.figures().largest_free_bytes < rounded(bytes)),
                    },
                    Act::Give(at) if !pieces.is_empty() => {
                        let piece = pieces.swap_remove(at % pieces.len());
                        prop_assert!(pool.give(piece));
                        prop_assert!(!pool.give(piece), "twice");
                    }
                    Act::Give(_) => {}
                    Act::Trim => for (block, bytes) in pool.trim() {
                        prop_assert_eq!(blocks.remove(&block), Some(bytes));
                        prop_assert!(pieces.iter().all(|piece| piece.block != block));
                    },
                }
                let figures = pool.figures();
                prop_assert_eq!(figures.used_bytes, pieces.iter().map(|piece| piece.bytes).sum::<u64>());
                prop_assert_eq!(figures.reserved_bytes, blocks.values().sum::<u64>());
            }
            for piece in pieces {
                prop_assert!(pool.give(piece));
            }
            let figures = pool.figures();
            prop_assert_eq!((figures.used_bytes, figures.free_pieces), (0, blocks.len()));
            prop_assert_eq!(pool.trim().len(), blocks.len());
            prop_assert_eq!(pool.figures(), Figures::default());
        }
    }
}
