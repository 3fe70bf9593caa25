//! Three Redis on a ring: keys are spread, and when one dies only its own are computed again and go to the others.

use proofload_daemon::cache::Layer;

use crate::redis::{Redis, until};
use crate::shared::{Came, Shared};

/// Where a node stands on the ring depends on its port, and how many keys it gets on chance: with so many its share is known to a hundredth.
const KEYS: u32 = 3000;

async fn asked(shared: &Shared) -> (u32, u32) {
    let (mut found, mut computed) = (0, 0);
    for number in 0..KEYS {
        match shared.ask(number).await {
            Came::Found(Layer::L2) => found += 1,
            Came::Computed => computed += 1,
            Came::Found(layer) => panic!("{number} was found in {layer:?}"),
        }
    }
    (found, computed)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_of_three_dies_and_comes_back() {
    let mut nodes = [Redis::start().await, Redis::start().await, Redis::start().await];
    let urls = nodes.each_ref().map(Redis::url);
    let first = Shared::with(&urls).await;
    assert_eq!(asked(&first).await, (0, KEYS));
    first.until_settled(KEYS.into()).await;
    let shares = first.said().nodes;
    assert!((shares.iter().map(|node| node.key_share).sum::<f64>() - 1.0).abs() < 1e-6);
    let mut held = [0; 3];
    for (node, held) in nodes.iter().zip(&mut held) {
        *held = node.names().await.len() - usize::from(node.names().await.contains(&"proofload:generation".to_owned()));
    }
    assert_eq!(held.iter().sum::<usize>(), KEYS as usize, "each answer is with one node: {held:?}");
    let fair = KEYS as usize / 3;
    assert!(held.iter().all(|held| held.abs_diff(fair) < fair / 2), "{held:?}");

    nodes[0].kill();
    let lost = u32::try_from(held[0]).unwrap();
    until("it is seen to be down", async || first.nodes_up() == 2).await;
    let second = Shared::unconnected(&urls, false, crate::shared::BUDGET);
    second.until_up(2).await;
    assert_eq!(asked(&second).await, (KEYS - lost, lost), "only what was with the dead one is computed again");
    assert!(f64::from(lost) / f64::from(KEYS) <= 1.0 / 3.0 + 0.05, "{lost} of {KEYS} keys moved");
    second.until_settled(lost.into()).await;
    let third = Shared::unconnected(&urls, false, crate::shared::BUDGET);
    third.until_up(2).await;
    assert_eq!(asked(&third).await, (KEYS, 0), "and then all are there again");

    nodes[0].up().await;
    let last = Shared::with(&urls).await;
    let (found, computed) = asked(&last).await;
    assert_eq!((found, computed), (KEYS - lost, lost), "it has its keys again, and nobody else's");
}

/// A connection that breaks in the middle of a request: the request is served, by the next node or by computing.
#[tokio::test(flavor = "multi_thread")]
async fn dying_in_the_middle_fails_nothing() {
    let mut nodes = [Redis::start().await, Redis::start().await];
    let urls = nodes.each_ref().map(Redis::url);
    let shared = Shared::with(&urls).await;
    for number in 0..200 {
        if number == 50 {
            nodes[1].kill();
        }
        assert_eq!(shared.ask(number).await, Came::Computed);
    }
    shared.until_settled(200).await;
    assert_eq!(shared.nodes_up(), 1);
}
