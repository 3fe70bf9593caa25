//! What clients are told about the server and its models. Pure: from specifications to the protocol's types.

use proofload_wire::types::{ModelMetadata, RepositoryIndexEntry, ServerMetadata, TensorMetadata};

use super::ServeError;
use crate::repository::spec::{BackendSpec, ModelSpec, TensorSpec};

/// The extensions of Triton that this server implements in full.
const EXTENSIONS: [&str; 7] = [
    "binary_tensor_data",
    "classification",
    "logging",
    "model_configuration",
    "schedule_policy",
    "statistics",
    "trace",
];

pub(super) fn server() -> ServerMetadata {
    ServerMetadata {
        name: "proofload".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
    }
}

pub(super) fn metadata(spec: &ModelSpec, versions: &[i64]) -> ModelMetadata {
    let tensors = |specs: &[TensorSpec]| {
        let metadata = |tensor: &TensorSpec| TensorMetadata {
            name: tensor.name.clone(),
            datatype: tensor.datatype.as_str().to_owned(),
            shape: tensor.full_shape(spec.batched()),
        };
        specs.iter().map(metadata).collect()
    };
    let platform = match spec.backend {
        BackendSpec::Cpu { .. } => "onnxruntime_onnx",
        BackendSpec::Simulated(_) => "simulated",
        BackendSpec::Identity(_) => "identity",
    };
    ModelMetadata {
        name: spec.name.clone(),
        versions: versions.iter().map(ToString::to_string).collect(),
        platform: platform.to_owned(),
        inputs: tensors(&spec.inputs),
        outputs: tensors(&spec.outputs),
    }
}

pub(super) fn index_entry(spec: &ModelSpec, ready: bool) -> RepositoryIndexEntry {
    let (state, reason) = if ready { ("READY", "") } else { ("UNLOADING", "the server is stopping") };
    RepositoryIndexEntry {
        name: spec.name.clone(),
        version: spec.version.to_string(),
        state: state.to_owned(),
        reason: reason.to_owned(),
    }
}

pub(super) fn unknown_model<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> ServeError {
    let known = known.map(String::as_str).collect::<Vec<_>>().join(", ");
    ServeError::NotFound(format!("Request for unknown model: '{name}' is not found; this server has {known}"))
}

pub(super) fn unknown_version<'a>(name: &str, version: &str, known: impl Iterator<Item = &'a i64>) -> ServeError {
    let known = known.map(ToString::to_string).collect::<Vec<_>>().join(", ");
    ServeError::NotFound(format!(
        "Request for unknown model: '{name}' version '{version}' is not found; its versions are {known}"
    ))
}
