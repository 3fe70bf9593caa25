//! One tree of the forest: grown of a few rows by cutting at random, walked to find how soon a row is alone. Knows no
//! other tree and makes no scores.

use rand_core::RngCore;
use serde::{Deserialize, Serialize};

use super::mean_depth;

/// What a leaf has instead of a column.
const LEAF: u32 = u32::MAX;

/// A cut, or a leaf: 16 bytes, so that a tree of 256 rows is 8 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Node {
    /// Where it cuts; of a leaf, the depth at which its rows would be alone.
    value: f64,
    /// Which column it cuts, or [`LEAF`].
    column: u32,
    /// Where the rows below the cut go on; the others go on at the next place.
    below: u32,
}

/// A tree as a list of nodes, the root first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// How deep a row gets, and how much deeper it would, were the tree grown to its end.
    pub(super) fn depth(&self, row: &[f64]) -> f64 {
        let mut node = self.nodes[0];
        while node.column != LEAF {
            // What is no number is not below anything, and so goes with the large.
            let is_below = row[node.column as usize] < node.value;
            node = self.nodes[(node.below + u32::from(!is_below)) as usize];
        }
        node.value
    }
}

/// Grows trees of the same rows, one after the other, in memory of its own.
#[derive(Debug)]
pub(super) struct Grower<'a> {
    values: &'a [f64],
    columns: usize,
    rows_per_tree: usize,
    /// Deeper than this a tree is not grown: what is still together there is ordinary.
    deepest: usize,
    /// All rows; those of the tree at the front.
    rows: Vec<u32>,
    /// Columns that are still to be tried at a cut.
    untried: Vec<u32>,
}

impl<'a> Grower<'a> {
    pub(super) fn new(values: &'a [f64], columns: usize, rows_per_tree: usize) -> Self {
        let rows = u32::try_from(values.len() / columns).unwrap_or(u32::MAX);
        let deepest = rows_per_tree.next_power_of_two().ilog2() as usize;
        let untried = Vec::with_capacity(columns);
        Self { values, columns, rows_per_tree, deepest, rows: (0..rows).collect(), untried }
    }

    pub(super) fn grow(&mut self, chance: &mut impl RngCore) -> Tree {
        self.draw(chance);
        let mut nodes = vec![Node { value: 0.0, column: LEAF, below: 0 }];
        let mut open = vec![(0, 0, self.rows_per_tree, 0)];
        while let Some((place, from, to, depth)) = open.pop() {
            let cut = if depth < self.deepest && to - from > 1 { self.cut(from, to, chance) } else { None };
            let Some((column, value)) = cut else {
                nodes[place].value = depth as f64 + mean_depth(to - from);
                continue;
            };
            let middle = self.part(from, to, column, value);
            let below = nodes.len();
            nodes[place] = Node { value, column, below: below as u32 };
            nodes.extend([Node { value: 0.0, column: LEAF, below: 0 }; 2]);
            open.extend([(below, from, middle, depth + 1), (below + 1, middle, to, depth + 1)]);
        }
        Tree { nodes }
    }

    /// Draws the rows of the next tree without replacement. Begins with the rows in order, so that a tree depends on
    /// its own chance alone.
    fn draw(&mut self, chance: &mut impl RngCore) {
        (0..).zip(&mut self.rows).for_each(|(number, row)| *row = number);
        for place in 0..self.rows_per_tree {
            let other = place + below(chance, self.rows.len() - place);
            self.rows.swap(place, other);
        }
    }

    /// A column in which the rows differ, and where to cut it.
    fn cut(&mut self, from: usize, to: usize, chance: &mut impl RngCore) -> Option<(u32, f64)> {
        self.untried.clear();
        self.untried.extend(0..self.columns as u32);
        while !self.untried.is_empty() {
            let drawn = below(chance, self.untried.len());
            let column = self.untried.swap_remove(drawn);
            let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
            for row in &self.rows[from..to] {
                let value = self.value(*row, column);
                (low, high) = (low.min(value), high.max(value));
            }
            if low < high {
                // In (low, high], so that neither side is empty, however close the two are.
                let cut = high - (high - low) * unit(chance);
                return Some((column, if cut > low { cut } else { high }));
            }
        }
        None
    }

    /// Puts the rows below the cut before the others; says where the others begin.
    fn part(&mut self, from: usize, to: usize, column: u32, cut: f64) -> usize {
        let mut middle = from;
        for place in from..to {
            if self.value(self.rows[place], column) < cut {
                self.rows.swap(place, middle);
                middle += 1;
            }
        }
        middle
    }

    fn value(&self, row: u32, column: u32) -> f64 {
        self.values[row as usize * self.columns + column as usize]
    }
}

/// A whole number below `n`, each as likely but for less than one in 2^32 / n.
fn below(chance: &mut impl RngCore, n: usize) -> usize {
    ((u64::from(chance.next_u32()) * n as u64) >> 32) as usize
}

/// In [0, 1).
fn unit(chance: &mut impl RngCore) -> f64 {
    (chance.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}
