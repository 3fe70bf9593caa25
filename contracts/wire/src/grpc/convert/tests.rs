//! Messages there and back, and messages that contradict themselves.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::testing::{Travels, request, response};

proptest! {
    #[test]
    fn requests_survive(request in request(Travels::Raw)) {
        let bytes = pb::ModelInferRequest::from(request.clone()).encode_to_vec();
        let message = pb::ModelInferRequest::decode(Bytes::from(bytes)).unwrap();
        prop_assert_eq!(InferRequest::try_from(message).unwrap(), request);
    }

    #[test]
    fn responses_survive(response in response(Travels::Raw)) {
        let bytes = pb::ModelInferResponse::from(response.clone()).encode_to_vec();
        let message = pb::ModelInferResponse::decode(Bytes::from(bytes)).unwrap();
        prop_assert_eq!(InferResponse::try_from(message).unwrap(), response);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let _ = pb::ModelInferRequest::decode(bytes.clone()).map(InferRequest::try_from);
        let _ = pb::ModelInferResponse::decode(bytes).map(InferResponse::try_from);
    }

    #[test]
    fn no_damaged_message_panics(request in request(Travels::Raw), at: prop::sample::Index, byte: u8) {
        let mut bytes = pb::ModelInferRequest::from(request).encode_to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = pb::ModelInferRequest::decode(Bytes::from(bytes)).map(InferRequest::try_from);
    }
}

fn message(datatype: &str, shape: &[i64], contents: Option<pb::InferTensorContents>) -> pb::ModelInferRequest {
    let input = InferInputTensor {
        name: "x".to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        contents,
        ..InferInputTensor::default()
    };
    pb::ModelInferRequest { inputs: vec![input], ..pb::ModelInferRequest::default() }
}

#[test]
fn typed_contents_become_bytes() {
    #[track_caller]
    fn check(datatype: &str, contents: pb::InferTensorContents, expected: &[u8]) {
        let request = InferRequest::try_from(message(datatype, &[2], Some(contents))).unwrap();
        assert_eq!(request.inputs[0].data, expected, "{datatype}");
    }
    let empty = pb::InferTensorContents::default;
    check("BOOL", pb::InferTensorContents { bool_contents: vec![true, false], ..empty() }, &[1, 0]);
    check("INT8", pb::InferTensorContents { int_contents: vec![-1, 2], ..empty() }, &[0xff, 2]);
    check("INT16", pb::InferTensorContents { int_contents: vec![-1, 2], ..empty() }, &[0xff, 0xff, 2, 0]);
    check("INT32", pb::InferTensorContents { int_contents: vec![-1, 2], ..empty() }, &[255, 255, 255, 255, 2, 0, 0, 0]);
    check("UINT8", pb::InferTensorContents { uint_contents: vec![255, 2], ..empty() }, &[255, 2]);
    check("UINT16", pb::InferTensorContents { uint_contents: vec![256, 2], ..empty() }, &[0, 1, 2, 0]);
    check("UINT32", pb::InferTensorContents { uint_contents: vec![1, 2], ..empty() }, &[1, 0, 0, 0, 2, 0, 0, 0]);
    check(
        "FP32",
        pb::InferTensorContents { fp32_contents: vec![1.0, 0.0], ..empty() },
        &[0, 0, 0x80, 0x3f, 0, 0, 0, 0],
    );
    let texts = vec![Bytes::from_static(b"a"), Bytes::new()];
    check("BYTES", pb::InferTensorContents { bytes_contents: texts, ..empty() }, &[1, 0, 0, 0, b'a', 0, 0, 0, 0]);
    let wide = pb::InferTensorContents { int64_contents: vec![1, 2], ..empty() };
    check("INT64", wide, &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let wide = pb::InferTensorContents { uint64_contents: vec![1, 2], ..empty() };
    check("UINT64", wide, &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let wide = pb::InferTensorContents { fp64_contents: vec![0.0, 1.0], ..empty() };
    check("FP64", wide, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
}

#[test]
fn contradictions_are_refused_by_name() {
    #[track_caller]
    fn check(message: pb::ModelInferRequest, expected: &str) {
        let error = InferRequest::try_from(message).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} should contain {expected}");
    }
    let floats = |count| Some(pb::InferTensorContents { fp32_contents: vec![0.0; count], ..Default::default() });
    check(message("FP32", &[2], floats(1)), "has 4 bytes of data, but FP32 of shape [2] takes 8");
    check(message("INT32", &[1], floats(1)), "holds contents of another type");
    check(message("FP16", &[1], floats(1)), "send it in raw_input_contents");
    check(message("FP64", &[1], None), "has 0 bytes of data");
    check(message("float", &[1], None), "unknown datatype 'float'");
    let too_wide = pb::InferTensorContents { int_contents: vec![200], ..Default::default() };
    check(message("INT8", &[1], Some(too_wide)), "holds 200, which is no INT8");

    let mut both = message("FP32", &[1], floats(1));
    both.raw_input_contents = vec![Bytes::from_static(&[0; 4])];
    check(both, "has both `contents` and `raw_input_contents`");
    let mut too_many = message("FP32", &[1], None);
    too_many.raw_input_contents = vec![Bytes::from_static(&[0; 4]); 2];
    check(too_many, "raw_input_contents has 2 entries for 1 tensors");
    let mut shared = message("FP32", &[1], None);
    let region = pb::InferParameter { parameter_choice: Some(ParameterChoice::StringParam("r".to_owned())) };
    shared.inputs[0].parameters.insert("shared_memory_region".to_owned(), region);
    check(shared.clone(), "no `shared_memory_byte_size`");
    let size = pb::InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(4)) };
    shared.inputs[0].parameters.insert("shared_memory_byte_size".to_owned(), size);
    check(shared.clone(), "is in shared memory");
    let refused = |message| request_sharing(message, &Sevens).unwrap_err().to_string();
    shared.raw_input_contents = vec![Bytes::from_static(&[0; 4])];
    assert!(refused(shared.clone()).contains("has 1 entries for 0 tensors"));
    shared.raw_input_contents.clear();
    shared.inputs[0].contents = Some(pb::InferTensorContents { fp32_contents: vec![1.0], ..Default::default() });
    assert!(refused(shared).contains("has both `contents` and a `shared_memory_region`"));
}

