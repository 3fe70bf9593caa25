//! Figures of seeded run folders against the same figures computed here from the samples, in the plainest way.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

mod support;

use std::path::Path;

use proofload_analyzer::analyze;
use proofload_run::criteria::Slo;
use proofload_run::findings::{Balance, BreakingKind, Findings, Kept};
use proofload_run::manifest::ScenarioKind;
use proofload_run::sample::{Outcome, Sample};
use support::{MS, Recorded, S, Server, manifest, step};

const SLO: Slo = Slo::new(30 * MS, 95.0, 0.01);
/// Four slots of exactly 10 ms: saturation at 400 a second.
const FOUR_SLOTS: Server = Server { slots: 4, service_ns: 10e6, exponential: false, shed_after_ns: None, down: None };

fn analysed(recorded: &Recorded) -> Findings {
    let folder = tempfile::tempdir().unwrap();
    recorded.write(folder.path());
    analyze(folder.path()).unwrap()
}

/// The smallest latency that at least so many per cent of the sorted ones do not exceed.
fn nearest_rank(latencies: &mut [u64], percentile: f64) -> u64 {
    latencies.sort_unstable();
    let needed = latencies.len() as f64 * percentile / 100.0;
    let rank = (1..=latencies.len()).find(|&rank| rank as f64 >= needed).unwrap();
    latencies[rank - 1]
}

fn latencies<'a>(samples: impl Iterator<Item = &'a Sample>) -> Vec<u64> {
    samples.filter(|s| s.outcome() == Outcome::Ok).map(Sample::latency_ns).collect()
}

#[test]
fn figures_are_those_of_the_raw_samples() {
    let mut steps = vec![step("warm-up", 0, 3, 150.0, 0), step("hold", 3, 33, 390.0, 2)];
    steps[0].warm_up = true;
    let server = Server { exponential: true, shed_after_ns: Some(40 * MS), ..FOUR_SLOTS };
    let plan = manifest(ScenarioKind::Sustained, steps, Some(SLO), &["p95 < 500ms"]);
    let recorded = Recorded::simulate(plan, server, false, 7).completed();
    let found = analysed(&recorded);

    let measured: Vec<&Sample> = recorded.samples.iter().filter(|s| s.intended_ns >= 5 * S).collect();
    let answered = recorded.samples.iter().filter(|s| s.outcome() == Outcome::Ok);
    let answered: Vec<&Sample> = answered.filter(|s| (5 * S..33 * S).contains(&s.done_ns)).collect();
    assert_eq!(found.totals.samples, recorded.samples.len() as u64);
    assert_eq!(found.totals.measured, measured.len() as u64);
    let warm = recorded.samples.iter().filter(|s| s.step == 0).count() as u64;
    assert_eq!(
        (found.totals.warm_up, found.totals.samples),
        (warm, warm + found.totals.settling + found.totals.measured)
    );
    assert_eq!(found.rates.measured_ns, 28 * S);

    let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{a} is not {b}");
    close(found.rates.intended_per_s, measured.len() as f64 / 28.0);
    close(found.rates.throughput_per_s, answered.len() as f64 / 28.0);
    let good = answered.iter().filter(|s| s.latency_ns() <= SLO.latency_ns).count();
    close(found.rates.goodput_per_s, good as f64 / 28.0);
    let sheds = measured.iter().filter(|s| s.outcome() == Outcome::Shed).count() as u64;
    assert!(sheds > 0);
    assert_eq!((found.rates.sheds.count, found.rates.sheds.n), (sheds, measured.len() as u64));
    assert_eq!(found.rates.errors.count, 0);

    let latency = found.latency.as_ref().unwrap();
    let mut raw = latencies(measured.iter().copied());
    assert_eq!(latency.n, raw.len() as u64);
    close(latency.mean_ns, raw.iter().map(|ns| *ns as f64).sum::<f64>() / raw.len() as f64);
    for p in &latency.percentiles {
        assert_eq!(p.latency_ns, nearest_rank(&mut raw, p.percentile), "p{}", p.percentile);
    }
    let bad = measured.iter().filter(|s| s.outcome() != Outcome::Ok || s.latency_ns() > SLO.latency_ns).count() as u64;
    assert_eq!((found.slos[0].bad.count, found.slos[0].bad.n), (bad, measured.len() as u64));

    let breakdown = found.phases.iter().find(|p| p.entry == "tensor").unwrap();
    close(breakdown.parts.iter().map(|part| part.mean_ns).sum(), breakdown.mean_latency_ns);
    assert!(found.conservation.iter().all(|c| c.balance == Balance::Balanced), "{:?}", found.conservation);
    assert!(found.audit.trustworthy, "{:?}", found.audit.faults);
}

