//! Limits on the concurrency of models, over both protocols.

use std::sync::Arc;

use proofload_wire::grpc::inference as pb;
use proofload_wire::grpc::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proofload_wire::infer::InferRequest;
use proofload_wire::tensor::Tensor;
use tokio::task::JoinSet;
use tonic::Code;

use crate::server::{Server, request, send};

const BODY: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}"#;

async fn server(limit: &str, mean_ms: u32) -> Arc<Server> {
    let parameter =
        |key: &str, value: &str| format!("parameters {{ key: \"{key}\" value {{ string_value: \"{value}\" }} }}");
    let tensors = "input { name: \"x\" data_type: TYPE_FP32 dims: [ -1 ] } output { name: \"y\" data_type: TYPE_FP32 dims: [ -1 ] }";
    let model = [
        "backend: \"simulated\"".to_owned(),
        tensors.to_owned(),
        parameter("mean_ms", &mean_ms.to_string()),
        parameter("concurrency_limit", limit),
    ];
    Arc::new(Server::with_models(&[("m".to_owned(), model.join("\n"))]).await)
}

/// The statuses of so many requests at once, in order.
async fn statuses(server: &Arc<Server>, many: usize) -> Vec<u16> {
    let mut asked = JoinSet::new();
    for _ in 0..many {
        let server = Arc::clone(server);
        asked.spawn(async move { send(server.http, request("POST", "/v2/models/m/infer", &[], BODY)).await });
    }
    let mut statuses: Vec<_> = asked.join_all().await.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    statuses
}

fn value(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{")));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_the_limit_reached_is_turned_away_at_once() {
    let server = server("3", 2000).await;
    let waiting = tokio::spawn({
        let server = Arc::clone(&server);
        async move { statuses(&server, 3).await }
    });
    while value(&server.engine.metrics_text(), "proofload_concurrency_in_flight") < 3.0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let refused = send(server.http, request("POST", "/v2/models/m/infer", &[], BODY)).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
    let error = refused.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("as many requests as it can bear now, 3"), "{error}");
    let mut client = GrpcInferenceServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();
    let message: pb::ModelInferRequest = InferRequest {
        model_name: "m".to_owned(),
        inputs: vec![Tensor::from_f32("x", vec![1], &[1.0]).unwrap()],
        ..InferRequest::default()
    }
    .into();
    let status = client.model_infer(message).await.unwrap_err();
    assert_eq!(
        (status.code(), status.metadata().get("retry-after").unwrap().to_str().unwrap()),
        (Code::Unavailable, "1")
    );
    assert_eq!(waiting.await.unwrap(), [200, 200, 200]);
    let metrics = server.engine.metrics_text();
    assert_eq!(value(&metrics, "proofload_concurrency_shed_requests_total") as u32, 2);
    assert_eq!(value(&metrics, "proofload_concurrency_limit") as u32, 3);
    assert_eq!(value(&metrics, "proofload_concurrency_in_flight") as u32, 0);
}

/// One slot: the limit begins at two and rises only with the queue's leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adaptive_limit_moves() {
    let server = server("adaptive", 1).await;
    let limit = || value(&server.engine.metrics_text(), "proofload_concurrency_limit");
    let begun = std::time::Instant::now();
    assert_eq!(limit() as u32, 2);
    while limit() < 4.0 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "the limit stays at {}", limit());
        statuses(&server, 8).await;
    }
}

#[tokio::test]
async fn without_a_limit_nothing_is_said_of_it() {
    let server = server("off", 0).await;
    assert!(!server.engine.metrics_text().contains("proofload_concurrency_limit{"));
}
