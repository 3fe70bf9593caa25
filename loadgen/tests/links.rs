//! Connections of every kind against real servers: HTTP/2, TLS with all that can go wrong in a handshake, Unix
//! sockets.

// Helpers outside of the test functions unwrap for the same reason as these do.
#![allow(clippy::unwrap_used)]

#[path = "support/certificates.rs"]
mod certificates;
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
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use certificates::Authority;
use http::{Request, Version};
use http_body_util::Full;
use hyper_util::service::TowerToHyperService;
use proofload_loadgen::clock::RunClock;
use proofload_loadgen::discover::{Access, Question, Tells, survey};
use proofload_loadgen::plan::{Process, Timing};
use proofload_loadgen::run::{ResolvedTarget, try_each};
use proofload_loadgen::scenario::{Model, Scenario};
use proofload_loadgen::starter::{Shape, Starter};
use proofload_loadgen::stop::StopHandle;
use proofload_loadgen::transport::{
    Address, Attempt, ConnectionPolicy, Failure, HttpVersion, Keep, Links, Outgoing, Reception, Segments, TlsOptions,
    Via,
};
use proofload_run::events::{Event, EventKind};
use proofload_run::jsonl::LineReader;
use proofload_run::sample::{Outcome, flags};
use proofload_run::series::{SeriesPoint, Source};
use scenarios::{drive_at, get};
use server::{Seen, answering, fine, serve, serve_unix};

const CONSTANT: Model = Model::Open { arrivals: Timing::Drawn { process: Process::Constant, burst: None } };
const BOTH: [&str; 2] = ["h2", "http/1.1"];

/// One request over a connection of its own.
fn ask(url: &str, version: HttpVersion, tls: &TlsOptions) -> Attempt {
    let to = Address::resolve(url, version, tls).unwrap();
    let request = Request::get(to.request_target("/")).header("host", "x").body(Segments::default()).unwrap();
    let mut links = Links::new(Some(to), None, ConnectionPolicy::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (clock, limit) = (RunClock::default(), Duration::from_secs(5));
    runtime.block_on(links.exchange(
        Via::Http,
        &Outgoing::of(&request),
        &clock,
        limit,
        Reception::new(Keep(100), None),
        |_| {},
    ))
}

fn tcp(tls: Option<rustls::ServerConfig>) -> (Arc<Seen>, String) {
    let seen = Arc::<Seen>::default();
    let address = serve(answering(&seen, fine), tls, &seen);
    (seen, address)
}

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions { ca: Some(authority.ca.clone()), ..TlsOptions::default() }
}

#[test]
fn the_http_that_was_asked_for_is_spoken_over_everything() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::in_folder(folder.path());
    let (plain, plain_at) = tcp(None);
    let (secure, secure_at) = tcp(Some(authority.server("127.0.0.1", &BOTH, false, false)));
    let (unix, socket) = (Arc::<Seen>::default(), folder.path().join("a.sock"));
    serve_unix(answering(&unix, fine), &socket, &unix);
    let urls = [
        (&plain, format!("http://{plain_at}")),
        (&secure, format!("https://{secure_at}")),
        (&unix, format!("unix:{}", socket.display())),
    ];
    for (version, expected) in [(HttpVersion::Http1, Version::HTTP_11), (HttpVersion::Http2, Version::HTTP_2)] {
        for (seen, url) in &urls {
            let answer = ask(url, version, &trusting(&authority)).result.unwrap();
            assert_eq!((answer.status, &answer.body[..]), (200, &b"metric_a 1\n"[..]), "{url}");
            assert_eq!(seen.requests().last().unwrap().0, expected, "{url}");
        }
    }
}

/// What a failed handshake is called, and what it should say.
fn check_refused(url: &str, version: HttpVersion, tls: &TlsOptions, expected: &[&str]) {
    match ask(url, version, tls).result {
        Err(Failure::Connect(said)) => {
            assert!(expected.iter().all(|part| said.contains(part)), "{url}: {said}");
        }
        other => panic!("{url}: {other:?} where {expected:?} was expected"),
    }
}

