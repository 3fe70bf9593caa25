//! Keys, rates and quotas over both protocols.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proofload_daemon::admit::keys::entry;
use proofload_daemon::admit::rate::Rate;
use proofload_daemon::config::Config;
use proofload_daemon::config::access::{Access, Secret};
use proofload_daemon::config::rate_limit::ByAddress;
use proofload_daemon::front::doors::manners::Cors;
use proofload_wire::grpc::health::HealthCheckRequest;
use proofload_wire::grpc::health::health_client::HealthClient;
use proofload_wire::grpc::inference as pb;
use proofload_wire::grpc::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proofload_wire::infer::InferRequest;
use proofload_wire::tensor::Tensor;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::server::{Answer, MODELS, Server, config, folder, request, send, send_over};

const BODY: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}"#;
const INFER: &str = "/v2/models/echo/infer";
const ADMIN: &str = "an-admin-token-of-ours";
const TIERS: &str = "[tiers.open]\n[tiers.twice]\nrequests_per_minute = 1\nburst = 2\n\
                     [tiers.counted]\nrequests_per_day = 3\n[teams.small]\nrequests_per_month = 2\n";

/// A folder with a file of keys, each called as its secret and its tier say.
struct Keys(TempDir);

impl Keys {
    fn new(keys: &[(&str, &str, Option<&str>)]) -> Self {
        let keys_of = Self(tempfile::tempdir().unwrap());
        keys_of.write(keys);
        keys_of
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("keys.toml")
    }

    fn write(&self, keys: &[(&str, &str, Option<&str>)]) {
        let entries = keys.iter().map(|(name, tier, team)| entry(name, tier, *team, name));
        let text = [TIERS.to_owned()].into_iter().chain(entries).collect::<String>();
        let beside = self.0.path().join("new");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.path()).unwrap();
    }

    fn access(&self) -> Access {
        Access { keys_file: Some(self.path()), admin_token: Some(Secret::new(ADMIN.to_owned())), ..Access::default() }
    }
}

async fn infer(server: &Server, headers: &[(&str, &str)]) -> Answer {
    send(server.http, request("POST", INFER, headers, BODY)).await
}

type Client = GrpcInferenceServiceClient<Channel>;

async fn client(server: &Server) -> Client {
    Client::connect(format!("http://{}", server.grpc)).await.unwrap()
}

fn message() -> pb::ModelInferRequest {
    let inputs = vec![Tensor::from_f32("x", vec![1, 1], &[1.0]).unwrap()];
    InferRequest { model_name: "echo".to_owned(), inputs, ..InferRequest::default() }.into()
}

fn with_key<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

