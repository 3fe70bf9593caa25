//! From a configuration as it was written to a model as it will run: what is missing is completed from the ONNX
//! file, and every contradiction is found, all at once. Pure: files have been read before.

use std::time::Duration;

use proofload_wire::grpc::inference::model_config::SchedulingChoice;
use proofload_wire::grpc::inference::model_instance_group::Kind;
use proofload_wire::grpc::inference::{ModelConfig, ModelDynamicBatching, ModelInstanceGroup};

use sha2::{Digest, Sha256};

use super::complaint::{Complaint, at, beside};
use super::ensemble::{self, ENSEMBLE};
use super::onnx::{self, Port, Signature};
use super::scheduling::{self, MAX_INSTANCES};
use super::spec::{BackendSpec, ModelSpec, OnnxEngine, Placement};
use super::tensors;
use crate::backend::identity::declaration as identity;
use crate::backend::simulated::declaration;
use crate::sched::queue::Limits;

/// Triton's own for models that say nothing of batches.
const DEFAULT_MAX_BATCH_SIZE: i32 = 4;

/// What computes a model, as its configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendName {
    /// ONNX on the CPU.
    Cpu,
    /// Declared service times.
    Simulated,
    /// Outputs that are inputs.
    Identity,
    /// Other models, step by step.
    Ensemble,
}

/// One version of a model, as it was found.
#[derive(Debug)]
pub struct Found {
    /// The name of its folder.
    pub name: String,
    /// The number of its version.
    pub version: i64,
    /// Its configuration as written, or an empty one.
    pub config: ModelConfig,
    /// The content of its file; empty for a simulated model.
    pub onnx: Vec<u8>,
}

/// Which backend a configuration means.
///
/// # Errors
/// When it names one that this daemon does not have.
pub fn backend(config: &ModelConfig) -> Result<BackendName, String> {
    match (config.backend.as_str(), config.platform.as_str()) {
        ("simulated", "") => Ok(BackendName::Simulated),
        ("identity", "") => Ok(BackendName::Identity),
        ("", ENSEMBLE) => Ok(BackendName::Ensemble),
        ("onnxruntime" | "rten" | "", "" | "onnxruntime_onnx") => Ok(BackendName::Cpu),
        (backend, platform) => Err(format!(
            "backend '{backend}' with platform '{platform}' is not supported; use backend \"onnxruntime\" (ONNX on the \
             CPU, also written as platform \"onnxruntime_onnx\") backend \"simulated\" or \"identity\", \
             or platform \"ensemble\""
        )),
    }
}

/// Makes a model of what was found. `defaults` bounds the queue of a model that does not bound it itself.
///
/// # Errors
/// One message for each contradiction.
pub fn resolve(found: Found, defaults: Limits) -> Result<ModelSpec, Vec<Complaint>> {
    let Found { name, version, mut config, onnx } = found;
    let mut errors = Vec::new();
    let digest = Sha256::digest(&onnx).into();
    if !config.name.is_empty() && config.name != name {
        let what = format!("'name' is \"{}\", but the model's folder is called \"{name}\"", config.name);
        errors.push(at(["name"], what));
    }
    let backend = backend_spec(&config, onnx, &mut errors);
    let signature = match &backend {
        Some(BackendSpec::Cpu { onnx, .. }) => onnx::signature(onnx).map(Some),
        _ => Ok(None),
    };
    if let Ok(Some(signature)) = &signature {
        complete_batching(&mut config, signature);
    }
    let max_batch_size = u32::try_from(config.max_batch_size).unwrap_or_else(|_| {
        errors.push(at(["max_batch_size"], "'max_batch_size' must be 0 (no batch dimension) or more"));
        0
    });
    let (inputs, outputs) = match signature {
        Ok(signature) => tensors::resolve(&mut config, signature.as_ref(), max_batch_size > 0, &mut errors),
        Err(what) => {
            errors.push(beside(format!("the model file {what}")));
            Default::default()
        }
    };
    if let Some(BackendSpec::Identity(_)) = &backend {
        errors.extend(identity::contradictions(&inputs, &outputs).into_iter().map(|what| at(["output"], what)));
    }
    let scheduling = scheduling::read(&config, max_batch_size, defaults, &mut errors);
    let concurrency = scheduling::concurrency(&config, &mut errors);
    let instances = match &backend {
        Some(BackendSpec::Ensemble(_)) => 0,
        _ => instances(&config.instance_group, &mut errors),
    };
    let placement = placement(&config);
    complete(&mut config, &name, instances);
    let decoupled = decoupled(&config);
    match backend {
        Some(backend) if errors.is_empty() => Ok(ModelSpec {
            name,
            version,
            max_batch_size,
            inputs,
            outputs,
            scheduling,
            concurrency,
            instances,
            placement,
            decoupled,
            backend,
            warm_up: Vec::new(),
            reading: Duration::ZERO,
            digest,
            profile: None,
            config,
        }),
        _ => Err(errors),
    }
}

