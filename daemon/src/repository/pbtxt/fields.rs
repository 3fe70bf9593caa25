//! The fields of a model configuration: from the tree of a text to the protocol's message. What the daemon knows and
//! does not act on is a warning; what would change the meaning of the model, or is unknown, is an error.

use std::str::FromStr;

use proofload_wire::grpc::inference::model_config::SchedulingChoice;
use proofload_wire::grpc::inference::model_instance_group::Kind;
use proofload_wire::grpc::inference::model_queue_policy::TimeoutAction;
use proofload_wire::grpc::inference::model_version_policy::{All, Latest, PolicyChoice, Specific};
use proofload_wire::grpc::inference::{
    DataType, ModelConfig, ModelDynamicBatching, ModelInput, ModelInstanceGroup, ModelOutput, ModelParameter,
    ModelQueuePolicy, ModelTensorReshape, ModelVersionPolicy, model_input,
};

use super::text::{Field, Message, Value};
use super::{Parsed, Remark};

/// Fields of Triton's that have no effect here, and whose absence changes no result.
const WITHOUT_EFFECT: [&str; 9] = [
    "optimization",
    "model_warmup",
    "cc_model_filenames",
    "metric_tags",
    "response_cache",
    "runtime",
    "model_metrics",
    "label_filename",
    "rate_limiter",
];

/// Fields of Triton's without which the model would be another one.
const UNSUPPORTED: [&str; 9] = [
    "sequence_batching",
    "ensemble_scheduling",
    "model_operations",
    "model_transaction_policy",
    "batch_input",
    "batch_output",
    "model_repository_agents",
    "priority_queue_policy",
    "is_shape_tensor",
];

/// Reads the fields of a configuration.
pub fn read(message: &Message) -> Parsed {
    let mut reader = Reader::default();
    let config = reader.config(message);
    Parsed { config, errors: reader.errors, warnings: reader.warnings }
}

#[derive(Default)]
struct Reader {
    errors: Vec<Remark>,
    warnings: Vec<Remark>,
}

impl Reader {
    fn error(&mut self, field: &Field, what: impl Into<String>) {
        self.errors.push(Remark { line: field.line, what: what.into() });
    }

    /// Puts a field's value into its place, or remarks why not.
    fn set<T>(&mut self, field: &Field, value: Result<T, String>, place: &mut T) {
        match value {
            Ok(value) => *place = value,
            Err(what) => self.error(field, format!("'{}' {what}", field.name)),
        }
    }

    fn push<T>(&mut self, field: &Field, value: Result<T, String>, list: &mut Vec<T>) {
        match value {
            Ok(value) => list.push(value),
            Err(what) => self.error(field, format!("'{}' {what}", field.name)),
        }
    }

    /// A nested message, read by `read`; an empty one when the field holds something else.
    fn nested<T: Default>(&mut self, field: &Field, read: impl FnOnce(&mut Self, &Message) -> T) -> T {
        if let Value::Message(message) = &field.value {
            return read(self, message);
        }
        self.error(field, format!("'{}' must be a message in braces", field.name));
        T::default()
    }

