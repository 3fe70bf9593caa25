//! The findings of varied runs, byte by byte: whoever changes how figures are computed must not change the figures.
//! `golden/folds.txt` holds a checksum of each, beside a few figures that a reader can compare.
//!
//! After a deliberate change write the file anew with `UPDATE_GOLDEN=1 cargo test -p proofload-analyzer`.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proofload_analyzer::{analyze, write_reports};
use proofload_run::criteria::Slo;
use proofload_run::events::EventKind;
use proofload_run::findings::Findings;
use proofload_run::folder::RunFolder;
use proofload_run::journal::JournalWriter;
use proofload_run::jsonl::LineWriter;
use proofload_run::manifest::{EndReason, LoadModel, ScenarioKind, Step};
use proofload_run::sample::{Outcome, flags};
use support::{MS, Random, Recorded, S, Server, manifest, step};

const SLO: Slo = Slo::new(60 * MS, 95.0, 0.01);
const SERVER: Server = Server { slots: 4, service_ns: 10e6, exponential: true, shed_after_ns: None, down: None };

fn run(kind: ScenarioKind, steps: Vec<Step>, thresholds: &[&str], server: Server, seed: u64) -> Recorded {
    Recorded::simulate(manifest(kind, steps, Some(SLO), thresholds), server, false, seed)
}

/// A warm-up, settling, sheds, an outage, and thresholds of every kind.
fn sustained() -> Recorded {
    let mut steps = vec![step("warm-up", 0, 2, 100.0, 0), step("hold", 2, 42, 370.0, 1)];
    steps[0].warm_up = true;
    let thresholds = [
        "p95 < 1s",
        "p97.5 < 1s",
        "relief: p42 < 1ms",
        "mean < 1s",
        "max < 10s",
        "goodput > 100/s",
        "burn_rate < 3",
        "tensor: error_rate <= 1%",
        "p95 < 80ms over any 3s",
        "p50 > 1ms over any 10s",
        "mean < 50ms over any 2s",
        "max < 1s over any 4s",
        "error_rate < 5% over any 2s",
        "burn_rate < 2 over 10s and 2s",
        "nobody: p50 < 1s over any 2s",
    ];
    let server = Server { shed_after_ns: Some(70 * MS), down: Some((12 * S, 12 * S + 400 * MS)), ..SERVER };
    let mut recorded = run(ScenarioKind::Sustained, steps, &thresholds, server, 2026).completed();
    for message in ["refused", "reset", "refused", "unreachable", "no route"] {
        let (outcome, message) = ("connect_error".to_owned(), message.to_owned());
        recorded.event(12 * S, EventKind::ErrorExample { entry: 1, outcome, status: 0, message });
    }
    recorded.event(20 * S, EventKind::Stalled { for_ns: 300 * MS });
    recorded
}

/// Steps up to the break, then a ramp, which is cut into slices.
fn stress() -> Recorded {
    let mut steps: Vec<Step> = (0..8_u32)
        .map(|i| step(&format!("{i}"), u64::from(i) * 5, u64::from(i) * 5 + 5, 340.0 + f64::from(i) * 15.0, 1))
        .collect();
    steps.push(Step { level_end: 20.0, ..step("ramp", 40, 60, 300.0, 0) });
    run(ScenarioKind::Stress, steps, &["breaking_point >= 350/s"], SERVER, 5).completed()
}

/// Answers that come as streams of tokens, with bounds on them.
fn streamed() -> Recorded {
    let thresholds = [
        "ttft_p90 < 1s",
        "itl_p75 < 100ms",
        "tokens_per_s > 10/s",
        "itl_p50 < 1ms over any 4s",
        "ttft_p95 < 1s over any 6s",
    ];
    let mut recorded = run(ScenarioKind::Sustained, vec![step("hold", 0, 20, 200.0, 1)], &thresholds, SERVER, 9);
    let mut random = Random(77);
    for sample in recorded.samples.iter_mut().filter(|sample| sample.outcome() == Outcome::Ok) {
        let whole = sample.done_ns - sample.sent_ns;
        sample.first_token_ns = sample.sent_ns + whole / 3;
        sample.last_token_ns = sample.done_ns;
        sample.longest_gap_ns = whole / 4;
        sample.tokens_in = 5 + (random.next() % 40) as u32;
        sample.tokens_out = 1 + (random.next() % 90) as u32;
        sample.pieces = sample.tokens_out as u16;
        sample.flags |= flags::STREAMED | if random.next().is_multiple_of(2) { flags::TOKENS_STATED } else { 0 };
    }
    let slo = Slo { ttft_ns: Some(40 * MS), itl_ns: Some(MS), ..SLO };
    recorded.manifest.slo = Some(slo);
    recorded.completed()
}

/// Users, answers from a cache, phases in whole milliseconds, batches, a service level of an entry's own.
fn closed() -> Recorded {
    let mut recorded = run(ScenarioKind::Sustained, vec![step("users", 0, 15, 300.0, 2)], &["p99 < 1s"], SERVER, 21);
    recorded.manifest.load.model = LoadModel::Closed;
    recorded.manifest.entries[1].slo = Some(Slo::new(20 * MS, 90.0, 0.001));
    for sample in &mut recorded.samples {
        sample.batch_size = (sample.sequence % 5) as u16;
        sample.flags |= flags::CLOSED_MODEL | if sample.sequence.is_multiple_of(3) { flags::CACHE_HIT } else { 0 };
        if sample.sequence.is_multiple_of(7) {
            sample.flags |= flags::PHASES_IN_MS;
            sample.compute_ns = sample.compute_ns / MS * MS + 40 * MS;
        }
    }
    recorded.completed()
}

