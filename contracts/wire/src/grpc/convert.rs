//! Inference messages to and from this crate's own types. Raw contents are handed on without a copy.

mod contents;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::inference as pb;
use crate::WireError;
use crate::infer::{InferRequest, InferResponse, ParameterValue, Parameters, RequestedOutput};
use crate::shared::{NotOffered, Place, Regions};
use crate::tensor::{DataType, Tensor};

use pb::infer_parameter::ParameterChoice;
use pb::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use pb::model_infer_response::InferOutputTensor;

type PbParameters = BTreeMap<String, pb::InferParameter>;

impl From<InferRequest> for pb::ModelInferRequest {
    fn from(from: InferRequest) -> Self {
        let (inputs, raw_input_contents) = from.inputs.into_iter().map(split_input).unzip();
        Self {
            model_name: from.model_name,
            model_version: from.model_version.unwrap_or_default(),
            id: from.id,
            parameters: parameters_to_pb(from.parameters),
            inputs,
            outputs: from.outputs.into_iter().map(output_to_pb).collect(),
            raw_input_contents,
        }
    }
}

impl From<InferResponse> for pb::ModelInferResponse {
    fn from(from: InferResponse) -> Self {
        let (outputs, raw_output_contents) = from.outputs.into_iter().map(split_output).unzip();
        Self {
            model_name: from.model_name,
            model_version: from.model_version,
            id: from.id,
            parameters: parameters_to_pb(from.parameters),
            outputs,
            raw_output_contents,
        }
    }
}

impl TryFrom<pb::ModelInferRequest> for InferRequest {
    type Error = WireError;

    fn try_from(from: pb::ModelInferRequest) -> Result<Self, WireError> {
        request_sharing(from, &NotOffered)
    }
}

/// The request that a message holds, and from `regions` the inputs that are in shared memory.
///
/// # Errors
/// When the message contradicts itself, or an input is not where it says.
pub fn request_sharing(from: pb::ModelInferRequest, regions: &dyn Regions) -> Result<InferRequest, WireError> {
    let parts = from.inputs.into_iter().map(|input| {
        let place = Place::of(&input.name, &parameters_from_pb(input.parameters))?;
        let shared = place.map(|place| regions.read(&input.name, &place)).transpose()?;
        let (name, datatype, shape, contents) = (input.name, input.datatype, input.shape, input.contents);
        Ok(Parts { name, datatype, shape, contents, shared })
    });
    Ok(InferRequest {
        model_name: from.model_name,
        model_version: Some(from.model_version).filter(|version| !version.is_empty()),
        id: from.id,
        parameters: parameters_from_pb(from.parameters),
        inputs: join(parts, from.raw_input_contents, "raw_input_contents")?,
        outputs: from.outputs.into_iter().map(output_from_pb).collect(),
    })
}

impl TryFrom<pb::ModelInferResponse> for InferResponse {
    type Error = WireError;

    fn try_from(from: pb::ModelInferResponse) -> Result<Self, WireError> {
        let parts = from.outputs.into_iter().map(|output| {
            let (name, datatype, shape, contents) = (output.name, output.datatype, output.shape, output.contents);
            Ok(Parts { name, datatype, shape, contents, shared: None })
        });
        Ok(Self {
            model_name: from.model_name,
            model_version: from.model_version,
            id: from.id,
            parameters: parameters_from_pb(from.parameters),
            outputs: join(parts, from.raw_output_contents, "raw_output_contents")?,
        })
    }
}

/// What input and output tensors have in common.
struct Parts {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    contents: Option<pb::InferTensorContents>,
    /// The data, where it was in shared memory; then the raw contents have no entry for it.
    shared: Option<Bytes>,
}

fn join(
    parts: impl ExactSizeIterator<Item = Result<Parts, WireError>>,
    raw: Vec<Bytes>,
    raw_field: &'static str,
) -> Result<Vec<Tensor>, WireError> {
    let (given, mut carried) = (raw.len(), 0);
    let mut raw = raw.into_iter();
    let mut take = |parts: Parts| {
        let here = parts.shared.is_none();
        carried += usize::from(here);
        let raw = if here { raw.next() } else { None };
        tensor(parts, raw, raw_field)
    };
    // How many entries there should be shows only when all tensors have been looked at.
    let tensors: Vec<_> = parts.map(|parts| parts.map(&mut take)).collect::<Result<_, _>>()?;
    if given != 0 && given != carried {
        return Err(WireError::Framing(format!(
            "{raw_field} has {given} entries for {carried} tensors; it must be empty or hold one entry for each"
        )));
    }
    tensors.into_iter().collect()
}