#[test]
fn the_timeline_adds_up_to_the_totals() {
    let server = Server { shed_after_ns: Some(40 * MS), down: Some((10 * S, 12 * S)), ..FOUR_SLOTS };
    let plan = manifest(ScenarioKind::Sustained, vec![step("hold", 0, 20, 380.0, 0)], None, &[]);
    let recorded = Recorded::simulate(plan, server, false, 3).completed();
    let found = analysed(&recorded);
    let buckets = &found.timeline.buckets;
    let sum = |of: fn(&proofload_run::findings::Bucket) -> f64| -> f64 { buckets[..20].iter().map(of).sum() };
    assert!((sum(|b| b.intended_per_s) - recorded.samples.len() as f64).abs() < 1e-6);
    let of = |outcome| recorded.samples.iter().filter(|s| s.outcome() == outcome).count() as f64;
    assert!((sum(|b| b.errors_per_s) - of(Outcome::ConnectError)).abs() < 1e-6);
    assert!(of(Outcome::ConnectError) > 600.0, "the outage is in the samples");
    assert_eq!(buckets.last().unwrap().in_flight, 0);
    for bucket in &buckets[..20] {
        let end = bucket.t_ns + S;
        let under_way = recorded.samples.iter().filter(|s| s.intended_ns < end && s.done_ns >= end).count() as u64;
        assert_eq!(bucket.in_flight, under_way, "at {end}");
        let overlap = |s: &Sample| s.done_ns.min(end).saturating_sub(s.intended_ns.max(bucket.t_ns));
        let mean = recorded.samples.iter().map(overlap).sum::<u64>() as f64 / S as f64;
        assert!((bucket.in_flight_mean - mean).abs() < 1e-9, "{} is not {mean}", bucket.in_flight_mean);
    }
    let outage = found.errors.iter().find(|class| class.outcome == "connect_error").unwrap();
    assert!(outage.first_ns >= 10 * S && outage.last_ns < 12 * S + MS);
}

#[test]
fn the_breaking_point_of_four_slots_of_ten_milliseconds() {
    let levels = (0_u32..12).map(|i| 340.0 + f64::from(i) * 10.0);
    let steps: Vec<_> =
        levels.zip(0_u64..).map(|(level, i)| step(&format!("{level}/s"), i * 10, i * 10 + 10, level, 2)).collect();
    let plan = manifest(ScenarioKind::Stress, steps, Some(SLO), &["breaking_point >= 380/s"]);
    let found = analysed(&Recorded::simulate(plan, FOUR_SLOTS, true, 1).completed());
    let broken = found.breaking_point.as_ref().unwrap();
    assert_eq!(broken.kind, BreakingKind::Between);
    let (missed, met) = (broken.first_missed_level.unwrap(), broken.last_met_level.unwrap());
    assert!((missed - 410.0).abs() < 1e-9 && (met - 400.0).abs() < 1e-9, "{broken:?}");
    assert!(broken.clear);
    assert_eq!(found.verdict.as_str(), "PASS", "{:?}", found.reasons);
    assert!((broken.best_goodput_per_s - 400.0).abs() < 1.0, "no more than saturation: {}", broken.best_goodput_per_s);
    let over: Vec<_> = found.steps.iter().filter(|step| step.level > 405.0).collect();
    assert!(over.iter().all(|step| step.kept == Some(Kept::Missed)));
    assert!(over.iter().all(|step| step.rates.throughput_per_s < 401.0), "answers count when they come");
}

