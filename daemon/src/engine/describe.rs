//! What clients are told about the server and its models. Pure: from specifications to the protocol's types.

use proofload_wire::grpc::inference::{ModelConfig, ModelParameter};
use proofload_wire::types::{ModelMetadata, ServerMetadata, TensorMetadata};

use super::ServeError;
use crate::lifecycle::snapshot::{Missing, Snapshot};
use crate::model::Model;
use crate::profile::file::Curve;
use crate::repository::onnx::{ENGINE, NOT_ON_GPU};
use crate::repository::spec::{BackendSpec, ModelSpec, TensorSpec};

/// The extensions of Triton that this server implements in full.
const EXTENSIONS: [&str; 9] = [
    "binary_tensor_data",
    "classification",
    "logging",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "statistics",
    "trace",
];

/// Parameter that says what `daemon profile` has measured of a model here.
const MEASURED: &str = "measured";

pub(super) fn server() -> ServerMetadata {
    ServerMetadata {
        name: "proofload".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
    }
}

/// A model's configuration, and in it what computes an ONNX graph and how fast that is known to be.
pub(super) fn config(model: &Model) -> ModelConfig {
    let mut config = model.spec().config.clone();
    if let BackendSpec::Cpu { .. } = model.spec().backend {
        let engine = ModelParameter { string_value: model.engine().to_owned() };
        config.parameters.insert(ENGINE.to_owned(), engine);
        let why = model.not_on_gpu().map(|why| ModelParameter { string_value: why.to_owned() });
        config.parameters.extend(why.map(|why| (NOT_ON_GPU.to_owned(), why)));
    }
    if let Some(best) = model.measured().and_then(Curve::best) {
        let (batch, per_s, ms) = (best.batch, best.per_s.value, best.median_ms.value);
        let string_value = format!("batch {batch} serves most: {per_s:.1}/s in {ms:.2} ms");
        config.parameters.insert(MEASURED.to_owned(), ModelParameter { string_value });
    }
    config
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
        BackendSpec::Ensemble(_) => "ensemble",
    };
    ModelMetadata {
        name: spec.name.clone(),
        versions: versions.iter().map(ToString::to_string).collect(),
        platform: platform.to_owned(),
        inputs: tensors(&spec.inputs),
        outputs: tensors(&spec.outputs),
    }
}

/// Why nothing serves what was asked for, in Triton's words.
pub(super) fn missing<T>(missing: &Missing, name: &str, version: &str, snapshot: &Snapshot<T>) -> ServeError {
    let unknown = "Request for unknown model";
    match missing {
        Missing::Model => {
            let known = snapshot.names().map(String::as_str).collect::<Vec<_>>().join(", ");
            ServeError::NotFound(format!("{unknown}: '{name}' is not found; this server has {known}"))
        }
        Missing::NoneReady => ServeError::NotFound(format!("{unknown}: '{name}' has no available versions")),
        Missing::Version => {
            let known = snapshot.ready_of(name).map(|(version, _)| version.to_string()).collect::<Vec<_>>().join(", ");
            ServeError::NotFound(format!(
                "{unknown}: '{name}' version '{version}' is not found; its versions are {known}"
            ))
        }
        Missing::NotReady => {
            let message = format!("{unknown}: '{name}' version {version} is not at ready state");
            ServeError::Unavailable { message, retry_after: None }
        }
    }
}