/// Triton's completion of a model without a word on its tensors and batches: when the first dimension of all tensors
/// may vary, that is the batch, and requests are put together.
fn complete_batching(config: &mut ModelConfig, signature: &Signature) {
    let silent = config.input.is_empty() && config.output.is_empty() && config.max_batch_size == 0;
    let varies = |port: &Port| port.shape.as_ref().is_some_and(|shape| shape.first() == Some(&-1));
    let mut ports = signature.inputs.iter().chain(&signature.outputs);
    if silent && config.scheduling_choice.is_none() && ports.all(varies) {
        config.max_batch_size = DEFAULT_MAX_BATCH_SIZE;
        config.scheduling_choice = Some(SchedulingChoice::DynamicBatching(ModelDynamicBatching::default()));
    }
}

fn decoupled(config: &ModelConfig) -> bool {
    config.model_transaction_policy.is_some_and(|policy| policy.decoupled)
}

fn is_ensemble(config: &ModelConfig) -> bool {
    matches!(config.scheduling_choice, Some(SchedulingChoice::EnsembleScheduling(_)))
}

fn backend_spec(config: &ModelConfig, onnx: Vec<u8>, errors: &mut Vec<Complaint>) -> Option<BackendSpec> {
    let backend = backend(config);
    if decoupled(config) && matches!(backend, Ok(BackendName::Cpu | BackendName::Simulated | BackendName::Ensemble)) {
        let what = "'decoupled' must be false: only backend \"identity\" sends several responses";
        errors.push(at(["model_transaction_policy", "decoupled"], what));
    }
    if !matches!(backend, Ok(BackendName::Ensemble) | Err(_)) && is_ensemble(config) {
        errors.push(at(["ensemble_scheduling"], "'ensemble_scheduling' needs 'platform: \"ensemble\"'"));
    }
    match backend {
        Ok(BackendName::Ensemble) => Some(BackendSpec::Ensemble(ensemble::read(config, errors))),
        Ok(BackendName::Cpu) => {
            let engine = if config.backend == "rten" { OnnxEngine::Rten } else { OnnxEngine::Best };
            Some(BackendSpec::Cpu { onnx, engine })
        }
        Ok(BackendName::Simulated) => {
            let declared =
                declaration::read(&config.parameters).map_err(|what| errors.extend(what.into_iter().map(parameters)));
            declared.map(BackendSpec::Simulated).ok()
        }
        Ok(BackendName::Identity) => {
            let declared = identity::read(&config.parameters, decoupled(config));
            let declared = declared.map_err(|what| errors.extend(what.into_iter().map(parameters)));
            declared.map(BackendSpec::Identity).ok()
        }
        Err(what) => {
            errors.push(at([if config.backend.is_empty() { "platform" } else { "backend" }], what));
            None
        }
    }
}

