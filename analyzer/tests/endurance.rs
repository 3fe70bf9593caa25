//! What the findings of a long run say of memory, latency, the cache and errors, on recorded runs in which each is known.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

mod support;

use proofload_analyzer::{analyze, summary_markdown, write_reports};
use proofload_run::findings::{Endurance, Findings, Held, Pattern, Trend};
use proofload_run::manifest::{ScenarioKind, Step};
use proofload_run::sample::{Outcome, Sample, flags};
use proofload_run::series::Source;
use support::{MS, Random, Recorded, S, Server, manifest, point, step};

const SERVER: Server = Server { slots: 8, service_ns: 5e6, exponential: true, shed_after_ns: None, down: None };

/// Six minutes at 60/s, after ten seconds of warm-up, with what is done to each sample.
fn recorded(kind: ScenarioKind, mut change: impl FnMut(&mut Sample, &mut Random)) -> Recorded {
    let steps = vec![Step { warm_up: true, ..step("warm-up", 0, 10, 60.0, 0) }, step("hold", 10, 370, 60.0, 0)];
    let mut recorded = Recorded::simulate(manifest(kind, steps, None, &[]), SERVER, false, 77);
    let mut random = Random(5);
    recorded.samples.iter_mut().for_each(|sample| change(sample, &mut random));
    recorded
}

fn found(recorded: Recorded) -> (Findings, String) {
    let folder = tempfile::tempdir().unwrap();
    recorded.completed().write(folder.path());
    let findings = analyze(folder.path()).unwrap();
    let reports = write_reports(folder.path(), &findings).unwrap();
    (findings, std::fs::read_to_string(reports.html).unwrap())
}

fn endurance(findings: &Findings) -> &Endurance {
    findings.endurance.as_ref().unwrap()
}

fn fail(sample: &mut Sample, outcome: Outcome, status: u16) {
    (sample.outcome, sample.status) = (outcome.code(), status);
}

fn warned(findings: &Findings, code: &str) -> bool {
    findings.warnings.iter().any(|warning| warning.code == code)
}

#[test]
fn a_healthy_run_has_no_trend() {
    let (findings, html) = found(recorded(ScenarioKind::Endurance, |_, _| {}));
    let endurance = endurance(&findings);
    assert_eq!((endurance.from_ns, endurance.to_ns), (10 * S, 370 * S));
    assert_eq!(endurance.load.held, Held::Constant, "{:?}", endurance.load);
    for drift in &endurance.latency {
        assert!(drift.steps.is_empty() && drift.trend != Trend::Rises, "{}", drift.sentence);
    }
    assert_eq!((endurance.hit_share.as_ref(), endurance.errors.as_ref()), (None, None));
    for code in ["latency_drifts", "hit_share_falls", "errors_in_bursts"] {
        assert!(!warned(&findings, code), "{:?}", findings.warnings);
    }
    assert!(html.contains("id=\"endurance\""));
}

#[test]
fn latency_that_jumps_is_told_with_when_and_how_much() {
    let later = |sample: &mut Sample, _: &mut Random| {
        if sample.intended_ns > 200 * S && sample.done_ns > 0 {
            sample.done_ns += 10 * MS;
        }
    };
    let (findings, html) = found(recorded(ScenarioKind::Endurance, later));
    let [p50, p95] = &endurance(&findings).latency[..] else { panic!() };
    for drift in [p50, p95] {
        let [change] = drift.steps[..] else { panic!("{}", drift.sentence) };
        assert!(change.at_ns.abs_diff(200 * S) <= 10 * S, "{}", drift.sentence);
        assert!((change.after - change.before - 10e6).abs() < 3e6, "{}", drift.sentence);
        assert!(change.p <= 0.01);
    }
    assert!(warned(&findings, "latency_drifts"));
    assert!(summary_markdown(&findings).contains("p95 latency changed at once: from "));
    assert!(html.contains("p95 latency and its changes"));
}

