//! Anomalies of run folders: healthy runs make a baseline, a run that is not is refused, and what was odd in a run is in
//! its findings and its report, from its folder alone.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proofload_analyzer::anomalies::baseline::Baseline;
use proofload_analyzer::{analyze, write_reports};
use proofload_run::findings::ComparedWith;
use proofload_run::folder::RunFolder;
use proofload_run::histogram::LatencyHistogram;
use proofload_run::jsonl::LineWriter;
use proofload_run::manifest::ScenarioKind;
use proofload_run::sample::Outcome;
use support::{Recorded, S, Server, manifest, step};

const SERVER: Server = Server { slots: 8, service_ns: 40e6, exponential: true, shed_after_ns: None, down: None };
/// In these seconds one answer in four fails.
const BURST_S: std::ops::Range<u64> = 400..440;

fn run(name: &str, seconds: u64, seed: u64, fails: bool) -> Recorded {
    let level = |part: u64| if part.is_multiple_of(2) { 15.0 } else { 25.0 };
    let parts = (0..seconds.div_ceil(120))
        .map(|part| step(&format!("step {part}"), part * 120, ((part + 1) * 120).min(seconds), level(part), 0));
    let mut plan = manifest(ScenarioKind::Sustained, parts.collect(), None, &["error_rate <= 1%"]);
    plan.run_id = name.to_owned();
    let mut recorded = Recorded::simulate(plan, SERVER, false, seed);
    let in_burst = recorded.samples.iter_mut().filter(|sample| BURST_S.contains(&(sample.done_ns / S)));
    for sample in in_burst.filter(|sample| fails && sample.sequence % 4 == 0) {
        sample.outcome = Outcome::ServerError.code();
        sample.status = 500;
    }
    recorded.completed()
}

/// Writes the folder as a generator does, histograms of latency by second included.
fn written(place: &Path, name: &str, seconds: u64, seed: u64, fails: bool) -> PathBuf {
    let recorded = run(name, seconds, seed, fails);
    let folder = place.join(name);
    recorded.write(&folder);
    let mut by_second: BTreeMap<u64, LatencyHistogram> = BTreeMap::new();
    for sample in recorded.samples.iter().filter(|sample| sample.outcome() == Outcome::Ok) {
        by_second.entry(sample.done_ns / S).or_default().record_ns(sample.done_ns - sample.intended_ns);
    }
    let lines: Vec<_> = by_second.iter().map(|(second, found)| found.line((second + 1) * S, 0, 0)).collect();
    LineWriter::create(&RunFolder::open(&folder).unwrap().histogram_lines(0)).unwrap().append(&lines).unwrap();
    folder
}

#[test]
fn a_burst_of_errors_is_found_by_the_healthy_runs_before_it() {
    let place = tempfile::tempdir().unwrap();
    let baseline = place.path().join("baseline");
    for seed in 1..=4 {
        let healthy = written(place.path(), &format!("healthy-{seed}"), 600, seed, false);
        assert_eq!(Baseline::add(&healthy, &baseline).unwrap().runs.len() as u64, seed);
    }
    let kept = Baseline::open(&baseline).unwrap().runs;
    assert!(kept.iter().all(|run| run.seconds == 600 && (15.0..25.0).contains(&run.offered_per_s)), "{kept:?}");
    let check_refused = |run: &Path, expected: &str| {
        let said = Baseline::add(run, &baseline).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
        assert_eq!(Baseline::open(&baseline).unwrap().runs, kept);
    };
    let faulty = written(place.path(), "faulty", 600, 9, true);
    check_refused(&faulty, "faulty is not healthy (FAIL");
    check_refused(&place.path().join("healthy-1"), "healthy-1 is in this baseline already");
    check_refused(&written(place.path(), "short", 60, 2, false), "short has 60 s");
    check_refused(place.path(), "not a run folder");

    Baseline::lay_beside(&baseline, &faulty).unwrap();
    let findings = analyze(&faulty).unwrap();
    let found = findings.anomalies.clone().unwrap();
    assert_eq!((found.compared_with, found.healthy_runs), (ComparedWith::HealthyRuns, 4));
    assert!(found.notes[0].contains("4 healthy runs are few"), "{:?}", found.notes);
    for metric in ["answered_per_s", "error_rate", "in_flight", "p50_ms", "p95_ms", "server_cpu_cores"] {
        assert!(found.metrics.iter().any(|name| name == metric), "{metric}: {:?}", found.metrics);
    }
    let burst = |start_ns: u64, end_ns: u64| start_ns < BURST_S.end * S && end_ns > BURST_S.start * S;
    let hit =
        found.episodes.iter().find(|episode| burst(episode.start_ns, episode.end_ns)).expect("the burst is found");
    let named: Vec<&str> = hit.metrics.iter().take(2).map(|metric| metric.name.as_str()).collect();
    assert!(named.contains(&"error_rate"), "{hit:?}");
    assert!(hit.p.unwrap() <= found.alpha && (10.0..30.0).contains(&hit.offered_per_s), "{hit:?}");

    let reports = write_reports(&faulty, &findings).unwrap();
    let page = std::fs::read_to_string(&reports.html).unwrap();
    assert!(page.contains("<h2 id=\"anomalies\">Anomalies</h2>") && page.contains("Compared with 4 healthy runs"));
    let summary = std::fs::read_to_string(&reports.summary).unwrap();
    assert!(summary.contains("Anomalies") && summary.contains("error\\_rate"), "{summary}");
    std::fs::remove_dir_all(&baseline).unwrap();
    assert_eq!(analyze(&faulty).unwrap(), findings, "the folder is enough");
}

#[test]
fn a_first_run_is_compared_with_itself_if_it_is_long_enough() {
    let place = tempfile::tempdir().unwrap();
    let long = analyze(&written(place.path(), "long", 600, 3, true)).unwrap().anomalies.unwrap();
    assert_eq!((long.compared_with, long.healthy_runs, long.known_load_per_s), (ComparedWith::Itself, 0, None));
    assert!(long.episodes.iter().all(|episode| episode.p.is_none()));
    assert_eq!(analyze(&written(place.path(), "brief", 200, 3, true)).unwrap().anomalies, None);
}

#[test]
fn a_baseline_of_another_version_is_refused() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("baseline.json"), "{\"format_version\": 99, \"runs\": []}").unwrap();
    let said = Baseline::open(place.path()).unwrap_err().to_string();
    assert!(said.contains("format version 99"), "{said}");
    std::fs::write(place.path().join("baseline.json"), "{").unwrap();
    assert!(Baseline::open(place.path()).unwrap_err().to_string().contains("not a baseline"));
    let said = Baseline::lay_beside(&place.path().join("none"), place.path()).unwrap_err().to_string();
    assert!(said.contains("holds no baseline"), "{said}");
}
