//! `[cache]`: which answers are kept, where, and for how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Check;
use crate::cache::l2::ring::MOST_NODES;
use crate::cache::{Options, l2};

/// Less holds next to nothing.
const SMALLEST_L1_BYTES: u64 = 64 * 1024;
/// What is kept for less than this is computed as fast; what is kept for longer than a month is a data base.
const SHORTEST_TTL_S: f64 = 0.1;
const LONGEST_TTL_S: f64 = 31.0 * 86_400.0;

/// A network needs some time, and a request has not much.
const SHORTEST_BUDGET_MS: f64 = 0.1;
const LONGEST_BUDGET_MS: f64 = 10_000.0;
/// A node that is a hundred times as large as another is not of the same kind.
const HEAVIEST: u32 = 100;

/// The section as it is written.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// Whether answers of models with `response_cache { enable: true }` are kept.
    pub enabled: bool,
    /// Whether reliefs are kept, too.
    pub reliefs: bool,
    /// Memory of the answers in this process, in bytes.
    pub l1_bytes: u64,
    /// How long an answer is kept.
    pub ttl_seconds: f64,
    /// Where answers are kept that daemons share: URLs of Redis, such as `redis://127.0.0.1:6379`; none for nowhere.
    /// Several stand on a ring.
    pub redis: Vec<String>,
    /// How much of the keys each of them has, beside the others; all the same by default.
    pub redis_weights: Vec<u32>,
    /// Whether they are nodes of one Redis Cluster, which knows the others and has its own slots.
    pub redis_cluster: bool,
    /// What asking them may add to a request, in milliseconds.
    pub redis_budget_ms: f64,
    /// Bytes of answers that wait to be written to them.
    pub redis_queue_bytes: usize,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            enabled: false,
            reliefs: true,
            l1_bytes: 256 * 1024 * 1024,
            ttl_seconds: 3600.0,
            redis: Vec::new(),
            redis_weights: Vec::new(),
            redis_cluster: false,
            redis_budget_ms: 20.0,
            redis_queue_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What the section means; none for no cache.
pub(super) fn options(cache: &Written, check: &mut Check) -> Option<Options> {
    check.that(cache.l1_bytes >= SMALLEST_L1_BYTES, format!("cache.l1_bytes must be at least {SMALLEST_L1_BYTES}"));
    check.that(
        (SHORTEST_TTL_S..=LONGEST_TTL_S).contains(&cache.ttl_seconds),
        "cache.ttl_seconds must be between 0.1 and 2678400",
    );
    let ttl = Duration::try_from_secs_f64(cache.ttl_seconds).unwrap_or_default();
    let l2 = shared(cache, ttl, check);
    cache.enabled.then_some(Options { l1_bytes: cache.l1_bytes, ttl, reliefs: cache.reliefs, l2 })
}

fn shared(cache: &Written, ttl: Duration, check: &mut Check) -> Option<l2::Options> {
    let Written { redis, redis_weights: weights, redis_cluster, redis_budget_ms, redis_queue_bytes, .. } = cache;
    check.that(
        (SHORTEST_BUDGET_MS..=LONGEST_BUDGET_MS).contains(redis_budget_ms),
        "cache.redis_budget_ms must be between 0.1 and 10000",
    );
    check.that(redis.len() <= MOST_NODES, format!("cache.redis must have at most {MOST_NODES} nodes"));
    let addresses: Vec<_> = redis.iter().map(|url| l2::address(url)).collect();
    for (position, address) in addresses.iter().enumerate() {
        // Not the URL itself: it may hold a password.
        let at = format!("cache.redis[{position}]");
        if let Err(error) = address {
            check.that(false, format!("{at} must be a URL such as redis://127.0.0.1:6379, without TLS: {error}"));
        } else {
            let first = addresses.iter().position(|other| other == address);
            check.that(
                first == Some(position),
                format!("{at} is the same node as another; name it once, with a weight"),
            );
        }
    }
    check.that(
        weights.is_empty() || weights.len() == redis.len(),
        "cache.redis_weights must have a weight for each node of cache.redis, or none at all",
    );
    check.that(
        weights.iter().all(|weight| (1..=HEAVIEST).contains(weight)),
        format!("cache.redis_weights must be between 1 and {HEAVIEST}"),
    );
    check.that(
        weights.is_empty() || !redis_cluster,
        "cache.redis_weights has no effect with cache.redis_cluster, whose nodes have slots; remove one of them",
    );
    check.that(!redis_cluster || !redis.is_empty(), "cache.redis_cluster needs a node of it in cache.redis");
    let weights = weights.iter().copied().chain(std::iter::repeat(1));
    (!redis.is_empty()).then(|| l2::Options {
        nodes: redis.iter().cloned().zip(weights).collect(),
        cluster: *redis_cluster,
        budget: Duration::try_from_secs_f64(redis_budget_ms / 1000.0).unwrap_or_default(),
        ttl,
        queue_bytes: *redis_queue_bytes,
    })
}
