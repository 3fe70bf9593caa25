//! Inputs and outputs as they stand in the JSON, and the binary data behind it.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Form;
use super::data::{self, Data};
use crate::WireError;
use crate::infer::{ParameterValue, Parameters};
use crate::shared::{self, Place, Regions};
use crate::tensor::{DataType, Tensor};

/// Parameter of a tensor: its data is that many bytes behind the JSON.
const BINARY_DATA_SIZE: &str = "binary_data_size";

/// A tensor as it was received.
#[derive(Deserialize)]
pub(super) struct Received<'a> {
    name: String,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    shape: Vec<i64>,
    #[serde(default)]
    parameters: Parameters,
    // Kept as text until the datatype is known: members come in any order.
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// Turns them into tensors. Binary data is taken in order, and must be used up.
pub(super) fn receive(
    received: Vec<Received<'_>>,
    mut binary: Bytes,
    regions: &dyn Regions,
) -> Result<Vec<Tensor>, WireError> {
    let tensors = received.into_iter().map(|tensor| tensor.into_tensor(&mut binary, regions));
    let tensors = tensors.collect::<Result<_, _>>()?;
    if !binary.is_empty() {
        return Err(WireError::Framing(format!(
            "{} bytes follow the last binary tensor; the {BINARY_DATA_SIZE} of all tensors must add up to what \
             follows the JSON",
            binary.len()
        )));
    }
    Ok(tensors)
}

impl Received<'_> {
    fn into_tensor(self, binary: &mut Bytes, regions: &dyn Regions) -> Result<Tensor, WireError> {
        let Some(datatype) = DataType::parse(&self.datatype) else {
            return Err(WireError::UnknownDatatype { tensor: self.name, datatype: self.datatype.into_owned() });
        };
        let shared = Place::of(&self.name, &self.parameters)?;
        let data = match (self.data, self.parameters.get(BINARY_DATA_SIZE), shared) {
            (Some(json), None, None) => data::parse(&self.name, datatype, json.get())?,
            (None, Some(size), None) => take(&self.name, size, binary)?,
            (None, None, Some(place)) => regions.read(&self.name, &place)?,
            (None, None, None) => return Err(self.not_one_of("none of")),
            _ => return Err(self.not_one_of("more than one of")),
        };
        Tensor::new(self.name, datatype, self.shape, data)
    }

    fn not_one_of(&self, how_many: &str) -> WireError {
        let what = format!(
            "has {how_many} `data`, the parameter `{BINARY_DATA_SIZE}` and the parameter `{}`; send exactly one",
            shared::REGION
        );
        WireError::data(&self.name, what)
    }
}

fn take(name: &str, size: &ParameterValue, binary: &mut Bytes) -> Result<Bytes, WireError> {
    let size = match size {
        ParameterValue::Int(size) => usize::try_from(*size).ok(),
        _ => None,
    };
    let size =
        size.ok_or_else(|| WireError::data(name, format!("has a `{BINARY_DATA_SIZE}` that is no byte count")))?;
    if size > binary.len() {
        let what = format!("has a `{BINARY_DATA_SIZE}` of {size}, but only {} bytes are left", binary.len());
        return Err(WireError::data(name, what));
    }
    Ok(binary.split_to(size))
}

/// A tensor as it will be sent.
#[derive(Serialize)]
pub(super) struct Sent<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [i64],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

#[derive(Serialize)]
struct BinarySize {
    binary_data_size: usize,
}

impl<'a> Sent<'a> {
    pub(super) fn new(tensor: &'a Tensor, form: Form) -> Self {
        let binary = form == Form::Binary;
        Self {
            name: &tensor.name,
            datatype: tensor.datatype.as_str(),
            shape: &tensor.shape,
            parameters: binary.then_some(BinarySize { binary_data_size: tensor.data.len() }),
            data: (form == Form::Json).then_some(Data(tensor)),
        }
    }
}

/// The JSON, and the data of those tensors that are binary.
pub(super) fn append<'a>(json: Vec<u8>, binary: impl Iterator<Item = &'a Tensor> + Clone) -> Bytes {
    let size: usize = binary.clone().map(|tensor| tensor.data.len()).sum();
    if size == 0 {
        return json.into();
    }
    let mut body = BytesMut::with_capacity(json.len() + size);
    body.extend_from_slice(&json);
    for tensor in binary {
        body.extend_from_slice(&tensor.data);
    }
    body.freeze()
}