#[test]
fn errors_that_come_together_are_told_with_their_kind() {
    let bursts = |sample: &mut Sample, random: &mut Random| match sample.intended_ns / S {
        100..=101 => fail(sample, Outcome::ServerError, 500),
        300 => fail(sample, Outcome::Timeout, 0),
        _ if random.unit() < 0.0005 => fail(sample, Outcome::TransportError, 0),
        _ => {}
    };
    let (findings, _) = found(recorded(ScenarioKind::Endurance, bursts));
    let errors = endurance(&findings).errors.as_ref().unwrap();
    assert_eq!((errors.pattern, errors.bursts_n), (Pattern::Bursts, 2), "{}", errors.sentence);
    assert_eq!(errors.errors, findings.rates.errors.count);
    let [first, second] = &errors.bursts[..] else { panic!("{errors:?}") };
    assert_eq!((first.from_ns, first.to_ns, second.from_ns, second.to_ns), (100 * S, 102 * S, 300 * S, 301 * S));
    assert_eq!((first.errors, second.errors), (first.arrivals, second.arrivals), "all of them failed");
    assert!(first.classes.iter().all(|class| class.status == 500 && class.outcome == "server_error"), "{first:?}");
    assert_eq!(first.classes.iter().map(|class| class.count).sum::<u64>(), first.errors);
    assert!(second.classes.iter().all(|class| class.outcome == "timeout"), "{second:?}");
    assert!(warned(&findings, "errors_in_bursts"));
    let even = |sample: &mut Sample, random: &mut Random| {
        if random.unit() < 0.01 {
            fail(sample, Outcome::ServerError, 500);
        }
    };
    let (findings, _) = found(recorded(ScenarioKind::Endurance, even));
    let errors = endurance(&findings).errors.as_ref().unwrap();
    assert!(errors.pattern == Pattern::Even && errors.bursts.is_empty(), "{}", errors.sentence);
    assert!(!warned(&findings, "errors_in_bursts"));
}

#[test]
fn a_cache_that_loses_hits_is_told() {
    let fewer = |sample: &mut Sample, random: &mut Random| {
        if random.unit() < 0.8 - 0.4 * sample.intended_ns as f64 / (370 * S) as f64 {
            sample.flags |= flags::CACHE_HIT;
        }
    };
    let (findings, _) = found(recorded(ScenarioKind::Endurance, fewer));
    let hits = endurance(&findings).hit_share.as_ref().unwrap();
    let change = hits.change.unwrap();
    assert!(hits.trend == Trend::Falls && (change.value + 0.39).abs() < 0.06, "{}", hits.sentence);
    assert!(warned(&findings, "hit_share_falls"));
}

#[test]
fn a_leak_is_told_with_the_time_that_is_left() {
    let mut recorded = recorded(ScenarioKind::Endurance, |_, _| {});
    recorded.series.retain(|point| point.name != "process_resident_memory_bytes");
    let leak =
        |second: u64| point(second * S, Source::Target, "process_resident_memory_bytes", "", 1e9 + 5e6 * second as f64);
    recorded.series.extend((0..370).map(leak));
    let (findings, html) = found(recorded);
    let target = &endurance(&findings).memory[0];
    // The machine of these runs has 8 GiB.
    let left_s = ((8_u64 << 30) as f64 - 1e9 - 5e6 * 369.0) / 5e6;
    assert_eq!((target.trend, &target.what[..]), (Trend::Rises, "target"), "{}", target.sentence);
    assert!((target.limit_in_s.unwrap().value / left_s - 1.0).abs() < 0.01, "{}", target.sentence);
    assert!(warned(&findings, "memory_grows") && html.contains("Memory of the target, MB"));
}

#[test]
fn only_runs_that_last_are_looked_at() {
    let check = |kind, expected: bool| {
        let (findings, html) = found(recorded(kind, |_, _| {}));
        assert_eq!(findings.endurance.is_some(), expected, "{kind:?}");
        assert_eq!(html.contains("id=\"endurance\""), expected, "{kind:?}");
    };
    check(ScenarioKind::Sustained, false);
    check(ScenarioKind::Stress, false);
}