fn metadata<'a>(status: &'a Status, name: &str) -> &'a str {
    status.metadata().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn only_who_shows_a_key_comes_in() {
    let keys = Keys::new(&[("alice", "open", None)]);
    let server = Server::with_access(keys.access()).await;
    let check = async |headers: &[(&str, &str)], expected: u16| {
        let answer = infer(&server, headers).await;
        assert_eq!(answer.status.as_u16(), expected, "{headers:?}");
        assert_eq!(answer.header("www-authenticate"), if expected == 401 { "Bearer" } else { "" });
        assert_eq!(answer.header("ratelimit-limit"), "", "no rate holds of anybody here");
    };
    check(&[], 401).await;
    check(&[("authorization", "Bearer bob")], 401).await;
    check(&[("authorization", "Bearer alice")], 200).await;
    check(&[("x-api-key", "alice")], 200).await;
    check(&[("authorization", &format!("Bearer {ADMIN}"))], 200).await;
    let large = vec![b' '; 60_000];
    let refused = send(server.http, request("POST", INFER, &[], large)).await;
    assert_eq!(refused.status.as_u16(), 401, "a body that is not wanted does not break the connection");

    for path in ["/v2/health/live", "/v2/health/ready", "/metrics"] {
        assert_eq!(send(server.http, request("GET", path, &[], "")).await.status, 200, "{path}");
    }
    assert_eq!(send(server.metrics, request("GET", "/metrics", &[], "")).await.status, 200);
    assert_eq!(
        send(server.http, request("GET", "/nowhere", &[], "")).await.status,
        401,
        "nothing is told to strangers"
    );
    let load = |headers: Vec<(&'static str, String)>| {
        let http = server.http;
        async move {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            send(http, request("POST", "/v2/repository/models/echo/load", &headers, "")).await.status.as_u16()
        }
    };
    assert_eq!(load(vec![("x-api-key", "alice".to_owned())]).await, 401, "a key is no admin token");
    let both = vec![("x-api-key", "alice".to_owned()), ("x-proofload-admin-token", ADMIN.to_owned())];
    assert_eq!(load(both).await, 200);

    let mut client = client(&server).await;
    assert_eq!(client.model_infer(message()).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(client.model_infer(with_key(message(), "bob")).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(client.model_infer(with_key(message(), "alice")).await.is_ok());
    assert!(client.server_ready(pb::ServerReadyRequest {}).await.is_ok());
    let channel = Channel::from_shared(format!("http://{}", server.grpc)).unwrap().connect().await.unwrap();
    assert!(HealthClient::new(channel).check(HealthCheckRequest::default()).await.is_ok());
    let metrics = server.engine.metrics_text();
    assert!(metrics.contains("proofload_key_requests_total{key=\"alice\"} 5"), "{metrics}");
    assert!(metrics.contains("proofload_gate_refused_requests_total{reason=\"no_key\"} 4"), "{metrics}");
}

#[tokio::test]
async fn a_key_may_ask_so_often_and_hears_when_again() {
    let keys = Keys::new(&[("alice", "twice", None), ("bob", "open", None)]);
    let server = Server::with_access(keys.access()).await;
    for (remaining, reset) in [("1", "60"), ("0", "120")] {
        let answer = infer(&server, &[("x-api-key", "alice")]).await;
        let said = ["limit", "remaining", "policy"].map(|what| answer.header(&format!("ratelimit-{what}")));
        assert_eq!((answer.status.as_u16(), said), (200, ["2", remaining, "1;w=60;burst=2"]));
        assert_eq!(answer.header("ratelimit-reset"), reset);
    }
    let refused = infer(&server, &[("x-api-key", "alice")]).await;
    assert_eq!((refused.status.as_u16(), refused.header("ratelimit-remaining")), (429, "0"));
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((50..=60).contains(&seconds), "{seconds}");
    assert_eq!(refused.json()["error"], "key 'alice' has made its 1 requests per minute");
    let mut client = client(&server).await;
    let status = client.model_infer(with_key(message(), "alice")).await.unwrap_err();
    assert_eq!((status.code(), metadata(&status, "ratelimit-limit")), (Code::ResourceExhausted, "2"));
    assert!(metadata(&status, "grpc-retry-pushback-ms").parse::<u64>().unwrap() >= 50_000);
    assert_eq!(infer(&server, &[("x-api-key", "bob")]).await.status, 200);
}

/// What is refused at the gate says no more to strangers than what is answered, and a page of a known origin may read it.
#[tokio::test]
async fn refusals_carry_the_headers_of_every_answer() {
    let keys = Keys::new(&[("alice", "twice", None)]);
    let origin = "https://app.example.com";
    let cors = Some(Cors { origins: vec![origin.to_owned()], credentials: false, max_age_seconds: 600 });
    let models = folder(MODELS);
    let server = Server::start_on(&Config { access: keys.access(), cors, ..config(&models) }).await;
    for (key, expected) in [("bob", 401), ("alice", 200), ("alice", 200), ("alice", 429)] {
        let answer = infer(&server, &[("x-api-key", key), ("origin", origin)]).await;
        assert_eq!(answer.status, expected, "{answer:?}");
        let names = ["access-control-allow-origin", "access-control-expose-headers", "x-content-type-options"];
        assert_eq!(names.map(|name| answer.header(name)), [origin, "*", "nosniff"], "{answer:?}");
        assert_eq!(answer.header("retry-after").is_empty(), expected != 429);
    }
}

/// One stream is no way around the limit: each of its messages counts.
#[tokio::test]
async fn messages_of_a_stream_count_one_by_one() {
    let keys = Keys::new(&[("alice", "twice", None)]);
    let server = Server::with_access(keys.access()).await;
    let mut client = client(&server).await;
    let messages = tokio_stream::iter(vec![message(); 4]);
    let mut answers = client.model_stream_infer(with_key(messages, "alice")).await.unwrap().into_inner();
    let mut errors = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        errors.push(answer.error_message);
    }
    let refused = "key 'alice' has made its 1 requests per minute";
    assert_eq!(errors, ["", "", refused, refused]);
}

#[tokio::test]
async fn addresses_without_a_key_are_counted_together() {
    let rate = Rate { requests: 1, per: Duration::from_secs(3600), burst: 3 };
    let by_address = Some(ByAddress { rate, max_clients: 10 });
    let server = Server::behind(Access::default(), by_address).await;
    let mut client = client(&server).await;
    assert_eq!(infer(&server, &[]).await.header("ratelimit-remaining"), "2");
    assert!(client.model_infer(message()).await.is_ok());
    assert_eq!(infer(&server, &[]).await.status, 200);
    assert_eq!(infer(&server, &[]).await.status, 429);
    let status = client.model_infer(message()).await.unwrap_err();
    assert_eq!((status.code(), metadata(&status, "retry-after").is_empty()), (Code::ResourceExhausted, false));
    assert_eq!(send(server.http, request("GET", "/v2/health/ready", &[], "")).await.status, 200);

    let keys = Keys::new(&[("alice", "open", None)]);
    let server = Server::behind(keys.access(), by_address).await;
    let check = async |key: &str, expected: u16| {
        assert_eq!(infer(&server, &[("x-api-key", key)]).await.status.as_u16(), expected, "{key}");
    };
    for guess in ["a", "b", "c"] {
        check(guess, 401).await;
    }
    check("d", 429).await;
    check("alice", 200).await;
}

/// All of 127.0.0.0/8 is this machine.
#[tokio::test]
async fn each_address_has_its_own_allowance() {
    let rate = Rate { requests: 1, per: Duration::from_secs(3600), burst: 1 };
    let server = Server::behind(Access::default(), Some(ByAddress { rate, max_clients: 10 })).await;
    let check = async |from: &str, expected: u16| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let stream = socket.connect(server.http).await.unwrap();
        let answer = send_over(stream, request("POST", INFER, &[], BODY)).await;
        assert_eq!(answer.status.as_u16(), expected, "{from}");
    };
    check("127.0.0.1", 200).await;
    check("127.0.0.2", 200).await;
    check("127.0.0.1", 429).await;
    check("127.0.0.2", 429).await;
    check("127.0.0.3", 200).await;
}

