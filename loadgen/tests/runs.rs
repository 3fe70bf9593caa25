//! Whole runs against real servers in this process: every arrival is accounted for, however a run ends.

// Helpers outside of the test functions unwrap for the same reason as these do.
#![allow(clippy::unwrap_used)]

#[path = "support/scenarios.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod scenarios;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use proofload_loadgen::calibrate::law::Law;
use proofload_loadgen::calibrate::server::Server;
use proofload_loadgen::plan::{Process, Think, Timing};
use proofload_loadgen::scenario::{Model, Scenario};
use proofload_loadgen::stop::StopHandle;
use proofload_run::criteria::Slo;
use proofload_run::events::{Event, EventKind};
use proofload_run::histogram::{LatencyHistogram, Line};
use proofload_run::jsonl::LineReader;
use proofload_run::manifest::{EndReason, ScenarioKind, Step};
use proofload_run::sample::{Outcome, Sample, flags};
use proofload_run::series::{SeriesPoint, Source};
use scenarios::{Driven, drive, drive_until, get};

/// A server that answers in this time.
fn server(service_ms: u64) -> Server {
    Server::start(Law::Fixed { service_ns: service_ms * 1_000_000 }, None).unwrap()
}

const fn drawn(process: Process) -> Model {
    Model::Open { arrivals: Timing::Drawn { process, burst: None } }
}

const POISSON: Model = drawn(Process::Poisson);

/// What must hold of every run: one sample for each intended arrival, and the counts agree.
fn check_books(driven: &Driven) {
    let counted: u64 = driven.end.outcomes.values().sum();
    assert_eq!(counted, driven.end.intended, "{:?}", driven.end);
    assert_eq!(driven.samples.len() as u64, driven.end.intended);
    assert_eq!(driven.end.lost_samples, 0);
    assert!(driven.samples.iter().enumerate().all(|(n, sample)| sample.sequence == n as u64));
    assert_eq!(driven.manifest.end.as_ref(), Some(&driven.end));
}

fn count(driven: &Driven, outcome: Outcome) -> u64 {
    driven.end.outcomes.get(outcome.as_str()).copied().unwrap_or(0)
}

fn events(driven: &Driven) -> Vec<EventKind> {
    let path = driven.folder.path().join("run/events.jsonl");
    LineReader::<Event>::open(&path).unwrap().map(|event| event.unwrap().kind).collect()
}

#[test]
fn an_open_run_sends_every_arrival_of_its_plan() {
    let server = server(1);
    let driven = drive(&get(POISSON, 300.0, 2, None), &server.url()).unwrap();
    check_histograms(&driven);
    check_books(&driven);
    assert_eq!(driven.end.reason, EndReason::Completed);
    assert_eq!(driven.manifest.load.planned_arrivals, Some(driven.end.intended));
    assert_eq!(count(&driven, Outcome::Ok), driven.end.intended);
    assert!(driven.samples.is_sorted_by_key(|s| s.intended_ns));
    for sample in &driven.samples {
        assert!(sample.intended_ns <= sample.sent_ns && sample.sent_ns < sample.first_byte_ns);
        assert!(sample.first_byte_ns <= sample.done_ns && sample.latency_ns() >= 1_000_000, "{sample:?}");
        assert!(sample.generator_late_ns <= sample.sent_ns - sample.intended_ns, "{sample:?}");
    }
    let series = driven.folder.path().join("run/series-00000.jsonl");
    let series: Vec<SeriesPoint> = LineReader::open(&series).unwrap().map(Result::unwrap).collect();
    let users = ["users_thread_cpu_seconds_total", "users_thread_run_delay_ns_total"];
    for name in ["lateness_p99_ns", "intended_total", "process_cpu_seconds"].into_iter().chain(users) {
        assert!(series.iter().any(|p| p.source == Source::Generator && p.name == name), "{name}");
    }
    let kinds = events(&driven);
    let scrapes = kinds.iter().filter(|kind| matches!(kind, EventKind::ScrapeFailed { .. }));
    assert_eq!(scrapes.count(), 0, "a plain target owes nobody metrics");
    assert!(kinds.contains(&EventKind::RunStarted));
    assert!(kinds.contains(&EventKind::StepStarted { step: 0 }) && kinds.contains(&EventKind::StepEnded { step: 0 }));
    assert_eq!(kinds.last(), Some(&EventKind::RunEnded));
}

