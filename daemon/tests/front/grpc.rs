//! KServe v2 and the health protocol over gRPC, against the real fronts and a real engine.

use std::time::Duration;

use crate::server::Server;
use proofload_daemon::drain::Outcome;
use proofload_wire::grpc::health::HealthCheckRequest;
use proofload_wire::grpc::health::health_check_response::ServingStatus;
use proofload_wire::grpc::health::health_client::HealthClient;
use proofload_wire::grpc::inference as pb;
use proofload_wire::grpc::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proofload_wire::infer::{InferRequest, InferResponse, ParameterValue};
use proofload_wire::phases::Phases;
use proofload_wire::tensor::Tensor;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

type Client = GrpcInferenceServiceClient<Channel>;

async fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap().connect().await.unwrap()
}

async fn client(server: &Server) -> Client {
    Client::new(channel(server).await)
}

fn request(model: &str, id: &str, shape: &[i64], values: &[f32]) -> pb::ModelInferRequest {
    InferRequest {
        model_name: model.to_owned(),
        id: id.to_owned(),
        inputs: vec![Tensor::from_f32("x", shape.to_vec(), values).unwrap()],
        ..InferRequest::default()
    }
    .into()
}

fn values(response: pb::ModelInferResponse) -> Vec<f32> {
    InferResponse::try_from(response).unwrap().outputs[0].to_f32().unwrap()
}

#[tokio::test]
async fn inference_comes_back_with_its_phases() {
    let server = Server::start().await;
    let mut client = client(&server).await;
    let response = client.model_infer(request("echo", "7", &[1, 2], &[0.1, f32::INFINITY])).await.unwrap();
    let phases = Phases::from_lookup(|name| response.metadata().get(name)?.to_str().ok()).expect("phases");
    assert_eq!(response.metadata().get("x-proofload-total-ns").unwrap(), phases.total_ns().to_string().as_str());
    let message = response.into_inner();
    assert_eq!((message.id.as_str(), message.model_version.as_str()), ("7", "1"));
    assert_eq!(values(message), [0.1, f32::INFINITY]);
}

