//! gRPC messages of inference: what is read is written again, with raw contents, and then read as the same.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use proofload_fuzz::{Allowance, KIB};
use proofload_wire::grpc::inference as pb;
use proofload_wire::infer::{InferRequest, InferResponse};
use prost::Message;

/// An empty message of two bytes becomes a record of two hundred, in a vector that doubles.
const ALLOWANCE: Allowance = Allowance { fixed: 64 * KIB, per_byte: 1024 };

fuzz_target!(|input: &[u8]| {
    let input = Bytes::copy_from_slice(input);
    let request = ALLOWANCE.hold(input.len(), || {
        pb::ModelInferRequest::decode(input.clone()).ok().and_then(|message| InferRequest::try_from(message).ok())
    });
    if let Some(request) = request {
        let written = pb::ModelInferRequest::from(request).encode_to_vec();
        let message = pb::ModelInferRequest::decode(&*written).expect("what we write can be read");
        let again = InferRequest::try_from(message).expect("what we write fits the protocol");
        assert_eq!(pb::ModelInferRequest::from(again).encode_to_vec(), written);
    }
    let response = ALLOWANCE.hold(input.len(), || {
        pb::ModelInferResponse::decode(input.clone()).ok().and_then(|message| InferResponse::try_from(message).ok())
    });
    if let Some(response) = response {
        let written = pb::ModelInferResponse::from(response).encode_to_vec();
        let message = pb::ModelInferResponse::decode(&*written).expect("what we write can be read");
        let again = InferResponse::try_from(message).expect("what we write fits the protocol");
        assert_eq!(pb::ModelInferResponse::from(again).encode_to_vec(), written);
    }
});
