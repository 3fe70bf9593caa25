//! Verdicts and their reasons over seeded run folders, one for each way in which a run can go wrong.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

mod support;

use proofload_analyzer::analyze;
use proofload_run::criteria::Slo;
use proofload_run::events::EventKind;
use proofload_run::findings::{Balance, BreakingKind, Findings, Kept, Standing};
use proofload_run::journal::JournalWriter;
use proofload_run::manifest::{ConnectionBound, EndReason, LoadModel, ScenarioKind, Step};
use proofload_run::sample::Outcome;
use proofload_run::series::Source;
use proofload_run::verdict::Verdict;
use support::{MS, Recorded, S, Server, manifest, point, step};

const SLO: Slo = Slo::new(100 * MS, 95.0, 0.01);
const SERVER: Server = Server { slots: 4, service_ns: 10e6, exponential: true, shed_after_ns: None, down: None };

fn run(kind: ScenarioKind, rate: f64, slo: Option<Slo>, thresholds: &[&str], server: Server) -> Recorded {
    Recorded::simulate(manifest(kind, vec![step("hold", 0, 20, rate, 0)], slo, thresholds), server, false, 11)
}

fn analysed(recorded: &Recorded) -> Findings {
    let folder = tempfile::tempdir().unwrap();
    recorded.write(folder.path());
    let found = analyze(folder.path()).unwrap();
    assert_eq!(found.reasons.iter().map(|reason| reason.verdict).max(), Some(found.verdict));
    found
}

fn check(recorded: &Recorded, verdict: Verdict, sentence: &str) -> Findings {
    let found = analysed(recorded);
    assert_eq!(found.verdict, verdict, "{:?}", found.reasons);
    assert!(found.reasons[0].sentence.contains(sentence), "{:?} does not say {sentence:?}", found.reasons[0]);
    found
}

#[test]
fn a_good_run_passes_and_a_slow_one_fails() {
    let thresholds = ["p95 < 100ms", "error_rate <= 1%", "tensor: p99 < 1s"];
    let good = run(ScenarioKind::Sustained, 200.0, Some(SLO), &thresholds, SERVER).completed();
    check(&good, Verdict::Pass, "all 4 thresholds were met");
    let slow = run(ScenarioKind::Sustained, 390.0, Some(SLO), &["p50 < 10ms"], SERVER).completed();
    check(&slow, Verdict::Fail, "p50 < 10 ms was missed");
    let few = run(ScenarioKind::Sustained, 20.0, None, &["p99.9 < 1s"], SERVER).completed();
    check(&few, Verdict::Inconclusive, "p99.9 needs at least 10000 successes");
    let unknown = run(ScenarioKind::Sustained, 20.0, None, &["nobody: p50 < 1s"], SERVER).completed();
    check(&unknown, Verdict::Fail, "has no data");
}

#[test]
fn without_thresholds_errors_and_sheds_decide() {
    let good = run(ScenarioKind::Sustained, 200.0, None, &[], SERVER).completed();
    check(&good, Verdict::Pass, "all 2 thresholds were met");
    let outage = Server { down: Some((5 * S, 6 * S)), ..SERVER };
    check(
        &run(ScenarioKind::Sustained, 200.0, None, &[], outage).completed(),
        Verdict::Fail,
        "error_rate <= 1 % (default)",
    );
    let shedding = Server { shed_after_ns: Some(5 * MS), ..SERVER };
    check(
        &run(ScenarioKind::Sustained, 390.0, None, &[], shedding).completed(),
        Verdict::Fail,
        "shed_rate <= 1 % (default)",
    );
    check(&run(ScenarioKind::Spike, 390.0, None, &[], shedding).completed(), Verdict::Pass, "the threshold was met");
    let dead = Server { down: Some((0, 30 * S)), ..SERVER };
    check(&run(ScenarioKind::Stress, 200.0, None, &["error_rate <= 100%"], dead).completed(), Verdict::Fail, "none of");
}

