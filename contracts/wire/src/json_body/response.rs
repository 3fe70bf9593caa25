//! Bodies of inference responses.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::tensors::{Received, Sent, append, receive};
use super::{BinaryOutputs, EncodedBody, json_error, split};
use crate::WireError;
use crate::infer::{InferResponse, Parameters};
use crate::shared::NotOffered;
use crate::tensor::Tensor;

#[derive(Serialize)]
struct SentResponse<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Parameters::is_empty")]
    parameters: &'a Parameters,
    outputs: Vec<Sent<'a>>,
}

/// Writes the body of a response.
///
/// # Errors
/// When an output that is wanted as JSON cannot be said in it, such as NaN, FP16, or text that is no UTF-8.
pub fn encode_response(response: &InferResponse, binary_outputs: &BinaryOutputs) -> Result<EncodedBody, WireError> {
    let is_binary = |output: &&Tensor| binary_outputs.wants(&output.name);
    let sent = SentResponse {
        id: &response.id,
        model_name: &response.model_name,
        model_version: &response.model_version,
        parameters: &response.parameters,
        outputs: response.outputs.iter().map(|output| Sent::new(output, binary_outputs.form(&output.name))).collect(),
    };
    let json = serde_json::to_vec(&sent).map_err(|error| WireError::Unencodable(error.to_string()))?;
    let json_length = response.outputs.iter().any(|output| is_binary(&output)).then_some(json.len());
    let body = append(json, response.outputs.iter().filter(is_binary));
    Ok(EncodedBody { body, json_length })
}

#[derive(Deserialize)]
struct ReceivedResponse<'a> {
    #[serde(default)]
    id: String,
    model_name: String,
    #[serde(default)]
    model_version: String,
    #[serde(default)]
    parameters: Parameters,
    #[serde(borrow)]
    outputs: Vec<Received<'a>>,
}

/// Reads the body of a response.
///
/// # Errors
/// When the body is not what the protocol says; the message says where.
pub fn decode_response(body: &Bytes, json_length: Option<usize>) -> Result<InferResponse, WireError> {
    let (json, binary) = split(body, json_length)?;
    let received: ReceivedResponse<'_> = serde_json::from_slice(&json).map_err(|error| json_error(&error))?;
    Ok(InferResponse {
        model_name: received.model_name,
        model_version: received.model_version,
        id: received.id,
        parameters: received.parameters,
        outputs: receive(received.outputs, binary, &NotOffered)?,
    })
}