#[test]
fn handshakes_that_fail_are_connect_errors_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::in_folder(folder.path());
    let stranger = tempfile::tempdir().unwrap();
    let stranger = Authority::in_folder(stranger.path());
    let trusted = trusting(&authority);
    let at = |config| format!("https://{}", tcp(Some(config)).1);
    let good = at(authority.server("127.0.0.1", &BOTH, false, false));
    let elsewhere = at(authority.server("other.example", &BOTH, false, false));
    let old = at(authority.server("127.0.0.1", &BOTH, false, true));
    let http1_only = at(authority.server("127.0.0.1", &["http/1.1"], false, false));
    let silent_about_http = at(authority.server("127.0.0.1", &[], false, false));
    let plain = format!("https://{}", tcp(None).1);

    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        check_refused(&good, version, &trusting(&stranger), &["UnknownIssuer", "add its CA as target.tls.ca"]);
        check_refused(&elsewhere, version, &trusted, &["not valid for name", "target.tls.server_name"]);
        check_refused(&old, version, &trusted, &["expired", "renew the certificate"]);
        check_refused(&plain, version, &trusted, &["write http://"]);
        let named = TlsOptions { server_name: Some("other.example".to_owned()), ..trusted.clone() };
        assert!(ask(&elsewhere, version, &named).result.is_ok(), "under its own name");
        let insecure = TlsOptions { insecure: true, ..TlsOptions::default() };
        for url in [&good, &elsewhere, &old] {
            assert!(ask(url, version, &insecure).result.is_ok(), "{url} unverified");
        }
    }
    check_refused(&http1_only, HttpVersion::Http2, &trusted, &["target.http_version"]);
    check_refused(&silent_about_http, HttpVersion::Http2, &trusted, &["target.http_version"]);
    assert!(ask(&silent_about_http, HttpVersion::Http1, &trusted).result.is_ok());
}

#[test]
fn a_server_that_asks_who_we_are_is_told_or_the_refusal_says_what_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::in_folder(folder.path());
    let url = format!("https://{}", tcp(Some(authority.server("127.0.0.1", &BOTH, true, false))).1);
    let anonymous = trusting(&authority);
    let known = TlsOptions { identity: Some(authority.client(folder.path())), ..anonymous.clone() };
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        check_refused(&url, version, &anonymous, &["target.tls.client_cert"]);
        assert!(ask(&url, version, &known).result.is_ok(), "{version:?}");
    }
}

fn events(folder: &Path) -> Vec<EventKind> {
    let path = folder.join("run/events.jsonl");
    LineReader::<Event>::open(&path).unwrap().map(|event| event.unwrap().kind).collect()
}

#[test]
fn a_whole_run_over_tls_scrapes_over_tls_too() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::in_folder(folder.path());
    for (http_version, expected) in [(HttpVersion::Http1, Version::HTTP_11), (HttpVersion::Http2, Version::HTTP_2)] {
        let (seen, address) = tcp(Some(authority.server("127.0.0.1", &BOTH, false, false)));
        let target = ResolvedTarget {
            http_url: Some(format!("https://{address}")),
            http_version,
            tls: trusting(&authority),
            ..ResolvedTarget::default()
        };
        let driven = drive_at(&get(CONSTANT, 50.0, 1, None), target, StopHandle::default()).unwrap();
        assert!(driven.samples.iter().all(|sample| sample.outcome() == Outcome::Ok), "{:?}", driven.end);
        assert!(seen.requests().iter().all(|(version, _, _)| *version == expected));
        let series = driven.folder.path().join("run/series-00000.jsonl");
        let mut series = LineReader::<SeriesPoint>::open(&series).unwrap().map(Result::unwrap);
        assert!(series.any(|point| point.source == Source::Target && point.name == "metric_a"), "{http_version:?}");
    }
}

#[test]
fn a_run_that_trusts_anybody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::in_folder(folder.path());
    let (_, address) = tcp(Some(authority.server("127.0.0.1", &BOTH, false, true)));
    let target = ResolvedTarget {
        http_url: Some(format!("https://{address}")),
        tls: TlsOptions { insecure: true, ..TlsOptions::default() },
        ..ResolvedTarget::default()
    };
    let driven = drive_at(&get(CONSTANT, 20.0, 1, None), target, StopHandle::default()).unwrap();
    assert_eq!(driven.end.outcomes["ok"], 20);
    let warned = |kind: &EventKind| matches!(kind, EventKind::Warning { code, .. } if code == "tls_not_verified");
    assert_eq!(events(driven.folder.path()).iter().filter(|kind| warned(kind)).count(), 1);
}