/// Which parameter it is, the message says.
fn parameters(what: String) -> Complaint {
    at(["parameters"], what)
}

fn instances(groups: &[ModelInstanceGroup], errors: &mut Vec<Complaint>) -> usize {
    if groups.iter().any(|group| group.kind() == Kind::Model) {
        let what = "an 'instance_group' of KIND_MODEL is not supported; use KIND_CPU or KIND_AUTO";
        errors.push(at(["instance_group", "kind"], what));
    }
    if groups.iter().any(|group| group.count < 0) {
        let what = "the 'count' of an 'instance_group' must be 0 (one instance) or more";
        errors.push(at(["instance_group", "count"], what));
    }
    let instances = scheduling::instances(groups);
    if instances > MAX_INSTANCES {
        let what = format!("{instances} instances are more than {MAX_INSTANCES}; each is a thread");
        errors.push(at(["instance_group", "count"], what));
    }
    instances
}

/// Where instances run: together, so one group of `KIND_CPU` keeps all of them there. `backend: "rten"` is the CPU's.
fn placement(config: &ModelConfig) -> Placement {
    let any = |kind| config.instance_group.iter().any(|group| group.kind() == kind);
    if config.backend == "rten" || any(Kind::Cpu) {
        return Placement::Cpu;
    }
    if any(Kind::Gpu) { Placement::Gpu } else { Placement::Auto }
}

