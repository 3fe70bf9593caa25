//! Where the latency of successes went, and in which batches they were computed, as far as answers say so. The
//! parts of a request add up to its latency, so their means add up to the mean latency.

use std::array;
use std::collections::BTreeMap;

use proofload_run::findings::{BatchSizes, PhaseBreakdown, PhasePart};
use proofload_run::manifest::Entry;
use proofload_run::sample::flags;

use crate::errors::entry_name;
use crate::samples::Row;
use crate::scope::Seen;
use crate::stats::Percentiles;

const PARTS: [&str; 6] = ["waiting to be sent", "queue", "copy-in", "compute", "copy-out", "network and the rest"];

/// The percentile that is stated of each part.
const PERCENTILE: f64 = 95.0;

/// Headers that state phases, as a reader may look for them.
const OURS: &str = "x-proofload-*-ns";
const TEXT_INFERENCE: &str = "x-queue-time, x-inference-time (whole ms, rounded down)";

/// The parts of one request, in ns. The last is what is left, and may be negative where the server's clock runs fast.
fn parts(row: &Row) -> [i128; PARTS.len()] {
    let waiting = i128::from(row.sent_ns.saturating_sub(row.intended_ns));
    let [queue, copy_in, compute, copy_out] = row.phases_ns.map(i128::from);
    let rest = i128::from(row.latency_ns()) - waiting - queue - copy_in - compute - copy_out;
    [waiting, queue, copy_in, compute, copy_out, rest]
}

/// What the successes of one entry stated.
#[derive(Debug, Clone)]
struct Stated {
    n: u64,
    in_ms: u64,
    latency_ns: u128,
    sums_ns: [i128; PARTS.len()],
    percentiles: [Percentiles; PARTS.len()],
}

impl Stated {
    fn new() -> Self {
        let percentiles = array::from_fn(|_| Percentiles::of_whole(&[PERCENTILE]));
        Self { n: 0, in_ms: 0, latency_ns: 0, sums_ns: [0; PARTS.len()], percentiles }
    }

    fn count(&mut self, row: &Row) {
        self.n += 1;
        self.in_ms += u64::from(row.flags & flags::PHASES_IN_MS != 0);
        self.latency_ns += u128::from(row.latency_ns());
        self.sums_ns.iter_mut().zip(parts(row)).for_each(|(sum, ns)| *sum += ns);
    }

    fn look(&mut self, row: &Row) {
        self.percentiles.iter_mut().zip(parts(row)).for_each(|(part, ns)| part.add(ns as f64));
    }

    fn turn(&mut self) -> bool {
        self.percentiles.iter_mut().fold(false, |open, part| part.turn() | open)
    }

    /// The headers that the answers had.
    fn stated_by(&self) -> String {
        match self.in_ms {
            0 => OURS.to_owned(),
            all if all == self.n => TEXT_INFERENCE.to_owned(),
            _ => format!("{OURS}, or {TEXT_INFERENCE}"),
        }
    }

    fn breakdown(&self, entry: String) -> PhaseBreakdown {
        let n = self.n as f64;
        let mean_latency_ns = self.latency_ns as f64 / n;
        let part = |index: usize| {
            let mean_ns = self.sums_ns[index] as f64 / n;
            PhasePart {
                name: PARTS[index].to_owned(),
                mean_ns,
                p95_ns: self.percentiles[index].value(PERCENTILE).unwrap_or_default(),
                share: if mean_latency_ns > 0.0 { mean_ns / mean_latency_ns } else { 0.0 },
            }
        };
        let parts = (0..PARTS.len()).map(part).collect();
        PhaseBreakdown { entry, stated_by: self.stated_by(), n: self.n, mean_latency_ns, parts }
    }
}

/// The phases of every entry whose answers state them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phases {
    of_entry: BTreeMap<u16, Stated>,
}

impl Phases {
    /// Counts a sample, in the first look only.
    pub(crate) fn count(&mut self, seen: &Seen<'_>) {
        if states_phases(seen) {
            self.of_entry.entry(seen.row.entry).or_insert_with(Stated::new).count(seen.row);
        }
    }

