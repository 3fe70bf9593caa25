//! `proofload anomalies` and `proofload baseline`: files in, alerts out, and mistakes named.

// Helpers of tests are no tests to clippy, and here too an unwrap fails with its line.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;
use std::path::Path;

use support::{Place, run, text};

/// Ten minutes of a service: its load changes every two, and from second 400 it may take twice as long for 40 s.
fn csv(seed: u64, is_slow: bool) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1_u32 << 24) - 0.5
    };
    let mut lines = String::from("t,offered_rps,rps,p50_ms,queue_depth\n");
    let mut level = 0.0;
    for t in 0..600 {
        if t % 120 == 0 {
            level = 150.0 + 100.0 * noise();
        }
        let load: f64 = level * (1.0 + 0.05 * noise());
        let factor = if is_slow && (400..440).contains(&t) { 2.0 } else { 1.0 };
        let latency = (5.0 + load / 20.0) * factor * (1.0 + 0.1 * noise());
        let queue = load * latency / 1000.0 * (1.0 + 0.1 * noise());
        writeln!(lines, "{t},{load:.2},{load:.2},{latency:.3},{queue:.3}").unwrap();
    }
    lines
}

fn write(folder: &Path, name: &str, seed: u64, is_slow: bool) -> String {
    let path = folder.join(name);
    std::fs::write(&path, csv(seed, is_slow)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn alerts_are_written_by_file_and_metrics_are_ranked() {
    let place = Place::new();
    let folder = place.path("");
    (1..=8).for_each(|seed| drop(write(&folder, &format!("sys1_train_{seed}.csv"), seed, false)));
    // Of another system, whose name only begins alike: not to be learned from.
    std::fs::write(folder.join("sys10_train_1.csv"), "t,offered_rps,other\n0,1,1\n").unwrap();
    let (faulty, healthy) =
        (write(&folder, "sys1_faulty_0.csv", 91, true), write(&folder, "sys1_healthy_0.csv", 92, false));
    let (train, out) = (folder.to_str().unwrap().to_owned(), place.path("alerts.json"));
    let output = run(&["anomalies", &faulty, &healthy, "--train", &train, "--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("sys1_faulty_0.csv"), "{}", text(&output.stdout));
    let alerts: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let found = alerts["sys1_faulty_0.csv"].as_array().unwrap();
    let hit = found.iter().find(|a| a[0].as_u64().unwrap() < 440 && a[1].as_u64().unwrap() > 400).expect("it is found");
    assert!(["p50_ms", "queue_depth"].contains(&hit[2].as_str().unwrap()), "{hit}");
    assert_eq!((&hit[3][0], hit[3].as_array().unwrap().len()), (&hit[2], 3));
    assert!(alerts["sys1_healthy_0.csv"].as_array().unwrap().len() <= 2, "{alerts}");

    let alone = run(&["anomalies", &faulty]);
    assert_eq!(alone.status.code(), Some(0));
    assert!(text(&alone.stdout).contains("compared with itself"), "{}", text(&alone.stdout));
}

#[test]
fn what_cannot_be_looked_at_is_named() {
    let place = Place::new();
    let folder = place.path("");
    let file = write(&folder, "sys2_faulty_0.csv", 1, false);
    std::fs::write(folder.join("bad.csv"), "t,offered_rps,rps\n0,1,x\n").unwrap();
    let (bad, train) = (place.path("bad.csv"), place.path("empty"));
    std::fs::create_dir(&train).unwrap();
    let check = |arguments: &[&str], expected: &str| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{arguments:?}: {}", text(&output.stderr));
    };
    check(&["anomalies", bad.to_str().unwrap()], "line 2, column rps: \"x\" is no number");
    check(&["anomalies", &file, "--train", train.to_str().unwrap()], "sys2_train_0.csv");
    check(&["anomalies", &file, &file], "two files are called sys2_faulty_0.csv");
    check(&["anomalies", &file, "--alpha", "0"], "--alpha is a share");
    check(&["anomalies", &file, "--warm-up", "590"], "600 s, and 650 s are needed");
    check(&["baseline", "add", folder.to_str().unwrap()], "not a run folder");
}