#[test]
fn grpc_goes_over_tls_and_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::in_folder(folder.path());
    let (seen, socket) = (Arc::<Seen>::default(), folder.path().join("grpc.sock"));
    let service = || TowerToHyperService::new(grpc_server::always_answering());
    serve_unix(service(), &socket, &seen);
    let address = serve(service(), Some(authority.server("127.0.0.1", &["h2"], false, false)), &seen);
    let scenario = Scenario::parse(Path::new("grpc.toml"), grpc_server::SCENARIO, &[]).unwrap();
    for url in [format!("unix:{}", socket.display()), format!("https://{address}")] {
        let target =
            ResolvedTarget { grpc_url: Some(url.clone()), tls: trusting(&authority), ..ResolvedTarget::default() };
        let driven = drive_at(&scenario, target, StopHandle::default()).unwrap();
        assert_eq!(driven.end.outcomes.get("ok"), Some(&50), "{url}: {:?}", events(driven.folder.path()));
    }
}

/// How many connections a load of about ten requests at a time opens, and how many the samples tell apart.
fn connections(streams: u32, drop_after: Option<u64>) -> (usize, usize) {
    let seen = Arc::<Seen>::default();
    let noting = Arc::clone(&seen);
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let number = noting.note(&request);
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            // An error here resets the stream of this request.
            if drop_after == Some(number) { Err(std::io::Error::other("gone")) } else { Ok(fine(number)) }
        }
    });
    let url = format!("http://{}", serve(service, None, &seen));
    let mut scenario = get(CONSTANT, 100.0, 1, None);
    scenario.load.connections.streams = streams;
    let target = ResolvedTarget { http_url: Some(url), http_version: HttpVersion::Http2, ..ResolvedTarget::default() };
    let driven = drive_at(&scenario, target, StopHandle::default()).unwrap();
    let ok = driven.samples.iter().filter(|sample| sample.outcome() == Outcome::Ok).count();
    assert!(ok >= 100 - usize::from(drop_after.is_some()), "{ok} of {}", driven.samples.len());
    let mut numbers: Vec<u32> = driven.samples.iter().map(|sample| sample.connection).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let opened = driven.samples.iter().filter(|sample| sample.flags & flags::NEW_CONNECTION != 0).count();
    assert!(seen.connections() as usize >= opened);
    (opened, numbers.len())
}

#[test]
fn requests_share_a_connection_where_they_may() {
    let (alone, numbers) = connections(1, None);
    assert!(alone >= 9 && numbers == alone, "{alone} {numbers}");
    let (shared, numbers) = connections(5, None);
    assert!((2..=5).contains(&shared) && numbers == shared, "{shared} {numbers}");
    // A failed request is its own affair: the connection and its other requests go on.
    let (shared, _) = connections(50, Some(50));
    assert_eq!(shared, 1);
}

/// Values of a series of the generator, in their order.
fn generator(folder: &Path, name: &str) -> Vec<f64> {
    let series = LineReader::<SeriesPoint>::open(&folder.join("run/series-00000.jsonl")).unwrap().map(Result::unwrap);
    series.filter(|point| point.source == Source::Generator && point.name == name).map(|point| point.value).collect()
}

