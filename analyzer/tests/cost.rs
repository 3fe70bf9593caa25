//! What requests cost, from run folders: which figures there are, that they agree with the run, and that runs compare.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

mod support;

use proofload_analyzer::cost::{Labelled, Stated, Terms, Traffic, compare, lay_beside};
use proofload_analyzer::{analyze, write_reports};
use proofload_run::criteria::Slo;
use proofload_run::findings::{Cost, CostFigure, Findings};
use proofload_run::manifest::{Gpu, Manifest, ScenarioKind, Step};
use proofload_run::sample::flags;
use proofload_run::series::Source;
use support::{MS, Recorded, S, Server, manifest, point, step};

const SERVER: Server = Server { slots: 4, service_ns: 10e6, exponential: true, shed_after_ns: None, down: None };

fn plan(kind: ScenarioKind, steps: Vec<Step>) -> Manifest {
    manifest(kind, steps, Some(Slo::new(60 * MS, 95.0, 0.01)), &[])
}

fn sustained(seed: u64) -> Recorded {
    Recorded::simulate(plan(ScenarioKind::Sustained, vec![step("hold", 0, 60, 200.0, 1)]), SERVER, false, seed)
        .completed()
}

/// Steps up to the break, at 400/s.
fn climb(seed: u64, service_ns: f64) -> Recorded {
    let steps = (0..8_u32)
        .map(|i| step(&format!("{i}"), u64::from(i) * 8, u64::from(i) * 8 + 8, 280.0 + f64::from(i) * 25.0, 1));
    let server = Server { service_ns, ..SERVER };
    Recorded::simulate(plan(ScenarioKind::Stress, steps.collect()), server, false, seed).completed()
}

fn analyzed(recorded: &Recorded, stated: Option<&Stated>) -> Findings {
    let folder = tempfile::tempdir().unwrap();
    recorded.write(folder.path());
    if let Some(stated) = stated {
        lay_beside(None, stated, folder.path()).unwrap();
    }
    let found = analyze(folder.path()).unwrap();
    write_reports(folder.path(), &found).unwrap();
    let html = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(html.contains("How it was computed") || found.cost.as_ref().is_none_or(|cost| cost.figures.is_empty()));
    found
}

fn figure<'a>(cost: &'a Cost, key: &str) -> &'a CostFigure {
    let keys = || cost.figures.iter().map(|figure| figure.key.as_str()).collect::<Vec<_>>();
    cost.figures.iter().find(|figure| figure.key == key).unwrap_or_else(|| panic!("no {key} in {:?}", keys()))
}

#[test]
fn a_run_is_priced_by_the_machine_of_its_manifest() {
    let found = analyzed(&sustained(1), None);
    let cost = found.cost.as_ref().unwrap();
    let machine = cost.machine.as_ref().unwrap();
    assert_eq!((machine.name.as_str(), machine.units), ("cpu", 2.0));
    let good = figure(cost, "per_1k_good");
    let expected = 1000.0 * 2.0 * 0.0408 / (3600.0 * found.rates.goodput_per_s);
    assert!((good.value / expected - 1.0).abs() < 1e-12, "{good:?}");
    let [low, high] = good.interval.unwrap();
    assert!(low < good.value && good.value < high && high < 1.1 * low, "{good:?}");
    assert_eq!(good.n, found.rates.goodput_n);
    assert!(figure(cost, "per_gb").name.contains("meshes"));
    assert!(cost.missing.iter().any(|missing| missing.contains("proofload capacity")), "{:?}", cost.missing);
    assert!(cost.sentence.contains("1,000 good requests cost"), "{}", cost.sentence);
}

#[test]
fn the_time_of_computing_is_shared_by_a_batch_and_saved_by_a_cache() {
    let check = |batch: u16, hits: u64, per_success_ms: f64, saved: f64| {
        let mut recorded = sustained(3);
        for sample in &mut recorded.samples {
            sample.batch_size = batch;
            sample.compute_ns = 8 * MS;
            if hits > 0 && sample.sequence % hits == 0 {
                sample.flags |= flags::CACHE_HIT;
                sample.compute_ns = 0;
            }
        }
        let computing = analyzed(&recorded, None).cost.unwrap().measured.computing.unwrap();
        assert!((computing.per_success_s.value * 1e3 - per_success_ms).abs() < 0.1, "{computing:?}");
        assert!((computing.saved_share - saved).abs() < 0.02, "{computing:?}");
        let [low, high] = computing.per_success_s.interval.unwrap();
        assert!(low <= computing.per_success_s.value && computing.per_success_s.value <= high);
    };
    check(1, 0, 8.0, 0.0);
    check(4, 0, 2.0, 0.0);
    check(1, 4, 6.0, 0.25);
}

#[test]
fn energy_is_the_counters_and_idling_is_taken_off() {
    let mut steps = vec![step("hold", 0, 60, 200.0, 0), step("quiet", 60, 90, 0.001, 0)];
    steps[1].warm_up = true;
    let mut recorded = Recorded::simulate(plan(ScenarioKind::Sustained, steps), SERVER, false, 9).completed();
    let joules = |second: u64| 280.0 * second.min(60) as f64 + 90.0 * second.saturating_sub(60) as f64;
    for second in 0..=90 {
        recorded.series.push(point(
            second * S,
            Source::Target,
            "nv_energy_consumption",
            "gpu_uuid=\"a\"",
            joules(second),
        ));
    }
    let found = analyzed(&recorded, None);
    let cost = found.cost.as_ref().unwrap();
    let (gross, net) = (figure(cost, "energy_per_good"), figure(cost, "energy_per_good_net"));
    assert!((gross.value * found.rates.goodput_per_s - 280.0).abs() < 1.0, "{gross:?}");
    assert!((net.value * found.rates.goodput_per_s - 190.0).abs() < 2.0, "{net:?}");
}

