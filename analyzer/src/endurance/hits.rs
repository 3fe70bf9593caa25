//! The share of answers from a cache, over the time. Counts successes by second; judges nothing.

use proofload_run::sample::flags;
use proofload_run::units::NS_PER_S;

use super::drift::{Course, Scale};
use crate::scope::Seen;
use crate::stats::BySecond;

/// Successes, and those of them that came from a cache.
#[derive(Debug, Clone, Default)]
pub(super) struct CacheHits {
    seconds: BySecond<(u32, u32)>,
}

impl CacheHits {
    /// Counts a measured success, in the first look only.
    pub(super) fn count(&mut self, seen: &Seen<'_>) {
        let (all, hits) = self.seconds.at(seen.block);
        *all = all.saturating_add(1);
        *hits = hits.saturating_add(u32::from(seen.row.flags & flags::CACHE_HIT != 0));
    }

    /// The share in each of these stretches of time; `None` where nothing came from a cache.
    pub(super) fn course(&self, starts_ns: &[u64], point_ns: u64) -> Option<Course> {
        let point = |from_ns: &u64| {
            let seconds = from_ns / NS_PER_S..(from_ns + point_ns).div_ceil(NS_PER_S);
            let counts = seconds.filter_map(|second| self.seconds.get(u32::try_from(second).ok()?));
            let (all, hits) =
                counts.fold((0, 0), |(all, hits), count| (all + u64::from(count.0), hits + u64::from(count.1)));
            (all > 0).then(|| (from_ns + point_ns / 2, hits as f64 / all as f64))
        };
        let points: Vec<(u64, f64)> = starts_ns.iter().filter_map(point).collect();
        let any = points.iter().any(|point| point.1 > 0.0);
        any.then_some(Course { what: "the share of answers from a cache", scale: Scale::Share, point_ns, points })
    }
}
