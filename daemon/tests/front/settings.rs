//! Trace and log settings over both protocols, and metrics under Triton's names on a port of their own.

use proofload_daemon::config::TraceConfig;
use proofload_wire::grpc::inference as pb;
use proofload_wire::grpc::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proofload_wire::grpc::inference::log_settings_request::setting_value::ParameterChoice;
use proofload_wire::types::ModelStatistics;
use serde_json::{Value, json};
use tonic::Code;

use crate::server::{Answer, Server, request, send};

async fn post(server: &Server, path: &str, body: &Value) -> Answer {
    send(server.http, request("POST", path, &[], body.to_string())).await
}

async fn get(server: &Server, path: &str) -> Value {
    send(server.http, request("GET", path, &[], "")).await.json()
}

/// A daemon whose traces go to a collector that is not there.
async fn traced() -> Server {
    let traces = TraceConfig { endpoint: "http://127.0.0.1:9".to_owned(), share: 1.0 };
    Server::with_traces(Some(traces)).await
}

#[tokio::test]
async fn trace_settings_are_read_and_changed_for_all_or_for_a_model() {
    let server = traced().await;
    let (all, echo) = ("/v2/trace/setting", "/v2/models/echo/trace/setting");
    let expected = |level: &str, rate: &str, count: &str| json!({"trace_level": [level], "trace_rate": rate, "trace_count": count, "trace_mode": "opentelemetry"});
    assert_eq!(get(&server, all).await, expected("TIMESTAMPS", "1", "-1"));
    let changed = post(&server, echo, &json!({"trace_rate": "7", "trace_count": "5"})).await.json();
    assert_eq!(changed, expected("TIMESTAMPS", "7", "5"));
    let changed = post(&server, all, &json!({"trace_level": ["OFF"]})).await.json();
    assert_eq!((changed, get(&server, echo).await), (expected("OFF", "1", "-1"), expected("OFF", "7", "5")));
    let changed = post(&server, echo, &json!({"trace_rate": null})).await.json();
    assert_eq!(changed, expected("OFF", "1", "5"));

    let mut client = GrpcInferenceServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();
    let value = |value: &[&str]| pb::trace_setting_request::SettingValue {
        value: value.iter().map(|text| (*text).to_owned()).collect(),
    };
    let settings = [("trace_level".to_owned(), value(&[])), ("trace_rate".to_owned(), value(&["3"]))].into();
    let answer = client.trace_setting(pb::TraceSettingRequest { settings, model_name: String::new() }).await.unwrap();
    let shown = answer.into_inner().settings;
    assert_eq!(
        (&shown["trace_level"].value[..], &shown["trace_rate"].value[..]),
        (&["TIMESTAMPS".to_owned()][..], &["3".to_owned()][..])
    );
    let unknown = pb::TraceSettingRequest { model_name: "nobody".to_owned(), ..Default::default() };
    assert_eq!(client.trace_setting(unknown).await.unwrap_err().code(), Code::NotFound);
    for (body, status) in [
        (json!({"trace_rate": 3}), 400),
        (json!({"trace_rate": "often"}), 400),
        (json!({"trace_file": "/tmp/x"}), 501),
        (json!({"trace_level": ["TENSORS"]}), 501),
    ] {
        assert_eq!(post(&server, all, &body).await.status.as_u16(), status, "{body}");
    }
    assert_eq!(get(&server, all).await, expected("TIMESTAMPS", "3", "-1"));
}

#[tokio::test]
async fn a_daemon_without_traces_says_so() {
    let server = Server::start().await;
    assert_eq!(get(&server, "/v2/trace/setting").await["trace_level"], json!(["OFF"]));
    let refused = post(&server, "/v2/trace/setting", &json!({"trace_level": ["TIMESTAMPS"]})).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, ""));
    assert!(refused.json()["error"].as_str().unwrap().contains("--otlp-endpoint"));
}

