//! Forecasts from run folders: which a long run has, what they say of it, and that a short one has none.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use proofload_analyzer::forecast::{HistoryError, of_runs};
use proofload_analyzer::{analyze, write_reports};
use proofload_run::findings::Findings;
use proofload_run::folder::RunFolder;
use proofload_run::histogram::LatencyHistogram;
use proofload_run::jsonl::LineWriter;
use proofload_run::manifest::ScenarioKind;
use proofload_run::sample::Outcome;
use support::{Recorded, S, Server, manifest, step};

const SERVER: Server = Server { slots: 4, service_ns: 10e6, exponential: true, shed_after_ns: None, down: None };

fn run(seconds: u64, seed: u64) -> Recorded {
    let plan = manifest(ScenarioKind::Endurance, vec![step("hold", 0, seconds, 5.0, 0)], None, &[]);
    Recorded::simulate(plan, SERVER, false, seed).completed()
}

fn analyzed(recorded: &Recorded) -> (Findings, String) {
    let folder = tempfile::tempdir().unwrap();
    recorded.write(folder.path());
    write_histograms(recorded, folder.path());
    let found = analyze(folder.path()).unwrap();
    let html = std::fs::read_to_string(write_reports(folder.path(), &found).unwrap().html).unwrap();
    (found, html)
}

/// Histograms of latency by second, as a generator leaves them.
fn write_histograms(recorded: &Recorded, folder: &Path) {
    let mut by_second: BTreeMap<u64, LatencyHistogram> = BTreeMap::new();
    for sample in recorded.samples.iter().filter(|sample| sample.outcome() == Outcome::Ok) {
        by_second.entry(sample.done_ns / S).or_default().record_ns(sample.done_ns - sample.intended_ns);
    }
    let lines: Vec<_> = by_second.iter().map(|(second, found)| found.line((second + 1) * S, 0, 0)).collect();
    LineWriter::create(&RunFolder::open(folder).unwrap().histogram_lines(0)).unwrap().append(&lines).unwrap();
}

#[test]
fn a_long_run_says_where_memory_is_going() {
    let (found, html) = analyzed(&run(1800, 3));
    // Recorded memory: 64 MB, and 0.1 MB a second more.
    let memory = found.forecasts.iter().find(|found| found.name == "memory of the target").expect("it was scraped");
    assert!(memory.offered, "{}", memory.sentence);
    let end = memory.ahead.last().unwrap();
    let expected = (64e6 + end.t_s * 1e5) / 1_048_576.0;
    assert!((end.value - expected).abs() < 1.0, "{end:?}, not {expected}");
    assert!((end.t_s - 1800.0 - 1680.0 / 15.0).abs() < 30.0, "a fifteenth of the run ahead: {end:?}");
    // Latency goes nowhere: whatever is said of it, memory's line is not its.
    let latency = found.forecasts.iter().find(|found| found.name == "latency p95").unwrap();
    let skill = latency.skill.unwrap();
    assert!(skill.interval[0] <= skill.value && skill.value <= skill.interval[1]);
    assert_eq!(latency.offered, skill.interval[0] > 0.0 && !latency.method.contains("last value"), "{latency:?}");
    assert!(html.contains("Forecasts, and what they were worth") && html.contains("1 − MAPE"));
}

#[test]
fn a_short_run_has_none() {
    let (found, html) = analyzed(&run(120, 3));
    assert!(found.forecasts.is_empty());
    assert!(!html.contains("Where it is going"));
}

#[test]
fn runs_over_time_are_series() {
    const DAY: u64 = 86_400 * S;
    let template = analyzed(&run(20, 1)).0;
    let runs = |count: u64| -> Vec<Findings> {
        let of_day = |day: u64| {
            let mut run = template.clone();
            run.run.clocks[0].zero_unix_ns += day * DAY;
            run
        };
        (0..count).map(of_day).collect()
    };
    let found = of_runs(&runs(30), Some(7)).unwrap();
    let [latency] = &found[..] else { panic!("{found:?}") };
    assert_eq!((latency.name.as_str(), latency.values.len(), latency.step_s), ("latency p95", 30, 86_400.0));
    assert_eq!(of_runs(&runs(5), None).unwrap_err(), HistoryError::TooFew(5));
}
