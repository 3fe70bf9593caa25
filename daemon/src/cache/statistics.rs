//! What the cache says of itself to people: the document of `GET /api/v1/cache/stats`.

use schemars::JsonSchema;
use serde::Serialize;

use super::l1::Held;
use super::{Cache, Layer, l2};

/// The document.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "CacheCounts")]
pub struct Statistics {
    /// Answers that were not computed, by where they were found.
    pub hits: Hits,
    /// Answers that had to be computed.
    pub misses: u64,
    /// Hits over all that were looked for; null when none was.
    pub hit_share: Option<f64>,
    /// What computing all the hits would have taken, by what it took once, in seconds.
    pub saved_compute_seconds: f64,
    /// Answers that are being computed, with others maybe waiting for them.
    pub in_flight: usize,
    /// Entries in this process.
    pub l1: InProcess,
    /// Entries that daemons share; null when they share none.
    pub l2: Option<l2::Statistics>,
}

/// Hits by layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "CacheHits")]
pub struct Hits {
    /// In this process.
    pub l1: u64,
    /// In the shared layer.
    pub l2: u64,
    /// With identical requests that were on their way.
    pub coalesced: u64,
}

/// The layer in this process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "CacheInProcess")]
pub struct InProcess {
    /// Entries.
    pub entries: u64,
    /// Their memory, overhead included, in bytes.
    pub bytes: u64,
    /// What it may be.
    pub max_bytes: u64,
    /// Entries that went for want of room, or because their time was over.
    pub evictions: u64,
    /// How long an entry lives, in seconds.
    pub ttl_seconds: f64,
}

impl Cache {
    /// What there is to say now.
    pub fn statistics(&self) -> Statistics {
        let [l1, l2, coalesced] = Layer::ALL.map(|layer| self.meters.hits(layer));
        let (found, misses) = (l1 + l2 + coalesced, self.meters.misses());
        let all = found + misses;
        Statistics {
            hits: Hits { l1, l2, coalesced },
            misses,
            hit_share: (all > 0).then(|| found as f64 / all as f64),
            saved_compute_seconds: self.meters.saved_seconds(),
            in_flight: self.flights.in_the_air(),
            l1: self.in_process(),
            l2: self.l2.as_ref().map(l2::L2::statistics),
        }
    }

    fn in_process(&self) -> InProcess {
        let l1 = &self.generation.l1;
        let Held { entries, bytes } = l1.held();
        InProcess {
            entries,
            bytes,
            max_bytes: l1.max_bytes(),
            evictions: l1.evictions(),
            ttl_seconds: self.options.ttl.as_secs_f64(),
        }
    }
}
