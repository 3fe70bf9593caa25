//! A small service of which everything is known: what is odd in it is found and named, what its load explains is not,
//! and what is said at the end of a window depends on nothing that comes later.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

use proofload_anomaly::episode::episodes;
use proofload_anomaly::metric::Metric;
use proofload_anomaly::model::{Model, ModelError, Options};
use proofload_anomaly::recording::Second;
use proofload_anomaly::watch::{Watch, Watched, alerts};
use proofload_anomaly::{Recording, csv};
use rand_core::RngCore as _;
use rand_pcg::Pcg64;

const METRICS: [&str; 5] = ["rps", "p50_ms", "p95_ms", "error_rate", "gpu_util_pct"];
const OPTIONS: Options = Options { warm_up_s: 60, seed: 0 };
const ALPHA: f64 = 0.02;

/// What befalls a run: the second from which it does, and what.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Twice the latency for 40 s.
    Slow(usize),
    /// One answer in twenty fails for 30 s.
    Errors(usize),
    /// Three times the load for 60 s.
    Load(usize),
}

/// A run of ten minutes whose load changes every two.
fn run(seed: u64, fault: Fault) -> Recording {
    let mut chance = Pcg64::new(u128::from(seed), 11);
    let mut noise = move || (0..6).map(|_| chance.next_u32() as f64 / f64::from(u32::MAX) - 0.5).sum::<f64>();
    let mut recording = Recording::new(METRICS.map(Metric::named).to_vec());
    let mut level = 0.0;
    for t_s in 0..600_usize {
        if t_s % 120 == 0 {
            level = 100.0 + 60.0 * (noise() + 1.0).clamp(0.0, 2.0);
        }
        let during = |from: usize, for_s: usize| (from..from + for_s).contains(&t_s);
        let load = if matches!(fault, Fault::Load(from) if during(from, 60)) { level * 3.0 } else { level };
        let offered: f64 = load * (1.0 + 0.03 * noise());
        let slow = if matches!(fault, Fault::Slow(from) if during(from, 40)) { 2.0 } else { 1.0 };
        let errors = if matches!(fault, Fault::Errors(from) if during(from, 30)) { 0.05 } else { 0.0 };
        let p50 = (10.0 + offered / 20.0) * slow * (1.0 + 0.04 * noise());
        let util = 20.0 + offered / 5.0 + 1.5 * noise();
        recording.push(offered, &[offered * (1.0 - errors), p50, p50 * 2.5 * (1.0 + 0.05 * noise()), errors, util]);
    }
    recording
}

fn learned() -> Model {
    let healthy: Vec<Recording> = (0..8).map(|seed| run(seed, Fault::None)).collect();
    Model::fit(&healthy, OPTIONS).unwrap()
}

#[test]
fn faults_are_found_and_named_and_changes_of_load_are_not() {
    let model = learned();
    let check = |fault: Fault, from_s: usize, to_s: usize, named: &[&str]| {
        let windows = Watch::run(&model, ALPHA, &run(77, fault));
        let found = alerts(&windows);
        let hit = found.iter().find(|alert| alert.from_s < to_s && alert.to_s > from_s);
        assert_eq!(hit.is_some(), !named.is_empty(), "{found:?}");
        if let Some(alert) = hit {
            let first = METRICS[alert.ranked[0].0];
            assert!(named.contains(&first), "{first}: {alert:?}");
            assert!(alert.p.unwrap() <= ALPHA && alert.from_s + 15 > from_s && alert.to_s < to_s + 60, "{alert:?}");
            let grouped = episodes(&windows);
            assert!(grouped.iter().any(|episode| episode.from_s < to_s && episode.to_s > from_s), "{grouped:?}");
        }
        // Outside the fault, and the minute in which what it left behind fades, hardly anything is odd.
        let is_apart = |alert: &&proofload_anomaly::watch::Alert| alert.to_s <= from_s || alert.from_s >= to_s + 60;
        let wrong_s: usize = found.iter().filter(is_apart).map(|alert| alert.to_s - alert.from_s).sum();
        assert!(wrong_s <= 25, "{found:?}");
    };
    check(Fault::Slow(300), 300, 340, &["p50_ms", "p95_ms"]);
    check(Fault::Errors(400), 400, 430, &["error_rate", "rps"]);
    check(Fault::None, 0, 0, &[]);
}