#[tokio::test]
async fn models_describe_themselves() {
    let server = Server::start().await;
    let mut client = client(&server).await;
    let (name, version) = ("echo".to_owned(), String::new());
    assert!(client.server_live(pb::ServerLiveRequest {}).await.unwrap().into_inner().live);
    assert!(client.server_ready(pb::ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let ready = pb::ModelReadyRequest { name: name.clone(), version: version.clone() };
    assert!(client.model_ready(ready).await.unwrap().into_inner().ready);
    let metadata = pb::ModelMetadataRequest { name: name.clone(), version: version.clone() };
    assert_eq!(client.model_metadata(metadata).await.unwrap().into_inner().inputs[0].shape, [-1, -1]);
    let config = pb::ModelConfigRequest { name: name.clone(), version: version.clone() };
    assert_eq!(client.model_config(config).await.unwrap().into_inner().config.unwrap().max_batch_size, 8);
    let index = client.repository_index(pb::RepositoryIndexRequest::default()).await.unwrap().into_inner();
    assert_eq!(index.models.len(), 4);
    client.model_infer(request("echo", "", &[3, 1], &[1.0, 2.0, 3.0])).await.unwrap();
    let statistics = client.model_statistics(pb::ModelStatisticsRequest { name, version }).await.unwrap().into_inner();
    assert_eq!(statistics.model_stats[0].inference_count, 3);
}

#[tokio::test]
async fn wrong_requests_get_the_right_code() {
    let server = Server::start().await;
    let mut client = client(&server).await;
    let mut late = request("slow", "", &[1], &[1.0]);
    let limit = pb::InferParameter { parameter_choice: Some(pb::infer_parameter::ParameterChoice::Int64Param(1)) };
    late.parameters.insert("timeout".to_owned(), limit);
    let rows = [
        (request("none", "", &[1, 1], &[1.0]), Code::NotFound),
        (request("echo", "", &[1], &[1.0]), Code::InvalidArgument),
        (request("echo", "", &[9, 1], &[1.0; 9]), Code::InvalidArgument),
        (late, Code::Unavailable),
    ];
    for (request, code) in rows {
        let error = client.model_infer(request).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(!error.message().is_empty());
        let phases =
            Phases::from_lookup(|name| error.metadata().get(name)?.to_str().ok()).expect("phases on every error");
        assert_eq!(error.metadata().get("x-proofload-total-ns").unwrap(), phases.total_ns().to_string().as_str());
        assert_eq!(phases.compute_ns, 0, "nothing was computed: {phases:?}");
    }
    let load = client.repository_model_load(pb::RepositoryModelLoadRequest::default()).await.unwrap_err();
    assert_eq!(load.code(), Code::Unavailable);
    assert!(load.message().contains("explicit model load / unload is not allowed"), "{load}");
}

#[tokio::test]
async fn a_model_comes_over_the_wire_and_goes() {
    use pb::model_repository_parameter::ParameterChoice;
    let server = Server::controlled().await;
    let mut client = client(&server).await;
    let model = proofload_daemon::repository::embedded::MODELS.iter().find(|model| model.name == "tiny_mlp").unwrap();
    let parameter = |choice| pb::ModelRepositoryParameter { parameter_choice: Some(choice) };
    let mut load = pb::RepositoryModelLoadRequest { model_name: "brought".to_owned(), ..Default::default() };
    let file = parameter(ParameterChoice::BytesParam(model.onnx.to_vec()));
    load.parameters.insert("file:3/model.onnx".to_owned(), file);
    let refused = client.repository_model_load(load.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "files need a configuration: {refused}");
    let config = parameter(ParameterChoice::StringParam("{\"max_batch_size\": 4}".to_owned()));
    load.parameters.insert("config".to_owned(), config);
    client.repository_model_load(load.clone()).await.unwrap();
    let inputs = vec![Tensor::from_f32("input", vec![1, 16], &[0.5; 16]).unwrap()];
    let asked = InferRequest { model_name: "brought".to_owned(), inputs, ..InferRequest::default() };
    assert_eq!(client.model_infer(pb::ModelInferRequest::from(asked)).await.unwrap().into_inner().model_version, "3");
    let elsewhere = pb::RepositoryModelLoadRequest { repository_name: "r".to_owned(), ..load };
    assert_eq!(client.repository_model_load(elsewhere).await.unwrap_err().code(), Code::Unimplemented);
    let unload = pb::RepositoryModelUnloadRequest { model_name: "brought".to_owned(), ..Default::default() };
    client.repository_model_unload(unload).await.unwrap();
    let ready = pb::ModelReadyRequest { name: "brought".to_owned(), version: String::new() };
    assert!(!client.model_ready(ready).await.unwrap().into_inner().ready);
    let all = pb::RepositoryIndexRequest { ready: true, ..Default::default() };
    assert_eq!(client.repository_index(all).await.unwrap().into_inner().models, []);
}

/// The caller's own deadline is no matter of the queue: nobody reads the answer any more, and it says so.
#[tokio::test]
async fn a_deadline_of_the_caller_is_told_from_a_limit_on_waiting() {
    let server = Server::start().await;
    let mut client = client(&server).await;
    let mut running = client.clone();
    let running = tokio::spawn(async move { running.model_infer(request("slow", "", &[1], &[1.0])).await });
    while server.engine.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Sent as metadata only, or the client would give up first and never see the answer.
    let mut late = tonic::Request::new(request("slow", "", &[1], &[1.0]));
    late.metadata_mut().insert("grpc-timeout", "50m".parse().unwrap());
    let error = client.model_infer(late).await.unwrap_err();
    let from_server = Phases::from_lookup(|name| error.metadata().get(name)?.to_str().ok());
    // tonic's own server gives up at the same moment, and then the answer is its own.
    assert!(matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled), "{error}");
    assert!(from_server.is_none_or(|phases| phases.queue_ns >= 49_000_000), "{from_server:?}");
    assert!(running.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_stream_keeps_its_order_and_survives_errors() {
    let server = Server::start().await;
    let mut client = client(&server).await;
    let requests: Vec<_> = (0..100)
        .map(|at| match at % 10 {
            9 => request("none", &at.to_string(), &[1, 1], &[0.0]),
            _ => request("echo", &at.to_string(), &[1, 1], &[at as f32]),
        })
        .collect();
    let mut answers = client.model_stream_infer(tokio_stream::iter(requests)).await.unwrap().into_inner();
    for at in 0..100 {
        let answer = answers.message().await.unwrap().expect("an answer to every request");
        let response = answer.infer_response.expect("which request it answers");
        assert_eq!(response.id, at.to_string());
        assert_eq!(answer.error_message.is_empty(), at % 10 != 9, "{}", answer.error_message);
        let response = InferResponse::try_from(response).unwrap();
        let phase = |name: &str| match response.parameters.get(name) {
            Some(ParameterValue::String(text)) => Some(text.as_str()),
            _ => None,
        };
        assert!(Phases::from_lookup(phase).is_some(), "{:?}", response.parameters);
        if answer.error_message.is_empty() {
            assert_eq!(response.outputs[0].to_f32().unwrap(), [at as f32]);
        }
    }
    assert_eq!(answers.message().await.unwrap(), None);
}

#[tokio::test]
async fn open_streams_do_not_hold_up_the_end() {
    let server = Server::start().await;
    let mut client = client(&server).await;
    let (requests, receiver) = tokio::sync::mpsc::channel(4);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    requests.send(request("slow", "last", &[1], &[1.0])).await.unwrap();
    let mut answers = client.model_stream_infer(stream).await.unwrap().into_inner();
    let mut health = HealthClient::new(channel(&server).await);
    let watched = HealthCheckRequest { service: String::new() };
    let mut watch = health.watch(watched).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    while server.engine.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let stopped = server.begin_stop();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(watch.message().await.unwrap().is_none());
    let answer = answers.message().await.unwrap().expect("what was in flight is answered");
    assert_eq!(answer.error_message, "");
    let end = answers.message().await.expect_err("then the stream ends, though the client holds it open");
    assert_eq!(end.code(), Code::Unavailable, "{end}");
    assert_eq!(stopped.await.unwrap(), Outcome::Finished);
    drop(requests);
}

#[tokio::test]
async fn stopping_answers_every_message_that_has_arrived() {
    let server = Server::start().await;
    let mut client = client(&server).await;
    let requests = (0..60).map(|at| request("brief", &at.to_string(), &[1], &[1.0]));
    let held_open = futures::StreamExt::chain(tokio_stream::iter(requests), futures::stream::pending());
    let mut answers = client.model_stream_infer(held_open).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!(first.infer_response.unwrap().id, "0");
    let stopped = server.begin_stop();
    for at in 1..60 {
        let answer = answers.message().await.unwrap().expect("an answer to every message");
        assert_eq!((answer.error_message.as_str(), answer.infer_response.unwrap().id), ("", at.to_string()));
    }
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(stopped.await.unwrap(), Outcome::Finished);
}

#[tokio::test]
async fn health_knows_its_services() {
    let server = Server::start().await;
    let mut client = HealthClient::new(channel(&server).await);
    for (service, expected) in [
        ("", Some(ServingStatus::Serving)),
        ("inference.GRPCInferenceService", Some(ServingStatus::Serving)),
        ("nobody", None),
    ] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let found = client.check(request.clone()).await;
        match expected {
            Some(expected) => assert_eq!(found.unwrap().into_inner().status(), expected),
            None => assert_eq!(found.unwrap_err().code(), Code::NotFound),
        }
        let first = client.watch(request).await.unwrap().into_inner().message().await.unwrap().unwrap();
        assert_eq!(first.status(), expected.unwrap_or(ServingStatus::ServiceUnknown));
    }
    server.engine.begin_drain();
    let found = client.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(found.status(), ServingStatus::NotServing);
}