fn used(usage: &Path) -> String {
    fs::read_to_string(usage).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_outlive_the_daemon() {
    let keys = Keys::new(&[("alice", "counted", None), ("bob", "open", Some("small")), ("eve", "open", Some("small"))]);
    let usage = keys.0.path().join("usage.json");
    let access = || Access { usage_file: Some(usage.clone()), ..keys.access() };
    let check = async |server: &Server, key: &str, expected: u16, part: &str| {
        let answer = infer(server, &[("x-api-key", key)]).await;
        assert_eq!(answer.status.as_u16(), expected, "{key}");
        assert!(part.is_empty() || answer.json()["error"].as_str().unwrap().contains(part), "{answer:?}");
        assert_eq!(answer.header("retry-after").is_empty(), expected == 200);
    };
    let server = Server::with_access(access()).await;
    for key in ["alice", "alice", "bob", "eve"] {
        check(&server, key, 200, "").await;
    }
    check(&server, "bob", 429, "team 'small': its quota of 2 requests a month is used up").await;
    let begun = Instant::now();
    while !used(&usage).contains("small") {
        assert!(begun.elapsed() < Duration::from_secs(10), "what was used is not written while the daemon serves");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    check(&server, "alice", 200, "").await;
    server.begin_stop().await.unwrap();
    let server = Server::with_access(access()).await;
    check(&server, "alice", 429, "key 'alice': its quota of 3 requests a day is used up").await;
    check(&server, "eve", 429, "team 'small'").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_and_go_while_it_serves() {
    let keys = Keys::new(&[("alice", "open", None)]);
    let server = Server::with_access(keys.access()).await;
    let until = async |key: &str, expected: u16| {
        let begun = Instant::now();
        while infer(&server, &[("x-api-key", key)]).await.status.as_u16() != expected {
            assert!(begun.elapsed() < Duration::from_secs(20), "{key} never gets {expected}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until("alice", 200).await;
    keys.write(&[("bob", "open", None)]);
    until("bob", 200).await;
    until("alice", 401).await;
    fs::write(keys.path(), "[[keys]]\nname = \"nobody\"").unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    until("bob", 200).await;
    keys.write(&[("alice", "open", None)]);
    until("alice", 200).await;
    assert!(!server.engine.metrics_text().contains("key=\"bob\""), "who is gone has no series");
}
