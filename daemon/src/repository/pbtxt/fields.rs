//! The fields of a model configuration: from the tree of a text to the protocol's message. What the daemon knows and
//! does not act on is a warning; what would change the meaning of the model, or is unknown, is an error.

use std::str::FromStr;

use proofload_wire::grpc::inference::model_config::SchedulingChoice;
use proofload_wire::grpc::inference::model_version_policy::{All, Latest, PolicyChoice, Specific};
use proofload_wire::grpc::inference::{
    DataType, ModelConfig, ModelInput, ModelOutput, ModelParameter, ModelResponseCache, ModelTensorReshape,
    ModelTransactionPolicy, ModelVersionPolicy, model_input,
};

use super::text::{Field, Message, Value};
use super::{Parsed, Remark};
use crate::repository::ensemble::ENSEMBLE;
use crate::repository::onnx::{ENGINE, INTRA_OP_THREADS};
use crate::repository::scheduling::OF_ANY_MODEL;

/// Fields of Triton's that have no effect here, and whose absence changes no result.
const WITHOUT_EFFECT: [&str; 5] = ["optimization", "cc_model_filenames", "metric_tags", "runtime", "model_metrics"];

/// Fields of Triton's without which the model would be another one.
const UNSUPPORTED: [&str; 7] = [
    "sequence_batching",
    "model_namespace",
    "model_operations",
    "batch_input",
    "batch_output",
    "model_repository_agents",
    "is_shape_tensor",
];

/// Fields that may be given several times. Any other that is given twice is refused, as Triton refuses it: one of
/// the two would be lost.
const REPEATED: [&str; 16] = [
    "model_warmup",
    "inputs",
    "input",
    "output",
    "instance_group",
    "parameters",
    "dims",
    "shape",
    "gpus",
    "versions",
    "preferred_batch_size",
    "priority_queue_policy",
    "resources",
    "step",
    "input_map",
    "output_map",
];

/// Reads the fields of a configuration.
pub fn read(message: &Message) -> Parsed {
    let mut reader = Reader::default();
    reader.refuse_repetition(message);
    let config = reader.config(message);
    if config.platform == ENSEMBLE {
        reader.warn_of_what_steps_do(message);
    } else if !["simulated", "identity"].contains(&config.backend.as_str()) {
        reader.warn_of_parameters(message);
    }
    Parsed { config, written: message.clone(), errors: reader.errors, warnings: reader.warnings }
}

/// Collects what is wrong while it reads.
#[derive(Default)]
pub(super) struct Reader {
    errors: Vec<Remark>,
    warnings: Vec<Remark>,
}

impl Reader {
    pub(super) fn error(&mut self, field: &Field, what: impl Into<String>) {
        self.errors.push(Remark { line: field.line, what: what.into() });
    }

    pub(super) fn warn(&mut self, field: &Field, what: &str) {
        self.warnings.push(Remark { line: field.line, what: format!("'{}' {what}", field.name) });
    }

    /// A warning for a field that was set to something, for it does nothing.
    pub(super) fn warn_unless_default<T: Default + PartialEq>(&mut self, field: &Field, value: &T, what: &str) {
        if *value != T::default() {
            self.warn(field, what);
        }
    }

    fn refuse_repetition(&mut self, message: &Message) {
        let known = |name: &str| [&REPEATED[..], &WITHOUT_EFFECT, &UNSUPPORTED].concat().contains(&name);
        for (index, field) in message.fields.iter().enumerate() {
            let before = message.fields.iter().take(index).find(|before| before.name == field.name);
            if let Some(before) = before.filter(|_| !known(&field.name)) {
                let what = format!("'{}' is given twice, first on line {}; give it once", field.name, before.line);
                self.error(field, what);
            }
        }
    }

    fn warn_of_what_steps_do(&mut self, message: &Message) {
        for field in message.fields.iter().filter(|field| ["parameters", "model_warmup"].contains(&field.name.as_str()))
        {
            self.warn(field, "has no effect on an ensemble; say it of the models of its steps");
        }
    }

