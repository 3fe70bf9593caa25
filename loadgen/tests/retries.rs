//! Connections that are used as the scenario says, tokens out of the environment, and attempts that are made again:
//! whole runs against real servers.

// Helpers outside of the test functions unwrap for the same reason as these do.
#![allow(clippy::unwrap_used)]

#[path = "support/grpc_server.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod grpc_server;
#[path = "support/scenarios.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod scenarios;
#[path = "support/server.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::service::TowerToHyperService;
use proofload_loadgen::clock::RunClock;
use proofload_loadgen::run::ResolvedTarget;
use proofload_loadgen::scenario::Scenario;
use proofload_loadgen::stop::StopHandle;
use proofload_loadgen::transport::{
    Address, ConnectionPolicy, Failure, HttpVersion, Keep, Links, Outgoing, Reception, Segments, TlsOptions, Via,
};
use proofload_run::events::{Event, EventKind};
use proofload_run::jsonl::LineReader;
use proofload_run::sample::Outcome;
use proofload_run::series::SeriesPoint;
use scenarios::{Driven, drive, drive_at, drive_grpc};
use server::{Reply, Seen, answering, fine, serve};

fn scenario(load: &str, mix: &str) -> Scenario {
    let text = format!(
        "kind = \"sustained\"\n[load]\narrivals = \"constant\"\nrate = \"50/s\"\nduration = \"1s\"\n\
         max_connections = 1\n{load}\n[[mix]]\nname = \"a\"\nprotocol = \"http\"\npath = \"/\"\n{mix}\n"
    );
    Scenario::parse(Path::new("test.toml"), &text, &[]).unwrap()
}

fn served(answer: impl Fn(u64) -> Reply + Clone + Send + 'static) -> (Arc<Seen>, String) {
    let seen = Arc::<Seen>::default();
    let address = serve(answering(&seen, answer), None, &seen);
    (seen, format!("http://{address}"))
}

fn warnings(driven: &Driven) -> Vec<(String, String)> {
    let path = driven.folder.path().join("run/events.jsonl");
    let events = LineReader::<Event>::open(&path).unwrap().map(|event| event.unwrap().kind);
    let warnings = events.filter_map(|kind| match kind {
        EventKind::Warning { code, message } => Some((code, message)),
        _ => None,
    });
    warnings.collect()
}

/// Requests for `/` among those seen, which scrapes are not.
fn load_of(seen: &Seen) -> usize {
    seen.requests().iter().filter(|(_, target, _)| target == "/").count()
}

#[test]
fn connections_are_used_as_often_as_the_scenario_says() {
    let check = |load: &str, expected: std::ops::RangeInclusive<usize>, closing: usize| {
        let (seen, url) = served(fine);
        let driven = drive(&scenario(load, ""), &url).unwrap();
        assert_eq!(driven.end.outcomes["ok"], 50, "{load}");
        let opened = driven.samples.iter().filter(|s| s.flags & proofload_run::sample::flags::NEW_CONNECTION != 0);
        assert!(expected.contains(&opened.count()), "{load}");
        let requests = seen.requests();
        let closed = requests.iter().filter(|(_, _, headers)| headers.get("connection").is_some_and(|v| v == "close"));
        assert_eq!(closed.count(), closing, "{load}");
    };
    check("", 1..=1, 0);
    check("reuse = \"keep-alive\"", 1..=1, 0);
    check("reuse = \"per-request\"", 50..=50, 50);
    check("requests_per_connection = 10", 5..=5, 5);
    check("connection_max_age = \"200ms\"", 4..=6, 0);
}