/// Poisson arrivals at four slots: by simulation (below) 5 % are late at the rate that the climb is held against.
#[test]
fn the_steps_of_a_climb_say_where_the_limit_lies() {
    let late = |rate: f64| {
        let plan = manifest(ScenarioKind::Sustained, vec![step("long", 0, 240, rate, 5)], Some(SLO), &[]);
        analysed(&Recorded::simulate(plan, FOUR_SLOTS, false, 9).completed()).slos[0].bad.share
    };
    let (mut low, mut high) = (300.0, 400.0);
    for _ in 0..6 {
        let middle = f64::midpoint(low, high);
        if late(middle) <= 0.05 { low = middle } else { high = middle }
    }
    let levels = (0..12).map(|at| (at * 8, 300.0 + 12.0 * at as f64));
    let steps = levels.map(|(at, level)| step(&format!("step {at}"), at, at + 8, level, 2)).collect();
    let plan = manifest(ScenarioKind::Stress, steps, Some(SLO), &[]);
    let found = analysed(&Recorded::simulate(plan, FOUR_SLOTS, false, 1).completed()).capacity.unwrap();
    let ([from, to], estimate) = (found.interval_per_s.unwrap(), found.estimate_per_s.unwrap());
    assert!(from < high && low < to, "{low}: {}", found.sentence);
    assert!((estimate / low - 1.0).abs() < 0.05, "{low}: {}", found.sentence);
    let calm =
        manifest(ScenarioKind::Stress, vec![step("a", 0, 8, 100.0, 2), step("b", 8, 16, 120.0, 2)], Some(SLO), &[]);
    assert_eq!(analysed(&Recorded::simulate(calm, FOUR_SLOTS, false, 1).completed()).capacity, None);
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    let plan = manifest(ScenarioKind::Sustained, vec![step("hold", 0, 5, 300.0, 0)], Some(SLO), &["p95 < 1s"]);
    let recorded = Recorded::simulate(plan, FOUR_SLOTS, false, 5).completed();
    let folder = tempfile::tempdir().unwrap();
    recorded.write(folder.path());
    let read = |folder: &Path| {
        let reports = proofload_analyzer::write_reports(folder, &analyze(folder).unwrap()).unwrap();
        [reports.findings, reports.html, reports.summary, reports.junit].map(|path| std::fs::read(path).unwrap())
    };
    let first = read(folder.path());
    assert!(first == read(folder.path()));
}

/// A peak of 2 s at half as much again as four slots bear leaves 400 requests, of which 300 a second go away at 100/s.
#[test]
fn a_spike_says_how_long_its_traces_stayed() {
    let steps = vec![step("base", 0, 10, 100.0, 0), step("peak", 10, 12, 600.0, 0), step("recovery", 12, 30, 100.0, 1)];
    let plan = manifest(ScenarioKind::Spike, steps, Some(SLO), &[]);
    let found = analysed(&Recorded::simulate(plan, FOUR_SLOTS, true, 1).completed()).spike.unwrap();
    assert_eq!((found.base_level, found.peak_level, found.arrivals), (100.0, 600.0, 1200));
    let (recovered, drained) = (found.recovered.unwrap(), found.drained.unwrap());
    assert!(recovered.from_ns >= S / 2 && recovered.to_ns <= 3 * S, "1.33 s by arithmetic: {}", found.sentence);
    assert!(drained.from_ns <= 4 * S / 3 && 4 * S / 3 <= drained.to_ns + S, "{}", found.sentence);
    assert_eq!((found.sheds, found.errors), (0, 0));
    let calm = manifest(ScenarioKind::Sustained, vec![step("hold", 0, 9, 100.0, 1)], Some(SLO), &[]);
    assert_eq!(analysed(&Recorded::simulate(calm, FOUR_SLOTS, true, 1).completed()).spike, None);
}
