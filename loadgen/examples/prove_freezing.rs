//! Proves that the generator is not fooled by coordinated omission: a server that answers in 1 ms and freezes for 1 s in
//! every 10 s, at 1,000/s, with few connections, many, and as many as needed. Prints what was measured, what the server
//! did, and what is true by a simulation of that many connections. Each number of connections is measured in several
//! rounds, of which the median counts: a machine that loses its processors for a tenth of a second once is no proof of
//! anything.

use std::path::Path;

use proofload_loadgen::calibrate::law::Law;
use proofload_loadgen::calibrate::processors::set_one_aside;
use proofload_loadgen::calibrate::truth::Figures;
use proofload_loadgen::calibrate::{Case, Finding, measure};
use proofload_loadgen::stop::StopHandle;
use proofload_run::RunError;
use proofload_run::events::{Event, EventKind};
use proofload_run::folder::RunFolder;
use proofload_run::jsonl::LineReader;

const MS: u64 = 1_000_000;
const SECONDS: u64 = 20;
const ROUNDS: usize = 3;
/// How far the generator may be from what the server did.
const TOLERANCE: f64 = 0.03;
/// How far it may be from what the server should have done. On a machine with few cores the server and the way to it
/// take their share of that: with few connections a request's way back and forth makes each slower than its law.
const TOLERANCE_BY_LAW: f64 = 0.03;

fn case(connections: Option<u32>) -> Case {
    let law = Law::Freezing { service_ns: MS, freeze_ns: 1000 * MS, period_ns: 10_000 * MS, phase_ns: 4000 * MS };
    Case::whole("freezing", law, "constant", connections, 100 * MS)
}

fn row(name: &str, figures: &Figures) -> String {
    format!(
        "{name:>22}  {:>6.1} {:>6.1} {:>6.2}  {:>6.2} %",
        figures.p95_ns / 1e6,
        figures.p99_ns / 1e6,
        figures.mean_ns / 1e6,
        figures.slow * 100.0
    )
}

#[allow(clippy::print_stdout)] // The figures are what this program is for.
fn show(connections: Option<u32>, found: &Finding, stalled_ns: u64) {
    let name = connections.map_or("as needed".to_owned(), |n| format!("{n} connections"));
    let (late_ms, stalled_ms) = (found.late_p99_ns as f64 / 1e6, stalled_ns as f64 / 1e6);
    println!("{}  late p99 {late_ms:.2} ms, longest stall {stalled_ms:.0} ms", row(&name, &found.measured));
    println!("{}  error {:.2} %", row("served", &found.served), found.error * 100.0);
    println!("{}  error {:.2} %", row("by law", &found.truth), found.error_by_law * 100.0);
}

/// The longest time for which the machine stood still, as the generator saw it; 0 when it never did.
fn longest_stall_ns(run: &Path) -> Result<u64, RunError> {
    let folder = RunFolder::open(run)?;
    let events: Vec<Event> = LineReader::open(&folder.events())?.collect::<Result<_, _>>()?;
    let stalls = events.into_iter().filter_map(|event| match event.kind {
        EventKind::Stalled { for_ns } => Some(for_ns),
        _ => None,
    });
    Ok(stalls.max().unwrap_or(0))
}

fn median(mut values: [f64; ROUNDS]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[ROUNDS / 2]
}

/// The numbers of connections to prove it with: those that were named, or all.
fn wanted() -> Result<Vec<Option<u32>>, std::num::ParseIntError> {
    let named: Vec<_> = std::env::args().skip(1).map(|n| n.parse().map(Some)).collect::<Result<_, _>>()?;
    Ok(if named.is_empty() { vec![Some(16), Some(32), Some(100), Some(400), Some(1600), None] } else { named })
}

#[allow(clippy::print_stdout)] // The figures are what this program is for.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server_on = set_one_aside();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{:>22}  p95 ms p99 ms   mean  above 100 ms", "");
    let (mut worst, mut worst_by_law): (f64, f64) = (0.0, 0.0);
    for connections in wanted()? {
        let case = case(connections);
        let (mut errors, mut errors_by_law) = ([0.0; ROUNDS], [0.0; ROUNDS]);
        for round in 0..ROUNDS {
            let folder = tempfile::tempdir()?;
            let run = folder.path().join("run");
            let measured = measure(&case, 1000.0, SECONDS, server_on, run.clone(), StopHandle::default());
            let found = runtime.block_on(measured)?;
            show(connections, &found, longest_stall_ns(&run)?);
            if found.answered.0 < found.answered.1 {
                return Err(format!("of {} arrivals {} were answered", found.answered.1, found.answered.0).into());
            }
            (errors[round], errors_by_law[round]) = (found.error, found.error_by_law);
        }
        worst = worst.max(median(errors));
        worst_by_law = worst_by_law.max(median(errors_by_law));
    }
    println!("worst median error {:.2} % of what was served, {:.2} % by law", worst * 100.0, worst_by_law * 100.0);
    if worst > TOLERANCE || worst_by_law > TOLERANCE_BY_LAW {
        let (allowed, by_law) = (TOLERANCE * 100.0, TOLERANCE_BY_LAW * 100.0);
        return Err(format!("more than {allowed:.0} % of what was served, or {by_law:.0} % by law").into());
    }
    Ok(())
}