#[test]
fn an_unknown_machine_is_asked_for() {
    let mut recorded = sustained(1);
    recorded.manifest.target.embedded = false;
    recorded.manifest.target.http_url = "http://10.1.2.3:8000".to_owned();
    let cost = analyzed(&recorded, None).cost.unwrap();
    assert_eq!((cost.machine, cost.sentence.as_str()), (None, ""));
    assert!(cost.figures.iter().all(|figure| !figure.unit.contains("USD")), "{:?}", cost.figures);
    assert!(cost.missing[0].contains("--machine"), "{:?}", cost.missing);
    let stated = Stated { machine: Some("h200".to_owned()), units: Some(8.0), replicas: Some(2), ..Stated::default() };
    let cost = analyzed(&recorded, Some(&stated)).cost.unwrap();
    assert!((cost.machine.unwrap().per_hour - 16.0 * 4.06).abs() < 1e-9, "kept beside the run");
}

#[test]
fn a_climb_is_priced_at_its_limit() {
    let found = analyzed(&climb(5, 10e6), None);
    let (cost, capacity) = (found.cost.as_ref().unwrap(), found.capacity.as_ref().unwrap());
    assert!(cost.measured.over.contains("step with the most good answers"), "{}", cost.measured.over);
    let at = figure(cost, "per_1k_good_at_limit");
    let expected = 1000.0 * 2.0 * 0.0408 / (3600.0 * capacity.estimate_per_s.unwrap() * 0.95);
    assert!((at.value / expected - 1.0).abs() < 1e-9, "{at:?}");
    let [low, high] = at.interval.unwrap();
    assert!(low <= at.value && at.value <= high);
}

fn labelled(label: &str, recorded: &Recorded, machine: &str) -> Labelled {
    let stated = Stated { machine: Some(machine.to_owned()), units: Some(1.0), ..Stated::default() };
    let findings = analyzed(recorded, None);
    Labelled { label: label.to_owned(), findings, terms: Terms::read(&[], &stated).unwrap() }
}

#[test]
fn machines_are_ranked_by_what_a_demand_costs_on_them() {
    let runs = [labelled("slow", &climb(5, 10e6), "l40s"), labelled("fast", &climb(6, 10e6), "h200")];
    let found = compare(&runs, Some(&Traffic::steady(5000.0)));
    let order: Vec<&str> = found.sizing.iter().map(|row| row.label.as_str()).collect();
    assert_eq!(order, ["slow", "fast"], "as many requests for less money");
    for row in &found.sizing {
        let expected = (5000.0 / (row.sustained_per_s * 0.7)).ceil() as u32 + 1;
        assert_eq!(row.machines, expected);
        let [few, many] = row.machines_range.unwrap();
        assert!(few <= row.machines && row.machines <= many, "{row:?}");
    }
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    assert!(compare(&runs, None).sizing.is_empty());
}

#[test]
fn what_a_setting_saved_is_what_was_measured() {
    let (plain, faster) = (climb(5, 10e6), climb(5, 9e6));
    let runs = [labelled("none", &plain, "cpu"), labelled("fp16", &faster, "cpu")];
    let found = compare(&runs, None);
    let [row] = &found.what_if[..] else { panic!("{:?}", found.what_if) };
    let computing = row.computing_saved_share.unwrap();
    assert!((computing - 0.1).abs() < 0.03, "9 ms for 10: {row:?}");
    let range = row.computing_saved_range.unwrap();
    assert!(range[0] < 0.1 && 0.1 < range[1], "{row:?}");
    let (none, saved) = (row.saved_share.unwrap(), row.saved_range.unwrap());
    assert!(saved[0] <= none && none <= saved[1]);
}

#[test]
fn costs_are_followed_by_month() {
    const DAY: u64 = 86_400 * S;
    let runs: Vec<Labelled> = (0..3_u64)
        .map(|index| {
            let mut recorded = sustained(index);
            recorded.manifest.clocks[0].zero_unix_ns += index * 20 * DAY;
            labelled(&format!("run {index}"), &recorded, "cpu")
        })
        .collect();
    let found = compare(&runs, None).trend;
    let months: Vec<(&str, usize)> = found.iter().map(|month| (month.month.as_str(), month.n)).collect();
    assert_eq!(months, [("2026-11", 1), ("2026-12", 2)]);
    assert!(found[1].change_share.unwrap().abs() < 0.1);
    assert!(compare(&runs[..1], None).trend.is_empty());
}

#[test]
fn gpus_are_found_in_the_manifest() {
    let mut recorded = sustained(1);
    let gpu = |name: &str| Gpu { name: name.to_owned(), uuid: String::new(), memory_bytes: 1, driver: String::new() };
    recorded.manifest.host.gpus = vec![gpu("NVIDIA H200"), gpu("NVIDIA H200")];
    let machine = analyzed(&recorded, None).cost.unwrap().machine.unwrap();
    assert_eq!((machine.name.as_str(), machine.units), ("h200", 2.0));
}