#[test]
fn thresholds_over_windows_hold_over_every_one_or_not() {
    let judged = |rate: f64, threshold: &str| {
        let findings = analysed(&run(ScenarioKind::Sustained, rate, None, &[threshold], SERVER).completed());
        let found = findings.thresholds.iter().find(|t| t.threshold.window_ns.is_some()).unwrap().clone();
        (found.verdict, found.note)
    };
    let (verdict, note) = judged(200.0, "p95 < 500ms over any 5s");
    assert_eq!(verdict, Verdict::Pass, "{note}");
    assert!(note.starts_with("the worst of "), "{note}");
    let (verdict, note) = judged(200.0, "p50 < 1ms over any 5s");
    assert_eq!(verdict, Verdict::Fail, "{note}");
    assert!(note.contains("windows of 5 s, first over the one that ended at "), "{note}");
    let (verdict, note) = judged(200.0, "nobody: p50 < 1s over any 5s");
    assert_eq!(verdict, Verdict::Fail, "{note}");
    assert!(note.contains("no data is never a pass"), "{note}");
    assert_eq!(judged(200.0, "throughput >= 1/s over any 1s").0, Verdict::Pass);
    assert_eq!(judged(200.0, "error_rate <= 0% over any 2s").0, Verdict::Pass);
}

#[test]
fn crossing_the_service_level_is_the_result_where_the_limit_is_sought() {
    let slo = Some(Slo { latency_ns: 20 * MS, ..SLO });
    check(&run(ScenarioKind::Sustained, 390.0, slo, &[], SERVER).completed(), Verdict::Fail, "the service level");
    let found =
        check(&run(ScenarioKind::Stress, 390.0, slo, &[], SERVER).completed(), Verdict::Pass, "missed already at 390");
    assert!(found.warnings.iter().any(|warning| warning.code == "breaking_point_bound"));
    check(
        &run(ScenarioKind::Stress, 390.0, slo, &["breaking_point >= 400/s"], SERVER).completed(),
        Verdict::Fail,
        "breaking_point >= 400",
    );
    let found = check(
        &run(ScenarioKind::Stress, 100.0, Some(SLO), &[], SERVER).completed(),
        Verdict::Pass,
        "only a lower bound",
    );
    assert!(found.warnings.iter().any(|warning| warning.code == "breaking_point_bound"));
}

#[test]
fn steps_above_a_found_limit_are_unrun_and_no_failures() {
    let slo = Some(Slo { latency_ns: 50 * MS, ..SLO });
    let rates = [100.0, 200.0, 450.0, 500.0, 550.0, 600.0];
    let steps = rates.iter().zip(0..).map(|(rate, n)| step(&format!("step {}", n + 1), n * 10, n * 10 + 10, *rate, 0));
    let whole = Recorded::simulate(
        manifest(ScenarioKind::Stress, steps.collect(), slo, &["breaking_point >= 300/s"]),
        SERVER,
        false,
        3,
    );
    // Found 200 ms into the fifth step, of which not a bad answer may count.
    let mut stopped = Recorded { events: Vec::new(), ..whole };
    stopped.samples.retain(|sample| sample.intended_ns < 40 * S + 200 * MS);
    stopped.series.clear();
    stopped.scrape();
    stopped.event(40 * S + 200 * MS, EventKind::LimitFound { step: 3 });
    stopped.end(EndReason::LimitFound, 43 * S);
    stopped.manifest.end.as_mut().unwrap().detail = "the service level had clearly broken by step 4".to_owned();
    let found = check(&stopped, Verdict::Pass, "the service level broke at 450");
    let kept: Vec<Option<Kept>> = found.steps.iter().map(|step| step.kept).collect();
    let (met, missed) = (Some(Kept::Met), Some(Kept::Missed));
    assert_eq!(kept, [met, met, missed, missed, None, None]);
    assert!(found.steps[4..].iter().all(|step| step.slos.is_empty() && step.cut_short));
    assert_eq!(found.run.driven_ns, 40 * S + 200 * MS);
    let said = found.warnings.iter().find(|warning| warning.code == "steps_not_run").unwrap();
    assert!(said.message.starts_with("step 5 to step 6 were not run: the service level"), "{}", said.message);
    stopped.manifest.thresholds = vec!["breaking_point >= 500/s".parse().unwrap()];
    check(&stopped, Verdict::Fail, "breaking_point >= 500");
}

