//! Requests and responses as both transports mean them. [`crate::json_body`] and [`crate::grpc::convert`] carry
//! them over the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::tensor::Tensor;

/// One value of a `parameters` map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a parameter is a boolean, a number or a string")]
pub enum ParameterValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number beyond `i64`.
    Uint(u64),
    /// Any other number.
    Double(f64),
    /// Text.
    String(String),
}

/// Named values beside a request, a response or one of their tensors.
pub type Parameters = BTreeMap<String, ParameterValue>;

/// A request for inference.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InferRequest {
    /// Which model.
    pub model_name: String,
    /// Which version; `None` leaves it to the server.
    pub model_version: Option<String>,
    /// Returned unchanged with the response; may be empty.
    pub id: String,
    /// What the protocol has no field for, such as `timeout` or `priority`.
    pub parameters: Parameters,
    /// The inputs.
    pub inputs: Vec<Tensor>,
    /// The outputs wanted; empty means all.
    pub outputs: Vec<RequestedOutput>,
}

/// One wanted output.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RequestedOutput {
    /// Its name.
    pub name: String,
    /// What the protocol has no field for, such as `classification`.
    pub parameters: Parameters,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InferResponse {
    /// Which model answered.
    pub model_name: String,
    /// Which version of it.
    pub model_version: String,
    /// The request's id; may be empty.
    pub id: String,
    /// What the protocol has no field for.
    pub parameters: Parameters,
    /// The outputs.
    pub outputs: Vec<Tensor>,
}
