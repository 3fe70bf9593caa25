//! Kept answers over both doors: what is found again and what is not, what clients and statistics are told of it, and
//! that nobody is harmed by waiting for another's answer.

use std::time::{Duration, Instant};

use http::StatusCode;
use proofload_daemon::cache::Options;
use proofload_daemon::config::Config;
use proofload_wire::grpc::inference as pb;
use proofload_wire::grpc::inference::grpc_inference_service_client::GrpcInferenceServiceClient as Client;
use proofload_wire::infer::{InferRequest, InferResponse};
use proofload_wire::phases::{Cache, Phases};
use proofload_wire::tensor::Tensor;
use proofload_wire::types::ModelStatistics;
use serde_json::Value;

use crate::server::{Answer, Server, config, folder, request, send};

fn model(mean_ms: u32, more: &str) -> String {
    format!(
        r#"backend: "simulated" {more}
           input {{ name: "x" data_type: TYPE_FP32 dims: [ -1 ] }} output {{ name: "y" data_type: TYPE_FP32 dims: [ -1 ] }}
           parameters {{ key: "mean_ms" value {{ string_value: "{mean_ms}" }} }}"#
    )
}

const KEPT: &str = "response_cache { enable: true }";

async fn server() -> Server {
    let models = [
        ("kept", model(1, KEPT)),
        ("slow", model(300, KEPT)),
        ("slower", model(1000, KEPT)),
        ("computed", model(0, "")),
    ];
    let models = folder(models.iter().map(|(name, config)| (*name, config.as_str())));
    let options = Options { l1_bytes: 1 << 20, ttl: Duration::from_secs(60), reliefs: true, l2: None };
    Server::start_on(&Config { cache: Some(options), ..config(&models) }).await
}