/// Attempts made again, and a generator that is late for a while.
fn retried() -> Recorded {
    let mut recorded = run(ScenarioKind::Endurance, vec![step("hold", 0, 20, 250.0, 0)], &[], SERVER, 33);
    for sample in &mut recorded.samples {
        sample.retry = u8::from(sample.sequence.is_multiple_of(11)) * 2;
        if (8 * S..9 * S).contains(&sample.intended_ns) {
            sample.generator_late_ns += 130 * MS;
            sample.sent_ns += 130 * MS;
            sample.done_ns += 130 * MS;
        }
    }
    recorded.completed()
}

/// The journal ends in the middle, and nobody said how the run ended.
fn killed() -> Recorded {
    let mut recorded = run(
        ScenarioKind::Sustained,
        vec![step("hold", 0, 30, 300.0, 1)],
        &["p95 < 100ms", "p95 < 90ms over any 5s"],
        SERVER,
        3,
    );
    recorded.samples.retain(|sample| sample.done_ns < 17 * S + 300 * MS);
    recorded
}

/// Ended early, with requests in flight and others that were never sent.
fn interrupted() -> Recorded {
    let mut recorded =
        run(ScenarioKind::Spike, vec![step("base", 0, 8, 150.0, 0), step("peak", 8, 20, 600.0, 0)], &[], SERVER, 8);
    recorded.samples.retain(|sample| sample.intended_ns < 14 * S);
    for sample in recorded.samples.iter_mut().filter(|sample| sample.done_ns > 14 * S) {
        let outcome = if sample.sequence.is_multiple_of(2) { Outcome::InFlight } else { Outcome::Dropped };
        (sample.outcome, sample.done_ns) = (outcome.code(), if outcome == Outcome::Dropped { 14 * S } else { 0 });
        sample.sent_ns = if outcome == Outcome::Dropped { 0 } else { sample.sent_ns };
    }
    recorded.event(14 * S, EventKind::StopRequested { by: "ctrl-c".to_owned() });
    recorded.end(EndReason::Interrupted, 14 * S + 50 * MS);
    recorded
}

fn empty() -> Recorded {
    let mut recorded = run(ScenarioKind::Sustained, vec![step("hold", 0, 5, 100.0, 0)], &["p95 < 1s"], SERVER, 1);
    recorded.samples.clear();
    recorded.series.clear();
    recorded
}

/// Two generators, each with its own half of the samples.
fn write_shards(recorded: &Recorded, path: &Path) {
    let folder = RunFolder::create(path, &recorded.manifest).unwrap();
    for shard in 0..2_u16 {
        let mut journal = JournalWriter::create(&folder.sample_journal(shard), shard, 100).unwrap();
        let own = recorded.samples.iter().filter(|sample| sample.sequence % 2 == u64::from(shard));
        own.for_each(|sample| journal.append(&proofload_run::sample::Sample { shard, ..*sample }).unwrap());
        journal.flush().unwrap();
        let points: Vec<_> = recorded
            .series
            .iter()
            .cloned()
            .map(|mut point| {
                point.shard = shard;
                point
            })
            .collect();
        LineWriter::create(&folder.series_lines(shard)).unwrap().append(&points).unwrap();
    }
    LineWriter::create(&folder.events()).unwrap().append(&recorded.events).unwrap();
}

/// FNV-1a, 64 bits.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

fn line(name: &str, folder: &Path) -> String {
    let found: Findings = analyze(folder).unwrap();
    let reports = write_reports(folder, &found).unwrap();
    let mut line = format!("{name}: {:016x}", checksum(&std::fs::read(reports.findings).unwrap()));
    let latency = found.latency.as_ref();
    write!(line, " {} n {}", found.verdict.as_str(), latency.map_or(0, |latency| latency.n)).unwrap();
    for p in latency.iter().flat_map(|latency| &latency.percentiles) {
        write!(line, " p{} {} ({} to {:?})", p.percentile, p.latency_ns, p.low_ns, p.high_ns).unwrap();
    }
    line
}

#[test]
fn findings_of_varied_runs_stay_what_they_are() {
    let runs: [(&str, fn() -> Recorded); 8] = [
        ("sustained", sustained),
        ("stress", stress),
        ("streamed", streamed),
        ("closed", closed),
        ("retried", retried),
        ("killed", killed),
        ("interrupted", interrupted),
        ("empty", empty),
    ];
    let mut found = String::new();
    for (name, recorded) in runs {
        let folder = tempfile::tempdir().unwrap();
        recorded().write(folder.path());
        found += &(line(name, folder.path()) + "\n");
    }
    let folder = tempfile::tempdir().unwrap();
    write_shards(&sustained(), folder.path());
    found += &(line("sharded", folder.path()) + "\n");
    let golden: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "folds.txt"].iter().collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "golden/folds.txt lacks some");
}