#[test]
fn the_levels_of_all_entries_stand_in_for_the_runs() {
    let (strict, lax) = (Slo { latency_ns: 20 * MS, ..SLO }, Slo { latency_ns: 10 * S, ..SLO });
    let of = |levels: [Slo; 2], common: Option<Slo>| {
        let steps = vec![step("step 1", 0, 10, 100.0, 1), step("step 2", 10, 20, 390.0, 1)];
        let mut recorded = Recorded::simulate(manifest(ScenarioKind::Stress, steps, common, &[]), SERVER, false, 5);
        for (entry, slo) in recorded.manifest.entries.iter_mut().zip(levels) {
            entry.slo = Some(slo);
        }
        analysed(&recorded.completed())
    };
    let goodput = |found: &Findings| found.rates.goodput_per_s / found.rates.throughput_per_s;
    let (all, one, none) = (of([lax, lax], None), of([strict, lax], None), of([strict, strict], None));
    assert!((goodput(&all) - 1.0).abs() < 1e-9);
    assert!(goodput(&none) < goodput(&one) && goodput(&one) < 1.0, "each sample by its own entry's level");
    assert_eq!(all.breaking_point.unwrap().first_missed_level, None);
    let broken = one.breaking_point.unwrap();
    assert_eq!(broken.kind, BreakingKind::UpperBound, "{broken:?}");
    assert_eq!(of([lax, lax], Some(strict)).slos.len(), 2, "nobody is left for the run's own level");
}

#[test]
fn a_spike_may_cross_the_service_level_only_at_its_peak() {
    let steps = |peak: f64, after: f64| {
        vec![step("base", 0, 10, 150.0, 0), step("peak", 10, 15, peak, 0), step("recovery", 15, 25, after, 4)]
    };
    let drive = |peak, after| {
        Recorded::simulate(manifest(ScenarioKind::Spike, steps(peak, after), Some(SLO), &[]), SERVER, false, 4)
            .completed()
    };
    check(&drive(500.0, 100.0), Verdict::Pass, "service level was kept");
    check(&drive(900.0, 350.0), Verdict::Fail, "in recovery");
}

#[test]
fn a_lost_target_is_a_failure_with_its_time() {
    let server = Server { down: Some((8 * S, 30 * S)), ..SERVER };
    let mut lost = run(ScenarioKind::Sustained, 200.0, None, &["error_rate <= 100%"], server);
    lost.samples.retain(|sample| sample.intended_ns < 11 * S);
    let message = "connection refused".to_owned();
    lost.event(11 * S, EventKind::TargetLost { last_answer_ns: 8 * S, message });
    lost.end(EndReason::TargetLost, 11 * S);
    let found = check(&lost, Verdict::Fail, "the target stopped answering at 8 s: connection refused");
    assert_eq!(found.run.driven_ns, 11 * S);
}

#[test]
fn an_interrupted_run_is_no_pass_and_still_fails_on_what_there_is() {
    let mut early = run(ScenarioKind::Sustained, 200.0, None, &["p95 < 100ms"], SERVER);
    early.samples.retain(|sample| sample.intended_ns < 7 * S);
    early.event(7 * S, EventKind::StopRequested { by: "ctrl-c".to_owned() });
    early.end(EndReason::Interrupted, 7 * S + 100 * MS);
    let found = check(&early, Verdict::Inconclusive, "the run was ended early: 7 s of 20 s are there");
    assert_eq!(found.run.measured_ns, 7 * S);
    early.manifest.thresholds = vec!["p50 < 1us".parse().unwrap()];
    check(&early, Verdict::Fail, "p50 < 1 µs was missed");
}

