//! The disk that a run is said to need, beside what it takes.

// Helpers of tests are no tests to clippy, and here too an unwrap fails with its line.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use proofload_run::units::parse_bytes;
use support::{Place, proofload, run, small_tensors, text};

fn bytes_in(folder: &Path) -> u64 {
    let Ok(listed) = std::fs::read_dir(folder) else { return 0 };
    listed.filter_map(|file| file.ok()?.metadata().ok()).map(|file| file.len()).sum()
}

/// The sizes of a line such as `about 1.2 MB of disk, of which 300 kB stay`.
fn said(line: &str) -> (f64, f64) {
    let size = |after: &str| {
        let words: Vec<&str> = line.split(after).nth(1).unwrap().split_whitespace().take(2).collect();
        parse_bytes(&words.concat()).unwrap() as f64
    };
    (size("about "), size("of which "))
}

#[test]
fn the_estimate_is_what_the_run_takes() {
    let place = Place::new();
    // Latencies that spread: four slots of 10 ms near their limit.
    let load = small_tensors("arrivals = \"poisson\"\nrate = \"350/s\"\nduration = \"20s\"")
        .replace("tiny_mlp", "sim_4x10ms")
        .replace("[1, 16]", "[16]");
    let (scenario, folder) = (place.scenario(&load), place.path("run"));
    let mut child = proofload()
        .args(["run", scenario.to_str().unwrap(), "--out", folder.to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(bytes_in(&folder));
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    let messages = text(&output.stderr);
    let line = messages.lines().find(|line| line.contains("of disk")).unwrap_or_else(|| panic!("{messages}"));
    let (peak_said, kept_said) = said(line);
    let kept = bytes_in(&folder);
    let close = |found: u64, said: f64| (said / found as f64 - 1.0).abs() <= 0.25;
    assert!(close(peak, peak_said) && close(kept, kept_said), "{line}: {peak} at most, {kept} kept");
    let size = |name: &str| std::fs::metadata(folder.join(name)).unwrap().len();
    let parts = ["samples-00000.parquet", "series-00000.parquet", "histograms-00000.jsonl", "report.html"];
    assert!(parts.iter().all(|part| size(part) as f64 > 0.02 * kept_said), "{:?}", parts.map(size));
}

#[test]
fn a_disk_that_is_too_small_is_refused_unless_told_otherwise() {
    let place = Place::new();
    let scenario = place.scenario(&small_tensors("rate = \"100000/s\"\nduration = \"27h\""));
    // A file system in memory, which is smaller than the run whatever the disks here are.
    let small = tempfile::tempdir_in("/dev/shm").unwrap();
    let folder = small.path().join("run");
    let output = run(&["run", "--quiet", scenario.to_str().unwrap(), "--out", folder.to_str().unwrap()]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("--ignore-disk") && message.contains("9.72 G samples") && message.contains("free"),
        "{message}"
    );
    assert!(!folder.join("run.json").exists(), "a run was begun");
}
