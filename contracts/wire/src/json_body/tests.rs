//! Bodies there and back, bodies of other people, and bodies that are wrong.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::infer::InferResponse;
use crate::tensor::{DataType, Tensor};
use crate::testing::{Travels, request, response};

proptest! {
    #[test]
    fn json_requests_survive(request in request(Travels::Json)) {
        let encoded = encode_request(&request, false).unwrap();
        prop_assert_eq!(encoded.json_length, None);
        let decoded = decode_request(&request.model_name, request.model_version.as_deref(), &encoded.body, None).unwrap();
        prop_assert_eq!(decoded, DecodedRequest { request, binary_outputs: BinaryOutputs::none() });
    }

    #[test]
    fn binary_requests_survive(request in request(Travels::Raw)) {
        let encoded = encode_request(&request, true).unwrap();
        let version = request.model_version.as_deref();
        let decoded = decode_request(&request.model_name, version, &encoded.body, encoded.json_length).unwrap();
        prop_assert_eq!(decoded, DecodedRequest { request, binary_outputs: BinaryOutputs::all() });
    }

    #[test]
    fn json_responses_survive(response in response(Travels::Json)) {
        let encoded = encode_response(&response, &BinaryOutputs::none()).unwrap();
        prop_assert_eq!(encoded.json_length, None);
        prop_assert_eq!(decode_response(&encoded.body, None).unwrap(), response);
    }

    #[test]
    fn binary_responses_survive(response in response(Travels::Raw)) {
        let encoded = encode_response(&response, &BinaryOutputs::all()).unwrap();
        prop_assert_eq!(decode_response(&encoded.body, encoded.json_length).unwrap(), response);
    }

    #[test]
    fn binary_tensors_are_slices_of_the_body(request in request(Travels::Raw)) {
        let encoded = encode_request(&request, true).unwrap();
        let decoded = decode_request("m", None, &encoded.body, encoded.json_length).unwrap();
        let body = encoded.body.as_ptr_range();
        for input in decoded.request.inputs.iter().filter(|input| !input.data.is_empty()) {
            prop_assert!(body.contains(&input.data.as_ptr()), "{} was copied", input.name);
        }
    }

    #[test]
    fn no_bytes_panic(body: Vec<u8>, json_length in proptest::option::of(0_usize..600)) {
        let body = Bytes::from(body);
        let _ = decode_request("m", None, &body, json_length);
        let _ = decode_response(&body, json_length);
    }

    #[test]
    fn no_tensor_panics(
        datatype in prop_oneof!["FP32", "INT8", "UINT64", "BOOL", "BYTES", "FP16", "[A-Z]{0,5}"],
        shape in "(-?[0-9]{1,20},){0,3}1",
        data in r#"[\[\]{}0-9.eE+\-,":a-z\\ ]{0,40}"#,
        size in -9_i64..99,
        tail: Vec<u8>,
    ) {
        for data in [format!(r#""data":{data}"#), format!(r#""parameters":{{"binary_data_size":{size}}}"#)] {
            let json = format!(r#"{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":[{shape}],{data}}}]}}"#);
            let body = Bytes::from([json.as_bytes(), &tail].concat());
            let _ = decode_request("m", None, &body, Some(json.len()));
        }
    }

    #[test]
    fn no_raw_body_panics(shape in proptest::collection::vec(-2_i64.., 0..5), body: Vec<u8>, which in 0_usize..14) {
        let datatype = DataType::all().nth(which).unwrap();
        let _ = decode_raw_request("x", datatype, &shape, &body.into());
    }
}

/// The only input of a request in JSON, or the error.
fn only_input(json: &str) -> Result<Tensor, WireError> {
    let decoded = decode_request("m", None, &Bytes::copy_from_slice(json.as_bytes()), None)?;
    Ok(decoded.request.inputs.into_iter().next().expect("the JSON has an input"))
}

fn input(datatype: &str, shape: &str, data: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"x","data":{data},"shape":{shape},"datatype":"{datatype}"}}]}}"#)
}

#[test]
fn nested_arrays_are_flattened() {
    #[track_caller]
    fn check(shape: &str, data: &str, expected: &[f32]) {
        let tensor = only_input(&input("FP32", shape, data)).unwrap();
        assert_eq!(tensor.to_f32().unwrap(), expected, "{data}");
    }
    check("[2,2]", "[1,2,3,4]", &[1.0, 2.0, 3.0, 4.0]);
    check("[2,2]", "[[1,2],[3,4]]", &[1.0, 2.0, 3.0, 4.0]);
    check("[2,1,2]", "[ [[ 1.5 , -2e1 ]] ,\n\t[[0.1,1E-3]]\r\n]", &[1.5, -20.0, 0.1, 0.001]);
    check("[0]", "[]", &[]);
    check("[]", "[7]", &[7.0]);
}