#[test]
fn a_load_that_healthy_runs_never_had_is_not_judged() {
    let model = learned();
    let windows = Watch::run(&model, ALPHA, &run(5, Fault::Load(300)));
    let during: Vec<&Watched> = windows.iter().filter(|window| window.from_s >= 320 && window.to_s <= 360).collect();
    assert!(during.len() > 4 && during.iter().all(|window| !window.is_judged && !window.is_odd));
    assert!(windows.iter().filter(|window| window.to_s <= 300).all(|window| window.is_judged));
    assert!(!model.knows_load(model.load().1 * 2.0) && model.knows_load(model.load().1));
}

#[test]
fn what_is_said_live_is_what_is_said_afterwards() {
    let model = learned();
    let whole = run(9, Fault::Slow(200));
    let afterwards = Watch::run(&model, ALPHA, &whole);
    let text = serde_json::to_string(&model).unwrap();
    let stored: Model = serde_json::from_str(&text).unwrap();
    assert!(text == serde_json::to_string(&learned()).unwrap(), "the same runs give the same model");
    let mut watch = Watch::new(&model, ALPHA);
    let mut live = Vec::new();
    for (t_s, second) in whole.seconds().enumerate() {
        if let Some(said) = watch.push(second) {
            assert_eq!(said.to_s, t_s + 1, "it is said with the window's last second");
            live.push(said);
        }
    }
    assert_eq!(live, afterwards);
    // JSON keeps all but the last bit of a number, and of two scores alike one may come to lie before the other.
    for (stored, live) in Watch::run(&stored, ALPHA, &whole).iter().zip(&live) {
        assert!((stored.p.unwrap() - live.p.unwrap()).abs() < 0.02, "{stored:?} {live:?}");
    }
    assert!(live.iter().any(|window| window.is_alarm));
    // Cut off anywhere, what was said before stays said.
    let cut = Watch::run(&model, ALPHA, &whole.clone().first(233));
    assert!(!cut.is_empty() && cut.iter().zip(&afterwards).all(|(cut, all)| cut == all));
}

#[test]
fn a_run_by_itself_says_less_and_no_p_values() {
    let run = run(3, Fault::Slow(300));
    let model = Model::of_itself(&run, OPTIONS).unwrap();
    let windows = Watch::run(&model, ALPHA, &run);
    assert!(windows.iter().all(|window| window.p.is_none() && window.is_judged));
    let found = alerts(&windows);
    assert!(found.iter().any(|alert| alert.from_s < 340 && alert.to_s > 300), "{found:?}");
    assert!(found.iter().all(|alert| alert.to_s > 290 && alert.from_s < 400), "{found:?}");
}

#[test]
fn what_cannot_be_learned_from_is_named() {
    let check = |runs: &[Recording], expected: &str| {
        let said = Model::fit(runs, OPTIONS).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    };
    let healthy = run(1, Fault::None);
    check(&[], "no healthy run");
    check(std::slice::from_ref(&healthy), "one healthy run is too few");
    check(&[healthy.clone(), healthy.clone().first(100)], "run 2 has 100 s, and 120 s are needed");
    let others = healthy.with_metrics(&healthy.metrics()[..3]);
    check(&[healthy.clone(), others], "run 2 has other metrics");
    assert!(matches!(Model::of_itself(&healthy.first(50), OPTIONS), Err(ModelError::TooShort { run: 1, .. })));
}

#[test]
fn what_was_not_measured_is_as_expected() {
    let model = learned();
    let whole = run(12, Fault::None);
    let mut gappy = Recording::new(whole.metrics().to_vec());
    for (t_s, second) in whole.seconds().enumerate() {
        let values = if t_s % 7 == 3 { vec![f64::NAN; METRICS.len()] } else { second.values.to_vec() };
        gappy.push(second.offered, &values);
    }
    let read = csv::read(&csv::write(&gappy)).unwrap();
    assert_eq!(csv::write(&read), csv::write(&gappy));
    let windows = Watch::run(&model, ALPHA, &read);
    assert!(windows.iter().filter(|window| window.is_odd).count() * 8 < windows.len());
    assert!(windows.iter().all(|window| window.strengths.iter().all(|strength| strength.is_finite())));
    let mut watch = Watch::new(&model, ALPHA);
    let nothing = Second { offered: 0.0, values: &[f64::NAN; 5] };
    assert!((0..200).filter_map(|_| watch.push(nothing)).all(|window| !window.is_odd));
}