#[tokio::test]
async fn log_settings_are_read_and_changed() {
    let server = Server::start().await;
    let expected = |warning: bool, verbose: u32| {
        json!({"log_file": "", "log_info": true, "log_warning": warning, "log_error": true,
               "log_verbose_level": verbose, "log_format": "ISO8601"})
    };
    assert_eq!(get(&server, "/v2/logging").await, expected(true, 0));
    let changed = post(&server, "/v2/logging", &json!({"log_warning": false, "log_info": null})).await.json();
    assert_eq!(changed, expected(false, 0));
    let mut client = GrpcInferenceServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();
    let value = |choice| pb::log_settings_request::SettingValue { parameter_choice: Some(choice) };
    let settings = [
        ("log_verbose_level".to_owned(), value(ParameterChoice::Uint32Param(2))),
        ("log_warning".to_owned(), value(ParameterChoice::BoolParam(true))),
    ];
    let answer = client.log_settings(pb::LogSettingsRequest { settings: settings.into() }).await.unwrap();
    assert_eq!((answer.into_inner().settings.len(), get(&server, "/v2/logging").await), (6, expected(true, 2)));
    for (body, status) in [
        (json!({"log_verbose_level": -1}), 400),
        (json!({"log_info": "yes"}), 400),
        (json!({"log_file": "/tmp/x"}), 501),
    ] {
        assert_eq!(post(&server, "/v2/logging", &body).await.status.as_u16(), status, "{body}");
    }
    let settings = [("log_file".to_owned(), value(ParameterChoice::StringParam("x".to_owned())))].into();
    let refused = client.log_settings(pb::LogSettingsRequest { settings }).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    post(&server, "/v2/logging", &json!({"log_verbose_level": 0})).await;
}

/// Every metric of Triton's that counts requests, and what the statistics must say of it.
type Twin = (&'static str, fn(&ModelStatistics) -> u64);
const TWINS: [Twin; 12] = [
    ("nv_inference_request_success", |stats| stats.inference_stats.success.count),
    ("nv_inference_count", |stats| stats.inference_count),
    ("nv_inference_exec_count", |stats| stats.execution_count),
    ("nv_inference_request_duration_us", |stats| stats.inference_stats.success.ns / 1000),
    ("nv_inference_queue_duration_us", |stats| stats.inference_stats.queue.ns / 1000),
    ("nv_inference_compute_input_duration_us", |stats| stats.inference_stats.compute_input.ns / 1000),
    ("nv_inference_compute_infer_duration_us", |stats| stats.inference_stats.compute_infer.ns / 1000),
    ("nv_inference_compute_output_duration_us", |stats| stats.inference_stats.compute_output.ns / 1000),
    ("nv_cache_num_hits_per_model", |stats| stats.inference_stats.cache_hit.count),
    ("nv_cache_num_misses_per_model", |stats| stats.inference_stats.cache_miss.count),
    ("nv_cache_hit_duration_per_model", |stats| stats.inference_stats.cache_hit.ns / 1000),
    ("nv_cache_miss_duration_per_model", |stats| stats.inference_stats.cache_miss.ns / 1000),
];

#[tokio::test]
async fn tritons_metrics_are_its_statistics() {
    let server = Server::start().await;
    for (model, shape, data) in [("echo", json!([3, 1]), json!([1, 2, 3])), ("brief", json!([1]), json!([1]))] {
        let body = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": data}]});
        for _ in 0..2 {
            assert_eq!(post(&server, &format!("/v2/models/{model}/infer"), &body).await.status, 200);
        }
    }
    let text = send(server.metrics, request("GET", "/metrics", &[], "")).await;
    let text = String::from_utf8(text.body.to_vec()).unwrap();
    for model in ["echo", "brief"] {
        let stats = server.engine.statistics(Some(model), None).unwrap().remove(0);
        assert_eq!(stats.inference_stats.success.count, 2);
        for (name, value) in TWINS {
            let line = format!("{name}{{model=\"{model}\",version=\"1\"}} {}", value(&stats));
            let found = text.lines().find(|found| found.strip_suffix(".0").unwrap_or(found) == line);
            assert!(found.is_some(), "no '{line}' in\n{text}");
        }
        let failure = |reason: &str| {
            format!("nv_inference_request_failure{{model=\"{model}\",version=\"1\",reason=\"{reason}\"}} 0")
        };
        for reason in ["REJECTED", "CANCELED", "BACKEND", "OTHER"] {
            assert!(text.contains(&failure(reason)), "{reason}");
        }
        assert!(text.contains(&format!("nv_inference_pending_request_count{{model=\"{model}\",version=\"1\"}} 0")));
    }
    assert_eq!(send(server.metrics, request("GET", "/v2", &[], "")).await.status, 404, "metrics and nothing else");
    assert_eq!(send(server.http, request("GET", "/metrics", &[], "")).await.status, 200);
}
