//! Bare servers that give back what they get, for measuring what the daemon's fronts cost beside them: `axum` returns a
//! POST's body as it came, `tonic` an inference's inputs as its outputs. They check nothing, queue nothing, count nothing.
//! Prints one JSON line with their ports and serves until standard input closes.

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName};
use axum::response::IntoResponse;
use axum::routing::post;
use axum::serve::ListenerExt;
use proofload_wire::grpc::inference as pb;
use proofload_wire::grpc::inference::grpc_inference_service_server::{
    GrpcInferenceService, GrpcInferenceServiceServer,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

async fn echo(headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let kept = [CONTENT_TYPE, JSON_LENGTH];
    let kept: HeaderMap =
        kept.into_iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect();
    (kept, body)
}

struct Echo;

#[tonic::async_trait]
impl GrpcInferenceService for Echo {
    async fn model_infer(
        &self,
        request: Request<pb::ModelInferRequest>,
    ) -> Result<Response<pb::ModelInferResponse>, Status> {
        let request = request.into_inner();
        let output = |input: pb::model_infer_request::InferInputTensor| pb::model_infer_response::InferOutputTensor {
            name: "y".to_owned(),
            datatype: input.datatype,
            shape: input.shape,
            ..Default::default()
        };
        Ok(Response::new(pb::ModelInferResponse {
            model_name: request.model_name,
            model_version: "1".to_owned(),
            id: request.id,
            outputs: request.inputs.into_iter().map(output).collect(),
            raw_output_contents: request.raw_input_contents,
            ..Default::default()
        }))
    }
}

#[tokio::main]
#[allow(clippy::print_stdout)] // Its ports are what it has to say.
async fn main() -> Result<(), Failure> {
    let (http, grpc) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    println!(r#"{{"http":{},"grpc":{}}}"#, http.local_addr()?.port(), grpc.local_addr()?.port());
    let http = http.tap_io(|stream| drop(stream.set_nodelay(true)));
    let app = Router::new().route("/{*path}", post(echo));
    let grpc = tonic::transport::server::TcpIncoming::from(grpc).with_nodelay(Some(true));
    let grpc = tonic::transport::Server::builder()
        .add_service(GrpcInferenceServiceServer::new(Echo))
        .serve_with_incoming(grpc);
    let (close, closed) = oneshot::channel();
    std::thread::spawn(move || close.send(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).is_ok()));
    tokio::select! {
        served = axum::serve(http, app) => served?,
        served = grpc => served?,
        _ = closed => {}
    }
    Ok(())
}