#[test]
fn the_users_of_a_closed_run_think_and_come_with_the_level() {
    let server = server(1);
    let mut scenario = get(Model::Closed { think: Think::Constant { ns: 19_000_000 } }, 4.0, 2, None);
    // Four users for a second, then two.
    let mut second = scenario.load.steps[0].clone();
    scenario.load.steps[0].end_ns = 1_000_000_000;
    (second.start_ns, second.level_start, second.level_end) = (1_000_000_000, 2.0, 2.0);
    scenario.load.steps.push(second);
    let driven = drive(&scenario, &server.url()).unwrap();
    check_books(&driven);
    assert_eq!(driven.end.reason, EndReason::Completed);
    assert!(driven.end.at_ns >= 2_000_000_000, "the plan is carried out to its end");
    assert!(driven.samples.iter().all(|s| s.flags & flags::CLOSED_MODEL != 0 && s.outcome() == Outcome::Ok));
    for (step, users) in [(0, 4), (1, 2)] {
        let in_step = driven.samples.iter().filter(|s| s.step == step);
        let (sent, last) = in_step.fold((0.0, 0), |(n, last), s| (n + 1.0, last.max(s.connection)));
        assert_eq!(last, users - 1, "users of step {step}");
        // Each turn takes 19 ms of thought and a little more than 1 ms of service.
        assert!((0.6..=1.0).contains(&(sent / (f64::from(users) * 50.0))), "{sent} requests by {users} users");
    }
    let mut thoughts = thoughts_ns(&driven.samples);
    thoughts.sort_unstable();
    assert!(thoughts[0] >= 19_000_000, "{thoughts:?}");
    assert!(thoughts[thoughts.len() / 2] < 21_000_000, "a thought begins when the answer is there: {thoughts:?}");
}

/// How long after each answer its user's next request was intended.
fn thoughts_ns(samples: &[Sample]) -> Vec<u64> {
    let mut sorted: Vec<&Sample> = samples.iter().collect();
    sorted.sort_by_key(|sample| (sample.connection, sample.intended_ns));
    let pairs = sorted.windows(2).filter(|pair| pair[0].connection == pair[1].connection);
    pairs.map(|pair| pair[1].intended_ns - pair[0].done_ns).collect()
}

#[test]
fn a_run_that_is_stopped_keeps_everything_up_to_then() {
    let server = server(1);
    let stop = StopHandle::default();
    let asked = stop.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1200));
        asked.request("ctrl-c");
    });
    let driven = drive_until(&get(POISSON, 200.0, 60, None), &server.url(), stop).unwrap();
    check_books(&driven);
    assert_eq!(driven.end.reason, EndReason::Interrupted);
    assert!((100..400).contains(&driven.end.intended), "{:?}", driven.end);
    assert!(events(&driven).contains(&EventKind::StopRequested { by: "ctrl-c".to_owned() }));
}

/// What the histograms of all seconds hold together is what the samples hold.
fn check_histograms(driven: &Driven) {
    let path = driven.folder.path().join("run/histograms-00000.jsonl");
    let lines: Vec<Line> = LineReader::open(&path).unwrap().map(Result::unwrap).collect();
    assert!(lines.windows(2).all(|pair| pair[0].end_ns < pair[1].end_ns) && lines.len() >= 2, "{}", lines.len());
    let (mut merged, mut all) = (LatencyHistogram::default(), LatencyHistogram::default());
    lines.iter().for_each(|line| merged.merge(&line.histogram().unwrap()));
    let successes = driven.samples.iter().filter(|s| s.outcome() == Outcome::Ok);
    successes.for_each(|sample| all.record_ns(sample.latency_ns()));
    assert_eq!(merged, all);
}

#[test]
fn a_run_that_is_cut_off_while_arrivals_pour_in_loses_none() {
    let server = server(1);
    for round in 0..6 {
        let stop = StopHandle::default();
        let asked = stop.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1500 + 7 * round));
            // The second request ends the drain before it has begun.
            asked.request("test");
            asked.request("test");
        });
        let connections = (round % 2 == 0).then_some(2);
        // A longer plan would still be being counted when it is cut off.
        let driven = drive_until(&get(POISSON, 5000.0, 5, connections), &server.url(), stop).unwrap();
        check_books(&driven);
        assert_eq!(driven.end.reason, EndReason::Interrupted);
        assert!(driven.end.intended > 200, "{:?}", driven.end);
    }
}

#[test]
fn what_is_due_at_the_very_end_is_sent_and_answered() {
    let server = server(1);
    let mut scenario = get(drawn(Process::Constant), 10.0, 1, None);
    // Nearly all arrivals come in the last 20 ms.
    let mut rush = scenario.load.steps[0].clone();
    scenario.load.steps[0].end_ns = 980_000_000;
    (rush.start_ns, rush.level_start, rush.level_end) = (980_000_000, 20_000.0, 20_000.0);
    scenario.load.steps.push(rush);
    let driven = drive(&scenario, &server.url()).unwrap();
    check_books(&driven);
    assert_eq!(driven.manifest.load.planned_arrivals, Some(driven.end.intended));
    assert_eq!(count(&driven, Outcome::InFlight), 0, "{:?}", driven.end);
}