#[test]
fn a_dead_target_is_dead_however_late_the_generator_was() {
    let server = Server { down: Some((8 * S, 30 * S)), ..SERVER };
    let mut lost = run(ScenarioKind::Sustained, 200.0, None, &["error_rate <= 100%"], server);
    lost.samples.retain(|sample| sample.intended_ns < 11 * S);
    for sample in &mut lost.samples {
        sample.generator_late_ns = sample.latency_ns() * 9 / 10;
    }
    lost.event(11 * S, EventKind::TargetLost { last_answer_ns: 8 * S, message: String::new() });
    lost.end(EndReason::TargetLost, 11 * S);
    check(&lost, Verdict::Fail, "the target stopped answering at 8 s");
}

#[test]
fn a_killed_run_still_reports_what_its_journal_holds() {
    let mut killed = run(ScenarioKind::Sustained, 200.0, None, &["p95 < 100ms"], SERVER);
    killed.samples.retain(|sample| sample.done_ns < 12 * S);
    let folder = tempfile::tempdir().unwrap();
    killed.write(folder.path());
    let journal = folder.path().join("samples-00000.journal");
    let mut bytes = std::fs::read(&journal).unwrap();
    let torn = bytes[bytes.len() - 500..].to_vec();
    bytes.extend_from_slice(&torn);
    std::fs::write(&journal, bytes).unwrap();
    let found = analyze(folder.path()).unwrap();
    assert_eq!(found.verdict, Verdict::Inconclusive, "{:?}", found.reasons);
    assert!(found.reasons[0].sentence.contains("12 s of 20 s"), "{:?}", found.reasons);
    assert_eq!(found.totals.samples, killed.samples.len() as u64);
    assert_eq!(analyze(folder.path()).unwrap(), found, "a second look finds the same");
}

#[test]
fn no_data_is_never_a_pass() {
    let mut empty = run(ScenarioKind::Sustained, 200.0, None, &[], SERVER);
    empty.samples.clear();
    check(&empty.completed(), Verdict::Fail, "no request was measured");
    let folder = tempfile::tempdir().unwrap();
    let bare = run(ScenarioKind::Sustained, 200.0, None, &[], SERVER);
    proofload_run::folder::RunFolder::create(folder.path(), &bare.manifest).unwrap();
    assert_eq!(analyze(folder.path()).unwrap().verdict, Verdict::Fail);
    let nothing = tempfile::tempdir().unwrap();
    let error = analyze(nothing.path()).unwrap_err().to_string();
    assert!(error.contains("is not a run folder"), "{error}");
}

#[test]
fn a_generator_that_was_the_bottleneck_invalidates_the_run() {
    let thresholds = ["p95 < 1us"];
    let mut late = run(ScenarioKind::Sustained, 200.0, None, &thresholds, SERVER);
    for sample in late.samples.iter_mut().filter(|sample| sample.sequence % 8 == 0) {
        sample.generator_late_ns += 150 * MS;
        sample.sent_ns += 150 * MS;
        sample.done_ns += 150 * MS;
    }
    late.series.clear();
    late.scrape();
    check(&late.completed(), Verdict::Invalid, "the generator's own lateness makes p");

    let mut tolerable = run(ScenarioKind::Sustained, 200.0, None, &["p95 < 10s"], SERVER);
    for sample in &mut tolerable.samples {
        sample.generator_late_ns += 5 * MS;
        sample.sent_ns += 5 * MS;
        sample.done_ns += 5 * MS;
    }
    tolerable.series.clear();
    tolerable.scrape();
    let found = check(&tolerable.completed(), Verdict::Pass, "thresholds were met");
    assert_eq!(found.audit.standing(), Standing::Suspect);
    assert!(
        found.audit.cautions[0].sentence.contains("too little to turn the judgement"),
        "{:?}",
        found.audit.cautions
    );

    let mut dropping = run(ScenarioKind::Sustained, 200.0, None, &thresholds, SERVER);
    for sample in dropping.samples.iter_mut().filter(|sample| sample.sequence % 50 == 0) {
        sample.outcome = Outcome::Dropped.code();
        (sample.sent_ns, sample.done_ns) = (0, 0);
    }
    dropping.series.clear();
    dropping.scrape();
    check(&dropping.completed(), Verdict::Invalid, "did not send");

    let mut losing = run(ScenarioKind::Sustained, 200.0, None, &thresholds, SERVER).completed();
    losing.samples.truncate(losing.samples.len() - 5);
    check(&losing, Verdict::Invalid, "do not agree");
}

