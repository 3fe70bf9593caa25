//! The second layer: kept answers in Redis, which daemons share and which outlives them. One node, several on a ring, or
//! a Redis Cluster. Reading has a budget that no request waits beyond; writing is done behind, out of a bounded queue. A
//! node that is down or slow is left alone, and what it had is with the next one, or computed again.

pub mod breaker;
pub mod checksum;
pub mod node;
pub mod ring;
pub mod slots;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::cluster::ClusterClient;
use redis::{Client, IntoConnectionInfo, RedisResult};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use self::checksum::Poisoned;
use self::node::{Counts, Node};
use self::ring::Ring;
use super::entry::Entry;
use super::key::Key;
use super::meters::{Meters, Operation};
use super::{Generation, HASHED_HERE, Layer};

/// Answers that wait to be written, however small they are.
const QUEUED: usize = 4096;
/// How long writing one may take. No request waits for it.
const WRITE: Duration = Duration::from_secs(2);

/// What the layer is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Nodes: URL and weight.
    pub nodes: Vec<(String, u32)>,
    /// Whether the nodes are those of one Redis Cluster.
    pub cluster: bool,
    /// What reading may add to a request.
    pub budget: Duration,
    /// How long a value is kept.
    pub ttl: Duration,
    /// Bytes that wait to be written at most.
    pub queue_bytes: usize,
}

/// Where a URL leads, without its secrets.
///
/// # Errors
/// When it is none of Redis'.
pub fn address(url: &str) -> RedisResult<String> {
    Ok(url.into_connection_info()?.addr().to_string())
}

/// What the layer counts beside the operations.
#[derive(Debug, Default)]
struct Tally {
    poisoned: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    queued_bytes: AtomicUsize,
}

/// The layer.
pub struct L2 {
    store: Arc<Store>,
    queue: mpsc::Sender<(Key, Entry)>,
    queue_bytes: usize,
    budget: Duration,
    tasks: Vec<AbortHandle>,
}

/// What reading and writing share.
struct Store {
    nodes: Vec<Arc<Node>>,
    ring: Ring,
    ttl: Duration,
    meters: Meters,
    tally: Tally,
}

impl L2 {
    /// Starts connecting, and does not wait for it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a node's URL is none.
    pub fn start(options: &Options, generation: &Arc<Generation>, meters: Meters) -> RedisResult<Self> {
        let nodes = nodes(options)?;
        let weights = options.nodes.iter().map(|(_, weight)| *weight);
        let ring = Ring::new(nodes.iter().map(|node| node.name()).zip(weights));
        let store = Store { nodes, ring, ttl: options.ttl, meters, tally: Tally::default() };
        let store = Arc::new(store);
        let (queue, queued) = mpsc::channel(QUEUED);
        let keep = |node: &Arc<Node>| {
            let generation = Arc::clone(generation);
            tokio::spawn(Arc::clone(node).keep(move |known| generation.agree(known))).abort_handle()
        };
        let mut tasks: Vec<_> = store.nodes.iter().map(keep).collect();
        tasks.push(tokio::spawn(write_behind(Arc::clone(&store), queued)).abort_handle());
        Ok(Self { store, queue, queue_bytes: options.queue_bytes, budget: options.budget, tasks })
    }

    /// An answer, if it is there and comes within the budget, and by `until`.
    pub async fn get(&self, key: &Key, until: Option<Instant>) -> Option<Entry> {
        let begun = Instant::now();
        let end = until.into_iter().chain([begun + self.budget]).min()?;
        let found = self.store.get(key, end).await;
        self.store.meters.operated(Layer::L2, Operation::Get, begun.elapsed());
        found
    }