/// Fills in what a client should see although nobody wrote it.
fn complete(config: &mut ModelConfig, name: &str, instances: usize) {
    name.clone_into(&mut config.name);
    if config.platform == ENSEMBLE {
        return;
    }
    if config.backend.is_empty() {
        "onnxruntime".clone_into(&mut config.backend);
    }
    if !["simulated", "identity"].contains(&config.backend.as_str()) {
        "onnxruntime_onnx".clone_into(&mut config.platform);
        if config.default_model_filename.is_empty() {
            super::DEFAULT_MODEL_FILENAME.clone_into(&mut config.default_model_filename);
        }
    }
    // Until it is known that there is a GPU which computes the model: whoever starts it says so.
    for group in config.instance_group.iter_mut().filter(|group| group.kind() == Kind::Gpu) {
        group.set_kind(Kind::Cpu);
        group.gpus.clear();
    }
    if config.instance_group.is_empty() {
        let count = i32::try_from(instances).unwrap_or(1);
        config.instance_group.push(ModelInstanceGroup {
            name: name.to_owned(),
            count,
            kind: Kind::Cpu.into(),
            ..ModelInstanceGroup::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::pbtxt;

    const DEFAULTS: Limits = Limits { requests: 100, bytes: 1000 };
    const HEAD: &str = r#"backend: "simulated" max_batch_size: 4
        input { name: "x" data_type: TYPE_FP32 dims: 2 } output { name: "y" data_type: TYPE_FP32 dims: 2 } "#;
    const MEAN: &str = r#"parameters { key: "mean_ms" value { string_value: "10" } } "#;

    fn resolved(text: &str) -> Result<ModelSpec, Vec<Complaint>> {
        let parsed = pbtxt::parse(text);
        assert_eq!(parsed.errors, [], "{text}");
        resolve(Found { name: "m".to_owned(), version: 1, config: parsed.config, onnx: Vec::new() }, DEFAULTS)
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let spec = resolved(&format!("{HEAD}{MEAN}")).expect("right");
        assert_eq!((spec.instances, spec.max_batch_size), (1, 4));
        assert_eq!((spec.config.name.as_str(), spec.config.instance_group[0].count), ("m", 1));
    }

    #[test]
    fn a_file_alone_is_a_model() {
        let model = crate::repository::embedded::MODELS.iter().find(|model| model.name == "tiny_mlp").expect("there");
        let check = |text: &str, max_batch_size: u32, dims: &[i64], batching: bool| {
            let config = pbtxt::parse(text).config;
            let found = Found { name: "m".to_owned(), version: 1, config, onnx: model.onnx.to_vec() };
            let spec = resolve(found, DEFAULTS).expect(text);
            assert_eq!((spec.max_batch_size, spec.inputs[0].dims.as_slice()), (max_batch_size, dims), "{text}");
            assert_eq!(spec.config.scheduling_choice.is_some(), batching, "{text}");
        };
        check("", 4, &[16], true);
        check("max_batch_size: 2", 2, &[16], false);
        check("input { name: \"input\" data_type: TYPE_FP32 dims: [-1, 16] }", 0, &[-1, 16], false);
        check("input { name: \"input\" }", 0, &[-1, 16], false);
        check("max_batch_size: 8 input { name: \"input\" }", 8, &[16], false);
    }

    #[test]
    fn instances_run_on_what_is_there() {
        let text = "instance_group [{ count: 2 kind: KIND_GPU gpus: [0, 1] }, { count: 3 kind: KIND_CPU }, { }]";
        let spec = resolved(&format!("{HEAD}{MEAN}{text}")).expect("right");
        let groups: Vec<_> = spec.config.instance_group.iter().map(|group| (group.kind(), group.gpus.len())).collect();
        assert_eq!((spec.instances, groups), (6, vec![(Kind::Cpu, 0), (Kind::Cpu, 0), (Kind::Auto, 0)]));
    }

    #[test]
    fn one_kind_is_where_all_instances_run() {
        let check = |text: &str, expected: Placement| {
            let spec = resolved(&format!("{HEAD}{MEAN}{text}")).expect("right");
            assert_eq!(spec.placement, expected, "{text}");
        };
        check("", Placement::Auto);
        check("instance_group { kind: KIND_AUTO }", Placement::Auto);
        check("instance_group { kind: KIND_GPU }", Placement::Gpu);
        check("instance_group [{ kind: KIND_GPU }, { }]", Placement::Gpu);
        check("instance_group { kind: KIND_CPU }", Placement::Cpu);
        check("instance_group [{ kind: KIND_GPU }, { kind: KIND_CPU }]", Placement::Cpu);
    }

    fn check(text: &str, expected: &[&str]) {
        let errors = resolved(text).expect_err(text);
        assert_eq!(errors.len(), expected.len(), "{text}: {errors:?}");
        assert!(errors.iter().zip(expected).all(|(error, part)| error.what.contains(part)), "{text}: {errors:?}");
    }

    #[test]
    fn contradictions_are_found_all_at_once() {
        check(&format!("{HEAD}name: \"other\""), &["folder is called \"m\"", "'mean_ms' is missing"]);
        check(&format!("{HEAD}{MEAN}platform: \"tensorrt_plan\""), &["platform 'tensorrt_plan' is not supported"]);
        let negative = HEAD.replace("max_batch_size: 4", "max_batch_size: -2");
        check(&format!("{negative}{MEAN}"), &["'max_batch_size' must be 0"]);
        check(
            &format!("{HEAD}{MEAN}instance_group {{ count: -1 }} dynamic_batching {{ priority_levels: 2 }}"),
            &["'default_priority_level' must be", "'count' of"],
        );
        check(&format!("{HEAD}{MEAN}instance_group {{ kind: KIND_MODEL }}"), &["KIND_MODEL is not supported"]);
        check(&format!("{HEAD}{MEAN}instance_group {{ count: 2000 }}"), &["more than 1024"]);
        let decoupled = "model_transaction_policy { decoupled: true }";
        check(&format!("{HEAD}{MEAN}{decoupled}"), &["only backend \"identity\""]);
        check(&HEAD.replace("simulated", "identity").replacen("FP32", "INT8", 1), &["output 'y' must have"]);
        check(
            &format!("backend: \"simulated\" {MEAN}"),
            &["needs at least one 'input'", "needs at least one 'output'"],
        );
    }
}
