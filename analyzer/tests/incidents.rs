//! What happened to a run, by name: each kind is put into a recorded run and found there, and nowhere else.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

mod support;

use std::ops::Range;

use proofload_analyzer::{analyze, write_reports};
use proofload_run::events::EventKind;
use proofload_run::findings::{Findings, Incident, IncidentKind};
use proofload_run::manifest::{ScenarioKind, Step};
use proofload_run::sample::{Outcome, Sample, flags};
use proofload_run::series::Source;
use support::{MS, Recorded, S, Server, manifest, point, step};

const SERVER: Server = Server { slots: 8, service_ns: 20e6, exponential: true, shed_after_ns: None, down: None };

fn driven(steps: Vec<Step>, server: Server, seed: u64) -> Recorded {
    Recorded::simulate(manifest(ScenarioKind::Sustained, steps, None, &["error_rate <= 1%"]), server, false, seed)
}

/// Two minutes at one rate.
fn steady(seed: u64) -> Recorded {
    driven(vec![step("steady", 0, 120, 150.0, 5)], SERVER, seed)
}

fn analyzed(recorded: Recorded) -> Findings {
    let place = tempfile::tempdir().unwrap();
    recorded.completed().write(place.path());
    let findings = analyze(place.path()).unwrap();
    let reports = write_reports(place.path(), &findings).unwrap();
    let page = std::fs::read_to_string(reports.html).unwrap();
    assert_eq!(page.contains("<h2 id=\"incidents\">"), !findings.incidents.is_empty());
    let summary = std::fs::read_to_string(reports.summary).unwrap();
    assert_eq!(summary.matches("the target froze").count(), of_kind(&findings, IncidentKind::Freeze).len().min(3));
    findings
}

fn of_kind(findings: &Findings, kind: IncidentKind) -> Vec<&Incident> {
    findings.incidents.iter().filter(|incident| incident.kind == kind).collect()
}

/// The one incident of the run, which lies there to within so much.
fn only(findings: &Findings, kind: IncidentKind, seconds: Range<f64>, within_s: f64) -> &Incident {
    let [found] = &findings.incidents[..] else { panic!("{:?}", findings.incidents) };
    let (from, to) = (found.start_ns as f64 / S as f64, found.end_ns as f64 / S as f64);
    assert_eq!(found.kind, kind);
    assert!((from - seconds.start).abs() <= within_s && (to - seconds.end).abs() <= within_s, "{found:?}");
    found
}

/// Whoever would have been answered while the server stood still is answered when it goes on.
fn freeze(recorded: &mut Recorded, from_ns: u64, to_ns: u64) {
    let held = |sample: &&mut Sample| (from_ns..to_ns).contains(&sample.done_ns);
    for (place, sample) in recorded.samples.iter_mut().filter(held).enumerate() {
        sample.done_ns = to_ns + place as u64 * MS / 4;
    }
}

#[test]
fn healthy_runs_have_no_incidents() {
    let slower = Server { service_ns: 50e6, ..SERVER };
    let steps = |levels: [f64; 4]| -> Vec<Step> {
        let named = levels.iter().zip(0..).map(|(level, n)| step(&format!("step {n}"), n * 20, n * 20 + 20, *level, 2));
        named.collect()
    };
    for seed in 1..=20 {
        for (levels, server) in [
            ([150.0; 4], SERVER),
            ([10.0, 50.0, 300.0, 380.0], SERVER),
            // A pause: hardly anybody asks, so hardly anybody is answered.
            ([300.0, 0.3, 300.0, 1.0], SERVER),
            ([2.0; 4], slower),
            // Beyond what it bears.
            ([100.0, 150.0, 200.0, 100.0], slower),
        ] {
            let mut recorded = driven(steps(levels), server, seed);
            add_processors(&mut recorded, 80, |_| 0.05);
            let findings = analyzed(recorded);
            assert_eq!(findings.incidents, [], "{seed} {levels:?}");
        }
    }
}

#[test]
fn a_server_that_stands_still_is_found_to_the_hundredth_of_a_second() {
    for (length_ms, seed) in [(300, 1), (2000, 2), (2000, 3), (15_000, 4)] {
        let mut recorded = steady(seed);
        freeze(&mut recorded, 60 * S, 60 * S + length_ms * MS);
        let findings = analyzed(recorded);
        let until = 60.0 + length_ms as f64 / 1e3;
        let found = only(&findings, IncidentKind::Freeze, 60.0..until, 0.06);
        // Those who came in its first half waited through half of it.
        let expected = 150.0 * length_ms as f64 / 2e3;
        assert!((found.n as f64 - expected).abs() < 6.0 * expected.sqrt() + 6.0, "{found:?}");
    }
}