#[test]
fn waiting_for_a_connection_is_not_the_generators_fault() {
    let mut waiting = run(ScenarioKind::Sustained, 200.0, None, &["p95 < 10s"], SERVER);
    for sample in &mut waiting.samples {
        sample.sent_ns += 500 * MS;
        sample.done_ns += 500 * MS;
    }
    waiting.series.clear();
    waiting.scrape();
    let found = check(&waiting.completed(), Verdict::Pass, "thresholds were met");
    assert!(found.warnings.iter().any(|warning| warning.code == "connection_wait"));
}

#[test]
fn the_limit_that_made_requests_wait_is_named_with_what_to_set() {
    use ConnectionBound::{LocalPorts, OpenFiles, Scenario};
    use LoadModel::{Closed, Open};
    let check = |model, bound, opened: f64, expected: [&str; 2]| {
        let mut waiting = run(ScenarioKind::Sustained, 200.0, None, &["p95 < 10s"], SERVER);
        (waiting.manifest.load.model, waiting.manifest.load.connections_bound_by) = (model, bound);
        for sample in &mut waiting.samples {
            sample.sent_ns += 500 * MS;
            sample.done_ns += 500 * MS;
        }
        waiting.series = vec![point(S, Source::Generator, "connections", "", opened)];
        let found = analysed(&waiting.completed());
        let said = &found.warnings.iter().find(|warning| warning.code == "connection_wait").unwrap().message;
        assert!(expected.iter().all(|part| said.contains(part)), "{said}");
    };
    check(Open, Some(Scenario), 256.0, ["all 256 connections", "raise load.max_connections"]);
    check(Open, None, 256.0, ["all 256 connections", "raise load.max_connections"]);
    check(Open, Some(OpenFiles), 256.0, ["open files", "ulimit -n"]);
    check(Open, Some(LocalPorts), 256.0, ["local ports", "ip_local_port_range"]);
    check(Open, Some(Scenario), 31.0, ["31 of 256 connections were ever open", "no limit bound it"]);
    check(Closed, None, 0.0, ["a connection of its own", "time to open"]);
}

#[test]
fn a_closed_model_whose_generator_never_rests_is_invalid() {
    let mut steps = vec![step("calm", 0, 10, 100.0, 0), step("busy", 10, 20, 200.0, 0)];
    let saturate = |steps: Vec<Step>, busy: f64| {
        let mut recorded =
            Recorded::simulate(manifest(ScenarioKind::Sustained, steps, None, &["p95 < 10s"]), SERVER, false, 11);
        recorded.manifest.load.model = LoadModel::Closed;
        let mut cpu_s = 0.0;
        for second in 0..=20 {
            let share = if second <= 10 { 0.2 } else { busy };
            cpu_s += share * 0.75;
            let waited_ns = cpu_s / 3.0 * 1e9;
            recorded.series.push(point(second * S, Source::Generator, "users_thread_cpu_seconds_total", "", cpu_s));
            recorded.series.push(point(
                second * S,
                Source::Generator,
                "users_thread_run_delay_ns_total",
                "",
                waited_ns,
            ));
        }
        recorded.completed()
    };
    check(&saturate(steps.clone(), 0.97), Verdict::Invalid, "in busy, the generator's thread was busy, or waiting");
    check(&saturate(steps.clone(), 0.80), Verdict::Pass, "thresholds were met");
    steps[1].warm_up = true;
    check(&saturate(steps, 0.97), Verdict::Pass, "thresholds were met");
    let mut open = saturate(vec![step("hold", 0, 20, 200.0, 0)], 0.97);
    open.manifest.load.model = LoadModel::Open;
    check(&open, Verdict::Pass, "thresholds were met");
}

