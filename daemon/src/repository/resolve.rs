//! From a configuration as it was written to a model as it will run: what is missing is completed from the ONNX
//! file, and every contradiction is found, all at once. Pure: files have been read before.

use std::time::Duration;

use proofload_wire::grpc::inference::model_config::SchedulingChoice;
use proofload_wire::grpc::inference::model_instance_group::Kind;
use proofload_wire::grpc::inference::model_queue_policy::TimeoutAction;
use proofload_wire::grpc::inference::{ModelConfig, ModelDynamicBatching, ModelInstanceGroup, ModelQueuePolicy};

use super::onnx;
use super::spec::{BackendSpec, ModelSpec, QueueSpec};
use super::tensors;
use crate::backend::simulated::declaration;
use crate::sched::batch::BatchPolicy;
use crate::sched::queue::Limits;

/// More instances than this are a slip of the pen: each is a thread.
const MAX_INSTANCES: usize = 1024;

/// What computes a model, as its configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendName {
    /// ONNX on the CPU.
    Cpu,
    /// Declared service times.
    Simulated,
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
        ("onnxruntime" | "rten" | "", "" | "onnxruntime_onnx") => Ok(BackendName::Cpu),
        (backend, platform) => Err(format!(
            "backend '{backend}' with platform '{platform}' is not supported; use backend \"onnxruntime\" (ONNX on the \
             CPU, also written as platform \"onnxruntime_onnx\") or backend \"simulated\""
        )),
    }
}

/// Makes a model of what was found. `defaults` bounds the queue of a model that does not bound it itself.
///
/// # Errors
/// One message for each contradiction.
pub fn resolve(found: Found, defaults: Limits) -> Result<ModelSpec, Vec<String>> {
    let Found { name, version, mut config, onnx } = found;
    let mut errors = Vec::new();
    if !config.name.is_empty() && config.name != name {
        errors.push(format!("'name' is \"{}\", but the model's folder is called \"{name}\"", config.name));
    }
    let max_batch_size = u32::try_from(config.max_batch_size).unwrap_or_else(|_| {
        errors.push("'max_batch_size' must be 0 (no batch dimension) or more".to_owned());
        0
    });
    let backend = backend_spec(&config, onnx, &mut errors);
    let signature = match &backend {
        Some(BackendSpec::Cpu { onnx }) => onnx::signature(onnx).map(Some),
        _ => Ok(None),
    };
    let (inputs, outputs) = match signature {
        Ok(signature) => tensors::resolve(&mut config, signature.as_ref(), max_batch_size > 0, &mut errors),
        Err(what) => {
            errors.push(format!("the model file {what}"));
            Default::default()
        }
    };
    let batching = dynamic_batching(&config)
        .map_or_else(BatchPolicy::alone, |batching| batch_policy(batching, max_batch_size, &mut errors));
    let queue_policy = dynamic_batching(&config).and_then(|batching| batching.default_queue_policy);
    let queue = queue_spec(&queue_policy.unwrap_or_default(), defaults, &mut errors);
    let instances = instances(&config.instance_group, &mut errors);
    complete(&mut config, &name, instances);
    match backend {
        Some(backend) if errors.is_empty() => Ok(ModelSpec {
            name,
            version,
            max_batch_size,
            inputs,
            outputs,
            batching,
            queue,
            instances,
            backend,
            config,
        }),
        _ => Err(errors),
    }
}

fn backend_spec(config: &ModelConfig, onnx: Vec<u8>, errors: &mut Vec<String>) -> Option<BackendSpec> {
    match backend(config) {
        Ok(BackendName::Cpu) => Some(BackendSpec::Cpu { onnx }),
        Ok(BackendName::Simulated) => {
            let declared = declaration::read(&config.parameters).map_err(|what| errors.extend(what));
            declared.map(BackendSpec::Simulated).ok()
        }
        Err(what) => {
            errors.push(what);
            None
        }
    }
}

fn dynamic_batching(config: &ModelConfig) -> Option<&ModelDynamicBatching> {
    match &config.scheduling_choice {
        Some(SchedulingChoice::DynamicBatching(batching)) => Some(batching),
        _ => None,
    }
}

fn batch_policy(batching: &ModelDynamicBatching, max_batch_size: u32, errors: &mut Vec<String>) -> BatchPolicy {
    if max_batch_size == 0 {
        errors.push("'dynamic_batching' needs a 'max_batch_size' above 0".to_owned());
    }
    let mut preferred = Vec::new();
    for &size in &batching.preferred_batch_size {
        match u32::try_from(size).ok().filter(|size| (1..=max_batch_size).contains(size)) {
            Some(size) => preferred.push(size),
            None => errors.push(format!(
                "'preferred_batch_size' {size} must be between 1 and 'max_batch_size', {max_batch_size}"
            )),
        }
    }
    if batching.priority_levels > 0 || batching.default_priority_level > 0 {
        errors.push(
            "'priority_levels' and 'default_priority_level' are not supported: requests are served in the order they \
             come; remove both"
                .to_owned(),
        );
    }
    preferred.sort_unstable();
    preferred.dedup();
    let max_delay = Duration::from_micros(batching.max_queue_delay_microseconds);
    BatchPolicy { max_elements: max_batch_size.max(1), preferred, max_delay }
}

fn queue_spec(policy: &ModelQueuePolicy, defaults: Limits, errors: &mut Vec<String>) -> QueueSpec {
    let timeout_us = policy.default_timeout_microseconds;
    if policy.timeout_action() == TimeoutAction::Delay {
        errors.push("'timeout_action' DELAY is not supported; use REJECT".to_owned());
    }
    let requests = match policy.max_queue_size {
        0 => defaults.requests,
        size => usize::try_from(size).unwrap_or(usize::MAX),
    };
    QueueSpec {
        limits: Limits { requests, bytes: defaults.bytes },
        default_timeout: (timeout_us > 0).then(|| Duration::from_micros(timeout_us)),
        timeout_override: policy.allow_timeout_override,
    }
}