fn body(id: &str, number: f32, more: &str) -> String {
    format!(r#"{{"id":"{id}","inputs":[{{"name":"x","datatype":"FP32","shape":[1],"data":[{number}]}}]{more}}}"#)
}

async fn ask(server: &Server, model: &str, headers: &[(&str, &str)], body: String) -> Answer {
    send(server.http, request("POST", &format!("/v2/models/{model}/infer"), headers, body)).await
}

fn said(answer: &Answer) -> &str {
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    answer.header("x-proofload-cache")
}

fn phases(answer: &Answer) -> Phases {
    Phases::from_lookup(|name| answer.headers.get(name)?.to_str().ok()).unwrap()
}

fn statistics(server: &Server, model: &str) -> ModelStatistics {
    server.engine.statistics(Some(model), None).unwrap().remove(0)
}

async fn kept(server: &Server) -> Value {
    let answer = send(server.http, request("GET", "/api/v1/cache/stats", &[], "")).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.json()
}

#[tokio::test]
async fn a_second_answer_is_the_first_with_the_id_of_who_asks() {
    let server = server().await;
    let first = ask(&server, "kept", &[], body("7", 0.5, "")).await;
    let second =
        ask(&server, "kept", &[], body("a\\\"8", 0.5, r#","parameters":{"priority":2,"timeout":9000000}"#)).await;
    assert_eq!((said(&first), said(&second)), ("miss", "hit; layer=l1"));
    let with_id = |answer: &Answer, id: &str| {
        let mut json = answer.json();
        assert_eq!(json["id"], id);
        json["id"] = Value::Null;
        json
    };
    assert_eq!(with_id(&first, "7"), with_id(&second, "a\"8"));
    let Phases { queue_ns, compute_ns, batch_size, cache, .. } = phases(&second);
    assert_eq!((queue_ns, compute_ns, batch_size, cache), (0, 0, 0, Cache::L1));
    assert_eq!(said(&ask(&server, "kept", &[], body("7", 0.25, "")).await), "miss", "another input");

    let counts = statistics(&server, "kept");
    let stats = counts.inference_stats;
    assert_eq!((counts.inference_count, counts.execution_count), (2, 2), "hits are no inferences");
    assert_eq!((stats.success.count, stats.queue.count, stats.compute_infer.count), (3, 3, 2));
    assert_eq!((stats.cache_hit.count, stats.cache_miss.count), (1, 2));
    assert!(stats.cache_hit.ns > 0 && stats.cache_miss.ns > 0);
    let text = server.engine.metrics_text();
    for line in [
        "nv_cache_num_hits_per_model{model=\"kept\",version=\"1\"} 1",
        "nv_cache_num_misses_per_model{model=\"kept\",version=\"1\"} 2",
        "proofload_cache_hits_total{layer=\"l1\"} 1",
        "proofload_cache_misses_total 2",
        "proofload_cache_entries 2",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
}

/// What is kept is bytes, so each form of an answer is kept by itself; the inputs may come in any.
#[tokio::test]
async fn every_form_is_kept_and_found() {
    let server = server().await;
    let binary = r#","parameters":{"binary_data_output":true}"#;
    let named = r#","outputs":[{"name":"y","parameters":{"binary_data":true}}]"#;
    let classes = r#","outputs":[{"name":"y","parameters":{"classification":1}}]"#;
    for (index, more) in ["", binary, named, classes].into_iter().enumerate() {
        let answers = [
            ask(&server, "kept", &[], body("", 3.0, more)).await,
            ask(&server, "kept", &[], body("", 3.0, more)).await,
        ];
        assert_eq!(answers.each_ref().map(said), ["miss", "hit; layer=l1"], "{index}");
        let [first, second] = answers;
        let length = "inference-header-content-length";
        assert_eq!((first.body, first.headers.get(length)), (second.body, second.headers.get(length)), "{index}");
    }
    // A raw request has the same input and, without words about outputs, the form of the second.
    let raw = [("inference-header-content-length", "0")];
    let path = "/v2/models/kept/infer";
    let answer = send(server.http, request("POST", path, &raw, 3.0_f32.to_le_bytes().to_vec())).await;
    assert_eq!(said(&answer), "hit; layer=l1");
    for expected in ["miss", "hit; layer=l1"] {
        let answer = send(server.http, request("POST", "/v2/models/kept/generate", &[], r#"{"id":"7","x":[3]}"#)).await;
        assert_eq!((said(&answer), &answer.json()["id"], &answer.json()["y"]), (expected, &"7".into(), &3.0.into()));
    }
    let answer = send(server.http, request("POST", "/v2/models/kept/generate_stream", &[], r#"{"x":[3]}"#)).await;
    assert_eq!(said(&answer), "hit; layer=l1");
}

fn message(model: &str, id: &str) -> pb::ModelInferRequest {
    InferRequest {
        model_name: model.to_owned(),
        id: id.to_owned(),
        inputs: vec![Tensor::from_f32("x", vec![1], &[3.0]).unwrap()],
        ..InferRequest::default()
    }
    .into()
}

#[tokio::test]
async fn messages_are_kept_and_found() {
    let server = server().await;
    let mut client = Client::connect(format!("http://{}", server.grpc)).await.unwrap();
    for (id, expected) in [("7", "miss"), ("8", "hit; layer=l1"), ("", "hit; layer=l1")] {
        let response = client.model_infer(message("kept", id)).await.unwrap();
        assert_eq!(response.metadata().get("x-proofload-cache").unwrap(), expected);
        let response = InferResponse::try_from(response.into_inner()).unwrap();
        assert_eq!((response.id.as_str(), response.outputs[0].to_f32().unwrap()), (id, vec![3.0]));
    }
    let messages = tokio_stream::iter([message("kept", "9")]);
    let mut replies = client.model_stream_infer(messages).await.unwrap().into_inner();
    let reply = replies.message().await.unwrap().unwrap().infer_response.unwrap();
    assert_eq!(reply.id, "9");
    let cache = InferResponse::try_from(reply).unwrap().parameters.remove("x-proofload-cache");
    assert_eq!(cache, Some(proofload_wire::infer::ParameterValue::String("hit; layer=l1".to_owned())));
}

#[tokio::test]
async fn what_is_not_to_be_kept_is_computed() {
    let server = server().await;
    for _ in 0..2 {
        assert_eq!(said(&ask(&server, "computed", &[], body("", 1.0, "")).await), "miss");
        let sequence = r#","parameters":{"sequence_id":5}"#;
        assert_eq!(said(&ask(&server, "kept", &[], body("", 1.0, sequence)).await), "miss");
        let wrong = ask(&server, "kept", &[], body("", 1.0, r#","outputs":[{"name":"z"}]"#)).await;
        assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "a mistake is told each time");
    }
    assert_eq!(statistics(&server, "computed").inference_stats.cache_miss.count, 0);
    assert_eq!(kept(&server).await["hits"]["l1"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn identical_requests_at_once_compute_once() {
    let server = server().await;
    let requests = (0..64).map(|number: u32| ask(&server, "slow", &[], body(&number.to_string(), 1.0, "")));
    let answers = futures::future::join_all(requests).await;
    let hits = answers.iter().filter(|answer| said(answer).starts_with("hit")).count();
    assert_eq!((hits, statistics(&server, "slow").execution_count), (63, 1));
    let mut ids: Vec<u32> =
        answers.iter().map(|answer| answer.json()["id"].as_str().unwrap().parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..64).collect::<Vec<_>>(), "each has its own id");
    let waited: Vec<_> = answers.iter().map(phases).filter(|phases| phases.cache == Cache::Coalesced).collect();
    assert!(!waited.is_empty() && waited.iter().all(|phases| phases.queue_ns > 0 && phases.compute_ns == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_of_who_waits_holds_and_a_leader_that_leaves_harms_nobody() {
    let server = server().await;
    let model = "slower";
    let leader = tokio::spawn({
        let (to, body) = (server.http, body("", 1.0, ""));
        async move { send(to, request("POST", "/v2/models/slower/infer", &[], body)).await }
    });
    while kept(&server).await["in_flight"] != 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let hurried = [("x-request-timeout-ms", "40")];
    let begun = Instant::now();
    let (late, patient) = tokio::join!(ask(&server, model, &hurried, body("", 1.0, "")), async {
        let follower = ask(&server, model, &[], body("", 1.0, ""));
        let leaving = async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            leader.abort();
        };
        tokio::join!(follower, leaving).0
    });
    assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(phases(&late).queue_ns >= 30_000_000, "it waited: {:?}", phases(&late));
    assert_eq!(said(&patient), "miss", "the duty is its own now");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(said(&ask(&server, model, &[], body("", 1.0, "")).await), "hit; layer=l1");
    assert_eq!(kept(&server).await["in_flight"], 0);
}

#[tokio::test]
async fn the_cache_says_what_it_holds_and_forgets_it() {
    let server = server().await;
    let nothing = kept(&server).await;
    assert_eq!(
        (&nothing["enabled"], &nothing["hit_share"], &nothing["misses"]),
        (&true.into(), &Value::Null, &0.into())
    );
    let computed = phases(&ask(&server, "kept", &[], body("", 1.0, "")).await);
    for _ in 0..3 {
        ask(&server, "kept", &[], body("", 1.0, "")).await;
    }
    let stats = kept(&server).await;
    assert_eq!((&stats["hits"]["l1"], &stats["misses"], &stats["hit_share"]), (&3.into(), &1.into(), &0.75.into()));
    assert_eq!((&stats["l1"]["entries"], &stats["l1"]["max_bytes"]), (&1.into(), &(1 << 20).into()));
    let saved = stats["saved_compute_seconds"].as_f64().unwrap();
    let Phases { copy_in_ns, compute_ns, copy_out_ns, .. } = computed;
    let once = (copy_in_ns + compute_ns + copy_out_ns) as f64 / 1e9;
    assert!((saved - 3.0 * once).abs() < 1e-9 && saved > 0.0, "{stats} {computed:?}");
    for path in ["/api/v1/cache/clear", "/api/cache/clear"] {
        assert_eq!(send(server.http, request("POST", path, &[], "")).await.status, StatusCode::OK);
        assert_eq!(kept(&server).await["l1"]["entries"], 0);
        assert_eq!(said(&ask(&server, "kept", &[], body("", 1.0, "")).await), "miss");
    }
    let without = Server::start().await;
    let stats = send(without.http, request("GET", "/api/cache/stats", &[], "")).await;
    assert_eq!(stats.json(), serde_json::json!({ "enabled": false }));
    let refused = send(without.http, request("POST", "/api/v1/cache/clear", &[], "")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

/// A model that has changed has answers of its own; one that is loaded again as it was has those that it had.
#[tokio::test]
async fn no_answer_outlives_its_model() {
    let empty = folder([]);
    let options = Options { l1_bytes: 1 << 20, ttl: Duration::from_secs(60), reliefs: true, l2: None };
    let mut config = Config { cache: Some(options), ..config(&empty) };
    config.models.control = proofload_daemon::lifecycle::Control::Explicit(Vec::new());
    let server = Server::start_on(&config).await;
    let load = async |mean_ms| {
        let json = serde_json::json!({
            "backend": "simulated", "response_cache": { "enable": true },
            "input": [{ "name": "x", "data_type": "TYPE_FP32", "dims": [-1] }],
            "output": [{ "name": "y", "data_type": "TYPE_FP32", "dims": [-1] }],
            "parameters": { "mean_ms": { "string_value": mean_ms } },
        });
        let body = serde_json::json!({ "parameters": { "config": json.to_string(), "file:1/model.bin": "" } });
        let answer = send(server.http, request("POST", "/v2/repository/models/m/load", &[], body.to_string())).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    };
    for (mean_ms, expected) in [("1", "miss"), ("2", "miss"), ("1", "hit; layer=l1"), ("2", "hit; layer=l1")] {
        load(mean_ms).await;
        assert_eq!(said(&ask(&server, "m", &[], body("", 1.0, "")).await), expected, "{mean_ms}");
    }
}
