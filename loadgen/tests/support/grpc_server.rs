//! A gRPC inference server in this process that echoes its inputs.

use std::sync::atomic::{AtomicU64, Ordering};

use proofload_wire::grpc::inference::grpc_inference_service_server::{
    GrpcInferenceService, GrpcInferenceServiceServer,
};
use proofload_wire::grpc::inference::model_infer_response::InferOutputTensor;
use proofload_wire::grpc::inference::{ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use proofload_wire::phases::{Cache, Phases};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

/// Answers all requests, or refuses the second and fails the third.
#[derive(Default)]
pub(crate) struct Server {
    steady: bool,
    requests: AtomicU64,
}

#[tonic::async_trait]
impl GrpcInferenceService for Server {
    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        match self.requests.fetch_add(1, Ordering::AcqRel) {
            _ if self.steady => {}
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
            Phases { queue_ns: 5, copy_in_ns: 6, compute_ns: 7, copy_out_ns: 8, batch_size: 1, cache: Cache::Miss };
        for (name, value) in phases.to_headers() {
            response.metadata_mut().insert(name, value.parse().unwrap());
        }
        Ok(response)
    }

    /// Three answers to a request, 5 ms apart, and one without outputs that says there are no more.
    async fn model_stream_infer(
        &self,
        requests: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<BoxStream<ModelStreamInferResponse>>, Status> {
        let mut requests = requests.into_inner();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(Some(_)) = requests.message().await {
                for outputs in [1, 1, 1, 0] {
                    let outputs = vec![InferOutputTensor::default(); outputs];
                    let infer_response = Some(ModelInferResponse { outputs, ..Default::default() });
                    let answer = ModelStreamInferResponse { error_message: String::new(), infer_response };
                    // A client that has gone wants nothing more.
                    if sender.send(Ok(answer)).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }
}

/// Serves on a free port until the process ends. Gives the URL.
pub(crate) fn serve(service: GrpcInferenceServiceServer<Server>) -> String {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(tonic::transport::Server::builder().add_service(service).serve(address)).unwrap();
    });
    let up = || std::net::TcpStream::connect(address).is_ok();
    while !up() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    format!("http://{address}")
}

/// A server that answers every request.
pub(crate) fn always_answering() -> GrpcInferenceServiceServer<Server> {
    GrpcInferenceServiceServer::new(Server { steady: true, ..Server::default() })
}

/// A server that refuses the second request, fails the third, and answers all others.
pub(crate) fn faltering() -> GrpcInferenceServiceServer<Server> {
    GrpcInferenceServiceServer::new(Server::default())
}

/// Fifty requests in a second.
pub(crate) const SCENARIO: &str = r#"
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
