//! KServe v2 over HTTP, byte by byte, against the real fronts and a real engine.

use std::time::Duration;

use crate::server::{Answer, MAX_BODY_BYTES, Server, collect, request, send};
use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proofload_daemon::drain::Outcome;
use proofload_wire::phases::Phases;
use tokio::net::TcpStream;

async fn get(server: &Server, path: &str) -> Answer {
    send(server.http, request("GET", path, &[], "")).await
}

async fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    send(server.http, request("POST", path, headers, body)).await
}

const ECHO: &str = r#"{"id":"7","inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[0.1,2]}]}"#;

#[tokio::test]
async fn health_has_an_empty_body() {
    let server = Server::start().await;
    for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/echo/ready", "/v2/models/echo/versions/1/ready"] {
        let answer = get(&server, path).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b""[..]), "{path}");
    }
    server.engine.begin_drain();
    for (path, status) in [("/v2/health/live", 200), ("/v2/health/ready", 400), ("/v2/models/echo/ready", 400)] {
        assert_eq!(get(&server, path).await.status.as_u16(), status, "{path} while draining");
    }
}

#[tokio::test]
async fn models_describe_themselves() {
    let server = Server::start().await;
    let metadata = get(&server, "/v2/models/echo").await.json();
    assert_eq!(metadata, get(&server, "/v2/models/echo/versions/1").await.json());
    assert_eq!(metadata["inputs"][0]["shape"], serde_json::json!([-1, -1]));
    let config = get(&server, "/v2/models/echo/config").await.json();
    assert_eq!((&config["max_batch_size"], &config["input"][0]["data_type"]), (&8.into(), &"TYPE_FP32".into()));
    let index = post(&server, "/v2/repository/index", &[], "").await.json();
    assert_eq!(index, post(&server, "/v2/repository/index", &[], r#"{"ready":true}"#).await.json());
    assert_eq!(index[0]["state"], "READY");
    let about = get(&server, "/v2").await.json();
    let extensions: Vec<String> = serde_json::from_value(about["extensions"].clone()).unwrap();
    for absent in ["cuda_shared_memory", "parameters"] {
        assert!(!extensions.iter().any(|extension| extension == absent), "{absent} is not offered");
    }
}

#[tokio::test]
async fn json_comes_back_as_json() {
    let server = Server::start().await;
    let answer = post(&server, "/v2/models/echo/infer", &[], ECHO).await;
    assert_eq!(answer.header("content-type"), "application/json");
    let expected = concat!(
        r#"{"id":"7","model_name":"echo","model_version":"1","#,
        r#""outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[0.1,2.0]}]}"#
    );
    assert_eq!(answer.body, expected);
    let texts = r#"{"inputs":[{"name":"x","datatype":"BYTES","shape":[2],"data":["é\"",""]}]}"#;
    let answer = post(&server, "/v2/models/texts/infer", &[], texts).await.json();
    assert_eq!(answer["outputs"][0]["data"], serde_json::json!(["é\"", ""]));
}

#[tokio::test]
async fn binary_comes_back_as_binary() {
    let server = Server::start().await;
    let json = concat!(
        r#"{"parameters":{"binary_data_output":true},"#,
        r#""inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}"#
    );
    let data = [0_u8, 0, 0x80, 0x3f, 0, 0, 0xc0, 0x7f];
    let length = json.len().to_string();
    let headers = [("inference-header-content-length", length.as_str())];
    let answer = post(&server, "/v2/models/echo/infer", &headers, [json.as_bytes(), &data].concat()).await;
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    let json_length: usize = answer.header("inference-header-content-length").parse().unwrap();
    assert_eq!(answer.body[json_length..], data);

    let as_json = json.replace("true", "false");
    let headers = [("inference-header-content-length", &*as_json.len().to_string())];
    let answer = post(&server, "/v2/models/echo/infer", &headers, [as_json.as_bytes(), &data].concat()).await;
    assert_eq!(answer.status.as_u16(), 500, "the second number is NaN");
    assert!(answer.json()["error"].as_str().unwrap().contains("ask for binary data"));
    let stats = server.engine.statistics(Some("echo"), None).unwrap().remove(0).inference_stats;
    assert_eq!((stats.success.count, stats.fail.count), (1, 1), "an answer that cannot be made is no success");
    let phases = Phases::from_lookup(|name| answer.headers.get(name)?.to_str().ok()).expect("phases");
    assert_eq!(phases.batch_size, 1, "it was computed all the same: {phases:?}");
}

#[tokio::test]
async fn a_raw_request_is_nothing_but_the_input() {
    let server = Server::start().await;
    let headers = [("inference-header-content-length", "0")];
    let data: Vec<u8> = (0..24).collect();
    let answer = post(&server, "/v2/models/echo/infer", &headers, data.clone()).await;
    let json_length: usize = answer.header("inference-header-content-length").parse().unwrap();
    assert_eq!(answer.body[json_length..], data);
    let json: serde_json::Value = serde_json::from_slice(&answer.body[..json_length]).unwrap();
    assert_eq!(json["outputs"][0]["shape"], serde_json::json!([1, 6]));
}

#[tokio::test]
async fn every_answer_says_where_its_time_went() {
    let server = Server::start().await;
    for path in ["/v2/models/echo/infer", "/v2/models/slow/infer"] {
        let body = ECHO.replace("[1,2]", if path.contains("slow") { "[2]" } else { "[1,2]" });
        let answer = post(&server, path, &[], body).await;
        let phases = Phases::from_lookup(|name| answer.headers.get(name)?.to_str().ok()).expect("phases");
        assert_eq!(answer.header("x-proofload-total-ns"), phases.total_ns().to_string());
        assert_eq!(phases.batch_size, 1);
        // A simulated model makes up for a late start, so its time counts from the arrival.
        let slow = phases.total_ns() >= 300_000_000 && phases.compute_ns >= 150_000_000;
        assert!(!path.contains("slow") || slow, "{phases:?}");
    }
}

/// Verb, path, headers, body; status, and words of the message.
type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

#[tokio::test]
async fn wrong_requests_get_the_right_status_and_a_message() {
    let server = Server::start().await;
    let infer = "/v2/models/echo/infer";
    let too_large = "x".repeat(MAX_BODY_BYTES + 1);
    let stranger = ECHO.replace("\"x\"", "\"z\"");
    let double = ECHO.replace("FP32", "FP64");
    let in_time = ECHO.replace("\"id\":\"7\"", "\"parameters\":{\"timeout\":\"soon\"}");
    let shared = ECHO.replace(
        "\"id\":\"7\"",
        r#""outputs":[{"name":"y","parameters":{"shared_memory_region":"r","shared_memory_byte_size":8}}]"#,
    );
    let late = ECHO.replace("\"id\":\"7\"", "\"parameters\":{\"timeout\":1}").replace("[1,2]", "[2]");
    let gzip = [("content-encoding", "gzip")];
    let no_number = [("inference-header-content-length", "x")];
    let rows: [Row<'_>; 24] = [
        ("GET", "/nowhere", &[], "", 404, "nothing at /nowhere"),
        ("GET", "/v2/models/none", &[], "", 404, "none"),
        ("GET", "/v2/models/none/ready", &[], "", 404, "none"),
        ("GET", "/v2/models/echo/versions/9", &[], "", 404, "9"),
        ("GET", "/v2/models/none/stats", &[], "", 404, "none"),
        ("POST", "/v2/models/none/infer", &[], ECHO, 404, "none"),
        ("GET", infer, &[], "", 405, "not the verb"),
        ("POST", "/v2/health/live", &[], "", 405, "not the verb"),
        ("POST", infer, &[], "{", 400, "cannot read the JSON"),
        ("POST", infer, &[], &stranger, 400, "unexpected inference input 'z'"),
        ("POST", infer, &[], &double, 400, "FP64"),
        ("POST", infer, &[], &in_time, 400, "whole number of microseconds"),
        ("POST", infer, &[], &shared, 404, "shared memory region: 'r'"),
        ("POST", infer, &no_number, ECHO, 400, "must be a number of bytes"),
        ("POST", infer, &gzip, ECHO, 400, "it is no gzip"),
        ("POST", infer, &[("content-encoding", "br")], ECHO, 415, "send gzip, deflate, or"),
        ("POST", infer, &[], &too_large, 413, "cannot read the body"),
        ("POST", "/v2/repository/index", &[], "[", 400, "cannot read the JSON"),
        ("POST", "/v2/models/slow/infer", &[], &late, 503, "Request timeout expired"),
        ("POST", "/v2/repository/models/echo/load", &[], "", 503, "explicit model load / unload is not allowed"),
        ("POST", "/v2/repository/models/echo/unload", &[], "", 503, "explicit model load / unload is not allowed"),
        (
            "POST",
            "/v2/repository/models/echo/load",
            &[],
            r#"{"parameters":{"x":1}}"#,
            400,
            "unrecognized parameter 'x'",
        ),
        ("POST", "/v2/repository/models/echo/load", &[], "[", 400, "cannot read the JSON"),
        ("POST", "/v2/cudasharedmemory/region/r/register", &[], "", 501, "shared memory"),
    ];
    for (method, path, headers, body, status, words) in rows {
        let answer = send(server.http, request(method, path, headers, body.to_owned())).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {answer:?}");
        let message = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(!message.is_empty() && message.contains(words), "{message} should contain {words}");
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{method} {path}");
        let phases =
            Phases::from_lookup(|name| answer.headers.get(name)?.to_str().ok()).expect("phases on every error");
        assert_eq!(answer.header("x-proofload-total-ns"), phases.total_ns().to_string());
        assert_eq!((phases.compute_ns, phases.batch_size), (0, 0), "nothing was computed: {phases:?}");
    }
}

#[tokio::test]
async fn http_2_is_spoken_on_the_same_port() {
    let server = Server::start().await;
    let stream = TcpStream::connect(server.http).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let driver = tokio::spawn(connection);
    let uri = format!("http://{}/v2/models/echo/infer", server.http);
    let answer = collect(sender.send_request(request("POST", &uri, &[], ECHO)).await.unwrap()).await;
    assert_eq!(answer.json()["outputs"][0]["data"], serde_json::json!([0.1, 2.0]));
    drop(sender);
    driver.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_place() {
    let server = Server::start().await;
    let body = ECHO.replace("[1,2]", "[2]");
    let ask = || tokio::spawn(send(server.http, request("POST", "/v2/models/slow/infer", &[], body.clone())));
    let (first, second) = (ask(), ask());
    while server.engine.in_flight() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    second.abort();
    let gone = async {
        while server.engine.in_flight() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    // Executions take 300 ms: this is not the first one ending.
    tokio::time::timeout(Duration::from_millis(150), gone).await.expect("the place is free at once");
    assert_eq!(first.await.unwrap().status.as_u16(), 200);
}

#[tokio::test]
async fn a_request_that_never_comes_does_not_use_up_the_grace_period() {
    let server = Server::start().await;
    let mut half = TcpStream::connect(server.http).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut half, b"GET /v2 HTTP/1.1\r\nhost: te").await.unwrap();
    let _mute = TcpStream::connect(server.http).await.unwrap();
    assert_eq!(get(&server, "/v2/health/live").await.status.as_u16(), 200, "both have been accepted before");
    let begun = std::time::Instant::now();
    assert_eq!(server.begin_stop().await.unwrap(), Outcome::Finished);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?} of 5 s", begun.elapsed());
}

#[tokio::test]
async fn stopping_answers_what_is_in_flight_and_nothing_new() {
    let server = Server::start().await;
    let http = server.http;
    let idle = TcpStream::connect(http).await.unwrap();
    let (mut idle, connection) = hyper::client::conn::http1::handshake(TokioIo::new(idle)).await.unwrap();
    let idle_ended = tokio::spawn(connection);
    collect(idle.send_request(request("GET", "/v2", &[], "")).await.unwrap()).await;

    let body = ECHO.replace("[1,2]", "[2]");
    let in_flight = tokio::spawn(send(http, request("POST", "/v2/models/slow/infer", &[], body)));
    while server.engine.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stopped = server.begin_stop();
    idle_ended.await.unwrap().unwrap();
    assert!(!stopped.is_finished(), "a request is still in flight");
    assert!(TcpStream::connect(http).await.is_err(), "nobody accepts any more");
    assert_eq!(in_flight.await.unwrap().status.as_u16(), 200);
    assert_eq!(stopped.await.unwrap(), Outcome::Finished);
}
