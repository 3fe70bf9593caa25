//! Service levels: which requests are bad, and whether a set of requests keeps a level. Knows nothing of steps.
//!
//! Bad is what a user would call bad: an error, a shed, a timeout, an answer that came too late. A request that was
//! still in flight is bad if its age had already passed the level's latency, and unknown otherwise. An arrival that
//! was never sent is unknown too, unless it waited for a connection longer than the latency: the target held
//! those.

use proofload_run::criteria::Slo;
use proofload_run::findings::{Kept, Share, SloResult};
use proofload_run::manifest::{Entry, Manifest};
use proofload_run::sample::Outcome;

use crate::samples::Row;
use crate::scope::Seen;
use crate::stats::{Hits, enough};

/// A service level and the entries that it covers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Level {
    /// The entry that states it; `None` for the run's own.
    pub(crate) entry: Option<usize>,
    pub(crate) slo: Slo,
}

/// The service levels of a run. Each entry has at most one: its own, or else the run's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Levels {
    pub(crate) all: Vec<Level>,
    of_entry: Vec<Option<usize>>,
}

impl Levels {
    pub(crate) fn new(manifest: &Manifest) -> Self {
        let (entries, mut all) = (&manifest.entries, Vec::new());
        let common = match manifest.slo {
            Some(slo) if entries.iter().any(|entry| entry.slo.is_none()) => {
                all.push(Level { entry: None, slo });
                Some(0)
            }
            _ => None,
        };
        let mut of_entry = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            of_entry.push(entry.slo.map_or(common, |slo| {
                all.push(Level { entry: Some(index), slo });
                Some(all.len() - 1)
            }));
        }
        Self { all, of_entry }
    }

    /// The level that covers a sample.
    fn index_of(&self, row: &Row) -> Option<usize> {
        self.of_entry.get(usize::from(row.entry)).copied().flatten()
    }

    /// Whether a success came within its level's latency. Without a level every success is in time.
    pub(crate) fn in_time(&self, row: &Row) -> bool {
        self.index_of(row).is_none_or(|index| is_in_time(row, &self.all[index].slo))
    }

    /// Whether a request was bad; `None` when it is not known, or no level covers it.
    pub(crate) fn is_bad(&self, seen: &Seen<'_>) -> Option<bool> {
        bad(seen.row, &self.all[self.index_of(seen.row)?].slo, seen.age_ns)
    }

    /// One for each level, of no samples yet.
    pub(crate) fn tallies(&self) -> Vec<Tally> {
        vec![Tally::default(); self.all.len()]
    }

    /// Counts a sample for the level that covers it.
    pub(crate) fn count(&self, tallies: &mut [Tally], seen: &Seen<'_>) {
        if let Some(index) = self.index_of(seen.row) {
            tallies[index].add(&self.all[index].slo, seen);
        }
    }

    /// Whether what was counted keeps every level that covers some entry.
    pub(crate) fn judge(&self, tallies: &[Tally], entries: &[Entry]) -> Vec<SloResult> {
        let name = |level: &Level| level.entry.map(|index| entries[index].name.clone());
        self.all.iter().zip(tallies).map(|(level, tally)| tally.judge(level.slo, name(level))).collect()
    }
}

fn is_in_time(row: &Row, slo: &Slo) -> bool {
    slo.is_in_time(row.latency_ns(), row.ttft_ns(), row.itl_ns())
}

/// Whether a request was bad; `None` when it is not known.
fn bad(row: &Row, slo: &Slo, age_ns: u64) -> Option<bool> {
    match row.outcome {
        Outcome::Ok => Some(!is_in_time(row, slo)),
        Outcome::InFlight => (age_ns > slo.latency_ns).then_some(true),
        Outcome::Dropped => (age_ns.saturating_sub(row.late_ns) > slo.latency_ns && row.done_ns > 0).then_some(true),
        Outcome::Shed
        | Outcome::Timeout
        | Outcome::ConnectError
        | Outcome::TransportError
        | Outcome::ServerError
        | Outcome::Rejected
        | Outcome::BadBody => Some(true),
    }
}

