//! Bodies of inference requests.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::tensors::{Received, Sent, append, receive};
use super::{BinaryOutputs, EncodedBody, Form, json_error, split};
use crate::WireError;
use crate::infer::{InferRequest, ParameterValue, Parameters, RequestedOutput};
use crate::shared::{self, NotOffered, Regions};
use crate::tensor::{DataType, Tensor, element_count, put_string};

/// Parameter of a request: outputs are binary unless they say otherwise themselves.
const BINARY_DATA_OUTPUT: &str = "binary_data_output";
/// Parameter of a wanted output: whether it is to be binary.
const BINARY_DATA: &str = "binary_data";

/// Parameter of a wanted output: its classes instead of its data.
const CLASSIFICATION: &str = "classification";

/// A request, and how its answer is to be encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedRequest {
    /// The request, without the parameters that only concern the encoding.
    pub request: InferRequest,
    /// Which outputs are to be binary.
    pub binary_outputs: BinaryOutputs,
}

#[derive(Deserialize)]
struct ReceivedRequest<'a> {
    #[serde(default)]
    id: String,
    #[serde(default)]
    parameters: Parameters,
    #[serde(borrow)]
    inputs: Vec<Received<'a>>,
    #[serde(default)]
    outputs: Vec<ReceivedOutput>,
}

#[derive(Deserialize)]
struct ReceivedOutput {
    name: String,
    #[serde(default)]
    parameters: Parameters,
}

/// Reads the body of a request for this model. Tensors in shared memory are refused.
///
/// # Errors
/// When the body is not what the protocol says; the message says where.
pub fn decode_request(
    model: &str,
    version: Option<&str>,
    body: &Bytes,
    json_length: Option<usize>,
) -> Result<DecodedRequest, WireError> {
    decode_request_sharing(model, version, body, json_length, &NotOffered)
}

/// Reads the body of a request for this model, and from `regions` the inputs that are in shared memory.
///
/// # Errors
/// When the body is not what the protocol says, or an input is not where it says; the message says where.
pub fn decode_request_sharing(
    model: &str,
    version: Option<&str>,
    body: &Bytes,
    json_length: Option<usize>,
    regions: &dyn Regions,
) -> Result<DecodedRequest, WireError> {
    let (json, binary) = split(body, json_length)?;
    let mut received: ReceivedRequest<'_> = serde_json::from_slice(&json).map_err(|error| json_error(&error))?;
    let default = take_flag(&mut received.parameters, BINARY_DATA_OUTPUT)?.unwrap_or(false);
    let (mut named, mut elsewhere) = (BTreeMap::new(), BTreeSet::new());
    for output in &mut received.outputs {
        let binary = take_flag(&mut output.parameters, BINARY_DATA)?;
        if output.parameters.contains_key(shared::REGION) {
            refuse_both(output, binary)?;
            elsewhere.insert(output.name.clone());
        }
        if let Some(binary) = binary {
            named.insert(output.name.clone(), binary);
        }
    }
    let outputs = received.outputs.into_iter();
    let request = InferRequest {
        model_name: model.to_owned(),
        model_version: version.map(str::to_owned),
        id: received.id,
        parameters: received.parameters,
        inputs: receive(received.inputs, binary, regions)?,
        outputs: outputs.map(|output| RequestedOutput { name: output.name, parameters: output.parameters }).collect(),
    };
    Ok(DecodedRequest { request, binary_outputs: BinaryOutputs { default, named, elsewhere } })
}

/// An output's data is in one place.
fn refuse_both(output: &ReceivedOutput, binary: Option<bool>) -> Result<(), WireError> {
    let other = if binary == Some(true) {
        BINARY_DATA
    } else if output.parameters.contains_key(CLASSIFICATION) {
        CLASSIFICATION
    } else {
        return Ok(());
    };
    Err(WireError::data(&output.name, format!("can't set both '{}' and '{other}'; choose one", shared::REGION)))
}

fn take_flag(parameters: &mut Parameters, name: &str) -> Result<Option<bool>, WireError> {
    match parameters.remove(name) {
        None => Ok(None),
        Some(ParameterValue::Bool(flag)) => Ok(Some(flag)),
        Some(_) => Err(WireError::Json(format!("the parameter `{name}` must be true or false"))),
    }
}

/// Reads a raw request: the body is the data of the model's only input, whose shape may leave one dimension (-1)
/// to be found from the length. For `BYTES` the whole body is one element.
///
/// # Errors
/// When the length fits no shape.
pub fn decode_raw_request(name: &str, datatype: DataType, shape: &[i64], body: &Bytes) -> Result<Tensor, WireError> {
    let variable = shape.iter().filter(|&&dimension| dimension == -1).count();
    if variable > 1 {
        let what = format!("has {variable} variable dimensions; a raw request can fill in one");
        return Err(WireError::data(name, what));
    }
    let known: Vec<i64> = shape.iter().copied().filter(|&dimension| dimension != -1).collect();
    let known = element_count(&known)?;
    let (size, data) = match datatype.size() {
        Some(size) => (size, body.clone()),
        None => (body.len() + 4, single_string(name, body)?),
    };
    let step = known.saturating_mul(size);
    let fitting = data.len().checked_div(step).unwrap_or(0);
    let fitting = i64::try_from(fitting).unwrap_or(i64::MAX);
    let shape = shape.iter().map(|&dimension| if dimension == -1 { fitting } else { dimension }).collect();
    Tensor::new(name, datatype, shape, data)
}

fn single_string(name: &str, body: &Bytes) -> Result<Bytes, WireError> {
    let mut out = BytesMut::new();
    put_string(name, body, &mut out)?;
    Ok(out.freeze())
}

#[derive(Serialize)]
struct SentRequest<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "Parameters::is_empty")]
    parameters: &'a Parameters,
    inputs: Vec<Sent<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<SentOutput<'a>>,
}

#[derive(Serialize)]
struct SentOutput<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Parameters::is_empty")]
    parameters: &'a Parameters,
}

/// Writes the body of a request. With `binary` all inputs are binary tensors, and the outputs are asked for as
/// such; otherwise everything is JSON.
///
/// # Errors
/// When the data cannot be said in JSON.
pub fn encode_request(request: &InferRequest, binary: bool) -> Result<EncodedBody, WireError> {
    let mut parameters = request.parameters.clone();
    if binary {
        parameters.insert(BINARY_DATA_OUTPUT.to_owned(), ParameterValue::Bool(true));
    }
    let outputs = request.outputs.iter();
    let sent = SentRequest {
        id: &request.id,
        parameters: &parameters,
        inputs: request
            .inputs
            .iter()
            .map(|input| Sent::new(input, if binary { Form::Binary } else { Form::Json }))
            .collect(),
        outputs: outputs.map(|output| SentOutput { name: &output.name, parameters: &output.parameters }).collect(),
    };
    let json = serde_json::to_vec(&sent).map_err(|error| WireError::Unencodable(error.to_string()))?;
    let json_length = binary.then_some(json.len());
    let body = append(json, request.inputs.iter().filter(|_| binary));
    Ok(EncodedBody { body, json_length })
}
