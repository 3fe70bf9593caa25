//! gRPC against a real tonic server: answers, refusals and errors are told apart, and phases are read.

// Helpers outside of the test functions unwrap for the same reason as these do.
#![allow(clippy::unwrap_used)]

#[path = "support/scenarios.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod scenarios;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use proofload_loadgen::scenario::Scenario;
use proofload_run::sample::{Outcome, Sample, flags};
use proofload_wire::grpc::inference::grpc_inference_service_server::{
    GrpcInferenceService, GrpcInferenceServiceServer,
};
use proofload_wire::grpc::inference::model_infer_response::InferOutputTensor;
use proofload_wire::grpc::inference::{ModelInferRequest, ModelInferResponse};
use proofload_wire::phases::Phases;
use tonic::{Request, Response, Status};

/// Refuses the second request, fails the third, and answers all others.
#[derive(Default)]
struct Server {
    requests: AtomicU64,
}

#[tonic::async_trait]
impl GrpcInferenceService for Server {
    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        match self.requests.fetch_add(1, Ordering::AcqRel) {
            1 => return Err(Status::resource_exhausted("queue full")),
            2 => return Err(Status::internal("broken")),
            _ => {}
        }
        let request = request.into_inner();
        assert_eq!(request.inputs[0].shape, [1, 4]);
        let output = InferOutputTensor {
            name: "y".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![1, 4],
            ..Default::default()
        };
        let answer = ModelInferResponse {
            model_name: request.model_name,
            outputs: vec![output],
            raw_output_contents: request.raw_input_contents,
            ..Default::default()
        };
        let mut response = Response::new(answer);
        let phases =
            Phases { queue_ns: 5, copy_in_ns: 6, compute_ns: 7, copy_out_ns: 8, batch_size: 1, cache_hit: false };
        for (name, value) in phases.to_headers() {
            response.metadata_mut().insert(name, value.parse().unwrap());
        }
        Ok(response)
    }
}

const SCENARIO: &str = r#"
kind = "sustained"
[load]
arrivals = "constant"
rate = "50/s"
duration = "1s"
[[mix]]
name = "grpc"
protocol = "kserve-grpc"
model = "m"
outputs = ["y"]
inputs = [{ name = "x", datatype = "FP32", shape = [1, 4] }]
"#;

/// Serves on a free port until the process ends.
fn serve() -> String {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let service = GrpcInferenceServiceServer::new(Server::default());
        runtime.block_on(tonic::transport::Server::builder().add_service(service).serve(address)).unwrap();
    });
    let up = || std::net::TcpStream::connect(address).is_ok();
    while !up() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    format!("http://{address}")
}

#[test]
fn answers_refusals_and_errors_are_told_apart() {
    let scenario = Scenario::parse(Path::new("grpc.toml"), SCENARIO, &[]).unwrap();
    let driven = scenarios::drive_grpc(&scenario, &serve()).unwrap();
    let outcomes: Vec<Outcome> = driven.samples.iter().take(4).map(Sample::outcome).collect();
    assert_eq!(outcomes, [Outcome::Ok, Outcome::Shed, Outcome::ServerError, Outcome::Ok]);
    assert_eq!(driven.end.outcomes["ok"], 48);
    let (refused, answered) = (driven.samples[1], driven.samples[3]);
    assert_eq!((refused.status, answered.status), (8, 0));
    assert_eq!((answered.queue_ns, answered.compute_ns, answered.batch_size), (5, 7, 1));
    assert!(answered.flags & flags::HAS_PHASES != 0);
    assert!(answered.first_byte_ns > answered.sent_ns && answered.done_ns >= answered.first_byte_ns);
    let opened = driven.samples.iter().filter(|s| s.flags & flags::NEW_CONNECTION != 0).count();
    assert!(opened < 10, "connections are kept: {opened}");
}
