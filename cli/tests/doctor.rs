//! `proofload doctor` against the real daemon.

// Helpers of tests are no tests to clippy, and here too an unwrap fails with its line.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Daemon, Place, run, small_tensors, text};

#[test]
fn a_scenario_is_tried_before_a_run() {
    let (place, daemon) = (Place::new(), Daemon::start());
    let check = |scenario: &str, more: &[&str], code: i32, says: &[&str]| {
        let file = place.scenario(scenario);
        let arguments = [&["doctor", file.to_str().unwrap(), "--target", &daemon.http], more].concat();
        let output = run(&arguments);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        for part in says {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
    };
    let right = small_tensors("rate = \"50/s\"\nduration = \"10s\"");
    let fine = ["small: names, types and shapes are what tiny_mlp takes", "small: status 200", "the server says queue"];
    check(&right, &[], 0, &[&fine[..], &["100 of 100 requests answered at 50/s", "of disk"]].concat());
    check(&right, &["--set", "load.duration=1h"], 0, &["(180000 samples)"]);
    check(&right.replace("FP32", "INT32"), &[], 1, &["`input` is INT32; the model takes FP32", "rejected", "400: "]);
    check(&right.replace("\"input\"", "\"in\""), &[], 1, &["the model has none of this name; it has input"]);
    check(&right.replace("[1, 16]", "[1, 17]"), &[], 1, &["has the shape [1, 17]; the model takes"]);
    let narrow = right.replace("rate", "max_connections = 1\nrate").replace("50/s", "200/s");
    let slow = narrow.replace("tiny_mlp", "sim_4x10ms").replace("[1, 16]", "[16]");
    check(&slow, &[], 0, &["load.max_connections allows 1, so arrivals will wait"]);
    let grpc = right.replace("kserve-http-json", "kserve-grpc");
    check(&grpc, &[], 1, &["--grpc-target"]);
    check(&grpc, &["--grpc-target", &daemon.grpc], 0, &["small: names, types and shapes", "small: status 0"]);
}

#[test]
fn without_a_target_the_daemon_that_a_run_would_start_is_tried() {
    let place = Place::new();
    let right = small_tensors("rate = \"50/s\"\nduration = \"10s\"");
    let check = |scenario: &str, more: &[&str], code: i32, says: &[&str]| {
        let file = place.scenario(scenario);
        let output = run(&[&["doctor", file.to_str().unwrap()], more].concat());
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        for part in says {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
        // It does not outlive the checks.
        let url = said.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
        assert!(std::net::TcpStream::connect(url).is_err(), "{url} still listens: {said}");
    };
    let fine = ["a run starts the embedded daemon", "small: names, types and shapes", "small: status 200", "of disk"];
    check(&right, &[], 0, &fine);
    check(&right.replace("kserve-http-json", "kserve-grpc"), &[], 0, &["small: status 0"]);
    check(&right.replace("tiny_mlp", "tiny_mlq"), &[], 1, &["load it into the target, or correct the name"]);
    check(&right, &["--metrics", "http://127.0.0.1:1/metrics"], 1, &["--metrics belongs to a target"]);
}
