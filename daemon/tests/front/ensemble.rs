//! An ensemble of three steps, a diamond, as clients see it: over HTTP and gRPC, with its phases, its counts and its
//! errors.

use std::time::Duration;

use proofload_wire::grpc::inference as pb;
use proofload_wire::grpc::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proofload_wire::infer::{InferRequest, InferResponse};
use proofload_wire::phases::Phases;
use proofload_wire::tensor::Tensor;
use proofload_wire::types::ModelStatistics;
use serde_json::json;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::server::{Answer, Server, request, send};

/// Long enough to see whether steps run side by side.
const STEP: Duration = Duration::from_millis(400);

/// Two steps of the same input, and one that takes what both give. `left` takes any length, `right` four at most.
fn diamond() -> Vec<(String, String)> {
    let slow = |dims: &str| {
        format!(
            r#"backend: "simulated" max_batch_size: 4 parameters {{ key: "mean_ms" value {{ string_value: "{}" }} }}
               input {{ name: "in" data_type: TYPE_FP32 dims: {dims} }}
               output {{ name: "out" data_type: TYPE_FP32 dims: {dims} }}"#,
            STEP.as_millis()
        )
    };
    let join = r#"backend: "identity" max_batch_size: 8
        input [ { name: "a" data_type: TYPE_FP32 dims: -1 }, { name: "b" data_type: TYPE_FP32 dims: -1 } ]
        output [ { name: "c" data_type: TYPE_FP32 dims: -1 }, { name: "d" data_type: TYPE_FP32 dims: -1 } ]"#;
    let whole = r#"platform: "ensemble" max_batch_size: 4
        input { name: "x" data_type: TYPE_FP32 dims: -1 }
        output [ { name: "y" data_type: TYPE_FP32 dims: -1 }, { name: "z" data_type: TYPE_FP32 dims: -1 } ]
        ensemble_scheduling { step [
          { model_name: "join" model_version: -1
            input_map [ { key: "a" value: "from_left" }, { key: "b" value: "from_right" } ]
            output_map [ { key: "c" value: "y" }, { key: "d" value: "z" } ] },
          { model_name: "left" model_version: -1
            input_map { key: "in" value: "x" } output_map { key: "out" value: "from_left" } },
          { model_name: "right" model_version: 1
            input_map { key: "in" value: "x" } output_map { key: "out" value: "from_right" } } ] }"#;
    let models = [("left", slow("-1")), ("right", slow("2")), ("join", join.to_owned()), ("whole", whole.to_owned())];
    models.map(|(name, config)| (name.to_owned(), config)).to_vec()
}

fn statistics(server: &Server, model: &str) -> ModelStatistics {
    server.engine.statistics(Some(model), None).unwrap().remove(0)
}