#[test]
fn a_connection_that_is_not_open_in_time_is_a_connect_error_that_says_so() {
    // A listener whose queue is full answers nobody: the kernel leaves further handshakes unanswered.
    let socket = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(0).unwrap().into_std().unwrap()
    });
    let address = socket.local_addr().unwrap();
    let patience = Duration::from_millis(100);
    let full: Vec<_> = (0..8).map(|_| std::net::TcpStream::connect_timeout(&address, patience)).collect();
    assert!(full.iter().any(Result::is_err), "the queue must be full");
    let url = format!("http://{address}");
    let check = |connect_ms: u64, limit_ms: u64, expected: &str| {
        let to = Address::resolve(&url, HttpVersion::Http1, &TlsOptions::default()).unwrap();
        let policy = ConnectionPolicy { connect_timeout_ns: connect_ms * 1_000_000, ..ConnectionPolicy::default() };
        let mut links = Links::new(Some(to), None, policy);
        let request = Request::get("/").body(Segments::default()).unwrap();
        let (clock, limit) = (RunClock::default(), Duration::from_millis(limit_ms));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let work = async {
            links
                .exchange(Via::Http, &Outgoing::of(&request), &clock, limit, Reception::new(Keep(9), None), |_| {})
                .await
        };
        match runtime.block_on(work).result {
            Err(Failure::Connect(said)) => assert!(said.contains(expected), "{said}"),
            other => panic!("{other:?}"),
        }
    };
    check(50, 5000, "not open within 50 ms, which load.connect_timeout allows");
    check(5000, 50, "not open when the request's time limit ended");
}

/// Refuses every third request, and asks to come back at once.
fn every_third_is_shed(number: u64) -> Reply {
    if !number.is_multiple_of(3) {
        return fine(number);
    }
    let shed = Response::builder().status(503).header("retry-after", "0");
    shed.body(Full::new(Bytes::from_static(b"full"))).unwrap()
}

#[test]
fn attempts_that_are_made_again_are_counted_and_told() {
    let (seen, url) = served(every_third_is_shed);
    let load = "[load.retries]\nattempts = 3\non = [\"shed\"]\nbackoff = \"4ms\"";
    let driven = drive(&scenario(load, ""), &url).unwrap();
    assert_eq!(driven.end.outcomes["ok"], 50, "{:?}", driven.end);
    let again: u64 = driven.samples.iter().map(|sample| u64::from(sample.retry)).sum();
    assert!(again > 10 && load_of(&seen) as u64 == 50 + again, "{again} of {}", load_of(&seen));
    for sample in driven.samples.iter().filter(|sample| sample.retry > 0) {
        assert!(sample.latency_ns() >= 2_000_000, "the wait is part of the latency: {sample:?}");
        assert!(sample.sent_ns < sample.first_byte_ns - 2_000_000, "sent is the first attempt: {sample:?}");
    }
    let series = driven.folder.path().join("run/series-00000.jsonl");
    let points = LineReader::<SeriesPoint>::open(&series).unwrap().map(Result::unwrap);
    let last = points.filter(|point| point.name == "attempts_retried_total").last().unwrap();
    assert_eq!((last.labels.as_str(), last.value as u64), ("outcome=\"shed\"", again));
    let told = warnings(&driven);
    assert!(told.iter().any(|(code, _)| code == "retries"), "{told:?}");
    let counted = format!("{again} attempts failed and were made again ({again} shed)");
    assert!(told.iter().any(|(code, said)| code == "attempts_retried" && said.starts_with(&counted)), "{told:?}");
}

#[test]
fn nothing_is_tried_again_unless_asked_for() {
    let (seen, url) = served(every_third_is_shed);
    let driven = drive(&scenario("", ""), &url).unwrap();
    assert_eq!(load_of(&seen), 50);
    assert!(driven.samples.iter().all(|sample| sample.retry == 0));
    assert!(driven.samples.iter().any(|sample| sample.outcome() == Outcome::Shed));
    assert_eq!(warnings(&driven), []);
}

/// A variable of this process that every test environment has, and which is long enough to look for.
const VARIABLE: &str = "CARGO_MANIFEST_DIR";

