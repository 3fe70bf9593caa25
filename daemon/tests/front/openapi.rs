//! The document of the REST part: it is the committed one, it has every route and no other, and its examples work.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use ::http::Request;
use bytes::Bytes;
use http_body_util::Full;
use proofload_daemon::DaemonArgs;
use proofload_daemon::app::App;
use proofload_daemon::front::{openapi, paths};
use serde_json::Value;

use crate::server::{Answer, request, send};

const COMMITTED: &str = include_str!("../../openapi.json");
const PHOTOGRAPH: &[u8] = include_bytes!("../../../scenarios/payloads/chelsea.png");
/// Operations whose example gets an error, because that is all they ever answer, or because the job has ended.
const REFUSING: [&str; 3] = ["registerCudaSharedMemory", "cudaSharedMemoryRegionStatus", "cancelJob"];

#[test]
fn the_committed_document_is_what_the_code_says() {
    assert!(COMMITTED == openapi::text(), "it is stale: proofload daemon openapi > daemon/openapi.json");
}

/// Everything may be done to it.
async fn open() -> App {
    let args = DaemonArgs {
        http_port: Some(0),
        grpc_port: Some(0),
        model_control_mode: Some("explicit".to_owned()),
        load_model: vec!["*".to_owned()],
        allow_client_shm: true,
        set: vec!["cache.enabled=true".to_owned()],
        otlp_endpoint: Some("http://127.0.0.1:9".to_owned()),
        ..DaemonArgs::default()
    };
    App::start(&args.configuration([], NonZeroUsize::new(2).unwrap()).unwrap()).await.unwrap()
}

/// Verb, path and operation.
fn operations(document: &Value) -> impl Iterator<Item = (String, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let of_path = item.as_object().unwrap().iter();
        of_path.map(move |(verb, operation)| (verb.to_uppercase(), path.as_str(), operation))
    })
}

/// The router itself says which verbs a path has, when it is asked for one that it has not.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_in_the_document_and_nothing_else() {
    let app = open().await;
    let mut served = BTreeSet::new();
    for path in paths() {
        let filled = path.replace(['{', '}'], "");
        let answer = send(app.http(), request("BREW", &filled, &[], "")).await;
        assert_eq!(answer.status, 405, "{path}");
        let verbs = answer.header("allow").split(',').filter(|verb| *verb != "HEAD").map(str::to_owned);
        served.extend(verbs.map(|verb| (verb, path.clone())));
    }
    let document = openapi::document();
    let described: BTreeSet<_> = operations(&document).map(|(verb, path, _)| (verb, path.to_owned())).collect();
    let apart: Vec<_> = served.symmetric_difference(&described).collect();
    assert!(apart.is_empty(), "not on both sides: {apart:?}");
    app.drain().await;
}

/// A parameter's example as text.
fn example(parameter: &Value) -> Option<String> {
    match &parameter["example"] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The bodies that an operation takes and that are known to work.
fn bodies(operation: &Value) -> Vec<(String, Bytes)> {
    let known = |(media_type, content): (&String, &Value)| {
        let body = match (&content["example"], media_type.as_str(), operation["tags"][0].as_str()) {
            (Value::String(text), ..) => Bytes::from(text.clone()),
            (Value::Null, "image/png", Some("studio")) => Bytes::from_static(PHOTOGRAPH),
            (Value::Null, ..) => return None,
            (json, ..) => Bytes::from(json.to_string()),
        };
        Some((media_type.clone(), body))
    };
    operation["requestBody"]["content"].as_object().into_iter().flatten().filter_map(known).collect()
}

/// The request that the examples make, with or without what may be left out.
fn exemplary(
    verb: &str,
    path: &str,
    operation: &Value,
    job: &str,
    whole: bool,
    body: Option<&(String, Bytes)>,
) -> Request<Full<Bytes>> {
    let (mut path, mut query) = (path.replace("{id}", job), Vec::new());
    let mut headers: Vec<(String, String)> = Vec::new();
    for parameter in operation["parameters"].as_array().unwrap() {
        let name = parameter["name"].as_str().unwrap();
        let Some(value) = example(parameter).filter(|_| whole || parameter["required"] == true) else { continue };
        match parameter["in"].as_str().unwrap() {
            "path" => path = path.replace(&format!("{{{name}}}"), &value),
            "query" => query.push(format!("{name}={value}")),
            _ => headers.push((name.to_owned(), value)),
        }
    }
    headers.extend(body.map(|(media_type, _)| ("content-type".to_owned(), media_type.clone())));
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let body = body.map(|(_, body)| body.clone()).unwrap_or_default();
    request(verb, &format!("{path}?{}", query.join("&")), &headers, body)
}

/// Whether an answer is one that the document knows.
fn check(document: &Value, operation: &Value, answer: &Answer) {
    let id = operation["operationId"].as_str().unwrap();
    let mut known = &operation["responses"][answer.status.as_str()];
    if let Some(reference) = known["$ref"].as_str() {
        known = document.pointer(reference.trim_start_matches('#')).unwrap();
    }
    assert!(known.is_object(), "{id}: {} is not documented: {answer:?}", answer.status);
    assert!(answer.status.is_success() || REFUSING.contains(&id), "{id}: {answer:?}");
    let essence = answer.header("content-type").split(';').next().unwrap_or_default();
    let types: Vec<_> = known["content"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    assert!(types.contains(&essence) || (types.is_empty() && answer.body.is_empty()), "{id}: {essence} of {types:?}");
    for (name, header) in known["headers"].as_object().into_iter().flatten() {
        assert!(header["required"] != true || !answer.header(name).is_empty(), "{id}: {name} is missing");
    }
}

/// A fresh job's id.
async fn submitted(to: SocketAddr, document: &Value) -> String {
    let operation = &document["paths"]["/api/v1/jobs"]["post"];
    let bodies = bodies(operation);
    let answer = send(to, exemplary("POST", "/api/v1/jobs", operation, "", false, bodies.first())).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// With everything that may be said, and with no more than must be.
#[tokio::test(flavor = "multi_thread")]
async fn every_example_works() {
    let app = open().await;
    let shared = std::path::Path::new("/dev/shm/proofload-example");
    std::fs::write(shared, [0; 64]).unwrap();
    let document = openapi::document();
    for (verb, path, operation) in operations(&document) {
        let bodies = bodies(operation);
        let bodies: Vec<_> = if bodies.is_empty() { vec![None] } else { bodies.iter().map(Some).collect() };
        for body in bodies {
            for whole in [true, false] {
                let job = if path.contains("{id}") { submitted(app.http(), &document).await } else { String::new() };
                if operation["operationId"] == "registerSharedMemory" {
                    send(app.http(), request("POST", "/v2/systemsharedmemory/unregister", &[], "")).await;
                }
                if operation["operationId"] == "jobResult" {
                    let wait = format!("/api/v1/jobs/{job}/result?wait_seconds=60");
                    send(app.http(), request("GET", &wait, &[], "")).await;
                }
                let request = exemplary(&verb, path, operation, &job, whole, body);
                check(&document, operation, &send(app.http(), request).await);
            }
        }
    }
    std::fs::remove_file(shared).unwrap();
    app.drain().await;
}