    fn warn_of_parameters(&mut self, message: &Message) {
        let known = [&OF_ANY_MODEL[..], &[ENGINE, INTRA_OP_THREADS]].concat();
        let says_more = |field: &&Field| field.name == "parameters" && !known.iter().any(|known| names(field, known));
        for field in message.fields.iter().filter(says_more) {
            self.warn(field, "have no effect on an ONNX model; only backends \"simulated\" and \"identity\" read them");
        }
    }

    /// Puts a field's value into its place, or remarks why not.
    pub(super) fn set<T>(&mut self, field: &Field, value: Result<T, String>, place: &mut T) {
        match value {
            Ok(value) => *place = value,
            Err(what) => self.error(field, format!("'{}' {what}", field.name)),
        }
    }

    pub(super) fn push<T>(&mut self, field: &Field, value: Result<T, String>, list: &mut Vec<T>) {
        match value {
            Ok(value) => list.push(value),
            Err(what) => self.error(field, format!("'{}' {what}", field.name)),
        }
    }

    /// A nested message, read by `read`; an empty one when the field holds something else.
    pub(super) fn nested<T: Default>(&mut self, field: &Field, read: impl FnOnce(&mut Self, &Message) -> T) -> T {
        if let Value::Message(message) = &field.value {
            self.refuse_repetition(message);
            return read(self, message);
        }
        self.error(field, format!("'{}' must be a message in braces", field.name));
        T::default()
    }

    pub(super) fn other(&mut self, field: &Field, of: &str) {
        let name = &field.name;
        if WITHOUT_EFFECT.contains(&name.as_str()) {
            self.warnings.push(Remark { line: field.line, what: format!("'{name}' has no effect here") });
        } else if UNSUPPORTED.contains(&name.as_str()) {
            self.error(field, format!("'{name}' is not supported; remove it if the model is right without it"));
        } else {
            self.error(field, format!("unknown field '{name}' in {of}"));
        }
    }

    fn config(&mut self, message: &Message) -> ModelConfig {
        let mut config = ModelConfig::default();
        for field in &message.fields {
            match field.name.as_str() {
                "name" => self.set(field, text(field), &mut config.name),
                "platform" => self.set(field, text(field), &mut config.platform),
                "backend" => self.set(field, text(field), &mut config.backend),
                "default_model_filename" => self.set(field, text(field), &mut config.default_model_filename),
                "max_batch_size" => self.set(field, number(field), &mut config.max_batch_size),
                "input" => config.input.push(self.nested(field, Self::input)),
                "output" => config.output.push(self.nested(field, Self::output)),
                "instance_group" => config.instance_group.push(self.nested(field, Self::instance_group)),
                "version_policy" => config.version_policy = Some(self.nested(field, Self::version_policy)),
                "dynamic_batching" => {
                    let batching = self.nested(field, Self::dynamic_batching);
                    self.schedule(field, SchedulingChoice::DynamicBatching(batching), &mut config);
                }
                "ensemble_scheduling" => {
                    let ensemble = self.nested(field, Self::ensemble);
                    self.schedule(field, SchedulingChoice::EnsembleScheduling(ensemble), &mut config);
                }
                "parameters" => {
                    let (key, value) = self.nested(field, Self::parameter);
                    if config.parameters.insert(key.clone(), value).is_some() {
                        self.error(field, format!("the parameter '{}' is given twice", key.escape_debug()));
                    }
                }
                "model_warmup" => config.model_warmup.push(self.nested(field, Self::warm_up)),
                "model_transaction_policy" => {
                    config.model_transaction_policy = Some(self.nested(field, Self::transaction_policy));
                }
                "response_cache" => config.response_cache = Some(self.nested(field, Self::response_cache)),
                _ => self.other(field, "a model configuration"),
            }
        }
        config
    }

    /// As with every choice of protobuf's, two would mean that one is lost.
    fn schedule(&mut self, field: &Field, choice: SchedulingChoice, config: &mut ModelConfig) {
        if config.scheduling_choice.replace(choice).is_some() {
            let what = "is one too many: a model takes one of 'dynamic_batching' and 'ensemble_scheduling'";
            self.error(field, format!("'{}' {what}", field.name));
        }
    }

