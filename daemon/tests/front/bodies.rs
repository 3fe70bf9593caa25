//! The budget of all bodies: what finds no room is refused at once and told when to come back, small requests are served
//! on, and everything is free again afterwards.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use proofload_wire::grpc::inference::ModelInferRequest;
use proofload_wire::grpc::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proofload_wire::infer::InferRequest;
use proofload_wire::phases::Phases;
use proofload_wire::tensor::Tensor;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::Code;

use crate::server::{Answer, MAX_BODY_BYTES, Server, collect, request, send};

fn held(server: &Server) -> usize {
    let text = server.engine.metrics_text();
    let line = text.lines().find(|line| line.starts_with("proofload_held_body_bytes ")).expect("the gauge");
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as usize
}

async fn until_held(server: &Server, what: &str, enough: impl Fn(usize) -> bool) {
    let all_in = async {
        while !enough(held(server)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), all_in).await.unwrap_or_else(|_| panic!("{what}: {}", held(server)));
}

/// A raw request for `model` of nearly the largest size.
fn large(model: &str) -> http::Request<http_body_util::Full<Bytes>> {
    let headers = [("inference-header-content-length", "0")];
    request("POST", &format!("/v2/models/{model}/infer"), &headers, vec![0_u8; MAX_BODY_BYTES])
}

fn assert_no_room(answer: &Answer) {
    assert_eq!(answer.status.as_u16(), 503);
    assert_eq!(answer.header("retry-after"), "1");
    assert!(answer.json()["error"].as_str().unwrap().contains("server.total_body_bytes"), "{answer:?}");
    let phases = Phases::from_lookup(|name| answer.headers.get(name)?.to_str().ok()).expect("phases");
    assert_eq!(phases, Phases::default(), "refused before anything was done");
}

/// Opens a connection that announces a body of the largest size and sends one byte of it.
async fn half_sent(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let head = format!("POST /v2/models/echo/infer HTTP/1.1\r\nhost: t\r\ncontent-length: {MAX_BODY_BYTES}\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_bodies_stay_within_the_budget_and_small_ones_are_served() {
    let server = Server::start().await;
    let asked: Vec<_> = (0..12).map(|_| tokio::spawn(send(server.http, large("slow")))).collect();
    // Three fit; they wait for a model that takes 300 ms each, and hold their bodies meanwhile.
    until_held(&server, "the budget is full", |held| held == 3 * MAX_BODY_BYTES).await;
    assert_no_room(&send(server.http, large("slow")).await);
    let answers: Vec<_> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
    let served = answers.iter().filter(|answer| answer.status.as_u16() == 200).count();
    assert!((3..=6).contains(&served), "{served} were served");
    answers.iter().filter(|answer| answer.status.as_u16() != 200).for_each(assert_no_room);
    until_held(&server, "all is free again", |held| held == 0).await;

    let slow: Vec<_> = (0..2).map(|_| tokio::spawn(send(server.http, large("slow")))).collect();
    until_held(&server, "two are held", |held| held == 2 * MAX_BODY_BYTES).await;
    let small = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#;
    let answer = send(server.http, request("POST", "/v2/models/echo/infer", &[], small)).await;
    assert_eq!(answer.status.as_u16(), 200, "a small request finds room beside them");
    assert!(join_all(slow).await.into_iter().all(|answer| answer.unwrap().status.as_u16() == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_refused_before_it_is_read_or_while_it_is() {
    let server = Server::start().await;
    let halves = [half_sent(&server).await, half_sent(&server).await, half_sent(&server).await];
    until_held(&server, "announced is held", |held| held == 3 * MAX_BODY_BYTES).await;
    assert_no_room(&send(server.http, large("echo")).await);
    let chunks = (0..8).map(|_| Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(b"12345678"))));
    let unannounced = StreamBody::new(futures::stream::iter(chunks)).boxed();
    let stream = TcpStream::connect(server.http).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let post = http::Request::post("/v2/models/echo/infer").header("host", "t").body(unannounced).unwrap();
    assert_no_room(&collect(sender.send_request(post).await.unwrap()).await);
    drop(halves);
    until_held(&server, "who goes away gives back", |held| held == 0).await;
    assert_eq!(send(server.http, large("echo")).await.status.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_has_the_same_budget() {
    let server = Server::start().await;
    let to = format!("http://{}", server.grpc);
    let mut client = GrpcInferenceServiceClient::connect(to).await.unwrap();
    let numbers = MAX_BODY_BYTES / 4 - 64;
    let large = |model: &str| {
        let input = Tensor::from_f32("x", vec![i64::try_from(numbers).unwrap()], &vec![1.0; numbers]).unwrap();
        InferRequest { model_name: model.to_owned(), inputs: vec![input], ..InferRequest::default() }
    };
    let asked: Vec<_> = (0..3)
        .map(|_| {
            let (mut client, request) = (client.clone(), large("slow"));
            tokio::spawn(async move { client.model_infer(ModelInferRequest::from(request)).await })
        })
        .collect();
    until_held(&server, "three are held", |held| held > 3 * numbers * 4).await;
    let refused = client.model_infer(ModelInferRequest::from(large("slow"))).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains("server.total_body_bytes"), "{refused}");
    assert_eq!(refused.metadata().get("retry-after").unwrap(), "1");
    assert_eq!(refused.metadata().get("x-proofload-queue-ns").unwrap(), "0");
    assert!(join_all(asked).await.into_iter().all(|answer| answer.unwrap().is_ok()));
    until_held(&server, "all is free again", |held| held == 0).await;
    let messages: Vec<_> = (0..3).map(|_| ModelInferRequest::from(large("echo_1d"))).collect();
    let mut answers = client.model_stream_infer(futures::stream::iter(messages)).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        assert!(answer.error_message.contains("echo_1d"), "an unknown model: {}", answer.error_message);
        count += 1;
    }
    assert_eq!(count, 3);
    until_held(&server, "a stream gives back what each message took", |held| held == 0).await;
}
