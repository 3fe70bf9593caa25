//! A whole run through the real binary: embedded daemon, load, report, verdict, and the gate on its folder.

mod support;

use std::time::Duration;

use proofload_run::findings::Balance;
use proofload_run::manifest::EndReason;
use proofload_run::sample::Sample;
use proofload_run::verdict::Verdict;
use rustix::process::Signal;
use support::{Background, Place, findings, is_alive, repository, run, small_tensors, text, within};

#[test]
fn quick_ends_with_a_report_and_a_verdict() {
    let place = Place::new();
    let folder = place.path("run");
    let scenario = repository().join("scenarios/quick.toml");
    let arguments = ["--set", "load.duration=4s", "--set", "load.warm_up=1s", "--set", "load.rate=30/s"];
    let output =
        run(&[&["run", scenario.to_str().unwrap(), "--out", folder.to_str().unwrap()], &arguments[..]].concat());
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let found = findings(&folder);
    assert_eq!(
        output.status.code(),
        Some(i32::from(found.verdict.exit_code())),
        "the exit code is the verdict's\n{out}{err}"
    );
    assert!(matches!(found.verdict, Verdict::Pass | Verdict::Inconclusive), "{out}{err}");
    assert!(out.contains(found.verdict.as_str()) && out.contains("report.html"), "{out}");
    for file in ["run.json", "samples-00000.parquet", "series-00000.parquet", "summary.md", "junit.xml", "report.html"]
    {
        assert!(folder.join(file).metadata().is_ok_and(|file| file.len() > 0), "{file} is missing");
    }
    assert_eq!(found.rates.errors.count, 0, "{out}");
    let balances: Vec<_> = found.conservation.iter().map(|row| (row.model.as_str(), row.balance)).collect();
    for model in ["relief_depth", "tiny_mlp"] {
        assert!(balances.contains(&(model, Balance::Balanced)), "{balances:?}");
    }
}

#[test]
fn the_gate_says_the_same_in_every_form() {
    let place = Place::new();
    let folder = place.path("run");
    let scenario = place.scenario(&small_tensors("model = \"closed\"\nusers = 2\nduration = \"2s\""));
    let first = run(&["run", "--quiet", scenario.to_str().unwrap(), "--out", folder.to_str().unwrap()]);
    assert!(first.stdout.is_empty(), "quiet means quiet: {}", text(&first.stdout));
    for (format, part) in [("text", "PASS"), ("markdown", "PASS"), ("junit", "<testsuite"), ("json", "\"verdict\"")] {
        let output = run(&["gate", folder.to_str().unwrap(), "--format", format]);
        assert!(text(&output.stdout).contains(part), "{format}: {}", text(&output.stdout));
        assert_eq!(output.status.code(), first.status.code(), "{format}");
    }
    let again = run(&["report", folder.to_str().unwrap()]);
    assert_eq!(again.status.code(), first.status.code());
    assert_eq!(run(&["gate", place.path("nowhere").to_str().unwrap()]).status.code(), Some(2));
}