/// What was counted for one level.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    bad: Hits,
    errors: Hits,
    unknown: u64,
}

impl Tally {
    fn add(&mut self, slo: &Slo, seen: &Seen<'_>) {
        let outcome = seen.row.outcome;
        match bad(seen.row, slo, seen.age_ns) {
            Some(is_bad) => self.bad.add(seen.block, is_bad),
            None => self.unknown += 1,
        }
        if outcome == Outcome::Ok || outcome.is_error() {
            self.errors.add(seen.block, outcome.is_error());
        }
    }

    fn judge(&self, slo: Slo, entry: Option<String>) -> SloResult {
        let (bad, errors) = (self.bad.share(), self.errors.share());
        let (kept, clear) = keeps(&slo, &bad, &errors);
        SloResult { entry, slo, bad, allowed_share: slo.bad_fraction(), errors, unknown: self.unknown, kept, clear }
    }
}

/// Whether the level was kept, and whether that is clear: the interval lies wholly on one side. Below the number of
/// samples that the percentile needs, only a clear case decides.
fn keeps(slo: &Slo, bad: &Share, errors: &Share) -> (Kept, bool) {
    let allowed = slo.bad_fraction() + 1e-12;
    if bad.n == 0 {
        return (Kept::Inconclusive, false);
    }
    let clear = bad.low > allowed || bad.high <= allowed;
    let judged = clear || enough(bad.n, slo.percentile);
    if judged && bad.share > allowed {
        return (Kept::Missed, clear);
    }
    if errors.share > slo.error_rate {
        // One error among few requests is no rate yet, unless its interval says so.
        let sure = errors.low > slo.error_rate;
        let many = sure || enough(errors.n, 100.0 * (1.0 - slo.error_rate));
        return if many { (Kept::Missed, sure) } else { (Kept::Inconclusive, false) };
    }
    if judged { (Kept::Met, clear) } else { (Kept::Inconclusive, false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SLO: Slo = Slo::new(30 * MS, 95.0, 0.01);

    #[test]
    fn what_is_bad() {
        let check = |outcome, done_ms: u64, expected| {
            let row = Row { outcome, intended_ns: 10 * MS, done_ns: done_ms * MS, ..Row::EMPTY };
            assert_eq!(bad(&row, &SLO, row.latency_ns()), expected, "{outcome:?} at {done_ms} ms");
        };
        check(Outcome::Ok, 40, Some(false));
        check(Outcome::Ok, 41, Some(true));
        check(Outcome::Shed, 11, Some(true));
        check(Outcome::Timeout, 11, Some(true));
        check(Outcome::ServerError, 11, Some(true));
        check(Outcome::InFlight, 40, None);
        check(Outcome::InFlight, 41, Some(true));
        check(Outcome::Dropped, 12, None);
        check(Outcome::Dropped, 99, Some(true));
        check(Outcome::Dropped, 0, None);
    }

    #[test]
    fn keeping_a_level() {
        let shares = |bad: u64, n: u64| (0..n).map(|i| (0, i < bad)).collect::<Hits>().share();
        let check = |bad, n, errors, expected| {
            assert_eq!(keeps(&SLO, &shares(bad, n), &shares(errors, n)), expected, "{bad} bad, {errors} errors of {n}");
        };
        check(50, 1000, 0, (Kept::Met, false));
        check(51, 1000, 0, (Kept::Missed, false));
        check(20, 1000, 0, (Kept::Met, true));
        check(100, 1000, 0, (Kept::Missed, true));
        check(11, 1000, 11, (Kept::Missed, false));
        check(1, 40, 1, (Kept::Inconclusive, false));
        check(60, 100, 2, (Kept::Missed, true));
        check(3, 100, 0, (Kept::Inconclusive, false));
        check(0, 100, 0, (Kept::Met, true));
        check(60, 100, 0, (Kept::Missed, true));
        check(0, 0, 0, (Kept::Inconclusive, false));
    }
}