    fn response_cache(&mut self, message: &Message) -> ModelResponseCache {
        let mut cache = ModelResponseCache::default();
        for field in &message.fields {
            match field.name.as_str() {
                "enable" => self.set(field, boolean(field), &mut cache.enable),
                _ => self.other(field, "a response cache"),
            }
        }
        cache
    }

    fn transaction_policy(&mut self, message: &Message) -> ModelTransactionPolicy {
        let mut policy = ModelTransactionPolicy::default();
        for field in &message.fields {
            match field.name.as_str() {
                "decoupled" => self.set(field, boolean(field), &mut policy.decoupled),
                _ => self.other(field, "a transaction policy"),
            }
        }
        policy
    }

    fn input(&mut self, message: &Message) -> ModelInput {
        let mut input = ModelInput::default();
        for field in &message.fields {
            match field.name.as_str() {
                "name" => self.set(field, text(field), &mut input.name),
                "data_type" => self.set(field, named(field, DataType::from_str_name), &mut input.data_type),
                "format" => {
                    self.set(field, named(field, model_input::Format::from_str_name), &mut input.format);
                    self.warn_unless_default(field, &input.format, "has no effect here: a tensor is taken as it comes");
                }
                "dims" => self.push(field, number(field), &mut input.dims),
                "reshape" => input.reshape = Some(self.nested(field, Self::reshape)),
                "optional" => self.set(field, boolean(field), &mut input.optional),
                "allow_ragged_batch" => self.set(field, boolean(field), &mut input.allow_ragged_batch),
                _ => self.other(field, "an input"),
            }
        }
        input
    }

    fn output(&mut self, message: &Message) -> ModelOutput {
        let mut output = ModelOutput::default();
        for field in &message.fields {
            match field.name.as_str() {
                "name" => self.set(field, text(field), &mut output.name),
                "data_type" => self.set(field, named(field, DataType::from_str_name), &mut output.data_type),
                "dims" => self.push(field, number(field), &mut output.dims),
                "reshape" => output.reshape = Some(self.nested(field, Self::reshape)),
                "label_filename" => self.set(field, text(field), &mut output.label_filename),
                _ => self.other(field, "an output"),
            }
        }
        output
    }

    fn reshape(&mut self, message: &Message) -> ModelTensorReshape {
        let mut reshape = ModelTensorReshape::default();
        for field in &message.fields {
            match field.name.as_str() {
                "shape" => self.push(field, number(field), &mut reshape.shape),
                _ => self.other(field, "a reshape"),
            }
        }
        reshape
    }

    fn version_policy(&mut self, message: &Message) -> ModelVersionPolicy {
        let mut policy = ModelVersionPolicy::default();
        for field in &message.fields {
            policy.policy_choice = match field.name.as_str() {
                "latest" => Some(PolicyChoice::Latest(self.nested(field, Self::latest))),
                "all" => Some(PolicyChoice::All(self.nested(field, |_, _| All {}))),
                "specific" => Some(PolicyChoice::Specific(self.nested(field, Self::specific))),
                _ => {
                    self.other(field, "a version policy");
                    policy.policy_choice
                }
            };
        }
        policy
    }

    fn latest(&mut self, message: &Message) -> Latest {
        let mut latest = Latest::default();
        for field in &message.fields {
            match field.name.as_str() {
                "num_versions" => self.set(field, number(field), &mut latest.num_versions),
                _ => self.other(field, "the policy 'latest'"),
            }
        }
        latest
    }

    fn specific(&mut self, message: &Message) -> Specific {
        let mut specific = Specific::default();
        for field in &message.fields {
            match field.name.as_str() {
                "versions" => self.push(field, number(field), &mut specific.versions),
                _ => self.other(field, "the policy 'specific'"),
            }
        }
        specific
    }

    fn parameter(&mut self, message: &Message) -> (String, ModelParameter) {
        let mut entry = (String::new(), ModelParameter::default());
        for field in &message.fields {
            match field.name.as_str() {
                "key" => self.set(field, text(field), &mut entry.0),
                "value" => entry.1 = self.nested(field, Self::parameter_value),
                _ => self.other(field, "a parameter"),
            }
        }
        entry
    }