#[test]
fn a_missed_threshold_fails_the_run() {
    let place = Place::new();
    let folder = place.path("run");
    let text_of = small_tensors("model = \"closed\"\nusers = 1\nduration = \"2s\"");
    let scenario = place.scenario(&format!("thresholds = [\"p50 < 1us\"]\n{text_of}"));
    let output = run(&["run", scenario.to_str().unwrap(), "--out", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("p50 < 1 µs"), "{}", text(&output.stdout));
}

#[test]
fn ctrl_c_ends_early_keeps_everything_and_still_reports() {
    let place = Place::new();
    let scenario = place.scenario(&small_tensors("model = \"open\"\nrate = \"100/s\"\nduration = \"60s\""));
    let mut run = Background::start(&scenario, &place.path("run"));
    let daemons = run.children();
    std::thread::sleep(Duration::from_secs(2));
    support::signal(run.pid(), Signal::INT);
    let code = run.wait(Duration::from_secs(20));
    let found = findings(&run.folder);
    assert_eq!(found.run.end, Some(EndReason::Interrupted));
    assert_eq!(code, Some(i32::from(found.verdict.exit_code())));
    assert!(found.totals.samples >= 150, "{:?}", found.totals);
    assert!(run.folder.join("report.html").exists());
    assert!(daemons.len() == 1 && !is_alive(daemons[0]), "the daemon outlived the run");
}

#[test]
fn a_killed_run_is_reported_up_to_its_last_second() {
    let place = Place::new();
    let scenario = place.scenario(&small_tensors("model = \"open\"\nrate = \"100/s\"\nduration = \"60s\""));
    let mut run = Background::start(&scenario, &place.path("run"));
    let daemons = run.children();
    std::thread::sleep(Duration::from_secs(4));
    support::signal(run.pid(), Signal::KILL);
    run.wait(Duration::from_secs(5));
    assert!(within(Duration::from_secs(15), || !daemons.iter().any(|pid| is_alive(*pid))), "the daemon lives on");

    let report = support::run(&["report", run.folder.to_str().unwrap()]);
    let found = findings(&run.folder);
    assert!(found.run.driven_ns >= 3_000_000_000, "{} ns", found.run.driven_ns);
    assert_eq!(found.run.end, None);
    assert_ne!(found.verdict, Verdict::Pass);
    assert_eq!(report.status.code(), Some(i32::from(found.verdict.exit_code())));
}

#[test]
fn a_killed_daemon_is_a_clear_failure() {
    let place = Place::new();
    let scenario = place.scenario(&small_tensors("model = \"open\"\nrate = \"100/s\"\nduration = \"60s\""));
    let mut run = Background::start(&scenario, &place.path("run"));
    let daemons = run.children();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(daemons.len(), 1);
    support::signal(daemons[0], Signal::KILL);
    assert_eq!(run.wait(Duration::from_secs(30)), Some(1));
    let found = findings(&run.folder);
    assert!(
        found.reasons.iter().any(|reason| reason.sentence.contains("target stopped answering at")),
        "{:?}",
        found.reasons
    );
}

#[test]
fn a_full_disk_ends_the_run_and_keeps_what_was_written() {
    let place = Place::new();
    let scenario = place.scenario(&small_tensors("model = \"open\"\nrate = \"1000/s\"\nduration = \"60s\""));
    let folder = place.path("run");
    // No file may grow beyond 1024 blocks (512 KiB, or 1 MiB where the shell counts in KiB): to the program that is a disk with so much room, and it needs no privilege.
    let limited = "trap '' XFSZ; ulimit -f 1024; exec \"$@\"";
    let started = std::time::Instant::now();
    let output = std::process::Command::new("sh")
        .args(["-c", limited, "sh", env!("CARGO_BIN_EXE_proofload"), "run"])
        .arg(&scenario)
        .arg("--out")
        .arg(&folder)
        .output()
        .unwrap();
    assert!(started.elapsed() < Duration::from_secs(40), "it went on: {:?}", started.elapsed());
    assert_eq!(output.status.code(), Some(4), "{}{}", text(&output.stdout), text(&output.stderr));
    let found = findings(&folder);
    assert_eq!(found.run.end, Some(EndReason::GeneratorFailed));
    assert!(found.run.end_detail.contains("samples could not be written"), "{}", found.run.end_detail);
    assert!(found.run.end_detail.contains(&format!("{} samples are kept", found.totals.samples)), "{:?}", found.run);
    let fit = |bytes: u64| bytes / Sample::SIZE as u64;
    // A chunk that does not fit whole is cut off again.
    let room = fit(512 << 10) * 9 / 10..=fit(1 << 20);
    assert!(room.contains(&found.totals.samples), "as many as fit: {:?}", found.totals);
    assert!(!found.reasons.iter().any(|reason| reason.remedy.contains("bug")), "{:?}", found.reasons);
}
