//! A model configuration in JSON, as clients hand it over and as `GET …/config` gives it: turned into the tree that
//! the text format gives, so that both are read by the same code. After protobuf's JSON mapping: names in camel case or
//! as in the `.proto` file, 64-bit numbers as numbers or strings, maps as objects, defaults as good as absent.

use serde_json::{Map, Value as Json};

use super::text::{Field, Message, Value};
use super::{Parsed, Remark, fields};

/// Fields that are maps: entries with a key and a value in the text, an object in JSON.
const MAPS: [&str; 7] =
    ["parameters", "priority_queue_policy", "metric_tags", "cc_model_filenames", "inputs", "input_map", "output_map"];

/// There are no lines to name in what came with a request.
const LINE: usize = 1;

/// Reads a configuration in JSON. The lines of its remarks mean nothing.
pub fn parse(text: &str) -> Parsed {
    let refused = |what: String| Parsed { errors: vec![Remark { line: LINE, what }], ..Parsed::default() };
    match serde_json::from_str(text) {
        Ok(Json::Object(object)) => fields::read(&message(&object)),
        Ok(_) => refused("must be a JSON object".to_owned()),
        Err(error) => refused(format!("is no JSON: {error}")),
    }
}

fn message(object: &Map<String, Json>) -> Message {
    let mut fields = Vec::new();
    for (name, json) in object {
        let name = snake_case(name);
        match json {
            Json::Object(entries) if MAPS.contains(&name.as_str()) => {
                fields.extend(entries.iter().map(|entry| field(&name, Value::Message(map_entry(entry)))));
            }
            Json::Array(items) => fields.extend(items.iter().filter_map(value).map(|value| field(&name, value))),
            json if is_default(json) => {}
            json => fields.extend(value(json).map(|value| field(&name, value))),
        }
    }
    Message { fields }
}

fn map_entry((key, value_of): (&String, &Json)) -> Message {
    let key = field("key", Value::Scalar(key.clone()));
    Message { fields: std::iter::once(key).chain(value(value_of).map(|value| field("value", value))).collect() }
}

fn field(name: &str, value: Value) -> Field {
    Field { name: name.to_owned(), line: LINE, value }
}

fn value(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => return None,
        Json::Bool(truth) => Value::Word(truth.to_string()),
        Json::Number(number) => Value::Word(number.to_string()),
        Json::String(text) => Value::Scalar(text.clone()),
        Json::Object(object) => Value::Message(message(object)),
        // A list in a list is nothing that a configuration has; as a message it is refused by the field's name.
        Json::Array(_) => Value::Message(Message::default()),
    })
}

/// What the protocol takes for absent.
fn is_default(json: &Json) -> bool {
    match json {
        Json::Null | Json::Bool(false) => true,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => text.is_empty(),
        _ => false,
    }
}

fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::pbtxt;

    fn check(json: &str, pbtxt: &str) {
        let (json_read, text_read) = (parse(json), pbtxt::parse(pbtxt));
        assert_eq!((&json_read.errors, &text_read.errors), (&Vec::new(), &Vec::new()), "{json}");
        assert_eq!(json_read.config, text_read.config, "{json}");
    }

    #[test]
    fn json_means_what_the_text_means() {
        check("{}", "");
        check(r#"{"name": "m", "maxBatchSize": 8, "platform": ""}"#, r#"name: "m" max_batch_size: 8"#);
        check(
            r#"{"input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["3", -1], "reshape": {"shape": []}}]}"#,
            r#"input { name: "x" data_type: TYPE_FP32 dims: [3, -1] reshape { } }"#,
        );
        check(
            r#"{"parameters": {"a": {"string_value": "1"}}}"#,
            r#"parameters { key: "a" value { string_value: "1" } }"#,
        );
        check(
            r#"{"dynamic_batching": {"priority_levels": "2", "priority_queue_policy": {"1": {"max_queue_size": 3}}}}"#,
            "dynamic_batching { priority_levels: 2 priority_queue_policy { key: 1 value { max_queue_size: 3 } } }",
        );
        check(r#"{"version_policy": {"all": {}}}"#, "version_policy { all { } }");
        check(r#"{"dynamic_batching": {}, "input": []}"#, "dynamic_batching { }");
    }

    #[test]
    fn what_a_server_says_of_a_model_can_be_given_back() {
        for model in &crate::repository::embedded::MODELS {
            let config = pbtxt::parse(model.config).config;
            let back = parse(&serde_json::to_string(&config).expect("serializable"));
            assert_eq!((back.errors, back.config), (Vec::new(), config), "{}", model.name);
        }
    }

    #[test]
    fn mistakes_are_named() {
        let check = |json: &str, part: &str| {
            let errors = parse(json).errors;
            assert!(errors.len() == 1 && errors[0].what.contains(part), "{json}: {errors:?}");
        };
        check("[]", "must be a JSON object");
        check("{", "is no JSON");
        check(r#"{"nam": "m"}"#, "unknown field 'nam'");
        check(r#"{"max_batch_size": "x"}"#, "a whole number");
        check(r#"{"name": 3}"#, "in quotes");
        check(r#"{"max_batch_size": [[1]]}"#, "a whole number");
    }
}