#[test]
fn what_held_the_generator_up_is_not_the_targets() {
    let mut recorded = steady(5);
    freeze(&mut recorded, 60 * S, 62 * S);
    recorded.event(60 * S + 100 * MS, EventKind::Stalled { for_ns: 1800 * MS });
    assert_eq!(analyzed(recorded).incidents, []);
}

#[test]
fn slow_computing_is_found_and_named() {
    for seed in 1..=5 {
        let mut recorded = steady(seed);
        let slow = |sample: &&mut Sample| (40 * S..60 * S).contains(&sample.done_ns) && sample.entry == 1;
        for sample in recorded.samples.iter_mut().filter(slow) {
            sample.done_ns += 2 * sample.compute_ns;
            sample.compute_ns *= 3;
        }
        let findings = analyzed(recorded);
        let found = only(&findings, IncidentKind::SlowCompute, 40.0..60.0, 4.0);
        assert_eq!(found.entry.as_deref(), Some("tensor"));
        let times = found.measured / found.usual;
        assert!((2.4..3.6).contains(&times), "{times}: {found:?}");
    }
}

#[test]
fn larger_batches_take_longer_and_are_no_incident() {
    let mut recorded = steady(6);
    for sample in recorded.samples.iter_mut().filter(|sample| (40 * S..60 * S).contains(&sample.done_ns)) {
        sample.batch_size = 8;
        sample.done_ns += 3 * sample.compute_ns;
        sample.compute_ns *= 4;
    }
    assert_eq!(analyzed(recorded).incidents, []);
}

#[test]
fn a_cache_that_was_cleared_is_found_but_not_one_that_fills() {
    for seed in 1..=5 {
        let mut recorded = steady(seed);
        for sample in &mut recorded.samples {
            let second = sample.done_ns / S;
            let holds = (10..70).contains(&second) || second >= 82;
            let hit = holds && sample.entry == 1 && sample.sequence % 10 < 8;
            sample.flags |= if hit { flags::CACHE_HIT } else { 0 };
        }
        let findings = analyzed(recorded);
        let found = only(&findings, IncidentKind::CacheCollapse, 70.0..82.0, 2.1);
        assert!(found.measured < 0.1 && (0.75..0.85).contains(&found.usual), "{found:?}");
    }
}

/// What the machine, the generator and the target used of the processors, and others beside them.
fn add_processors(recorded: &mut Recorded, seconds: u64, others: impl Fn(u64) -> f64) {
    let mut busy = 0.0;
    for second in 0..seconds {
        let at = second * S + second * 3 * MS % (50 * MS);
        busy += 0.95 + others(second);
        recorded.series.push(point(at, Source::Generator, "host_cpu_busy_seconds", "", busy));
        recorded.series.push(point(at, Source::Generator, "process_cpu_seconds", "", second as f64 * 0.15));
    }
}

#[test]
fn a_busy_neighbour_is_found_where_the_machine_is_watched() {
    let mut recorded = steady(7);
    add_processors(&mut recorded, 120, |second| if (30..50).contains(&second) { 1.0 } else { 0.1 });
    let findings = analyzed(recorded);
    let found = only(&findings, IncidentKind::BusyNeighbour, 30.0..50.0, 2.1);
    assert!((found.measured - found.usual - 0.9).abs() < 0.15, "{found:?}");
}

#[test]
fn several_things_are_told_in_order_of_time() {
    let mut recorded = steady(8);
    freeze(&mut recorded, 90 * S, 92 * S);
    freeze(&mut recorded, 30 * S, 31 * S);
    add_processors(&mut recorded, 120, |second| if (50..60).contains(&second) { 1.5 } else { 0.1 });
    let kinds: Vec<IncidentKind> = analyzed(recorded).incidents.iter().map(|incident| incident.kind).collect();
    assert_eq!(kinds, [IncidentKind::Freeze, IncidentKind::BusyNeighbour, IncidentKind::Freeze]);
}

#[test]
fn a_target_that_refuses_is_not_silent_and_one_that_is_gone_is_told_elsewhere() {
    let refuses = Server { shed_after_ns: Some(5 * MS), slots: 1, ..SERVER };
    assert_eq!(analyzed(driven(vec![step("over", 0, 60, 400.0, 2)], refuses, 9)).incidents, []);
    let mut gone = steady(10);
    for sample in gone.samples.iter_mut().filter(|sample| sample.done_ns > 100 * S) {
        sample.outcome = Outcome::ConnectError.code();
        sample.status = 0;
    }
    assert_eq!(analyzed(gone).incidents, []);
}
