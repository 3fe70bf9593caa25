//! How far a generator's figures can be trusted, by what it noted of itself.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

mod support;

use proofload_analyzer::{analyze, summary_markdown};
use proofload_run::criteria::Slo;
use proofload_run::events::{EventKind, Shortage};
use proofload_run::findings::Standing::{Invalid, Suspect, Valid};
use proofload_run::findings::{Findings, Standing};
use proofload_run::manifest::ScenarioKind;
use proofload_run::sample::Outcome;
use proofload_run::series::Source;
use proofload_run::verdict::Verdict;
use support::{MS, Recorded, S, Server, manifest, point, step};

const SERVER: Server = Server { slots: 4, service_ns: 10e6, exponential: true, shed_after_ns: None, down: None };

/// Twenty seconds, of which the first four do not count.
fn quiet() -> Recorded {
    let mut warm_up = step("warm-up", 0, 4, 200.0, 0);
    warm_up.warm_up = true;
    let steps = vec![warm_up, step("hold", 4, 20, 200.0, 0)];
    let slo = Slo::new(1000 * MS, 95.0, 0.01);
    Recorded::simulate(manifest(ScenarioKind::Sustained, steps, Some(slo), &[]), SERVER, false, 11)
}

fn check(recorded: Recorded, standing: Standing, part: &str) -> Findings {
    let folder = tempfile::tempdir().unwrap();
    recorded.completed().write(folder.path());
    let found = analyze(folder.path()).unwrap();
    let said: Vec<String> = found
        .audit
        .faults
        .iter()
        .chain(&found.audit.cautions)
        .map(|f| format!("{} -> {}", f.sentence, f.remedy))
        .collect();
    assert_eq!(found.audit.standing(), standing, "{said:?}");
    assert!(part.is_empty() || said.iter().any(|said| said.contains(part)), "{said:?} does not say {part:?}");
    assert_eq!(found.verdict, if standing == Invalid { Verdict::Invalid } else { Verdict::Pass }, "{said:?}");
    let summary = summary_markdown(&found);
    assert_eq!(summary.contains("SUSPECT"), standing == Suspect, "{summary}");
    found
}

#[test]
fn what_befell_the_generator_decides_its_standing() {
    let with = |events: &[(u64, EventKind)]| {
        let mut recorded = quiet();
        events.iter().for_each(|(t_ms, kind)| recorded.event(t_ms * MS, kind.clone()));
        recorded
    };
    let stall = |ms: u64| EventKind::Stalled { for_ns: ms * MS };
    let step = |ms: i64| EventKind::ClockStepped { by_ns: ms * MS as i64 };
    let ran_out = |of| EventKind::RanOut { of, message: "os error".to_owned() };
    check(quiet(), Valid, "");
    check(with(&[(5200, stall(300))]), Suspect, "the generator stalled for 300 ms at 5.2 s -> see what held it up");
    check(
        with(&[(5200, stall(300)), (9000, stall(500))]),
        Suspect,
        "stalled 2 times, for 800 ms in all and for 500 ms at 9 s",
    );
    check(with(&[(1000, stall(300))]), Valid, "");
    check(with(&[(3900, stall(300))]), Suspect, "at 3.9 s");
    check(with(&[(5000, stall(2000))]), Invalid, "stalled for 2 s at 5 s");
    check(with(&[(6000, step(-1500))]), Suspect, "set back by 1.5 s at 6 s: durations are not concerned");
    check(with(&[(6000, step(40)), (7000, step(90))]), Suspect, "set forward by 90 ms at 7 s");
    check(
        with(&[(6000, EventKind::Suspended { for_ns: 5 * S })]),
        Invalid,
        "slept for 5 s at 6 s -> keep the machine awake",
    );
    check(with(&[(6000, ran_out(Shortage::LocalPorts))]), Suspect, "ran out of local ports at 6 s (os error)");
    check(with(&[(6000, ran_out(Shortage::OpenFiles))]), Suspect, "-> raise the limit on open files (ulimit -n");
}

#[test]
fn a_control_group_that_held_the_generator_back_is_suspect() {
    let throttled = |seconds: f64| {
        let mut recorded = quiet();
        for (t_ns, value) in [(0, 7.0), (20 * S, 7.0 + seconds)] {
            recorded.series.push(point(t_ns, Source::Generator, "cgroup_throttled_seconds_total", "", value));
        }
        recorded
    };
    check(throttled(0.1), Valid, "");
    check(throttled(1.5), Suspect, "was held back for 1.5 s -> raise its limit (cpu.max");
}

#[test]
fn a_second_that_fell_behind_is_named() {
    let behind = |late: usize| {
        let mut recorded = quiet();
        let in_second = |sample: &&mut proofload_run::sample::Sample| sample.intended_ns / S == 7;
        for sample in recorded.samples.iter_mut().filter(in_second).take(late) {
            sample.generator_late_ns += 120 * MS;
            sample.sent_ns += 120 * MS;
            sample.done_ns += 120 * MS;
        }
        recorded
    };
    check(behind(4), Valid, "");
    let found = check(behind(60), Suspect, "in the second from 7 s, the generator sent 60 of ");
    assert_eq!(found.audit.vitals.worst_second.map(|worst| (worst.from_ns, worst.behind)), Some((7 * S, 60)));
}

#[test]
fn what_was_not_sent_for_want_of_files_invalidates_by_name() {
    let mut recorded = quiet();
    for sample in recorded.samples.iter_mut().filter(|sample| sample.sequence % 50 == 0) {
        sample.outcome = Outcome::Dropped.code();
        (sample.sent_ns, sample.done_ns) = (0, 0);
    }
    recorded.series.clear();
    recorded.scrape();
    recorded.event(5 * S, EventKind::RanOut { of: Shortage::OpenFiles, message: "os error 24".to_owned() });
    check(recorded, Invalid, "ran out of open files at 5 s (os error 24) and did not send ");
}

#[test]
fn retries_stand_beside_the_errors() {
    let mut recorded = quiet();
    for sample in recorded.samples.iter_mut().filter(|sample| sample.intended_ns > 4 * S).take(7) {
        sample.retry = 2;
    }
    recorded.series.clear();
    recorded.scrape();
    let found = check(recorded, Valid, "");
    assert_eq!(found.rates.retries, 14);
    assert_eq!(found.entries.iter().map(|entry| entry.rates.retries).sum::<u64>(), 14);
    let summary = summary_markdown(&found);
    assert!(summary.contains("after 14 retries"), "{summary}");
    assert!(!summary_markdown(&check(quiet(), Valid, "")).contains("retries"));
}