/// Stalls for 1.5 s in a load of 200/s, with so many requests at a time over a connection.
fn stall(version: HttpVersion, streams: u32) {
    let (seen, begun) = (Arc::<Seen>::default(), Instant::now());
    let (noting, most) = (Arc::clone(&seen), Arc::new(AtomicU64::new(0)));
    let peak = Arc::clone(&most);
    let stall = Duration::from_millis(1000)..Duration::from_millis(2500);
    let service = hyper::service::service_fn(move |_: Request<hyper::body::Incoming>| {
        peak.fetch_max(noting.open(), Ordering::AcqRel);
        let at = begun.elapsed();
        let wait = if stall.contains(&at) { stall.end - at } else { Duration::ZERO };
        async move {
            tokio::time::sleep(wait).await;
            Ok::<_, std::io::Error>(fine(0))
        }
    });
    let http_url = Some(format!("http://{}", serve(service, None, &seen)));
    let target = ResolvedTarget { http_url, http_version: version, ..Default::default() };
    let mut scenario = get(CONSTANT, 200.0, 8, None);
    scenario.load.connections.idle_timeout_ns = Some(1_000_000_000);
    scenario.load.connections.streams = streams;
    let driven = drive_at(&scenario, target, StopHandle::default()).unwrap();
    assert_eq!(driven.end.outcomes, [("ok".to_owned(), 1600)].into(), "closing costs no request");
    let (open, closed) = (generator(driven.folder.path(), "connections"), generator(driven.folder.path(), CLOSED));
    let (last, gone, peak) = (open[open.len() - 1], closed[closed.len() - 1], most.load(Ordering::Acquire));
    let expected = 150 / u64::from(streams);
    assert!(peak > expected && last < peak as f64 / 2.0, "{peak} at a time, then {open:?}");
    let reopened = driven.samples.iter().filter(|sample| sample.flags & flags::NEW_CONNECTION != 0).count() as f64;
    assert!(gone > 0.0 && (reopened - gone - last).abs() <= 20.0, "{reopened} opened, {gone} closed, {last} left");
}

const CLOSED: &str = "connections_closed_idle";

#[test]
fn connections_that_a_stall_opened_are_closed_when_it_is_over() {
    stall(HttpVersion::Http1, 1);
    stall(HttpVersion::Http2, 4);
}

#[test]
fn a_target_behind_certificates_and_a_token_is_asked_with_them_and_the_file_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::in_folder(folder.path());
    let seen = Arc::<Seen>::default();
    let noting = Arc::clone(&seen);
    let token = format!("Bearer {}", std::env::var("HOME").unwrap());
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        noting.note(&request);
        let known = request.headers().get("authorization").is_some_and(|value| value == token.as_str());
        let body = if request.uri().path() == "/v2" { "{\"name\":\"s\",\"version\":\"1\"}" } else { METADATA };
        let status = if known { 200 } else { 401 };
        async move { http::Response::builder().status(status).body(Full::new(Bytes::from_static(body.as_bytes()))) }
    });
    let url = format!("https://{}", serve(service, Some(authority.server("api.example", &BOTH, true, false)), &seen));
    let mut access = Access { tls: trusting(&authority), ..Access::default() };
    access.tls.identity = Some(authority.client(folder.path()));
    access.tls.server_name = Some("api.example".to_owned());
    let model = Some("m".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = |access: &Access| {
        let question =
            Question { url: url.clone(), model: model.clone(), access: access.clone(), ..Question::default() };
        runtime.block_on(survey(&question))
    };
    assert!(found(&Access::default()).is_err(), "nobody knows its authority");
    // Without the token it is there, and says nothing of itself.
    assert_eq!(found(&access).unwrap().tells, Tells::Nothing);
    access.add_header("Authorization: Bearer ${env:HOME}").unwrap();
    let survey = found(&access).unwrap();
    let text = Starter { name: "x", shape: Shape::Constant, survey: &survey, access: &access, schema: "s" }.text();
    let scenario = Scenario::parse(Path::new("x.toml"), &text, &["load.duration=1s".to_owned()]).unwrap();
    let target = scenario.target.clone().unwrap();
    assert_eq!(target.tls.as_ref(), Some(&access.tls), "{text}");
    let resolved = ResolvedTarget {
        http_url: target.http.clone(),
        headers: target.headers,
        tls: target.tls.unwrap_or_default(),
        ..ResolvedTarget::default()
    };
    let trials = runtime.block_on(try_each(&scenario, &resolved)).unwrap();
    assert_eq!(trials[0].judgement.status, 200, "{:?}", trials[0]);
}

const METADATA: &str = r#"{"name":"m","inputs":[{"name":"i","datatype":"FP32","shape":[2]}],"outputs":[]}"#;
