//! Kept reliefs over HTTP: the same picture with the same parameters is made once, in each form.

use std::time::Duration;

use http::StatusCode;
use proofload_daemon::cache::Options;
use proofload_daemon::config::Config;
use proofload_daemon::repository::source::Source;
use proofload_wire::phases::{Cache, Phases};

use crate::server::{Answer, Server, config, folder, request, send};

async fn server(reliefs: bool) -> Server {
    let none = folder([]);
    let cache = Options { l1_bytes: 64 << 20, ttl: Duration::from_secs(600), reliefs, l2: None };
    let mut config = Config { cache: Some(cache), ..config(&none) };
    config.models.sources = vec![Source::Embedded];
    config.front.max_body_bytes = 4 << 20;
    config.front.total_body_bytes = 64 << 20;
    Server::start_on(&config).await
}

async fn relief(server: &Server, query: &str, accept: &str) -> Answer {
    let picture = include_bytes!("../../../scenarios/payloads/chelsea.png");
    let path = format!("/api/v1/generate-3d?resolution=48&{query}");
    let headers = [("content-type", "image/png"), ("accept", accept)];
    let answer = send(server.http, request("POST", &path, &headers, picture.to_vec())).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    answer
}

fn said(answer: &Answer) -> &str {
    answer.header("x-proofload-cache")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_relief_is_made_once() {
    let server = server(true).await;
    let [first, second] = [relief(&server, "format=obj", "*/*").await, relief(&server, "format=obj", "*/*").await];
    assert_eq!((said(&first), said(&second)), ("miss", "hit; layer=l1"));
    assert_eq!(first.body, second.body);
    for name in ["content-type", "content-disposition", "vary", "x-proofload-triangles", "x-proofload-watertight"] {
        assert!(!first.header(name).is_empty() && first.header(name) == second.header(name), "{name}");
    }
    let phases = Phases::from_lookup(|name| second.headers.get(name)?.to_str().ok()).unwrap();
    assert_eq!((phases.queue_ns, phases.compute_ns, phases.cache), (0, 0, Cache::L1));
    assert_eq!(said(&relief(&server, "format=stl", "*/*").await), "miss");
    assert_eq!(said(&relief(&server, "format=obj&invert=true", "*/*").await), "miss");
    // A form is read as a whole before the picture in it is known, and the picture is the same.
    let picture = include_bytes!("../../../scenarios/payloads/chelsea.png");
    let head = b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"c.png\"\r\n\r\n";
    let form = [&head[..], picture, b"\r\n--b--\r\n"].concat();
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    let path = "/api/v1/generate-3d?resolution=48&format=obj";
    let answer = send(server.http, request("POST", path, &headers, form)).await;
    assert_eq!((answer.status, said(&answer)), (StatusCode::OK, "hit; layer=l1"));
    // What is the default, and what is said in other words, is the same.
    assert_eq!(said(&relief(&server, "format=OBJ&invert=false&height_mm=8", "*/*").await), "hit; layer=l1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_says_where_the_time_went_this_time() {
    let server = server(true).await;
    let json = "application/json";
    let [first, second] = [relief(&server, "", json).await, relief(&server, "", json).await];
    assert_eq!((said(&first), said(&second)), ("miss", "hit; layer=l1"));
    let (mut first_json, mut second_json) = (first.json(), second.json());
    let spent = |answer: &Answer, json: &serde_json::Value| {
        assert_eq!(json["phases_ns"]["total"].to_string(), answer.header("x-proofload-total-ns"));
        json["phases_ns"]["compute"].as_u64().unwrap()
    };
    assert!(spent(&first, &first_json) > 0);
    assert_eq!(spent(&second, &second_json), 0);
    for json in [&mut first_json, &mut second_json] {
        json.as_object_mut().unwrap().remove("phases_ns").unwrap();
    }
    assert_eq!(first_json, second_json);
}

#[tokio::test(flavor = "multi_thread")]
async fn identical_reliefs_at_once_are_made_once() {
    let server = server(true).await;
    let answers = futures::future::join_all((0..8).map(|_| relief(&server, "", "*/*"))).await;
    let hits = answers.iter().filter(|answer| said(answer).starts_with("hit")).count();
    assert_eq!(hits, 7);
    let text = server.engine.metrics_text();
    assert!(text.contains("nv_inference_count{model=\"relief_depth\",version=\"1\"} 1.0\n"), "{text}");
    assert!(text.contains("proofload_relief_requests_total{outcome=\"success\"} 8\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reliefs_are_not_kept_where_that_is_not_wanted() {
    let server = server(false).await;
    for _ in 0..2 {
        assert_eq!(said(&relief(&server, "", "*/*").await), "miss");
    }
}