/// Every region holds sevens.
struct Sevens;

impl Regions for Sevens {
    fn read(&self, _: &str, place: &Place) -> Result<Bytes, WireError> {
        Ok(vec![7; place.byte_size as usize].into())
    }
}

#[test]
fn raw_contents_have_no_entry_for_shared_tensors() {
    let shared = |value| pb::InferParameter { parameter_choice: Some(value) };
    let mut input = message("UINT8", &[2], None).inputs.remove(0);
    let plain = input.clone();
    input.parameters.insert("shared_memory_region".to_owned(), shared(ParameterChoice::StringParam("r".to_owned())));
    input.parameters.insert("shared_memory_byte_size".to_owned(), shared(ParameterChoice::Int64Param(2)));
    let raw_input_contents = vec![Bytes::from_static(b"ab"), Bytes::from_static(b"cd")];
    let inputs = vec![plain.clone(), input, plain];
    let message = pb::ModelInferRequest { inputs, raw_input_contents, ..Default::default() };
    let request = request_sharing(message, &Sevens).unwrap();
    let data: Vec<_> = request.inputs.iter().map(|input| input.data.to_vec()).collect();
    assert_eq!(data, [b"ab".to_vec(), vec![7, 7], b"cd".to_vec()]);
}

#[test]
fn raw_contents_are_not_copied() {
    let mut message = message("UINT8", &[64], None);
    message.raw_input_contents = vec![vec![7; 64].into()];
    let bytes = Bytes::from(message.encode_to_vec());
    let request = InferRequest::try_from(pb::ModelInferRequest::decode(bytes.clone()).unwrap()).unwrap();
    assert!(bytes.as_ptr_range().contains(&request.inputs[0].data.as_ptr()));
}

#[test]
fn the_model_configuration_has_tritons_json_form() {
    use pb::model_config::SchedulingChoice;
    let config = pb::ModelConfig {
        name: "m".to_owned(),
        max_batch_size: 8,
        input: vec![pb::ModelInput {
            name: "x".to_owned(),
            data_type: pb::DataType::TypeFp32.into(),
            dims: vec![16],
            ..Default::default()
        }],
        instance_group: vec![pb::ModelInstanceGroup {
            kind: pb::model_instance_group::Kind::Cpu.into(),
            count: 2,
            ..Default::default()
        }],
        scheduling_choice: Some(SchedulingChoice::DynamicBatching(pb::ModelDynamicBatching {
            preferred_batch_size: vec![4],
            default_queue_policy: Some(pb::ModelQueuePolicy::default()),
            ..Default::default()
        })),
        ..Default::default()
    };
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(json["input"][0]["data_type"], "TYPE_FP32");
    assert_eq!(json["input"][0]["format"], "FORMAT_NONE");
    assert_eq!(json["input"][0].get("reshape"), None, "absent messages go away");
    assert_eq!(json["instance_group"][0]["kind"], "KIND_CPU");
    assert_eq!(json["dynamic_batching"]["preferred_batch_size"][0], 4);
    assert_eq!(json["dynamic_batching"]["default_queue_policy"]["timeout_action"], "REJECT");
    assert_eq!(json["max_batch_size"], 8);
    assert_eq!(json.get("sequence_batching"), None);
}
