//! Where the latency of successes went, and in which batches they were computed, as far as answers say so. The
//! parts of a request add up to its latency, so their means add up to the mean latency.

use std::collections::BTreeMap;

use proofload_run::findings::{BatchSizes, PhaseBreakdown, PhasePart};
use proofload_run::sample::{Outcome, flags};

use crate::load::Row;
use crate::scope::Scope;

const PARTS: [&str; 6] = ["waiting to be sent", "queue", "copy-in", "compute", "copy-out", "network and the rest"];

/// Headers that state phases, as a reader may look for them.
const OURS: &str = "x-proofload-*-ns";
const TEXT_INFERENCE: &str = "x-queue-time, x-inference-time (whole ms, rounded down)";

/// The parts of one request. The last is what is left, and may be negative where the server's clock runs fast.
fn parts(row: &Row) -> [f64; 6] {
    let waiting = row.sent_ns.saturating_sub(row.intended_ns) as f64;
    let [queue, copy_in, compute, copy_out] = row.phases_ns.map(|ns| ns as f64);
    let rest = row.latency_ns() as f64 - waiting - queue - copy_in - compute - copy_out;
    [waiting, queue, copy_in, compute, copy_out, rest]
}

/// The measured successes of each entry that `wanted` holds for; entries without any are left out.
fn by_entry<'a>(scope: &Scope<'a>, wanted: fn(&Row) -> bool) -> BTreeMap<u16, Vec<&'a Row>> {
    let mut entries: BTreeMap<u16, Vec<&Row>> = BTreeMap::new();
    for (_, row) in scope.measured().filter(|(_, row)| row.outcome == Outcome::Ok && wanted(row)) {
        entries.entry(row.entry).or_default().push(row);
    }
    entries
}

/// The breakdown of every entry whose answers state phases.
pub(crate) fn phases(scope: &Scope<'_>) -> Vec<PhaseBreakdown> {
    let stated = by_entry(scope, |row| row.flags & flags::HAS_PHASES != 0);
    let name = |entry| crate::errors::entry_name(&scope.manifest().entries, entry);
    stated.into_iter().map(|(entry, rows)| breakdown(name(entry), &rows)).collect()
}

/// The headers that the answers of these had.
fn stated_by(rows: &[&Row]) -> String {
    let in_ms = |row: &&&Row| row.flags & flags::PHASES_IN_MS != 0;
    match rows.iter().filter(in_ms).count() {
        0 => OURS.to_owned(),
        all if all == rows.len() => TEXT_INFERENCE.to_owned(),
        _ => format!("{OURS}, or {TEXT_INFERENCE}"),
    }
}

fn breakdown(entry: String, rows: &[&Row]) -> PhaseBreakdown {
    let n = rows.len() as f64;
    let mean_latency_ns = rows.iter().map(|row| row.latency_ns() as f64).sum::<f64>() / n;
    let part = |index: usize| {
        let mut values: Vec<f64> = rows.iter().map(|row| parts(row)[index]).collect();
        let mean_ns = values.iter().sum::<f64>() / n;
        let rank = ((n * 0.95).ceil() as usize).clamp(1, values.len());
        let (_, p95_ns, _) = values.select_nth_unstable_by(rank - 1, f64::total_cmp);
        PhasePart {
            name: PARTS[index].to_owned(),
            mean_ns,
            p95_ns: *p95_ns,
            share: if mean_latency_ns > 0.0 { mean_ns / mean_latency_ns } else { 0.0 },
        }
    };
    let parts = (0..PARTS.len()).map(part).collect();
    PhaseBreakdown { entry, stated_by: stated_by(rows), n: rows.len() as u64, mean_latency_ns, parts }
}

/// The batch sizes of every entry whose answers state them.
pub(crate) fn batches(scope: &Scope<'_>) -> Vec<BatchSizes> {
    let stated = by_entry(scope, |row| row.batch_size > 0);
    let sizes = stated.into_iter().map(|(entry, rows)| {
        let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
        for row in &rows {
            *counts.entry(row.batch_size).or_default() += 1;
        }
        let sum: u64 = rows.iter().map(|row| u64::from(row.batch_size)).sum();
        BatchSizes {
            entry: crate::errors::entry_name(&scope.manifest().entries, entry),
            n: rows.len() as u64,
            mean: sum as f64 / rows.len() as f64,
            counts,
        }
    });
    sizes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_said_which_headers_stated_them() {
        let (ours, theirs) = (Row::EMPTY, Row { flags: flags::PHASES_IN_MS, ..Row::EMPTY });
        let check = |rows: &[&Row], expected: &str| assert_eq!(stated_by(rows), expected);
        check(&[&ours, &ours], OURS);
        check(&[&theirs], TEXT_INFERENCE);
        check(&[&theirs, &ours], &format!("{OURS}, or {TEXT_INFERENCE}"));
    }

    proptest! {
        /// The means of the parts add up to the mean latency, whatever the server claims.
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
            let found = breakdown(String::new(), &rows.iter().collect::<Vec<_>>());
            let sum: f64 = found.parts.iter().map(|part| part.mean_ns).sum();
            prop_assert!((sum - found.mean_latency_ns).abs() <= 1e-6 * found.mean_latency_ns.max(1.0) * 100.0);
        }
    }
}
