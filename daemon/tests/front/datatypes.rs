//! Every data type there and back, through an identity model, in every form that carries it.

use bytes::{BufMut, Bytes, BytesMut};
use proofload_wire::grpc::inference as pb;
use proofload_wire::grpc::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proofload_wire::infer::{InferRequest, InferResponse};
use proofload_wire::json_body::{JSON_LENGTH, decode_response, encode_request};
use proofload_wire::tensor::{DataType, Element, Tensor};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::server::{Server, request, send};

fn model(datatype: DataType, max_batch_size: u32) -> (String, String) {
    let config_type = datatype.to_config().as_str_name();
    let config = format!(
        r#"backend: "identity" max_batch_size: {max_batch_size}
           input {{ name: "x" data_type: {config_type} dims: [ -1 ] }}
           output {{ name: "y" data_type: {config_type} dims: [ -1 ] }}"#
    );
    (name(datatype, max_batch_size), config)
}

fn name(datatype: DataType, max_batch_size: u32) -> String {
    format!("identity_{datatype}_{max_batch_size}")
}

/// One to four rows of elements of any type, each element as its bytes.
fn tensor() -> impl Strategy<Value = Tensor> {
    let datatypes: Vec<DataType> = DataType::all().collect();
    (0..datatypes.len(), 1_usize..5, proptest::collection::vec(any::<u64>(), 20), 1_usize..5).prop_map(
        move |(which, rows, random, columns)| {
            let datatype = datatypes[which];
            let mut data = BytesMut::new();
            for number in random.iter().take(rows * columns) {
                put(datatype, *number, &mut data);
            }
            Tensor::new("x", datatype, vec![rows as i64, columns as i64], data.freeze()).unwrap()
        },
    )
}

fn put(datatype: DataType, random: u64, out: &mut BytesMut) {
    match datatype {
        DataType::Bool => out.put_u8((random % 2) as u8),
        // Texts of different lengths, some with a zero or a character of several bytes in them.
        DataType::Bytes => {
            let text = &"é\0\"\\ab"[..["", "é", "é\0", "é\0\"", "é\0\"\\", "é\0\"\\a"][(random % 6) as usize].len()];
            out.put_u32_le(text.len() as u32);
            out.put_slice(text.as_bytes());
        }
        // Finite, so that JSON can say it; every pattern of the other types is a number.
        DataType::Fp32 => out.put_f32_le(random as u32 as f32 / 3.0),
        DataType::Fp64 => out.put_f64_le(random as f64 / 3.0),
        _ => out.put_slice(&random.to_le_bytes()[..datatype.size().unwrap()]),
    }
}

fn ask(tensor: &Tensor, max_batch_size: u32) -> InferRequest {
    let model_name = name(tensor.datatype, max_batch_size);
    let mut input = tensor.clone();
    if max_batch_size == 0 {
        input.shape = vec![input.shape.iter().product()];
    }
    InferRequest { model_name, inputs: vec![input], ..InferRequest::default() }
}

/// The same data under the output's name.
fn expect(request: &InferRequest, response: &InferResponse, how: &str) {
    let (sent, got) = (&request.inputs[0], &response.outputs[0]);
    assert_eq!((got.name.as_str(), got.datatype, &got.shape), ("y", sent.datatype, &sent.shape), "{how}");
    assert_eq!(got.data, sent.data, "{how}: {sent:?}");
}

async fn over_http(server: &Server, request_: &InferRequest, binary: bool) -> Result<InferResponse, String> {
    let encoded = encode_request(request_, binary).map_err(|error| error.to_string())?;
    let length = encoded.json_length.map(|length| length.to_string());
    let headers: Vec<(&str, &str)> = length.iter().map(|length| (JSON_LENGTH, length.as_str())).collect();
    let path = format!("/v2/models/{}/infer", request_.model_name);
    let answer = send(server.http, request("POST", &path, &headers, encoded.body)).await;
    if answer.status != 200 {
        return Err(answer.json()["error"].to_string());
    }
    let length = answer.headers.get(JSON_LENGTH).map(|length| length.to_str().unwrap().parse().unwrap());
    Ok(decode_response(&answer.body, length).unwrap())
}

fn typed<T: Element, W: From<T>>(tensor: &Tensor) -> Vec<W> {
    tensor.to_values::<T>().unwrap().into_iter().map(W::from).collect()
}

/// The data as typed contents; `None` for types that have none.
fn contents(tensor: &Tensor) -> Option<pb::InferTensorContents> {
    let mut contents = pb::InferTensorContents::default();
    match tensor.datatype {
        DataType::Bool => contents.bool_contents = tensor.data.iter().map(|byte| *byte != 0).collect(),
        DataType::Int8 => contents.int_contents = typed::<i8, _>(tensor),
        DataType::Int16 => contents.int_contents = typed::<i16, _>(tensor),
        DataType::Int32 => contents.int_contents = typed::<i32, _>(tensor),
        DataType::Int64 => contents.int64_contents = typed::<i64, _>(tensor),
        DataType::Uint8 => contents.uint_contents = typed::<u8, _>(tensor),
        DataType::Uint16 => contents.uint_contents = typed::<u16, _>(tensor),
        DataType::Uint32 => contents.uint_contents = typed::<u32, _>(tensor),
        DataType::Uint64 => contents.uint64_contents = typed::<u64, _>(tensor),
        DataType::Fp32 => contents.fp32_contents = typed::<f32, _>(tensor),
        DataType::Fp64 => contents.fp64_contents = typed::<f64, _>(tensor),
        DataType::Bytes => contents.bytes_contents = tensor.strings().map(Bytes::copy_from_slice).collect(),
        DataType::Fp16 | DataType::Bf16 => return None,
    }
    Some(contents)
}

async fn check(server: &Server, tensor: &Tensor, max_batch_size: u32) {
    let request = ask(tensor, max_batch_size);
    expect(&request, &over_http(server, &request, true).await.unwrap(), "binary");
    let json = over_http(server, &request, false).await;
    match tensor.datatype {
        DataType::Fp16 | DataType::Bf16 => assert!(json.unwrap_err().contains("JSON cannot carry")),
        _ => expect(&request, &json.unwrap(), "JSON"),
    }
    let mut client = GrpcInferenceServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();
    let raw = client.model_infer(pb::ModelInferRequest::from(request.clone())).await.unwrap().into_inner();
    expect(&request, &InferResponse::try_from(raw).unwrap(), "raw contents");
    let Some(contents) = contents(tensor) else { return };
    let mut message = pb::ModelInferRequest::from(request.clone());
    message.raw_input_contents.clear();
    message.inputs[0].contents = Some(contents);
    let answer = client.model_infer(message).await.unwrap().into_inner();
    expect(&request, &InferResponse::try_from(answer).unwrap(), "typed contents");
}

/// Whatever the elements: what comes back in any form is, to the bit, what was sent in it.
#[test]
fn every_datatype_survives_every_form() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let models: Vec<_> = DataType::all().flat_map(|datatype| [model(datatype, 0), model(datatype, 8)]).collect();
    let server = runtime.block_on(Server::with_models(&models));
    let mut runner = TestRunner::new(ProptestConfig { cases: 150, ..ProptestConfig::default() });
    let cases = (tensor(), prop_oneof![Just(0), Just(8)]);
    let run = runner.run(&cases, |(tensor, max_batch_size)| {
        runtime.block_on(check(&server, &tensor, max_batch_size));
        Ok(())
    });
    run.unwrap();
}
