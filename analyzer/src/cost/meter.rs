//! Time of computing by what answers state, second by second, while samples are looked at. Knows no prices.

use std::collections::BTreeMap;

use proofload_run::findings::{Computing, Estimate};
use proofload_run::sample::flags;

use crate::interval::ratio;
use crate::scope::Seen;
use crate::stats::BySecond;

/// What the successes of some second stated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Stated {
    computing_ns: u64,
    successes: u32,
}

/// What the successes of an entry stated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct OfEntry {
    hits: u64,
    misses: u64,
    misses_ns: u64,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    seconds: BySecond<Stated>,
    entries: BTreeMap<u16, OfEntry>,
    hits_ns: u64,
}

impl Meter {
    /// Counts a sample, in the first look only. A batch's time is shared equally by its requests.
    pub(crate) fn count(&mut self, seen: &Seen<'_>) {
        let row = seen.row;
        if !seen.is_measured_success() || row.flags & flags::HAS_PHASES == 0 {
            return;
        }
        let computing_ns = row.phases_ns[2] / u64::from(row.batch_size.max(1));
        let second = self.seconds.at(seen.block);
        second.computing_ns += computing_ns;
        second.successes += 1;
        let entry = self.entries.entry(row.entry).or_default();
        if row.flags & flags::CACHE_HIT == 0 {
            entry.misses += 1;
            entry.misses_ns += computing_ns;
        } else {
            entry.hits += 1;
            self.hits_ns += computing_ns;
        }
    }

    /// What it comes to; `None` where no success stated its phases, or none took any time.
    pub(crate) fn computing(&self) -> Option<Computing> {
        let seconds: Vec<(f64, f64)> = self
            .seconds
            .iter()
            .filter(|(_, stated)| stated.successes > 0)
            .map(|(_, stated)| (stated.computing_ns as f64 / 1e9, f64::from(stated.successes)))
            .collect();
        let (value, interval) = ratio(&seconds)?;
        let sum = |of: fn(&OfEntry) -> u64| self.entries.values().map(of).sum::<u64>();
        let (hits, misses, misses_ns) = (sum(|e| e.hits), sum(|e| e.misses), sum(|e| e.misses_ns));
        let n = hits + misses;
        // What a hit would have taken is what a miss of the same entry took.
        let of_hits =
            |e: &OfEntry| if e.misses > 0 { e.hits as f64 * e.misses_ns as f64 / e.misses as f64 } else { 0.0 };
        let saved_ns = (self.entries.values().map(of_hits).sum::<f64>() - self.hits_ns as f64).max(0.0);
        let spent_ns = (misses_ns + self.hits_ns) as f64;
        (spent_ns > 0.0).then(|| Computing {
            per_success_s: Estimate { value, interval, n },
            per_miss_s: (misses > 0).then(|| misses_ns as f64 / misses as f64 / 1e9),
            hit_share: hits as f64 / n as f64,
            saved_share: saved_ns / (saved_ns + spent_ns),
        })
    }
}