fn instances(groups: &[ModelInstanceGroup], errors: &mut Vec<String>) -> usize {
    if groups.iter().any(|group| group.kind() == Kind::Gpu) {
        errors.push("an 'instance_group' of KIND_GPU cannot run here; use KIND_CPU or KIND_AUTO".to_owned());
    }
    if groups.iter().any(|group| group.kind() == Kind::Model) {
        errors.push("an 'instance_group' of KIND_MODEL is not supported; use KIND_CPU or KIND_AUTO".to_owned());
    }
    if groups.iter().any(|group| group.count < 0) {
        errors.push("the 'count' of an 'instance_group' must be 0 (one instance) or more".to_owned());
    }
    let count = |group: &ModelInstanceGroup| usize::try_from(group.count.max(1)).unwrap_or(1);
    let instances = groups.iter().map(count).fold(0, usize::saturating_add).max(1);
    if instances > MAX_INSTANCES {
        errors.push(format!("{instances} instances are more than {MAX_INSTANCES}; each is a thread"));
    }
    instances
}

/// Fills in what a client should see although nobody wrote it.
fn complete(config: &mut ModelConfig, name: &str, instances: usize) {
    name.clone_into(&mut config.name);
    if config.backend.is_empty() {
        "onnxruntime".clone_into(&mut config.backend);
    }
    if config.backend != "simulated" {
        "onnxruntime_onnx".clone_into(&mut config.platform);
        if config.default_model_filename.is_empty() {
            super::DEFAULT_MODEL_FILENAME.clone_into(&mut config.default_model_filename);
        }
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

    fn resolved(text: &str) -> Result<ModelSpec, Vec<String>> {
        let parsed = pbtxt::parse(text);
        assert_eq!(parsed.errors, [], "{text}");
        resolve(Found { name: "m".to_owned(), version: 1, config: parsed.config, onnx: Vec::new() }, DEFAULTS)
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let spec = resolved(&format!("{HEAD}{MEAN}")).expect("right");
        assert_eq!((spec.instances, spec.max_batch_size, spec.batching), (1, 4, BatchPolicy::alone()));
        assert_eq!(spec.queue, QueueSpec { limits: DEFAULTS, default_timeout: None, timeout_override: false });
        assert_eq!((spec.config.name.as_str(), spec.config.instance_group[0].count), ("m", 1));
    }

    #[test]
    fn batching_and_queue_are_taken_over() {
        let text = "dynamic_batching { preferred_batch_size: [4, 2, 4] max_queue_delay_microseconds: 500 \
                    default_queue_policy { max_queue_size: 7 default_timeout_microseconds: 9 allow_timeout_override: true } } \
                    instance_group [{ count: 2 }, { count: 3 kind: KIND_CPU }]";
        let spec = resolved(&format!("{HEAD}{MEAN}{text}")).expect("right");
        let batching = BatchPolicy { max_elements: 4, preferred: vec![2, 4], max_delay: Duration::from_micros(500) };
        assert_eq!((spec.batching, spec.instances), (batching, 5));
        let default_timeout = Some(Duration::from_micros(9));
        let limits = Limits { requests: 7, ..DEFAULTS };
        assert_eq!(spec.queue, QueueSpec { limits, default_timeout, timeout_override: true });
    }

    fn check(text: &str, expected: &[&str]) {
        let errors = resolved(text).expect_err(text);
        assert_eq!(errors.len(), expected.len(), "{text}: {errors:?}");
        assert!(errors.iter().zip(expected).all(|(error, part)| error.contains(part)), "{text}: {errors:?}");
    }

    #[test]
    fn contradictions_are_found_all_at_once() {
        check(&format!("{HEAD}name: \"other\""), &["folder is called \"m\"", "'mean_ms' is missing"]);
        check(&format!("{HEAD}{MEAN}platform: \"tensorrt_plan\""), &["platform 'tensorrt_plan' is not supported"]);
        check(
            &format!("{HEAD}{MEAN}dynamic_batching {{ preferred_batch_size: 8 }}"),
            &["must be between 1 and 'max_batch_size', 4"],
        );
        let unbatched = HEAD.replace("max_batch_size: 4", "max_batch_size: 0");
        check(&format!("{unbatched}{MEAN}dynamic_batching {{ }}"), &["needs a 'max_batch_size' above 0"]);
        let negative = HEAD.replace("max_batch_size: 4", "max_batch_size: -2");
        check(&format!("{negative}{MEAN}"), &["'max_batch_size' must be 0"]);
        check(
            &format!("{HEAD}{MEAN}instance_group {{ kind: KIND_GPU count: -1 }}"),
            &["KIND_GPU cannot run here", "'count' of"],
        );
        check(&format!("{HEAD}{MEAN}instance_group {{ kind: KIND_MODEL }}"), &["KIND_MODEL is not supported"]);
        check(&format!("{HEAD}{MEAN}instance_group {{ count: 2000 }}"), &["more than 1024"]);
        check(&format!("{HEAD}{MEAN}dynamic_batching {{ priority_levels: 2 }}"), &["'priority_levels' and"]);
        check(
            &format!("{HEAD}{MEAN}dynamic_batching {{ default_queue_policy {{ timeout_action: DELAY }} }}"),
            &["DELAY is not supported"],
        );
        check(
            &format!("backend: \"simulated\" {MEAN}"),
            &["needs at least one 'input'", "needs at least one 'output'"],
        );
    }
}