fn tensor(parts: Parts, raw: Option<Bytes>, raw_field: &'static str) -> Result<Tensor, WireError> {
    let Some(datatype) = DataType::parse(&parts.datatype) else {
        return Err(WireError::UnknownDatatype { tensor: parts.name, datatype: parts.datatype });
    };
    let no_contents = parts.contents.as_ref().is_none_or(|contents| *contents == pb::InferTensorContents::default());
    if let (Some(shared), true) = (&parts.shared, no_contents) {
        return Tensor::new(parts.name, datatype, parts.shape, shared.clone());
    }
    if parts.shared.is_some() {
        return Err(WireError::data(&parts.name, "has both `contents` and a `shared_memory_region`; send only one"));
    }
    let data = match (raw, parts.contents) {
        (Some(raw), None) => raw,
        // A message that is there and empty is what some clients send beside raw contents.
        (Some(raw), Some(contents)) if contents == pb::InferTensorContents::default() => raw,
        (Some(_), Some(_)) => {
            return Err(WireError::data(&parts.name, format!("has both `contents` and `{raw_field}`; send only one")));
        }
        (None, contents) => contents::to_bytes(&parts.name, datatype, contents.unwrap_or_default())?,
    };
    Tensor::new(parts.name, datatype, parts.shape, data)
}

fn split_input(tensor: Tensor) -> (InferInputTensor, Bytes) {
    let message = InferInputTensor {
        name: tensor.name,
        datatype: tensor.datatype.as_str().to_owned(),
        shape: tensor.shape,
        parameters: PbParameters::new(),
        contents: None,
    };
    (message, tensor.data)
}

fn split_output(tensor: Tensor) -> (InferOutputTensor, Bytes) {
    let message = InferOutputTensor {
        name: tensor.name,
        datatype: tensor.datatype.as_str().to_owned(),
        shape: tensor.shape,
        parameters: PbParameters::new(),
        contents: None,
    };
    (message, tensor.data)
}

fn output_to_pb(from: RequestedOutput) -> InferRequestedOutputTensor {
    InferRequestedOutputTensor { name: from.name, parameters: parameters_to_pb(from.parameters) }
}

fn output_from_pb(from: InferRequestedOutputTensor) -> RequestedOutput {
    RequestedOutput { name: from.name, parameters: parameters_from_pb(from.parameters) }
}

fn parameters_to_pb(from: Parameters) -> PbParameters {
    let to_pb = |value| match value {
        ParameterValue::Bool(value) => ParameterChoice::BoolParam(value),
        ParameterValue::Int(value) => ParameterChoice::Int64Param(value),
        ParameterValue::Uint(value) => ParameterChoice::Uint64Param(value),
        ParameterValue::Double(value) => ParameterChoice::DoubleParam(value),
        ParameterValue::String(value) => ParameterChoice::StringParam(value),
    };
    from.into_iter().map(|(name, value)| (name, pb::InferParameter { parameter_choice: Some(to_pb(value)) })).collect()
}

/// A parameter without a value is left out: it says nothing.
fn parameters_from_pb(from: PbParameters) -> Parameters {
    let from_pb = |value| match value {
        ParameterChoice::BoolParam(value) => ParameterValue::Bool(value),
        ParameterChoice::Int64Param(value) => ParameterValue::Int(value),
        ParameterChoice::Uint64Param(value) => ParameterValue::Uint(value),
        ParameterChoice::DoubleParam(value) => ParameterValue::Double(value),
        ParameterChoice::StringParam(value) => ParameterValue::String(value),
    };
    from.into_iter().filter_map(|(name, value)| Some((name, from_pb(value.parameter_choice?)))).collect()
}

#[cfg(test)]
mod tests;
