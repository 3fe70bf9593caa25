//! Compressed bodies, of requests and of answers.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use proofload_wire::grpc::inference::ModelInferRequest;
use proofload_wire::grpc::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proofload_wire::infer::InferRequest;
use proofload_wire::tensor::Tensor;
use tonic::Code;
use tonic::codec::CompressionEncoding;

use crate::server::{MAX_BODY_BYTES, Server, request, send};

const INFER: &str = "/v2/models/echo/infer";

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn numbers(count: usize) -> String {
    let data = vec!["0.25"; count].join(",");
    format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,{count}],"data":[{data}]}}]}}"#)
}

#[tokio::test]
async fn requests_and_answers_are_coded_as_their_headers_say() {
    let server = Server::start().await;
    let plain = numbers(1000);
    let codings: [(&str, Vec<u8>); 3] =
        [("identity", plain.clone().into()), ("gzip", gzip(plain.as_bytes())), ("deflate", zlib(plain.as_bytes()))];
    for (said, body) in codings {
        for wanted in ["", "gzip", "deflate", "br"] {
            let headers = [("content-encoding", said), ("accept-encoding", wanted)];
            let answer = send(server.http, request("POST", INFER, &headers, body.clone())).await;
            assert_eq!(answer.status.as_u16(), 200, "{said} {wanted}: {answer:?}");
            let mut text = String::new();
            match answer.header("content-encoding") {
                "gzip" => GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap(),
                "deflate" => ZlibDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap(),
                _ => (&answer.body[..]).read_to_string(&mut text).unwrap(),
            };
            let expected = if wanted == "br" { "" } else { wanted };
            assert_eq!(answer.header("content-encoding"), expected);
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(json["outputs"][0]["data"].as_array().unwrap().len(), 1000);
        }
    }
    let small = send(server.http, request("POST", INFER, &[("accept-encoding", "gzip")], numbers(2))).await;
    assert_eq!(small.header("content-encoding"), "", "not worth it");
}

#[tokio::test]
async fn a_bomb_is_refused_by_the_size_that_it_would_have() {
    let server = Server::start().await;
    for (said, bomb) in [("gzip", gzip(&vec![b' '; 64 << 20])), ("deflate", zlib(&vec![b' '; 64 << 20]))] {
        // As many zeroes as fit into the body: a thousand times as many come out.
        let bomb = &bomb[..bomb.len().min(MAX_BODY_BYTES)];
        let headers = [("content-encoding", said)];
        let answer = send(server.http, request("POST", INFER, &headers, bomb.to_vec())).await;
        assert_eq!(answer.status.as_u16(), 413, "{answer:?}");
        let text = server.engine.metrics_text();
        assert!(text.contains("proofload_held_body_bytes 0"), "nothing of it is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_messages_may_be_compressed_within_the_same_bounds() {
    let server = Server::start().await;
    for coding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        let client = GrpcInferenceServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();
        let mut client = client.send_compressed(coding);
        let message = |numbers: usize| {
            let input = Tensor::from_f32("x", vec![1, i64::try_from(numbers).unwrap()], &vec![0.0; numbers]).unwrap();
            let request =
                InferRequest { model_name: "echo".to_owned(), inputs: vec![input], ..InferRequest::default() };
            ModelInferRequest::from(request)
        };
        let answer = client.model_infer(message(1000)).await.unwrap().into_inner();
        assert_eq!(answer.raw_output_contents[0].len(), 4000);
        let refused = client.model_infer(message(4 << 20)).await.unwrap_err();
        assert_ne!(refused.code(), Code::Unavailable, "{refused:?}");
        let text = server.engine.metrics_text();
        assert!(text.contains("proofload_held_body_bytes 0"), "nothing of it is kept");
    }
}
