//! Which node has which key: nodes stand many times on a ring of hashes, and a key belongs to the next one clockwise, as
//! in Karger et al., "Consistent Hashing and Random Trees" (STOC 1997). A node that joins takes keys from the others and
//! moves none between them; a node that is down leaves its keys to those that follow. Pure.

use sha2::{Digest, Sha256};

use crate::cache::key::Key;

/// Places on the ring of a node of weight 1. The share of a node varies by about 1/sqrt(places) of itself: 3 %.
const PLACES: u64 = 1024;
/// Nodes at most: a set of them is a number's bits.
pub const MOST_NODES: usize = 64;

/// The ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// Place and node, in the order of places.
    places: Vec<(u64, usize)>,
    nodes: usize,
}

impl Ring {
    /// A ring of nodes by name and weight, [`MOST_NODES`] of them at most. Places come of names alone, so everybody who
    /// knows the same nodes has the same ring, in whatever order they are named.
    pub fn new<'a>(nodes: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        let mut places = Vec::new();
        let mut count = 0;
        for (index, (name, weight)) in nodes.into_iter().take(MOST_NODES).enumerate() {
            count = index + 1;
            places.extend((0..u64::from(weight) * PLACES).map(|number| (place(name, number), index)));
        }
        places.sort_unstable();
        Self { places, nodes: count }
    }

    /// The nodes in the order in which they are to be asked for a key: its own first, then who has it when that is down.
    pub fn order(&self, key: &Key) -> impl Iterator<Item = usize> + '_ {
        let begin = self.places.partition_point(|(place, _)| *place < position(key));
        let (before, from) = self.places.split_at(begin);
        let mut seen = 0_u64;
        let once = move |node: &usize| {
            let is_new = seen & (1 << node) == 0;
            seen |= 1 << node;
            is_new
        };
        from.iter().chain(before).map(|(_, node)| *node).filter(once).take(self.nodes)
    }

    /// The share of all keys that each node has, 0 to 1.
    pub fn shares(&self) -> Vec<f64> {
        let mut shares = vec![0.0; self.nodes];
        let Some((last, _)) = self.places.last() else { return shares };
        let mut before = *last;
        for (place, node) in &self.places {
            // A ring of one place is all its own.
            let arc = if self.places.len() == 1 { u64::MAX } else { place.wrapping_sub(before) };
            shares[*node] += arc as f64 / u64::MAX as f64;
            before = *place;
        }
        shares
    }
}

fn place(name: &str, number: u64) -> u64 {
    let digest: [u8; 32] = Sha256::new().chain_update(number.to_le_bytes()).chain_update(name).finalize().into();
    first(&digest)
}

fn position(key: &Key) -> u64 {
    first(key.bytes())
}

fn first(bytes: &[u8; 32]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("10.0.0.{index}:6379")).collect()
    }

    fn ring(nodes: &[(String, u32)]) -> Ring {
        Ring::new(nodes.iter().map(|(name, weight)| (name.as_str(), *weight)))
    }

    fn keys(seed: u64) -> impl Iterator<Item = Key> {
        (0..4000_u64).map(move |number| {
            let digest: [u8; 32] =
                Sha256::new().chain_update(seed.to_le_bytes()).chain_update(number.to_le_bytes()).finalize().into();
            Key::from(digest)
        })
    }

    fn owner<'a>(ring: &Ring, nodes: &'a [(String, u32)], key: &Key) -> &'a str {
        &nodes[ring.order(key).next().unwrap()].0
    }

    #[test]
    fn all_nodes_come_in_turn_and_each_once() {
        let nodes: Vec<_> = names(5).into_iter().map(|name| (name, 1)).collect();
        let ring = ring(&nodes);
        for key in keys(1).take(200) {
            let mut order: Vec<_> = ring.order(&key).collect();
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3, 4]);
        }
        assert_eq!(Ring::new([]).order(&Key::from([1; 32])).count(), 0);
        assert_eq!(Ring::new([("a", 1)]).shares().len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Shares sum to one and are as the weights are, and so are the keys that nodes really have.
        #[test]
        fn shares_are_as_weights(weights in proptest::collection::vec(1..6_u32, 1..7), seed: u64) {
            let nodes: Vec<_> = names(weights.len()).into_iter().zip(weights.iter().copied()).collect();
            let (ring, all) = (ring(&nodes), f64::from(weights.iter().sum::<u32>()));
            let shares = ring.shares();
            prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{shares:?}");
            let mut owned = vec![0_u32; nodes.len()];
            keys(seed).for_each(|key| owned[ring.order(&key).next().unwrap()] += 1);
            for (node, weight) in weights.iter().enumerate() {
                let fair = f64::from(*weight) / all;
                prop_assert!((shares[node] - fair).abs() < 0.05, "{shares:?} {weights:?}");
                prop_assert!((f64::from(owned[node]) / 4000.0 - shares[node]).abs() < 0.04, "{owned:?} {shares:?}");
            }
        }

        /// When a node joins n - 1 others, at most 1/n + 5 % of the keys move, and all of them to it; so when it leaves
        /// again, they go back and no other moves.
        #[test]
        fn only_what_a_node_takes_moves(others in 1..9_usize, seed: u64) {
            let all: Vec<_> = names(others + 1).into_iter().map(|name| (name, 1)).collect();
            let (before, after) = (ring(&all[..others]), ring(&all));
            let mut moved = 0;
            for key in keys(seed) {
                let (from, to) = (owner(&before, &all, &key), owner(&after, &all, &key));
                if from != to {
                    prop_assert_eq!(to, all[others].0.as_str());
                    moved += 1;
                }
            }
            let share = f64::from(moved) / 4000.0;
            prop_assert!(share <= 1.0 / all.len() as f64 + 0.05, "{share} of the keys moved to one of {}", all.len());
        }

        /// Who follows a node that is down is who would have its keys if it had never been there; and the order in which
        /// nodes are named is no matter.
        #[test]
        fn the_next_one_has_the_keys_of_one_that_is_down(count in 2..7_usize, down: prop::sample::Index, seed: u64) {
            let all: Vec<_> = names(count).into_iter().map(|name| (name, 1)).collect();
            let down = down.index(count);
            let mut others = all.clone();
            others.remove(down);
            others.reverse();
            let (whole, without) = (ring(&all), ring(&others));
            for key in keys(seed).take(400) {
                let next = whole.order(&key).find(|node| *node != down).unwrap();
                prop_assert_eq!(all[next].0.as_str(), owner(&without, &others, &key));
            }
        }
    }
}
