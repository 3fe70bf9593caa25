//! What befalls the generator while it runs is told by name, and is never the target's fault.

// Helpers of tests are no tests to clippy, and here too an unwrap fails with its line.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use proofload_run::findings::{Fault, Findings, Standing};
use proofload_run::verdict::Verdict;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use support::{Background, Place, findings, proofload, small_tensors, text};

fn says(faults: &[Fault], parts: &[&str]) -> bool {
    faults.iter().any(|fault| parts.iter().all(|part| fault.sentence.contains(part) || fault.remedy.contains(part)))
}

fn all_faults(found: &Findings) -> Vec<Fault> {
    found.audit.faults.iter().chain(&found.audit.cautions).cloned().collect()
}

fn pid(background: &Background) -> Pid {
    Pid::from_raw(background.pid().cast_signed()).unwrap()
}

#[test]
fn a_generator_that_was_stopped_for_a_moment_says_when() {
    let place = Place::new();
    let scenario = place.scenario(&small_tensors("rate = \"100/s\"\nduration = \"5s\""));
    let mut background = Background::start(&scenario, &place.path("run"));
    sleep(Duration::from_secs(2));
    kill_process(pid(&background), Signal::STOP).unwrap();
    sleep(Duration::from_millis(300));
    kill_process(pid(&background), Signal::CONT).unwrap();
    background.child.wait().unwrap();
    let found = findings(&background.folder);
    assert_ne!(found.audit.standing(), Standing::Valid, "{:?}", found.audit);
    let vitals = &found.audit.vitals;
    assert!((250_000_000..2_000_000_000).contains(&vitals.longest_stall_ns), "{vitals:?}");
    assert!(vitals.longest_stall_at_ns.is_some_and(|at| (1_500_000_000..5_000_000_000).contains(&at)), "{vitals:?}");
    assert!(says(&all_faults(&found), &["the generator stalled ", " at ", "see what held it up"]), "{:?}", found.audit);
    let summary = std::fs::read_to_string(background.folder.join("summary.md")).unwrap();
    assert!(summary.contains("the generator stalled"), "{summary}");
}

/// Each request opens a connection of its own.
fn one_connection_each(seconds: u64) -> String {
    small_tensors(&format!("rate = \"50/s\"\nduration = \"{seconds}s\"\nreuse = \"per-request\""))
}

#[test]
fn running_out_of_open_files_is_named_and_is_not_the_targets_fault() {
    let place = Place::new();
    let scenario = place.scenario(&one_connection_each(5));
    let mut background = Background::start(&scenario, &place.path("run"));
    sleep(Duration::from_secs(1));
    let own = Some(pid(&background));
    let limit = |current| Rlimit { current: Some(current), maximum: Some(4096) };
    prlimit(own, Resource::Nofile, limit(3)).unwrap();
    sleep(Duration::from_secs(1));
    prlimit(own, Resource::Nofile, limit(4096)).unwrap();
    assert_eq!(background.child.wait().unwrap().code(), Some(4));
    let found = findings(&background.folder);
    assert_eq!(found.verdict, Verdict::Invalid, "{:?}", found.reasons);
    let parts = ["ran out of open files", "Too many open files", "ulimit -n"];
    assert!(says(&found.audit.faults, &parts), "{:?}", found.audit);
    assert_eq!(found.rates.errors.count, 0, "{:?}", found.totals);
}

#[test]
fn running_out_of_ports_is_named_and_is_not_the_targets_fault() {
    let place = Place::new();
    let scenario = place.scenario(&one_connection_each(4));
    let folder = place.path("run");
    // A network of its own with a handful of ports; where that is not allowed there is nothing to try.
    let script = "ip link set lo up && echo '61000 61003' > /proc/sys/net/ipv4/ip_local_port_range && \
                  echo 0 > /proc/sys/net/ipv4/tcp_tw_reuse || exit 77; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", script, "sh"]).arg(proofload().get_program());
    command.args(["run", "--quiet"]).arg(&scenario).arg("--out").arg(&folder).stdin(Stdio::null());
    let output = match command.output() {
        Ok(output) if folder.join("findings.json").is_file() => output,
        other => return println!("not tried, there is no network of its own: {other:?}"),
    };
    let found = findings(&folder);
    assert_eq!((found.verdict, output.status.code()), (Verdict::Invalid, Some(4)), "{}", text(&output.stderr));
    assert!(says(&found.audit.faults, &["ran out of local ports", "ip_local_port_range"]), "{:?}", found.audit);
    assert_eq!(found.rates.errors.count, 0, "{:?}", found.totals);
}
