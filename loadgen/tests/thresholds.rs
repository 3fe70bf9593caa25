//! Thresholds that are watched while a run goes on, against real servers that turn slow, hang and recover.

// Helpers outside of the test functions unwrap for the same reason as these do.
#![allow(clippy::unwrap_used)]

#[path = "support/scenarios.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod scenarios;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use proofload_loadgen::plan::{Process, Timing};
use proofload_loadgen::scenario::{Model, RequestSpec, Scenario};
use proofload_run::criteria::Slo;
use proofload_run::events::{Event, EventKind};
use proofload_run::jsonl::LineReader;
use proofload_run::manifest::EndReason;
use scenarios::{Driven, drive, get};

/// A server that takes `slow_ms` for paths that begin with `/slow`, while `slow` (since its start) lasts.
fn turning_slow(slow: Range<Duration>, slow_ms: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let begun = Instant::now();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let slow = slow.clone();
            std::thread::spawn(move || {
                while let Some(is_slow_path) = read_request(&mut stream) {
                    if is_slow_path && slow.contains(&begun.elapsed()) {
                        std::thread::sleep(Duration::from_millis(slow_ms));
                    }
                    if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// Reads a request; says whether it is for `/slow`. Nothing at the connection's end.
fn read_request(stream: &mut TcpStream) -> Option<bool> {
    let mut buffer = [0; 4096];
    let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
    Some(buffer[..n].starts_with(b"GET /slow"))
}

/// 100 requests a second to `/slow`, as entry `slow`, and as many to `/`, as entry `fast`.
fn both(seconds: u64, thresholds: &[&str]) -> Scenario {
    let mut scenario =
        get(Model::Open { arrivals: Timing::Drawn { process: Process::Constant, burst: None } }, 200.0, seconds, None);
    let mut slow = scenario.mix[0].clone();
    if let RequestSpec::Http(spec) = &mut slow.request {
        spec.path = "/slow".to_owned();
    }
    slow.name = "slow".to_owned();
    scenario.mix[0].name = "fast".to_owned();
    scenario.mix.push(slow);
    scenario.slo = Some(Slo::new(200_000_000, 90.0, 0.5));
    scenario.thresholds = thresholds.iter().map(|text| text.parse().unwrap()).collect();
    scenario.load.drain_ns = 500_000_000;
    scenario
}

/// What was missed, and whether it was to end the run.
fn missed(driven: &Driven) -> Vec<(String, bool)> {
    let events = LineReader::<Event>::open(&driven.folder.path().join("run/events.jsonl")).unwrap();
    let missed = events.filter_map(|event| match event.unwrap().kind {
        EventKind::ThresholdMissed { threshold, abort } => Some((threshold, abort)),
        _ => None,
    });
    missed.collect()
}

fn check_aborted(driven: &Driven, by: &str) {
    assert_eq!(driven.end.reason, EndReason::Aborted, "{:?}", driven.end);
    assert!(driven.end.detail.contains(&format!("{by} was missed")), "{:?}", driven.end);
    assert!(missed(driven).contains(&(by.to_owned(), true)));
    assert_eq!((driven.end.intended, driven.end.lost_samples), (driven.samples.len() as u64, 0));
}

fn last_arrival_ns(driven: &Driven) -> u64 {
    driven.samples.iter().map(|s| s.intended_ns).max().unwrap()
}

const SOON: Range<Duration> = Duration::from_millis(2500)..Duration::from_secs(3600);

#[test]
fn a_missed_threshold_ends_the_run_within_a_second_and_everything_is_accounted_for() {
    // A target that turns slow, and one that hangs: that it hangs is seen although nothing ends.
    for slow_ms in [400, 30_000] {
        let url = turning_slow(SOON, slow_ms);
        let driven = drive(&both(20, &["slow: p90 < 200ms over any 2s else abort"]), &url).unwrap();
        check_aborted(&driven, "slow: p90 < 200 ms over any 2 s else abort");
        // The window that ends at 3 s is the first with a tenth of slow or overdue requests, or the one at 4 s.
        let last = last_arrival_ns(&driven);
        assert!((3_000_000_000..5_100_000_000).contains(&last), "{last}");
    }
}

#[test]
fn budgets_and_goodput_are_watched_of_each_entry() {
    let url = turning_slow(SOON, 400);
    let burning = "slow: burn_rate < 4 over any 2s else abort";
    let others = ["fast: burn_rate < 0.5 over any 2s else abort", "fast: goodput > 80/s over any 2s else abort"];
    let driven = drive(&both(20, &[others[0], others[1], burning]), &url).unwrap();
    check_aborted(&driven, burning_as_printed());
    assert_eq!(missed(&driven), [(burning_as_printed().to_owned(), true)], "the others are not touched");

    let url = turning_slow(SOON, 400);
    let driven = drive(&both(20, &[others[0], "slow: goodput > 50/s over any 2s else abort"]), &url).unwrap();
    check_aborted(&driven, "slow: goodput > 50 /s over any 2 s else abort");
}

fn burning_as_printed() -> &'static str {
    "slow: burn_rate < 4 over any 2 s else abort"
}

#[test]
fn a_target_that_recovers_in_time_does_not_end_the_run() {
    // Slow for less than a second: two seconds hold too few of them, one holds enough but may not end the run, and by the
    // end of the patience all is well.
    let url = turning_slow(Duration::from_millis(2300)..Duration::from_millis(2900), 300);
    let thresholds = [
        "slow: p50 < 200ms over any 2s else abort",
        "slow: p90 < 200ms over any 1s",
        "slow: p95 < 250ms over any 1s else abort after 6s",
        "burn_rate < 9 over any 2s else abort",
    ];
    let driven = drive(&both(8, &thresholds), &url).unwrap();
    assert_eq!(driven.end.reason, EndReason::Completed, "{:?}", driven.end);
    assert_eq!(missed(&driven), [("slow: p90 < 200 ms over any 1 s".to_owned(), false)]);
}