    fn parameter_value(&mut self, message: &Message) -> ModelParameter {
        let mut value = ModelParameter::default();
        for field in &message.fields {
            match field.name.as_str() {
                "string_value" => self.set(field, text(field), &mut value.string_value),
                _ => self.other(field, "a parameter's value"),
            }
        }
        value
    }
}

/// Whether a parameter is this one.
fn names(parameter: &Field, key: &str) -> bool {
    let Value::Message(message) = &parameter.value else { return false };
    message.fields.iter().any(|field| field.name == "key" && text(field).is_ok_and(|text| text == key))
}

pub(super) fn text(field: &Field) -> Result<String, String> {
    match &field.value {
        Value::Text(text) | Value::Scalar(text) => Ok(text.clone()),
        Value::Word(word) => Err(format!("must be a string in quotes, not {word}")),
        Value::Message(_) => Err("must be a string in quotes, not a message".to_owned()),
    }
}

pub(super) fn number<T: FromStr>(field: &Field) -> Result<T, String> {
    match &field.value {
        Value::Word(word) | Value::Scalar(word) => {
            word.parse().map_err(|_| format!("must be a whole number in range, not {}", word.escape_default()))
        }
        Value::Text(text) => Err(format!("must be a whole number, not the string \"{}\"", text.escape_default())),
        Value::Message(_) => Err("must be a whole number, not a message".to_owned()),
    }
}