#[test]
fn a_target_that_dies_ends_the_run_with_the_time_of_its_last_answer() {
    // Answers for half a second, then closes its port.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || serve_until(&listener, Instant::now() + Duration::from_millis(700)));
    let started = Instant::now();
    let driven = drive(&get(POISSON, 100.0, 60, Some(20)), &url).unwrap();
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    check_books(&driven);
    assert_eq!(driven.end.reason, EndReason::TargetLost, "{:?}", driven.end);
    let last_answer = driven.samples.iter().filter(|s| s.outcome() == Outcome::Ok).map(|s| s.done_ns).max().unwrap();
    let told = events(&driven).into_iter().find_map(|kind| match kind {
        EventKind::TargetLost { last_answer_ns, .. } => Some(last_answer_ns),
        _ => None,
    });
    assert_eq!(told, Some(last_answer));
    assert!(count(&driven, Outcome::ConnectError) > 100, "{:?}", driven.end);
}

/// Answers one request after the other on each connection, and closes everything at `end`.
fn serve_until(listener: &TcpListener, end: Instant) {
    listener.set_nonblocking(true).unwrap();
    let mut streams: Vec<std::net::TcpStream> = Vec::new();
    while Instant::now() < end {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).unwrap();
            streams.push(stream);
        }
        for stream in &mut streams {
            if matches!(stream.read(&mut [0; 4096]), Ok(n) if n > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn what_waits_too_long_for_a_connection_times_out_and_is_not_dropped() {
    // One connection, 100 ms of service, 50 arrivals a second, a time limit of 300 ms: most must time out.
    let server = server(100);
    let mut scenario: Scenario = get(drawn(Process::Constant), 50.0, 2, Some(1));
    scenario.load.request_timeout_ns = 300_000_000;
    let driven = drive(&scenario, &server.url()).unwrap();
    check_books(&driven);
    assert_eq!(driven.end.intended, 100);
    assert_eq!(count(&driven, Outcome::Dropped), 0);
    assert!(count(&driven, Outcome::Timeout) > 60, "{:?}", driven.end);
    // First in, first out with a time limit: whoever is served has waited nearly as long as it may.
    assert!(count(&driven, Outcome::Ok) >= 2, "{:?}", driven.end);
    for sample in &driven.samples {
        assert!(sample.latency_ns() < 330_000_000, "{sample:?}");
        assert!(sample.generator_late_ns < 20_000_000, "waiting for a connection is not the generator's: {sample:?}");
    }
}

#[test]
fn what_is_in_flight_at_the_end_of_the_drain_is_recorded_at_its_age() {
    let server = server(3000);
    let mut scenario = get(drawn(Process::Constant), 20.0, 1, Some(8));
    scenario.load.drain_ns = 200_000_000;
    let driven = drive(&scenario, &server.url()).unwrap();
    check_books(&driven);
    assert_eq!(count(&driven, Outcome::InFlight), 20);
    let sent = driven.samples.iter().filter(|s| s.sent_ns > 0).count();
    assert_eq!(sent, 8, "the others waited for a connection");
    assert!(driven.samples.iter().all(|s| s.done_ns == driven.end.at_ns));
}

#[test]
fn a_climb_stops_after_its_break_unless_it_is_told_not_to() {
    // Two connections of 10 ms bear 200/s.
    let server = server(10);
    let mut scenario = get(POISSON, 100.0, 1, Some(2));
    let first = scenario.load.steps[0].clone();
    let levels = [50.0, 100.0, 400.0, 500.0, 600.0, 700.0, 800.0];
    let steps = levels.iter().zip(0u64..).map(|(level, n)| Step {
        name: format!("step {}", n + 1),
        start_ns: n * 1_000_000_000,
        end_ns: (n + 1) * 1_000_000_000,
        level_start: *level,
        level_end: *level,
        ..first.clone()
    });
    scenario.load.steps = steps.collect();
    scenario.kind = ScenarioKind::Stress;
    scenario.slo = Some(Slo::new(200_000_000, 95.0, 0.01));
    scenario.load.stop_after_break = true;
    let driven = drive(&scenario, &server.url()).unwrap();
    check_books(&driven);
    assert_eq!(driven.end.reason, EndReason::LimitFound, "{:?}", driven.end);
    let by = events(&driven).into_iter().find_map(|kind| match kind {
        EventKind::LimitFound { step } => Some(step),
        _ => None,
    });
    // At twice what it bears it is clear by the second such step at the latest.
    assert!(by.is_some_and(|step| step == 2 || step == 3), "{by:?}");
    assert!(driven.samples.iter().all(|sample| sample.step <= 4), "the highest steps were not run");
    assert_eq!(driven.manifest.steps.len(), levels.len(), "the plan stays as it was");

    scenario.load.steps.truncate(5);
    scenario.load.stop_after_break = false;
    let driven = drive(&scenario, &server.url()).unwrap();
    check_books(&driven);
    assert_eq!(driven.end.reason, EndReason::Completed);
}
