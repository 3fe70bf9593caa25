//! Models that answer a request any number of times, the generate extension, and classes instead of outputs.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use proofload_wire::grpc::inference as pb;
use proofload_wire::grpc::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proofload_wire::infer::{InferRequest, InferResponse, ParameterValue};
use proofload_wire::phases::Phases;
use proofload_wire::tensor::Tensor;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tonic::Code;

use crate::server::{Answer, Server, request, send};

fn texts(policy: &str) -> String {
    format!(
        r#"backend: "identity" {policy}
           input {{ name: "text_input" data_type: TYPE_STRING dims: [ 1 ] }}
           output {{ name: "text_output" data_type: TYPE_STRING dims: [ 1 ] }}"#
    )
}

fn repeating(times: u32, delay_ms: u32) -> String {
    texts(&format!(
        r#"model_transaction_policy {{ decoupled: true }}
           parameters {{ key: "repeat" value {{ string_value: "{times}" }} }}
           parameters {{ key: "delay_ms" value {{ string_value: "{delay_ms}" }} }}"#
    ))
}

async fn server() -> Server {
    let classes = r#"backend: "identity" max_batch_size: 4
        input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }"#;
    let models = [
        ("plain", texts("")),
        ("none", repeating(0, 0)),
        ("once", repeating(1, 0)),
        ("thrice", repeating(3, 1)),
        ("endless", repeating(u32::MAX, 5)),
        ("classes", classes.to_owned()),
    ];
    Server::with_models(&models.map(|(name, config)| (name.to_owned(), config))).await
}

async fn post(server: &Server, path: &str, body: &Value) -> Answer {
    send(server.http, request("POST", path, &[], body.to_string())).await
}

fn ask(model: &str, id: &str) -> pb::ModelInferRequest {
    InferRequest {
        model_name: model.to_owned(),
        id: id.to_owned(),
        inputs: vec![Tensor::from_strings("text_input", vec![1], &["hello"]).unwrap()],
        ..InferRequest::default()
    }
    .into()
}

async fn client(server: &Server) -> GrpcInferenceServiceClient<tonic::transport::Channel> {
    GrpcInferenceServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap()
}

#[tokio::test]
async fn generate_gives_one_object() {
    let server = server().await;
    let body = json!({"id": "7", "text_input": "hello", "temperature": 0.5, "parameters": {"stream": false}});
    for model in ["plain", "once"] {
        let answer = post(&server, &format!("/v2/models/{model}/generate"), &body).await;
        let expected = json!({"id": "7", "model_name": model, "model_version": "1", "text_output": "hello"});
        assert_eq!((answer.header("content-type"), answer.json()), ("application/json", expected));
        assert!(Phases::from_lookup(|name| answer.headers.get(name)?.to_str().ok()).is_some());
    }
    let check = async |path: &str, body: Value, status: u16, words: &str| {
        let answer = post(&server, path, &body).await;
        let message = answer.json()["error"].to_string();
        assert!(answer.status.as_u16() == status && message.contains(words), "{path}: {} {message}", answer.status);
    };
    for model in ["none", "thrice", "endless"] {
        check(&format!("/v2/models/{model}/generate"), body.clone(), 500, "exactly 1 response").await;
    }
    check("/v2/models/plain/generate", json!({}), 400, "expected 1 inputs but got 0").await;
    check("/v2/models/plain/generate", json!({"text_input": 7}), 400, "which is no BYTES").await;
    check("/v2/models/nobody/generate", body.clone(), 404, "nobody").await;
    check("/v2/models/thrice/generate_stream", json!({"text_input": ["a", "b"]}), 400, "has 2 values").await;
    let infer = json!({"inputs": [{"name": "text_input", "datatype": "BYTES", "shape": [1], "data": ["a"]}]});
    check("/v2/models/thrice/infer", infer, 501, "decoupled transaction policy").await;
}

#[tokio::test]
async fn generate_stream_gives_an_event_for_each_response() {
    let server = server().await;
    for (model, times) in [("plain", 1), ("none", 0), ("thrice", 3)] {
        let path = format!("/v2/models/{model}/versions/1/generate_stream");
        let answer = post(&server, &path, &json!({"text_input": "a\nb"})).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/event-stream; charset=utf-8"));
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let events: Vec<_> = text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
        assert_eq!(events.len(), times, "{text}");
        for event in events {
            assert_eq!(serde_json::from_str::<Value>(event).unwrap()["text_output"], "a\nb");
        }
    }
    let thrice = server.engine.statistics(Some("thrice"), None).unwrap().remove(0);
    assert_eq!((thrice.inference_stats.success.count, thrice.inference_count, thrice.execution_count), (1, 1, 1));
    let counts: Vec<_> = thrice
        .response_stats
        .iter()
        .map(|(key, stats)| (key.as_str(), stats.success.count, stats.compute_infer.count, stats.empty_response.count))
        .collect();
    assert_eq!(counts, [("0", 1, 1, 0), ("1", 1, 1, 0), ("2", 1, 1, 0), ("3", 0, 0, 1)]);
    assert!(thrice.response_stats["0"].compute_infer.ns >= 1_000_000, "each takes a millisecond");
}