pub(super) fn boolean(field: &Field) -> Result<bool, String> {
    match &field.value {
        Value::Word(word) if ["true", "True", "t", "1"].contains(&word.as_str()) => Ok(true),
        Value::Word(word) if ["false", "False", "f", "0"].contains(&word.as_str()) => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

pub(super) fn named<T: Into<i32>>(field: &Field, find: impl Fn(&str) -> Option<T>) -> Result<i32, String> {
    match &field.value {
        Value::Word(word) | Value::Scalar(word) => {
            find(word).map(Into::into).ok_or_else(|| format!("has no value {}", word.escape_default()))
        }
        _ => Err("must be one of the protocol's names, without quotes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::pbtxt::parse;

    #[test]
    fn a_whole_configuration() {
        let parsed = parse(
            r#"
            name: "m" platform: "onnxruntime_onnx" max_batch_size: 8
            input [{ name: "x" data_type: TYPE_FP32 dims: [3, -1, -1] reshape { shape: [] } }]
            output { name: "y" data_type: TYPE_INT64 dims: 1 dims: 2 }
            dynamic_batching {
              preferred_batch_size: [2, 4]
              max_queue_delay_microseconds: 500
              default_queue_policy { max_queue_size: 9 timeout_action: DELAY default_timeout_microseconds: 7 }
            }
            instance_group [{ count: 2 kind: KIND_CPU }]
            parameters { key: "a" value { string_value: "1" } }
            parameters: { key: "b", value: { string_value: "2" } }
            version_policy: { specific { versions: [1, 3] } }
            optimization { graph { level: 1 } }
            response_cache { enable: true }
            "#,
        );
        assert_eq!(parsed.errors, []);
        let warned: Vec<_> = parsed.warnings.iter().map(|Remark { line, what }| format!("{line} {what}")).collect();
        let parameters =
            "'parameters' have no effect on an ONNX model; only backends \"simulated\" and \"identity\" read them";
        let expected =
            ["14 'optimization' has no effect here", &format!("11 {parameters}"), &format!("12 {parameters}")];
        assert_eq!(warned, expected);
        let config = parsed.config;
        assert_eq!((config.name.as_str(), config.max_batch_size), ("m", 8));
        assert_eq!(config.input[0].dims, [3, -1, -1]);
        assert_eq!(config.input[0].reshape, Some(ModelTensorReshape { shape: Vec::new() }));
        assert_eq!(config.output[0].data_type, i32::from(DataType::TypeInt64));
        assert_eq!(config.output[0].dims, [1, 2]);
        let Some(SchedulingChoice::DynamicBatching(batching)) = config.scheduling_choice else { panic!("no batching") };
        assert_eq!(batching.preferred_batch_size, [2, 4]);
        assert_eq!(batching.default_queue_policy.map(|policy| policy.max_queue_size), Some(9));
        assert_eq!(config.response_cache, Some(ModelResponseCache { enable: true }));
        assert_eq!(config.instance_group[0].count, 2);
        assert_eq!(config.parameters["b"].string_value, "2");
        let choice = config.version_policy.and_then(|policy| policy.policy_choice);
        assert_eq!(choice, Some(PolicyChoice::Specific(Specific { versions: vec![1, 3] })));
    }

    fn check(text: &str, expected: &[(usize, &str)]) {
        let errors = parse(text).errors;
        assert_eq!(errors.len(), expected.len(), "{text}: {errors:?}");
        for (error, (line, part)) in errors.iter().zip(expected) {
            assert!(error.line == *line && error.what.contains(part), "{text}: {error:?}");
        }
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        check("nam: \"m\"", &[(1, "unknown field 'nam' in a model configuration")]);
        check("name: m\nmax_batch_size: \"8\"\n", &[(1, "in quotes, not m"), (2, "a whole number")]);
        check("max_batch_size: 99999999999", &[(1, "whole number in range")]);
        check("input {\n name: \"x\"\n data_type: FP32\n}", &[(3, "'data_type' has no value FP32")]);
        check("input: 3", &[(1, "'input' must be a message")]);
        check("\nsequence_batching { }", &[(2, "'sequence_batching' is not supported")]);
        check("instance_group { count: 1 kind: \"KIND_CPU\" }", &[(1, "without quotes")]);
        check("parameters { key: \"a\" }\nparameters { key: \"a\" }", &[(2, "'a' is given twice")]);
        check("dynamic_batching { preserve_ordering: 2 }", &[(1, "must be true or false")]);
        let level = "priority_queue_policy { key: 1 value { max_queue_size: 1 } }";
        check(&format!("dynamic_batching {{ {level}\n{level} }}"), &[(2, "of level 1 is given twice")]);
        check("dynamic_batching { priority_queue_policy { key: 1 valu { } } }", &[(1, "a level's queue policy")]);
        check("model_transaction_policy { decoupled: 7 }", &[(1, "must be true or false")]);
        check("response_cache { enabled: true }", &[(1, "unknown field 'enabled' in a response cache")]);
        check("max_batch_size: 1\nname: \"m\"\nmax_batch_size: 2", &[(3, "twice, first on line 1")]);
        check("instance_group { count: 1 }\ninstance_group { count: 1\n count: 2 }", &[(3, "'count' is given twice")]);
        check("name: [\"a\", \"b\"]", &[(1, "'name' is given twice")]);
    }

    fn check_warnings(text: &str, expected: &[(usize, &str)]) {
        let Parsed { errors, warnings, .. } = parse(text);
        assert_eq!((errors, warnings.len()), (Vec::new(), expected.len()), "{text}: {warnings:?}");
        for (warning, (line, part)) in warnings.iter().zip(expected) {
            assert!(warning.line == *line && warning.what.contains(part), "{text}: {warning:?}");
        }
    }

    #[test]
    fn what_has_no_effect_is_said() {
        for word in ["true", "True", "t", "1", "false", "False", "f", "0"] {
            check_warnings(&format!("dynamic_batching {{ preserve_ordering: {word} }}"), &[]);
        }
        check_warnings("model_transaction_policy { decoupled: false }", &[]);
        check_warnings("instance_group { gpus: [0, 1] kind: KIND_CPU }", &[(1, "'gpus' has no effect")]);
        // Whether there is a GPU is known when the model is started, and said then.
        check_warnings("instance_group {\nkind: KIND_GPU }", &[]);
        check_warnings("input { format: FORMAT_NCHW }", &[(1, "'format' has no effect")]);
        check_warnings("input { format: FORMAT_NONE }", &[]);
        let parameter = "parameters { key: \"a\" }";
        check_warnings(parameter, &[(1, "'parameters' have no effect on an ONNX model")]);
        for backend in ["simulated", "identity"] {
            check_warnings(&format!("{parameter} backend: \"{backend}\""), &[]);
        }
        check_warnings("parameters { key: \"adaptive_batching\" value { string_value: \"true\" } }", &[]);
    }
}
