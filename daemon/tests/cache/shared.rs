//! A cache with a second layer, and what is done with it.

use std::time::Duration;

use proofload_daemon::cache::entry::Entry;
use proofload_daemon::cache::key::{Key, Subject};
use proofload_daemon::cache::l2::{self, OfNode};
use proofload_daemon::cache::meters::Meters;
use proofload_daemon::cache::{Cache, Layer, Looked, Options};

use crate::redis::until;

/// What looking for an answer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    Found(Layer),
    Computed,
}

/// A cache that shares what it keeps with these nodes.
pub(crate) struct Shared {
    pub(crate) cache: Cache,
}

/// What reading may add, wide enough for a machine that is busy.
pub(crate) const BUDGET: Duration = Duration::from_millis(500);

pub(crate) fn options(urls: &[String], cluster: bool, budget: Duration) -> Options {
    let nodes = urls.iter().map(|url| (url.clone(), 1)).collect();
    let ttl = Duration::from_secs(600);
    let l2 = l2::Options { nodes, cluster, budget, ttl, queue_bytes: 1 << 20 };
    Options { l1_bytes: 1 << 20, ttl, reliefs: true, l2: Some(l2) }
}

impl Shared {
    /// A cache that has not connected yet.
    pub(crate) fn unconnected(urls: &[String], cluster: bool, budget: Duration) -> Self {
        Self { cache: Cache::start(options(urls, cluster, budget), Meters::default()).unwrap() }
    }

    /// A cache whose nodes all answer.
    pub(crate) async fn with(urls: &[String]) -> Self {
        let shared = Self::unconnected(urls, false, BUDGET);
        shared.until_up(urls.len()).await;
        shared
    }

    pub(crate) fn said(&self) -> l2::Statistics {
        self.cache.statistics().l2.unwrap()
    }

    pub(crate) fn nodes_up(&self) -> usize {
        self.said().nodes.iter().filter(|node| node.healthy).count()
    }

    pub(crate) async fn until_up(&self, count: usize) {
        until("all nodes are up", async || self.nodes_up() == count).await;
    }

    pub(crate) fn node(&self, address: &str) -> OfNode {
        self.said().nodes.into_iter().find(|node| node.node == address).unwrap()
    }

    pub(crate) async fn key(&self, number: u32) -> Key {
        let mut subject = Subject::new("test");
        subject.number(number.into());
        self.cache.key(subject).await
    }

    /// Asks for an answer, computes it where it has to be, and makes sure that it is the right one.
    pub(crate) async fn ask(&self, number: u32) -> Came {
        let right = Entry::new(vec![1], number.to_string().into_bytes(), 5);
        match self.cache.look_up(self.key(number).await, None).await.unwrap() {
            Looked::Found(entry, layer) => {
                assert_eq!(entry, right);
                Came::Found(layer)
            }
            Looked::Missing(duty) => {
                self.cache.keep(duty, &right);
                Came::Computed
            }
        }
    }

    /// Waits until so many answers have been written or given up.
    pub(crate) async fn until_settled(&self, count: u64) {
        let settled = async || {
            let said = self.said();
            said.written + said.dropped == count && said.queued_bytes == 0
        };
        until("all answers are written or given up", settled).await;
    }
}