#[test]
fn counts_that_do_not_agree_are_named() {
    let altered = |change: fn(u64, f64) -> f64| {
        let mut recorded = run(ScenarioKind::Sustained, 200.0, None, &[], SERVER).completed();
        for point in recorded.series.iter_mut().filter(|p| p.source == Source::Statistics) {
            point.value = change(point.t_ns, point.value);
        }
        recorded
    };
    let found = check(&altered(|_, value| (value * 0.9).floor()), Verdict::Invalid, "fewer than");
    assert!(found.conservation.iter().all(|c| c.balance == Balance::Deficit));
    let found = check(&altered(|_, value| value * 1.5), Verdict::Pass, "thresholds");
    assert!(found.conservation.iter().all(|c| c.balance == Balance::Surplus));
    assert!(found.warnings.iter().any(|warning| warning.code == "counts_differ"));
    let found = check(&altered(|t_ns, value| if t_ns > 9 * S { value - 500.0 } else { value }), Verdict::Pass, "");
    assert!(found.conservation.iter().any(|c| c.balance == Balance::Reset), "{:?}", found.conservation);
    let mut silent = run(ScenarioKind::Sustained, 200.0, None, &[], SERVER).completed();
    silent.series.clear();
    let found = check(&silent, Verdict::Pass, "thresholds");
    assert!(found.conservation.iter().all(|c| c.balance == Balance::NotCounted));
}

#[test]
fn metrics_count_where_statistics_are_closed() {
    let mut closed = run(ScenarioKind::Sustained, 200.0, None, &[], SERVER).completed();
    closed.series.retain(|point| point.source != Source::Statistics || point.name == "inference_success_count");
    for point in closed.series.iter_mut().filter(|point| point.source == Source::Statistics) {
        (point.source, point.name) = (Source::Target, "nv_inference_request_success".to_owned());
    }
    let (source, message) = ("statistics".to_owned(), "HTTP status 403".to_owned());
    closed.event(0, EventKind::ScrapeFailed { source, message });
    let found = check(&closed, Verdict::Pass, "thresholds");
    assert!(found.conservation.iter().all(|c| c.balance == Balance::Balanced && c.server_successes > 0));
    assert_eq!(found.warnings, [], "nothing is missing");
    closed.series.clear();
    let codes: Vec<String> = analysed(&closed).warnings.into_iter().map(|warning| warning.code).collect();
    assert!(codes.contains(&"scrape_failed".to_owned()) && codes.contains(&"not_counted".to_owned()), "{codes:?}");
}

#[test]
fn requests_that_were_abandoned_may_have_been_counted() {
    let mut abandoned = run(ScenarioKind::Sustained, 200.0, None, &["error_rate <= 5%"], SERVER);
    for sample in abandoned.samples.iter_mut().filter(|sample| sample.sequence % 40 == 0) {
        sample.outcome = Outcome::Timeout.code();
    }
    let found = check(&abandoned.completed(), Verdict::Pass, "thresholds were met");
    assert!(found.conservation.iter().all(|c| c.balance == Balance::Balanced && c.our_abandoned > 0));
}

#[test]
fn two_shards_are_one_run() {
    let whole = run(ScenarioKind::Sustained, 200.0, None, &["p95 < 100ms"], SERVER).completed();
    let folder = tempfile::tempdir().unwrap();
    let half = Recorded {
        manifest: whole.manifest.clone(),
        samples: whole.samples.iter().step_by(2).copied().collect(),
        series: whole.series.clone(),
        events: Vec::new(),
    };
    half.write(folder.path());
    let mut journal = JournalWriter::create(&folder.path().join("samples-00001.journal"), 1, 100).unwrap();
    whole.samples.iter().skip(1).step_by(2).for_each(|sample| journal.append(sample).unwrap());
    journal.flush().unwrap();
    assert_eq!(analyze(folder.path()).unwrap().latency, analysed(&whole).latency);
}
