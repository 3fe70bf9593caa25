//! Nodes in an order in which each comes after those whose values it takes. Files should have it already; nothing here
//! believes so. Pure.

use std::collections::VecDeque;

use super::{GraphError, Node};

/// The nodes in order, the same for the same nodes. `values` is the number of values there are.
pub(super) fn sorted(nodes: Vec<Node>, values: usize) -> Result<Vec<Node>, GraphError> {
    let mut giver = vec![None; values];
    for (at, node) in nodes.iter().enumerate() {
        if let Some(slot) = giver.get_mut(node.output.0) {
            *slot = Some(at);
        }
    }
    let needs = |node: &Node| -> Vec<usize> {
        node.inputs.iter().flatten().filter_map(|value| giver.get(value.0).copied().flatten()).collect()
    };
    let mut waiting: Vec<usize> = nodes.iter().map(|node| needs(node).len()).collect();
    let mut takers = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        needs(node).into_iter().for_each(|giver| takers[giver].push(at));
    }
    let mut ready: VecDeque<usize> = (0..nodes.len()).filter(|at| waiting[*at] == 0).collect();
    let mut slots: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    let mut sorted = Vec::with_capacity(slots.len());
    while let Some(at) = ready.pop_front() {
        sorted.extend(slots[at].take());
        for &taker in &takers[at] {
            waiting[taker] -= 1;
            if waiting[taker] == 0 {
                ready.push_back(taker);
            }
        }
    }
    match slots.into_iter().flatten().next() {
        Some(node) => Err(GraphError::Cycle { node: node.name.to_string() }),
        None => Ok(sorted),
    }
}