    fn other(&mut self, field: &Field, of: &str) {
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
                    config.scheduling_choice = Some(SchedulingChoice::DynamicBatching(batching));
                }
                "parameters" => {
                    let (key, value) = self.nested(field, Self::parameter);
                    if config.parameters.insert(key.clone(), value).is_some() {
                        self.error(field, format!("the parameter '{key}' is given twice"));
                    }
                }
                _ => self.other(field, "a model configuration"),
            }
        }
        config
    }

    fn input(&mut self, message: &Message) -> ModelInput {
        let mut input = ModelInput::default();
        for field in &message.fields {
            match field.name.as_str() {
                "name" => self.set(field, text(field), &mut input.name),
                "data_type" => self.set(field, named(field, DataType::from_str_name), &mut input.data_type),
                "format" => self.set(field, named(field, model_input::Format::from_str_name), &mut input.format),
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

    fn instance_group(&mut self, message: &Message) -> ModelInstanceGroup {
        let mut group = ModelInstanceGroup::default();
        for field in &message.fields {
            match field.name.as_str() {
                "name" => self.set(field, text(field), &mut group.name),
                "count" => self.set(field, number(field), &mut group.count),
                "kind" => self.set(field, named(field, Kind::from_str_name), &mut group.kind),
                "gpus" => self.push(field, number(field), &mut group.gpus),
                _ => self.other(field, "an instance group"),
            }
        }
        group
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

    fn dynamic_batching(&mut self, message: &Message) -> ModelDynamicBatching {
        let mut batching = ModelDynamicBatching::default();
        for field in &message.fields {
            match field.name.as_str() {
                "preferred_batch_size" => self.push(field, number(field), &mut batching.preferred_batch_size),
                "max_queue_delay_microseconds" => {
                    self.set(field, number(field), &mut batching.max_queue_delay_microseconds);
                }
                "preserve_ordering" => self.set(field, boolean(field), &mut batching.preserve_ordering),
                "priority_levels" => self.set(field, number(field), &mut batching.priority_levels),
                "default_priority_level" => self.set(field, number(field), &mut batching.default_priority_level),
                "default_queue_policy" => {
                    batching.default_queue_policy = Some(self.nested(field, Self::queue_policy));
                }
                _ => self.other(field, "dynamic batching"),
            }
        }
        batching
    }

    fn queue_policy(&mut self, message: &Message) -> ModelQueuePolicy {
        let mut policy = ModelQueuePolicy::default();
        for field in &message.fields {
            match field.name.as_str() {
                "timeout_action" => {
                    self.set(field, named(field, TimeoutAction::from_str_name), &mut policy.timeout_action);
                }
                "default_timeout_microseconds" => {
                    self.set(field, number(field), &mut policy.default_timeout_microseconds);
                }
                "allow_timeout_override" => self.set(field, boolean(field), &mut policy.allow_timeout_override),
                "max_queue_size" => self.set(field, number(field), &mut policy.max_queue_size),
                _ => self.other(field, "a queue policy"),
            }
        }
        policy
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

fn text(field: &Field) -> Result<String, String> {
    match &field.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Word(word) => Err(format!("must be a string in quotes, not {word}")),
        Value::Message(_) => Err("must be a string in quotes, not a message".to_owned()),
    }
}

fn number<T: FromStr>(field: &Field) -> Result<T, String> {
    match &field.value {
        Value::Word(word) => word.parse().map_err(|_| format!("must be a whole number in range, not {word}")),
        Value::Text(text) => Err(format!("must be a whole number, not the string \"{}\"", text.escape_default())),
        Value::Message(_) => Err("must be a whole number, not a message".to_owned()),
    }
}

fn boolean(field: &Field) -> Result<bool, String> {
    match &field.value {
        Value::Word(word) if word == "true" => Ok(true),
        Value::Word(word) if word == "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

fn named<T: Into<i32>>(field: &Field, find: impl Fn(&str) -> Option<T>) -> Result<i32, String> {
    match &field.value {
        Value::Word(word) => find(word).map(Into::into).ok_or_else(|| format!("has no value {word}")),
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
            "#,
        );
        assert_eq!(parsed.errors, []);
        assert_eq!(parsed.warnings, [Remark { line: 14, what: "'optimization' has no effect here".to_owned() }]);
        let config = parsed.config;
        assert_eq!((config.name.as_str(), config.max_batch_size), ("m", 8));
        assert_eq!(config.input[0].dims, [3, -1, -1]);
        assert_eq!(config.input[0].reshape, Some(ModelTensorReshape { shape: Vec::new() }));
        assert_eq!(config.output[0].data_type, i32::from(DataType::TypeInt64));
        assert_eq!(config.output[0].dims, [1, 2]);
        let Some(SchedulingChoice::DynamicBatching(batching)) = config.scheduling_choice else { panic!("no batching") };
        assert_eq!(batching.preferred_batch_size, [2, 4]);
        assert_eq!(batching.default_queue_policy.map(|policy| policy.max_queue_size), Some(9));
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
        check("dynamic_batching { preserve_ordering: 1 }", &[(1, "must be true or false")]);
    }
}
