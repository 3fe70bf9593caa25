//! Bodies of inference over HTTP: JSON alone, or JSON followed by the bytes of binary tensors (Triton's binary
//! tensor data extension).
//!
//! With binary tensors the JSON's length travels in the header [`JSON_LENGTH`]. Length 0 means a raw request: the
//! body is the only input's data and nothing else.
//!
//! Binary tensors are slices of the body, never copies. JSON data is read and written element by element, without
//! a tree of values in between.

mod data;
mod generate;
mod identified;
mod request;
mod response;
mod tensors;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

pub use generate::{decode_generate, encode_generated};
pub use identified::with_id;
pub use request::{DecodedRequest, decode_raw_request, decode_request, decode_request_sharing, encode_request};
pub use response::{decode_response, encode_response};

use crate::WireError;

/// Header: how many bytes of the body are JSON, if binary tensors follow.
pub const JSON_LENGTH: &str = "inference-header-content-length";

/// A body, and what its headers must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedBody {
    /// The bytes.
    pub body: Bytes,
    /// Value of the header [`JSON_LENGTH`], which must be absent for `None`.
    pub json_length: Option<usize>,
}

impl EncodedBody {
    /// Value of the header `content-type`.
    pub fn content_type(&self) -> &'static str {
        if self.json_length.is_some() { "application/octet-stream" } else { "application/json" }
    }
}

/// Which outputs a client wants as binary tensors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BinaryOutputs {
    /// What holds for outputs that are not named.
    default: bool,
    named: BTreeMap<String, bool>,
    /// Outputs whose data is put into shared memory; the body does not hold it.
    elsewhere: BTreeSet<String>,
}

impl BinaryOutputs {
    /// All outputs as binary tensors.
    pub fn all() -> Self {
        Self { default: true, ..Self::default() }
    }

    /// All outputs as JSON.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether this output is to be a binary tensor.
    pub fn wants(&self, output: &str) -> bool {
        self.named.get(output).copied().unwrap_or(self.default) && !self.is_elsewhere(output)
    }

    fn form(&self, output: &str) -> Form {
        match (self.is_elsewhere(output), self.wants(output)) {
            (true, _) => Form::Elsewhere,
            (false, true) => Form::Binary,
            (false, false) => Form::Json,
        }
    }

    /// Whether the body does not hold this output's data, because shared memory does.
    pub fn is_elsewhere(&self, output: &str) -> bool {
        self.elsewhere.contains(output)
    }
}

/// Where a tensor's data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// In the JSON.
    Json,
    /// Behind the JSON.
    Binary,
    /// Not in the body.
    Elsewhere,
}

/// The JSON and what follows it.
fn split(body: &Bytes, json_length: Option<usize>) -> Result<(Bytes, Bytes), WireError> {
    let json_length = json_length.unwrap_or(body.len());
    if json_length > body.len() {
        return Err(WireError::Framing(format!(
            "Inference-Header-Content-Length is {json_length}, but the whole body has only {} bytes",
            body.len()
        )));
    }
    Ok((body.slice(..json_length), body.slice(json_length..)))
}

fn json_error(error: &serde_json::Error) -> WireError {
    WireError::Json(error.to_string())
}

#[cfg(test)]
mod tests;