#[test]
fn strings_are_unescaped() {
    let tensor = only_input(&input("BYTES", "[2,2]", r#"[["a,b]\"c", "\u00e9\\"], ["", "[1]"]]"#)).unwrap();
    let strings: Vec<&[u8]> = tensor.strings().collect();
    assert_eq!(strings, [b"a,b]\"c".as_slice(), "é\\".as_bytes(), b"", b"[1]"]);
}

#[test]
fn wrong_requests_are_refused_by_name() {
    #[track_caller]
    fn check(json: &str, expected: &str) {
        let error = only_input(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error} should contain {expected}");
    }
    check(&input("FP32", "[2]", "[1]"), "has 4 bytes of data, but FP32 of shape [2] takes 8");
    check(&input("FP32", "[1]", "[\"1\"]"), "has \"1\" in its data, which is no FP32");
    check(&input("FP32", "[1]", "[1e99]"), "has 1e99 in its data, which is no FP32");
    check(&input("FP32", "[1]", "[null]"), "which is no FP32");
    check(&input("FP32", "[1]", "7"), "no array");
    check(&input("UINT8", "[1]", "[256]"), "has 256 in its data, which is no UINT8");
    check(&input("INT32", "[1]", "[1.5]"), "which is no INT32");
    check(&input("BOOL", "[1]", "[1]"), "has 1 in its data, which is no BOOL");
    check(&input("BYTES", "[1]", "[1]"), "which is no BYTES");
    check(&input("BYTES", "[1]", "[{\"a\":1}]"), "which is no BYTES");
    check(&input("FP16", "[1]", "[1]"), "use the binary tensor data extension");
    check(&input("FLOAT", "[1]", "[1]"), "unknown datatype 'FLOAT'");
    check(&input("FP32", "[-1]", "[1]"), "every dimension must be 0 or more");
    check(
        r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1]}]}"#,
        "has none of `data`, the parameter `binary_data_size`",
    );
    check("{}", "missing field `inputs`");
    check("[", "cannot read the JSON");
    check(
        r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"parameters":{"shared_memory_region":"r"}}]}"#,
        "no `shared_memory_byte_size`",
    );
    let shared = r#""parameters":{"shared_memory_region":"r","shared_memory_byte_size":4}"#;
    check(
        &format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1],{shared}}}]}}"#),
        "is in shared memory, which is not offered",
    );
    check(
        &format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1],"data":[1],{shared}}}]}}"#),
        "has more than one of `data`",
    );
    let twice = r#"{"shared_memory_region":"r","shared_memory_byte_size":4,"classification":1}"#;
    check(&format!(r#"{{"inputs":[],"outputs":[{{"name":"y","parameters":{twice}}}]}}"#), "'classification'");
    let twice = twice.replace("classification\":1", "binary_data\":true");
    check(&format!(r#"{{"inputs":[],"outputs":[{{"name":"y","parameters":{twice}}}]}}"#), "'binary_data'");
    check(r#"{"parameters":{"binary_data_output":1},"inputs":[]}"#, "`binary_data_output` must be true or false");
    check(r#"{"parameters":{"a":{}},"inputs":[]}"#, "a parameter is a boolean, a number or a string");
}

/// Every region holds the bytes 0, 1, 2 and so on.
struct Counting;

impl crate::shared::Regions for Counting {
    fn read(&self, _: &str, place: &crate::shared::Place) -> Result<Bytes, WireError> {
        Ok((place.offset..place.offset + place.byte_size).map(|byte| byte as u8).collect::<Vec<_>>().into())
    }
}

#[test]
fn shared_tensors_stand_beside_others() {
    let shared = r#"{"name":"x","datatype":"UINT8","shape":[3],
        "parameters":{"shared_memory_region":"r","shared_memory_offset":4,"shared_memory_byte_size":3}}"#;
    let binary = r#"{"name":"z","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}}"#;
    let output = r#"{"name":"y","parameters":{"shared_memory_region":"r","shared_memory_byte_size":9}}"#;
    let json = format!(r#"{{"inputs":[{shared},{binary}],"outputs":[{output}]}}"#);
    let body = Bytes::from(format!("{json}ab"));
    let decoded = decode_request_sharing("m", None, &body, Some(json.len()), &Counting).unwrap();
    let data: Vec<_> = decoded.request.inputs.iter().map(|input| input.data.to_vec()).collect();
    assert_eq!(data, [vec![4, 5, 6], b"ab".to_vec()]);
    assert!(decoded.binary_outputs.is_elsewhere("y") && !decoded.binary_outputs.wants("y"));
    assert!(decoded.request.outputs[0].parameters.contains_key("shared_memory_region"), "the server needs it");
    let output = Tensor::new("y", DataType::Uint8, vec![1], Bytes::from_static(b"7")).unwrap();
    let response = InferResponse { outputs: vec![output], ..InferResponse::default() };
    let encoded = encode_response(&response, &decoded.binary_outputs).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(json["outputs"][0], serde_json::json!({"name": "y", "datatype": "UINT8", "shape": [1]}));
    assert_eq!(encoded.json_length, None);
}

#[test]
fn wrong_framing_is_refused() {
    #[track_caller]
    fn check(size: &str, tail: &str, length: Option<usize>, expected: &str) {
        let json = format!(
            r#"{{"inputs":[{{"name":"x","datatype":"UINT8","shape":[2],"parameters":{{"binary_data_size":{size}}}}}]}}"#
        );
        let body = Bytes::from(format!("{json}{tail}"));
        let error = decode_request("m", None, &body, length.or(Some(json.len()))).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} should contain {expected}");
    }
    check("2", "a", None, "only 1 bytes are left");
    check("2", "abc", None, "1 bytes follow the last binary tensor");
    check("3", "abc", None, "has 3 bytes of data, but UINT8 of shape [2] takes 2");
    check("-1", "", None, "no byte count");
    check("\"2\"", "ab", None, "no byte count");
    check("2", "ab", Some(1000), "the whole body has only");
}

#[test]
fn outputs_say_how_they_want_to_travel() {
    let body = br#"{"parameters":{"binary_data_output":true,"timeout":5},"inputs":[],
                    "outputs":[{"name":"a","parameters":{"binary_data":false,"classification":3}},{"name":"b"}]}"#;
    let decoded = decode_request("m", Some("2"), &Bytes::from_static(body), None).unwrap();
    let wants = |name| decoded.binary_outputs.wants(name);
    assert_eq!((wants("a"), wants("b"), wants("c")), (false, true, true));
    assert_eq!(decoded.request.model_version.as_deref(), Some("2"));
    let left: Vec<&String> =
        decoded.request.parameters.keys().chain(decoded.request.outputs[0].parameters.keys()).collect();
    assert_eq!(left, ["timeout", "classification"], "what only concerns the encoding is taken out");
}

#[test]
fn a_mixed_response_has_one_json_and_one_binary_output() {
    let response = InferResponse {
        model_name: "m".into(),
        model_version: "1".into(),
        outputs: vec![
            Tensor::from_f32("json", vec![1], &[0.1]).unwrap(),
            Tensor::from_f32("binary", vec![1], &[1.0]).unwrap(),
        ],
        ..InferResponse::default()
    };
    let request = br#"{"inputs":[],"outputs":[{"name":"binary","parameters":{"binary_data":true}}]}"#;
    let wanted = decode_request("m", None, &Bytes::from_static(request), None).unwrap().binary_outputs;
    let encoded = encode_response(&response, &wanted).unwrap();
    let json = concat!(
        r#"{"model_name":"m","model_version":"1","outputs":["#,
        r#"{"name":"json","datatype":"FP32","shape":[1],"data":[0.1]},"#,
        r#"{"name":"binary","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}"#
    );
    assert_eq!(encoded.json_length, Some(json.len()));
    assert_eq!(encoded.body, [json.as_bytes(), &[0, 0, 0x80, 0x3f]].concat());
    assert_eq!(encoded.content_type(), "application/octet-stream");
}

#[test]
fn json_does_not_lie_about_what_it_cannot_say() {
    #[track_caller]
    fn check(output: Tensor, expected: &str) {
        let response = InferResponse { outputs: vec![output], ..InferResponse::default() };
        let error = encode_response(&response, &BinaryOutputs::none()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} should contain {expected}");
        encode_response(&response, &BinaryOutputs::all()).unwrap();
    }
    check(Tensor::from_f32("x", vec![1], &[f32::NAN]).unwrap(), "NaN or infinity");
    check(Tensor::from_values("x", vec![1], &[f64::INFINITY]).unwrap(), "NaN or infinity");
    check(Tensor::from_strings("x", vec![1], &[[0xff]]).unwrap(), "no UTF-8");
    check(Tensor::new("x", DataType::Bf16, vec![1], Bytes::from_static(&[0, 0])).unwrap(), "binary");
}

#[test]
fn raw_requests_fill_in_one_dimension() {
    #[track_caller]
    fn check(datatype: DataType, shape: &[i64], length: usize, expected: Result<&[i64], &str>) {
        let found = decode_raw_request("x", datatype, shape, &vec![0; length].into());
        match (found, expected) {
            (Ok(tensor), Ok(shape)) => assert_eq!(tensor.shape, shape),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error} should contain {part}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }
    check(DataType::Fp32, &[-1, 16], 128, Ok(&[2, 16]));
    check(DataType::Fp32, &[1, 16], 64, Ok(&[1, 16]));
    check(DataType::Uint8, &[-1], 0, Ok(&[0]));
    check(DataType::Bytes, &[-1], 5, Ok(&[1]));
    check(DataType::Bytes, &[1, 1], 5, Ok(&[1, 1]));
    check(DataType::Fp32, &[-1, 16], 65, Err("has 65 bytes of data"));
    check(DataType::Fp32, &[-1, 0], 4, Err("has 4 bytes of data"));
    check(DataType::Fp32, &[-1, -1], 64, Err("has 2 variable dimensions"));
}