    /// Looks at a sample that has been counted.
    pub(crate) fn look(&mut self, seen: &Seen<'_>) {
        let stated = if states_phases(seen) { self.of_entry.get_mut(&seen.row.entry) } else { None };
        stated.into_iter().for_each(|stated| stated.look(seen.row));
    }

    /// A look is over. Says whether another is wanted.
    pub(crate) fn turn(&mut self) -> bool {
        self.of_entry.values_mut().fold(false, |open, stated| stated.turn() | open)
    }

    pub(crate) fn breakdowns(&self, entries: &[Entry]) -> Vec<PhaseBreakdown> {
        self.of_entry.iter().map(|(entry, stated)| stated.breakdown(entry_name(entries, *entry))).collect()
    }
}

fn states_phases(seen: &Seen<'_>) -> bool {
    seen.is_measured_success() && seen.row.flags & flags::HAS_PHASES != 0
}

/// The batch sizes of every entry whose answers state them: requests by size.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batches {
    of_entry: BTreeMap<u16, BTreeMap<u16, u64>>,
}

impl Batches {
    pub(crate) fn add(&mut self, seen: &Seen<'_>) {
        if seen.is_measured_success() && seen.row.batch_size > 0 {
            *self.of_entry.entry(seen.row.entry).or_default().entry(seen.row.batch_size).or_default() += 1;
        }
    }

    pub(crate) fn sizes(&self, entries: &[Entry]) -> Vec<BatchSizes> {
        let sizes = self.of_entry.iter().map(|(entry, counts)| {
            let n: u64 = counts.values().sum();
            let sum: u64 = counts.iter().map(|(size, count)| u64::from(*size) * count).sum();
            BatchSizes { entry: entry_name(entries, *entry), n, mean: sum as f64 / n as f64, counts: counts.clone() }
        });
        sizes.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stated(rows: &[Row]) -> Stated {
        let mut stated = Stated::new();
        rows.iter().for_each(|row| stated.count(row));
        loop {
            rows.iter().for_each(|row| stated.look(row));
            if !stated.turn() {
                return stated;
            }
        }
    }

    #[test]
    fn it_is_said_which_headers_stated_them() {
        let (ours, theirs) = (Row::EMPTY, Row { flags: flags::PHASES_IN_MS, ..Row::EMPTY });
        let check = |rows: &[Row], expected: &str| assert_eq!(stated(rows).stated_by(), expected);
        check(&[ours, ours], OURS);
        check(&[theirs], TEXT_INFERENCE);
        check(&[theirs, ours], &format!("{OURS}, or {TEXT_INFERENCE}"));
    }

    proptest! {
        /// The means of the parts add up to the mean latency, whatever the server claims, and their percentiles are those
        /// of sorting, also where what is left is negative.
        #[test]
        fn parts_add_up(rows in proptest::collection::vec((0u64..1 << 30, 0u64..1 << 30, 0u64..1 << 30, any::<[u32; 4]>()), 1..50)) {
            let rows: Vec<Row> = rows
                .into_iter()
                .map(|(intended_ns, wait, took, phases)| Row {
                    intended_ns,
                    sent_ns: intended_ns + wait,
                    done_ns: intended_ns + wait + took,
                    phases_ns: phases.map(u64::from),
                    ..Row::EMPTY
                })
                .collect();
            let found = stated(&rows).breakdown(String::new());
            let sum: f64 = found.parts.iter().map(|part| part.mean_ns).sum();
            prop_assert!((sum - found.mean_latency_ns).abs() <= 1e-6 * found.mean_latency_ns.max(1.0) * 100.0);
            for (index, part) in found.parts.iter().enumerate() {
                let mut sorted: Vec<i128> = rows.iter().map(|row| parts(row)[index]).collect();
                sorted.sort_unstable();
                let rank = (sorted.len() as f64 * 0.95).ceil() as usize;
                let expected = sorted[rank.clamp(1, sorted.len()) - 1] as f64;
                prop_assert_eq!(part.p95_ns.to_bits(), expected.to_bits());
            }
        }
    }
}
