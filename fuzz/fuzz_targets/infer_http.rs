//! Bodies of inference over HTTP, behind two bytes of header length (65535: no header). What is read is written
//! again, as binary tensors and as JSON, and then read as the same.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use proofload_fuzz::{Allowance, KIB};
use proofload_wire::infer::{InferRequest, InferResponse, ParameterValue};
use proofload_wire::json_body::{
    BinaryOutputs, decode_generate, decode_request, decode_response, encode_request, encode_response,
};
use proofload_wire::types::TensorMetadata;

/// An empty tensor of forty bytes of JSON becomes a record of two hundred; a digit and a comma become eight bytes.
const ALLOWANCE: Allowance = Allowance { fixed: 64 * KIB, per_byte: 64 };

fuzz_target!(|input: &[u8]| {
    let Some((head, body)) = input.split_first_chunk::<2>() else { return };
    let length = u16::from_le_bytes(*head);
    let json_length = (length != u16::MAX).then_some(usize::from(length));
    let body = Bytes::copy_from_slice(body);
    if let Ok(decoded) = ALLOWANCE.hold(body.len(), || decode_request("m", None, &body, json_length)) {
        request_survives(decoded.request);
    }
    if let Ok(response) = ALLOWANCE.hold(body.len(), || decode_response(&body, json_length)) {
        response_survives(response);
    }
    let inputs = generate_inputs();
    if let Ok(request) = ALLOWANCE.hold(body.len(), || decode_generate("m", None, &body, &inputs)) {
        request_survives(request);
    }
});

/// What `generate` reads by: a text, numbers with open dimensions around a fixed one, and truths.
fn generate_inputs() -> [TensorMetadata; 3] {
    [("text_input", "BYTES", vec![1]), ("n", "INT16", vec![-1, 2, -1]), ("b", "BOOL", vec![-1])]
        .map(|(name, datatype, shape)| TensorMetadata { name: name.to_owned(), datatype: datatype.to_owned(), shape })
}

fn request_survives(mut request: InferRequest) {
    // Fractions may lose their last bit on the way through JSON.
    let whole = |value: &ParameterValue| !matches!(value, ParameterValue::Double(_));
    request.parameters.retain(|_, value| whole(value));
    request.outputs.iter_mut().for_each(|output| output.parameters.retain(|_, value| whole(value)));
    let read = |encoded: &proofload_wire::json_body::EncodedBody| {
        decode_request("m", None, &encoded.body, encoded.json_length).expect("what we write can be read").request
    };
    let binary = encode_request(&request, true).expect("binary tensors carry everything");
    assert_eq!(read(&binary), request);
    // JSON has one truth, binary tensors have 255: so it is the text that has to be the same.
    if let Ok(json) = encode_request(&request, false) {
        assert_eq!(encode_request(&read(&json), false), Ok(json));
    }
}

fn response_survives(mut response: InferResponse) {
    response.parameters.retain(|_, value| !matches!(value, ParameterValue::Double(_)));
    let binary = encode_response(&response, &BinaryOutputs::all()).expect("binary tensors carry everything");
    let read = decode_response(&binary.body, binary.json_length).expect("what we write can be read");
    assert_eq!(read, response);
}
