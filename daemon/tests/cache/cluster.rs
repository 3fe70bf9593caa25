//! A Redis Cluster of three masters, which knows itself who has which key.

use std::process::Command;

use proofload_daemon::cache::Layer;

use crate::redis::{Redis, free_port, until};
use crate::shared::{BUDGET, Came, Shared};

async fn cluster() -> [Redis; 3] {
    let node = async || {
        // The bus has a port of its own, ten thousand further, which may be none.
        let bus = free_port().to_string();
        Redis::with(&["--cluster-enabled", "yes", "--cluster-port", &bus]).await
    };
    let nodes = [node().await, node().await, node().await];
    let addresses = nodes.each_ref().map(Redis::address);
    let created = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "0", "--cluster-yes"])
        .output()
        .expect("these tests need redis-cli on the path; scripts/test installs it");
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
    for node in &nodes {
        let whole = async || {
            let told: String = redis::from_redis_value(node.ask(&["CLUSTER", "INFO"]).await).unwrap();
            told.contains("cluster_state:ok")
        };
        until("the cluster is whole", whole).await;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_spreads_keys_by_its_slots() {
    let nodes = cluster().await;
    // One of them is enough to find the others.
    let urls = [nodes[1].url()];
    let first = Shared::unconnected(&urls, true, BUDGET);
    first.until_up(3).await;
    let shares: Vec<_> = first.said().nodes.iter().map(|node| node.key_share).collect();
    assert!(shares.iter().all(|share| (0.32..0.35).contains(share)), "{shares:?}");
    for number in 0..150 {
        assert_eq!(first.ask(number).await, Came::Computed);
    }
    first.until_settled(150).await;
    assert_eq!(first.said().written, 150);
    for node in &nodes {
        assert!(node.names().await.len() > 20, "every node has some");
    }
    let second = Shared::unconnected(&urls, true, BUDGET);
    second.until_up(3).await;
    for number in 0..150 {
        assert_eq!(second.ask(number).await, Came::Found(Layer::L2));
    }
    let before = second.key(1).await;
    first.cache.clear();
    until("the other is told", async || second.key(1).await != before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_dies_fails_no_request() {
    let mut nodes = cluster().await;
    let urls = nodes.each_ref().map(Redis::url);
    let shared = Shared::unconnected(&urls, true, std::time::Duration::from_millis(100));
    shared.until_up(3).await;
    for number in 0..60 {
        if number == 20 {
            nodes[2].kill();
        }
        assert_eq!(shared.ask(number).await, Came::Computed);
    }
    for number in 0..60 {
        assert_eq!(shared.ask(number).await, Came::Found(Layer::L1));
    }
}