#[test]
fn a_secret_reaches_the_target_and_no_file_of_the_run() {
    let secret = std::env::var(VARIABLE).unwrap();
    let echoed = secret.clone();
    let (seen, url) = served(move |_| {
        let refusal = Response::builder().status(401);
        refusal.body(Full::new(Bytes::from(format!("bad token {echoed}")))).unwrap()
    });
    let driven =
        drive(&scenario("", "headers = { authorization = \"Bearer ${env:CARGO_MANIFEST_DIR}\" }"), &url).unwrap();
    let (_, _, headers) = seen.requests().into_iter().find(|(_, target, _)| target == "/").unwrap();
    assert_eq!(headers["authorization"], format!("Bearer {secret}"));
    let mut files = 0;
    for file in std::fs::read_dir(driven.folder.path().join("run")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        files += 1;
    }
    assert!(files >= 3);
    let run = std::fs::read_to_string(driven.folder.path().join("run/run.json")).unwrap();
    assert!(run.contains("Bearer ${env:CARGO_MANIFEST_DIR}"), "as written and as run");
    let events = std::fs::read_to_string(driven.folder.path().join("run/events.jsonl")).unwrap();
    assert!(events.contains("bad token ${env:CARGO_MANIFEST_DIR}"), "{events}");
}

#[test]
fn the_targets_headers_are_on_every_request_to_it() {
    let secret = std::env::var(VARIABLE).unwrap();
    let (seen, url) = served(fine);
    let target =
        format!("[target]\nhttp = \"{url}\"\nheaders = {{ x-key = \"${{env:{VARIABLE}}}\", x-own = \"no\" }}\n");
    let text = "kind = \"sustained\"\n[load]\nrate = \"20/s\"\nduration = \"1s\"\n[[mix]]\nname = \"a\"\n\
                protocol = \"http\"\npath = \"/\"\nmodel = \"m\"\nheaders = { x-own = \"yes\" }\n";
    let scenario = Scenario::parse(Path::new("a.toml"), &format!("{text}{target}"), &[]).unwrap();
    let headers = scenario.target.as_ref().unwrap().headers.clone();
    let target = ResolvedTarget { http_url: Some(url), headers, ..ResolvedTarget::default() };
    let driven = drive_at(&scenario, target, StopHandle::default()).unwrap();
    let (mut load, mut beside) = (0, 0);
    for (_, path, headers) in seen.requests() {
        assert_eq!(headers["x-key"], secret, "{path}");
        let own = if path == "/" { &mut load } else { &mut beside };
        *own += 1;
        assert_eq!(headers["x-own"], if path == "/" { "yes" } else { "no" }, "{path}");
    }
    assert!(load >= 10 && beside >= 3, "{load} {beside}");
    let run = std::fs::read_to_string(driven.folder.path().join("run/run.json")).unwrap();
    assert!(!run.contains(&secret) && run.contains("${env:CARGO_MANIFEST_DIR}"));
}

#[test]
fn grpc_requests_carry_metadata() {
    let text =
        grpc_server::SCENARIO.replace("model = ", "headers = { x-key = \"${env:CARGO_MANIFEST_DIR}\" }\nmodel = ");
    let scenario = Scenario::parse(Path::new("grpc.toml"), &text, &[]).unwrap();
    let seen = Arc::<Seen>::default();
    let key = Arc::clone(&seen);
    let service = tower_of(grpc_server::always_answering(), key);
    let address = serve(service, None, &seen);
    let driven = drive_grpc(&scenario, &format!("http://{address}")).unwrap();
    assert_eq!(driven.end.outcomes.get("ok"), Some(&50));
    let secret = std::env::var(VARIABLE).unwrap();
    assert!(seen.requests().iter().all(|(_, _, headers)| headers["x-key"] == secret));
    assert_eq!(seen.requests().len(), 50);
}

/// The gRPC service, with what comes in remembered.
fn tower_of(
    service: proofload_wire::grpc::inference::grpc_inference_service_server::GrpcInferenceServiceServer<
        grpc_server::Server,
    >,
    seen: Arc<Seen>,
) -> impl hyper::service::Service<
    Request<hyper::body::Incoming>,
    Response = Response<tonic::body::Body>,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let inner = TowerToHyperService::new(service);
    hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        seen.note(&request);
        hyper::service::Service::call(&inner, request)
    })
}
