//! Requests that are broken in every way: each gets an answer that says what is wrong, none takes memory for what it
//! only announces, and whoever comes next is served.

use std::time::Duration;

use ::http::Request;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proofload_wire::grpc::inference as pb;
use proofload_wire::infer::InferRequest;
use proofload_wire::json_body::{JSON_LENGTH, encode_request};
use proofload_wire::tensor::Tensor;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Server, request, send};

const INFER: &str = "/v2/models/echo/infer";

fn good() -> InferRequest {
    InferRequest {
        model_name: "echo".to_owned(),
        inputs: vec![Tensor::from_f32("x", vec![1, 3], &[1.0, 2.0, 3.0]).unwrap()],
        ..InferRequest::default()
    }
}

/// A connection over HTTP/2 on which every request is sent, so that none may break it.
async fn connect(server: &Server) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

/// The gRPC status of a body that is sent as it is, and its message.
async fn call(server: &Server, sender: &mut SendRequest<Full<Bytes>>, body: Vec<u8>) -> (u16, String) {
    let uri = format!("http://{}/inference.GRPCInferenceService/ModelInfer", server.grpc);
    let request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
    let response = sender.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
    let field = |name: &str| trailers.get(name).or_else(|| head.headers.get(name)).map(|value| value.to_str().unwrap());
    (field("grpc-status").unwrap().parse().unwrap(), field("grpc-message").unwrap_or_default().to_owned())
}

fn framed(flag: u8, length: usize, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &u32::try_from(length).unwrap().to_be_bytes(), message].concat()
}

#[tokio::test]
async fn broken_grpc_messages_are_answered_and_break_nothing() {
    let server = Server::start().await;
    let mut sender = connect(&server).await;
    let message = pb::ModelInferRequest::from(good()).encode_to_vec();
    assert_eq!(call(&server, &mut sender, framed(0, message.len(), &message)).await.0, 0);
    let rows = [
        ("nothing at all", Vec::new()),
        ("half a prefix", vec![0, 0, 0]),
        ("no message after its prefix", framed(0, message.len(), &[])),
        ("half a message", framed(0, message.len(), &message[..message.len() / 2])),
        ("a message longer than any may be", framed(0, 1 << 31, &message)),
        ("a compressed message", framed(1, message.len(), &message)),
        ("an unknown flag", framed(9, message.len(), &message)),
        ("bytes that are no message", framed(0, 4, &[0xff; 4])),
        ("a length within that goes beyond the end", framed(0, 3, &[0x0a, 0x7f, b'e'])),
    ];
    for (what, body) in rows {
        let (status, text) = call(&server, &mut sender, body).await;
        assert!(status != 0 && !text.is_empty(), "{what}: {status} {text}");
    }
    assert_eq!(call(&server, &mut sender, framed(0, message.len(), &message)).await.0, 0, "the connection lives");
    assert!(server.engine.metrics_text().contains("proofload_held_body_bytes 0"), "nothing of the budget is kept");
}

/// Cut anywhere, or with any one byte changed: an answer, which may even be a success, and never a broken connection.
#[tokio::test]
async fn damaged_grpc_messages_never_break_the_connection() {
    let server = Server::start().await;
    let mut sender = connect(&server).await;
    let message = pb::ModelInferRequest::from(good()).encode_to_vec();
    for at in 0..message.len() {
        let (cut, mut changed) = (&message[..at], message.clone());
        changed[at] ^= 0xff;
        call(&server, &mut sender, framed(0, cut.len(), cut)).await;
        call(&server, &mut sender, framed(0, changed.len(), &changed)).await;
    }
    assert_eq!(call(&server, &mut sender, framed(0, message.len(), &message)).await.0, 0);
}

#[tokio::test]
async fn impossible_shapes_are_refused_by_name() {
    let server = Server::start().await;
    let max = i64::MAX;
    let rows = [
        (vec![max, max], "more elements than any machine"),
        (vec![1 << 32, 1 << 32], "more elements than any machine"),
        (vec![max, 1], "more bytes than any machine"),
        (vec![1 << 61, 1], "has 4 bytes of data"),
        (vec![-1, 1], "every dimension must be 0 or more"),
        (vec![i64::MIN, 1], "every dimension must be 0 or more"),
        (vec![1; 33], "more than 32 dimensions"),
        (vec![0, max], "has 4 bytes of data"),
    ];
    let mut sender = connect(&server).await;
    for (shape, words) in rows {
        let json = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":{shape:?},"data":[1]}}]}}"#);
        let answer = send(server.http, request("POST", INFER, &[], json)).await;
        let message = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(answer.status == 400 && message.contains(words), "{shape:?}: {} {message}", answer.status);
        let mut message = pb::ModelInferRequest::from(good());
        message.inputs[0].shape = shape.clone();
        message.raw_input_contents = vec![Bytes::from_static(&[0; 4])];
        let message = message.encode_to_vec();
        let (status, text) = call(&server, &mut sender, framed(0, message.len(), &message)).await;
        assert_eq!(status, 3, "{shape:?}: {text}");
    }
}

#[tokio::test]
async fn truncated_bodies_are_refused_and_break_nothing() {
    let server = Server::start().await;
    let encoded = encode_request(&good(), true).unwrap();
    let length = encoded.json_length.unwrap();
    for cut in 0..encoded.body.len() {
        let headers = [(JSON_LENGTH, &*length.to_string())];
        let answer = send(server.http, request("POST", INFER, &headers, encoded.body.slice(..cut))).await;
        assert_eq!(answer.status, 400, "{cut}: {answer:?}");
    }
    let json = encode_request(&good(), false).unwrap().body;
    for cut in 0..json.len() {
        let answer = send(server.http, request("POST", INFER, &[], json.slice(..cut))).await;
        assert_eq!(answer.status, 400, "{cut}: {answer:?}");
    }
    for length in ["1000000000", "-1", "1e3", "18446744073709551616"] {
        let answer = send(server.http, request("POST", INFER, &[(JSON_LENGTH, length)], encoded.body.clone())).await;
        assert_eq!(answer.status, 400, "{length}: {answer:?}");
    }
    assert_eq!(send(server.http, request("POST", INFER, &[], json)).await.status, 200);
}

/// A client that announces more than it sends and goes: its place and its share of the budget are free again.
#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing_behind() {
    let server = Server::start().await;
    let mut half = TcpStream::connect(server.http).await.unwrap();
    half.write_all(b"POST /v2/models/echo/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n{\"inputs\"")
        .await
        .unwrap();
    half.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), half.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection is closed: {}", String::from_utf8_lossy(&answer));
    let free = async {
        while !server.engine.metrics_text().contains("proofload_held_body_bytes 0") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), free).await.expect("the budget is whole again");
}