/// The model would go on for months.
#[tokio::test]
async fn a_client_that_leaves_stops_the_model() {
    let server = server().await;
    let stream = TcpStream::connect(server.http).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let body = json!({"text_input": "a"}).to_string();
    let response = sender.send_request(request("POST", "/v2/models/endless/generate_stream", &[], body)).await.unwrap();
    let mut body = response.into_body();
    for _ in 0..3 {
        assert!(body.frame().await.unwrap().unwrap().into_data().unwrap().starts_with(b"data: "));
    }
    let mut client = client(&server).await;
    let asked = futures::stream::iter([ask("endless", "1")]);
    let mut answers = client.model_stream_infer(asked).await.unwrap().into_inner();
    assert_eq!(server.engine.in_flight(), 2, "the second waits for the only instance");
    drop((body, sender));
    connection.abort();
    // It gets the instance only because the first one has given it up.
    let answer = tokio::time::timeout(Duration::from_secs(10), answers.message()).await.expect("in time").unwrap();
    assert_eq!(answer.unwrap().error_message, "");
    drop(answers);
    let gone = async {
        while server.engine.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("both are given up");
    let stats = server.engine.statistics(Some("endless"), None).unwrap().remove(0);
    assert_eq!((stats.inference_stats.success.count, stats.inference_stats.fail.count), (0, 2));
    assert_eq!(stats.response_stats.values().map(|stats| stats.cancel.count).sum::<u64>(), 2);
}

#[tokio::test]
async fn streams_say_which_response_is_the_last() {
    let server = server().await;
    let mut client = client(&server).await;
    let refused = client.model_infer(ask("thrice", "")).await.unwrap_err();
    assert_eq!((refused.code(), refused.message().contains("decoupled")), (Code::Unimplemented, true));
    let wanted = pb::InferParameter { parameter_choice: Some(pb::infer_parameter::ParameterChoice::BoolParam(true)) };
    let with_end = |mut request: pb::ModelInferRequest| {
        request.parameters.insert("triton_enable_empty_final_response".to_owned(), wanted.clone());
        request
    };
    let mut reserved = ask("plain", "reserved");
    reserved.parameters.insert("triton_other".to_owned(), wanted.clone());
    let requests = vec![
        ask("thrice", "quiet"),
        with_end(ask("thrice", "told")),
        with_end(ask("none", "none")),
        ask("plain", "plain"),
        reserved,
        ask("nobody", "nobody"),
    ];
    let mut answers = client.model_stream_infer(futures::stream::iter(requests)).await.unwrap().into_inner();
    // Of each request: how many responses with outputs, whether the last says so, and its error.
    let mut found = std::collections::BTreeMap::<String, (usize, bool, String)>::new();
    while let Some(answer) = answers.message().await.unwrap() {
        let response = InferResponse::try_from(answer.infer_response.unwrap()).unwrap();
        let entry = found.entry(response.id.clone()).or_default();
        assert!(!entry.1, "nothing comes after the last one: {response:?}");
        entry.0 += usize::from(!response.outputs.is_empty());
        entry.1 = response.parameters["triton_final_response"] == ParameterValue::Bool(true);
        assert_eq!(entry.1, response.parameters.contains_key("x-proofload-total-ns"), "phases are in the last one");
        entry.2 = answer.error_message;
    }
    let found: Vec<_> =
        found.iter().map(|(id, (count, told, error))| (id.as_str(), *count, *told, error.as_str())).collect();
    let expected = [
        ("nobody", 0, true, found[0].3),
        ("none", 0, true, ""),
        ("plain", 1, true, ""),
        ("quiet", 3, false, ""),
        ("reserved", 0, true, found[4].3),
        ("told", 3, true, ""),
    ];
    assert_eq!(found, expected);
    assert!(found[0].3.contains("unknown model") && found[4].3.contains("reserved for Triton"), "{found:?}");
}

#[tokio::test]
async fn classes_stand_for_outputs() {
    let server = server().await;
    let check = async |count: Value, expected: Result<Value, &str>| {
        let input = json!({"name": "x", "datatype": "FP32", "shape": [2, 4], "data": [1, 5, 10, 4, 0.5, 0, 0, 0.25]});
        let body = json!({"inputs": [input], "outputs": [{"name": "y", "parameters": {"classification": count}}]});
        let answer = post(&server, "/v2/models/classes/infer", &body).await;
        match expected {
            Ok(expected) => assert_eq!(answer.json()["outputs"], json!([expected])),
            Err(words) => {
                assert_eq!(answer.status.as_u16(), 400);
                assert!(answer.json()["error"].to_string().contains(words), "{answer:?}");
            }
        }
    };
    let output =
        |shape: Value, data: Value| Ok(json!({"name": "y", "datatype": "BYTES", "shape": shape, "data": data}));
    let two = json!(["10.000000:2", "5.000000:1", "0.500000:0", "0.250000:3"]);
    check(json!(2), output(json!([2, 2]), two)).await;
    check(json!(1), output(json!([2, 1]), json!(["10.000000:2", "0.500000:0"]))).await;
    check(json!("2"), Err("number of classes")).await;
    check(json!(-1), Err("number of classes")).await;
}