async fn post(server: &Server, shape: &[i64], data: &[f32], outputs: serde_json::Value) -> Answer {
    let body = json!({
        "id": "7",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": data}],
        "outputs": outputs,
    });
    send(server.http, request("POST", "/v2/models/whole/infer", &[], body.to_string())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_run_side_by_side_and_count_for_themselves() {
    let server = Server::with_models(&diamond()).await;
    let answer = post(&server, &[1, 2], &[0.5, 1.5], json!([])).await;
    assert_eq!(answer.status.as_u16(), 200, "{:?}", answer.body);
    let json = answer.json();
    assert_eq!((json["model_name"].as_str(), json["id"].as_str()), (Some("whole"), Some("7")));
    for (output, name) in json["outputs"].as_array().unwrap().iter().zip(["y", "z"]) {
        assert_eq!((output["name"].as_str(), &output["data"]), (Some(name), &json!([0.5, 1.5])));
    }
    let phases = Phases::from_lookup(|name| answer.headers.get(name)?.to_str().ok()).expect("phases");
    let whole = statistics(&server, "whole");
    let steps = ["left", "right", "join"].map(|model| statistics(&server, model));
    assert_eq!(whole.inference_stats.success.ns, phases.total_ns());
    // A simulated model counts from when it could have begun, so that a late thread computes for less.
    assert!(u128::from(phases.compute_ns) >= STEP.as_nanos() / 2, "{phases:?}");
    let one_after_the_other: u64 = steps.iter().map(|step| step.inference_stats.success.ns).sum();
    assert!(phases.total_ns() < one_after_the_other, "{phases:?}: the steps took {one_after_the_other} ns together");
    let counts =
        |model: &ModelStatistics| (model.inference_count, model.execution_count, model.inference_stats.success.count);
    assert!(steps.iter().chain([&whole]).all(|model| counts(model) == (1, 1, 1)), "{whole:?} {steps:?}");
    let wanted = post(&server, &[3, 2], &[0.0; 6], json!([{"name": "y"}])).await.json();
    assert_eq!((wanted["outputs"].as_array().unwrap().len(), &wanted["outputs"][0]["shape"]), (1, &json!([3, 2])));
    assert_eq!(counts(&statistics(&server, "whole")), (4, 2, 2));
    assert_eq!(counts(&statistics(&server, "right")), (4, 2, 2), "the join needs both, whatever is wanted of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_over_grpc_and_describes_itself() {
    let server = Server::with_models(&diamond()).await;
    let channel = Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap().connect().await.unwrap();
    let mut client = GrpcInferenceServiceClient::new(channel);
    let (name, version) = ("whole".to_owned(), "1".to_owned());
    let asked = |shape: &[i64], values: &[f32]| -> pb::ModelInferRequest {
        let inputs = vec![Tensor::from_f32("x", shape.to_vec(), values).unwrap()];
        InferRequest { model_name: "whole".to_owned(), inputs, ..InferRequest::default() }.into()
    };
    let response = client.model_infer(asked(&[2, 2], &[1.0, 2.0, 3.0, 4.0])).await.unwrap();
    let phases = Phases::from_lookup(|name| response.metadata().get(name)?.to_str().ok()).expect("phases");
    assert_eq!(response.metadata().get("x-proofload-total-ns").unwrap(), phases.total_ns().to_string().as_str());
    assert_eq!(phases.batch_size, 2);
    let response = InferResponse::try_from(response.into_inner()).unwrap();
    assert_eq!((response.outputs[1].name.as_str(), response.outputs[1].shape.as_slice()), ("z", &[2, 2][..]));
    assert_eq!(response.outputs[1].to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    let metadata = pb::ModelMetadataRequest { name: name.clone(), version: version.clone() };
    assert_eq!(client.model_metadata(metadata).await.unwrap().into_inner().platform, "ensemble");
    let config = pb::ModelConfigRequest { name, version };
    let config = client.model_config(config).await.unwrap().into_inner().config.unwrap();
    assert!(matches!(
        config.scheduling_choice,
        Some(pb::model_config::SchedulingChoice::EnsembleScheduling(ensemble)) if ensemble.step.len() == 3
    ));
    let wrong = client.model_infer(asked(&[1, 3], &[0.0; 3])).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    let expected = "in ensemble 'whole', step 3 (model 'right'): unexpected shape for input 'in' for model 'right'";
    assert!(wrong.message().starts_with(expected), "{wrong:?}");
    let failed = statistics(&server, "whole").inference_stats.fail;
    assert_eq!(
        (failed.count, statistics(&server, "right").inference_stats.fail.count),
        (1, 0),
        "as single requests count"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_whole_is_refused_before_any_step() {
    let server = Server::with_models(&diamond()).await;
    let answer = post(&server, &[5, 2], &[0.0; 10], json!([])).await;
    assert_eq!(answer.status.as_u16(), 400);
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("batch-size must be >= 1 and <= 4 for 'whole'"), "{error}");
    let config = send(server.http, request("GET", "/v2/models/whole/config", &[], "")).await.json();
    assert_eq!(config["ensemble_scheduling"]["step"][1]["input_map"], json!({"in": "x"}));
    assert_eq!(statistics(&server, "left").inference_stats.success.count, 0);
}