    /// Keeps an answer as soon as there is time for it. What finds no room in the queue is not kept.
    pub fn put(&self, key: Key, entry: Entry) {
        let (tally, bytes) = (&self.store.tally, entry.held_bytes());
        let room = |queued: usize| queued.checked_add(bytes).filter(|sum| *sum <= self.queue_bytes);
        if tally.queued_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_err() {
            tally.dropped.fetch_add(1, Ordering::Relaxed);
        } else if self.queue.try_send((key, entry)).is_err() {
            tally.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
            tally.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What there is to say of it.
    pub fn statistics(&self) -> Statistics {
        let Store { nodes, ring, tally, .. } = self.store.as_ref();
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let told = nodes.iter().zip(ring.shares()).flat_map(|(node, share)| told(node, share)).collect();
        Statistics {
            written: count(&tally.written),
            dropped: count(&tally.dropped),
            poisoned: count(&tally.poisoned),
            queued_bytes: tally.queued_bytes.load(Ordering::Acquire),
            max_queued_bytes: self.queue_bytes,
            budget_seconds: self.budget.as_secs_f64(),
            nodes: told,
        }
    }
}

impl Drop for L2 {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Store {
    async fn get(&self, key: &Key, end: Instant) -> Option<Entry> {
        let name = name(key);
        for node in self.ring.order(key).filter_map(|index| self.nodes.get(index)).filter(|node| node.is_up()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            // A connection that has just broken is told at once, and then the next node has the key from now on.
            if let Ok(found) = node.get(&name, left).await {
                return self.opened(*key, found?.into()).await;
            }
        }
        None
    }

    async fn opened(&self, key: Key, sealed: Bytes) -> Option<Entry> {
        let opened = if sealed.len() <= HASHED_HERE {
            checksum::open(&key, &sealed)
        } else {
            tokio::task::spawn_blocking(move || checksum::open(&key, &sealed)).await.unwrap_or(Err(Poisoned))
        };
        if let Err(error) = opened {
            tracing::warn!("the cache dropped {key}: {error}");
            self.tally.poisoned.fetch_add(1, Ordering::Relaxed);
        }
        opened.ok()
    }

    async fn write(&self, key: Key, entry: Entry) {
        let begun = Instant::now();
        let seal = move || checksum::seal(&key, &entry);
        let Ok(sealed) = tokio::task::spawn_blocking(seal).await else { return };
        let name = name(&key);
        let up = self.ring.order(&key).filter_map(|index| self.nodes.get(index)).find(|node| node.is_up());
        let written = match up {
            Some(node) => node.put(&name, &sealed, self.ttl, WRITE).await.is_ok(),
            None => false,
        };
        let count = if written { &self.tally.written } else { &self.tally.dropped };
        count.fetch_add(1, Ordering::Relaxed);
        self.meters.operated(Layer::L2, Operation::Put, begun.elapsed());
    }
}

async fn write_behind(store: Arc<Store>, mut queue: mpsc::Receiver<(Key, Entry)>) {
    while let Some((key, entry)) = queue.recv().await {
        let bytes = entry.held_bytes();
        store.write(key, entry).await;
        store.tally.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

fn nodes(options: &Options) -> RedisResult<Vec<Arc<Node>>> {
    let fair = options.budget / 2;
    let urls = options.nodes.iter().map(|(url, _)| url.as_str());
    if options.cluster {
        let name = urls.clone().map(address).collect::<RedisResult<Vec<_>>>()?.join(",");
        let client = ClusterClient::builder(urls).connection_timeout(WRITE).response_timeout(WRITE).build()?;
        return Ok(vec![Arc::new(Node::cluster(name, client, fair))]);
    }
    urls.map(|url| Ok(Arc::new(Node::one(address(url)?, Client::open(url)?, fair)))).collect()
}

/// The name of a value.
fn name(key: &Key) -> String {
    format!("proofload:{key}")
}

/// What the layer says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "SharedCache")]
pub struct Statistics {
    /// Answers that were written.
    pub written: u64,
    /// Answers that were not, for want of room in the queue or of a node.
    pub dropped: u64,
    /// Values that were not what had been kept.
    pub poisoned: u64,
    /// Bytes that wait to be written.
    pub queued_bytes: usize,
    /// What they may be.
    pub max_queued_bytes: usize,
    /// What reading may add to a request, in seconds.
    pub budget_seconds: f64,
    /// The nodes.
    pub nodes: Vec<OfNode>,
}

/// What there is to say of a node.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "SharedCacheNode")]
pub struct OfNode {
    /// Its address.
    pub node: String,
    /// Whether it is asked.
    pub healthy: bool,
    /// The share of all keys that are its own while all nodes are up, 0 to 1.
    pub key_share: f64,
    /// What was asked of it; null for a node of a cluster, which finds its nodes itself.
    #[serde(flatten)]
    pub asked: Option<Asked>,
}

/// What was asked of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "SharedCacheAsked")]
pub struct Asked {
    /// Values that were there.
    pub hits: u64,
    /// Values that were not.
    pub misses: u64,
    /// Operations that failed or took too long.
    pub failures: u64,
}

/// A node; of a cluster its masters, as soon as they are known.
fn told(node: &Node, key_share: f64) -> Vec<OfNode> {
    let Counts { hits, misses, failures } = node.counts();
    let [hits, misses, failures] = [hits, misses, failures].map(|count| count.load(Ordering::Relaxed));
    let asked = Some(Asked { hits, misses, failures });
    let whole = OfNode { node: node.name().to_owned(), healthy: node.is_up(), key_share, asked };
    let masters = node.masters().into_iter();
    let masters = masters.map(|master| OfNode {
        node: master.node,
        healthy: master.healthy && whole.healthy,
        key_share: master.key_share,
        asked: None,
    });
    let masters: Vec<_> = masters.collect();
    if masters.is_empty() { vec![whole] } else { masters }
}
