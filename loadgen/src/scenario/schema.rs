//! The JSON Schema of scenario files, for editors: made from the types of [`super::as_written`], never written by hand.
//! It knows keys, types and words; what only makes sense together is [`super::validate`]'s affair.

use std::borrow::Cow;

use proofload_wire::tensor::DataType;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::as_written::Scenario;

/// The schema, draft 2020-12.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(unwrap_description));
    settings.into_generator().into_root_schema_for::<Scenario>().to_value()
}

/// Comments are wrapped for people who read code; editors wrap for themselves.
fn unwrap_description(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}

/// The words of a choice, from the table by which it is read.
pub(super) fn words<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(word, _)| *word).collect()
}

/// The datatypes that tensors may have.
pub(super) fn datatypes() -> Vec<&'static str> {
    DataType::all().map(DataType::as_str).collect()
}

/// Types that exist in the schema only: how quantities are written.
macro_rules! quantities {
    ($($(#[$doc:meta])* $name:ident: $schema:tt)*) => { $(
        $(#[$doc])*
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )* };
}

quantities! {
    /// Read by `parse_duration_ns`.
    Duration: {
        "type": "string",
        "pattern": r"^[0-9_]*\.?[0-9_]+\s*(ns|us|µs|ms|s|m|min|h)$",
        "examples": ["250ms", "30s", "10m", "1h"]
    }
    /// Read by `parse_share`.
    Share: {
        "anyOf": [
            { "type": "string", "pattern": r"^[0-9_]*\.?[0-9_]+\s*%?$" },
            { "type": "number", "minimum": 0, "maximum": 1 }
        ],
        "examples": ["1%", "0.5%"]
    }
    /// Read by `parse_bytes`.
    Size: {
        "anyOf": [
            { "type": "string", "pattern": r"^[0-9_]*\.?[0-9_]+\s*(B|[kKMG]B|[KMG]iB)?$" },
            { "type": "integer", "minimum": 0 }
        ],
        "examples": [84, "64KiB", "10MB"]
    }
    /// A rate in the open model, a whole number of users in the closed one.
    Level: {
        "anyOf": [
            { "type": "string", "pattern": r"^[0-9_]*\.?[0-9_]+\s*(/\s*(s|sec|m|min|h))?$" },
            { "type": "number", "minimum": 0 }
        ],
        "examples": ["50/s", "300/m", 10]
    }
    /// A bound on connections, or none.
    Connections: {
        "anyOf": [
            { "type": "string", "enum": ["as-needed"] },
            { "type": "integer", "minimum": 1, "maximum": 65_535 }
        ],
        "examples": ["as-needed", 256]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::{Map, json};

    use super::super::document::{Node, Value as Written};
    use super::super::problem::Place;
    use super::super::reader::Problems;
    use super::super::{as_written, document};
    use super::*;

    /// A key that no table has, put into every one: the reader then says which keys it asked for.
    const STRANGER: &str = "a_key_that_no_table_of_a_scenario_will_ever_have";

    #[test]
    fn the_committed_schema_is_the_one_of_the_types() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/schema.json");
        let committed: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert!(
            committed == schema(),
            "scenarios/schema.json is not what the types of loadgen/src/scenario/as_written.rs make; write it again \
             with `cargo run --release -- scenario schema > scenarios/schema.json`, look at the difference, commit it"
        );
    }

    #[test]
    fn the_schema_has_the_keys_that_the_reader_asks_for() {
        let root = schema();
        let (document, mut expected) = (instance(&root, &root), Vec::new());
        tables(&root, &root, "", &mut expected);
        let said = problems(&document);
        assert!(expected.len() >= 17, "{expected:?}");
        for (path, keys) in &expected {
            let told = said.iter().find(|(key, _)| key == &join(path, STRANGER)).map(|(_, message)| message.as_str());
            let asked = told.and_then(|told| told.strip_prefix("unknown key; known here are "));
            let asked: BTreeSet<&str> = asked.unwrap_or_else(|| panic!("{path}: {told:?}")).split(", ").collect();
            let keys: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
            assert_eq!(asked, keys, "left: keys that the reader asks for in [{path}]; right: keys of the schema");
        }
        let others: Vec<_> = said.iter().filter(|(key, _)| !key.ends_with(STRANGER)).collect();
        assert!(others.is_empty(), "the reader refuses what the schema allows: {others:?}");
    }

    /// Every word and every example of the schema is one that the reader knows.
    #[test]
    fn words_and_examples_of_the_schema_can_be_read() {
        let root = schema();
        let mut values = Vec::new();
        walk(&root, &root, "", &mut |path, schema| {
            let schema = effective(&root, schema);
            for list in ["enum", "examples"] {
                values.extend(schema[list].as_array().into_iter().flatten().map(|v| (path.to_owned(), v.clone())));
            }
        });
        assert!(values.len() >= 60, "{}", values.len());
        for (path, value) in values {
            let mut document = without_strangers(instance(&root, &root));
            let pointer = format!("/{}", path.replace('.', "/"));
            *document.pointer_mut(&pointer).expect(&pointer) = value.clone();
            assert_eq!(problems(&document), [], "{path} = {value}");
        }
    }

    /// What the reader says about a document, with the keys it says it about.
    fn problems(document: &Value) -> Vec<(String, String)> {
        let problems = Problems::default();
        as_written::read(&node(document), &problems);
        problems.into_inner().into_iter().map(|problem| (problem.key, problem.message)).collect()
    }

    fn node(value: &Value) -> Node {
        let value = match value {
            Value::String(text) => Written::String(text.clone()),
            Value::Number(n) => n.as_i64().map_or_else(|| Written::Float(n.as_f64().unwrap()), Written::Integer),
            Value::Bool(value) => Written::Boolean(*value),
            Value::Array(items) => Written::Array(items.iter().map(node).collect()),
            Value::Object(fields) => {
                let field = |(key, value): (&String, _)| document::Field {
                    key: key.clone(),
                    place: Place::Whole,
                    node: node(value),
                };
                Written::Table(fields.iter().map(field).collect())
            }
            Value::Null => panic!("TOML has no null"),
        };
        Node { value, place: Place::Whole }
    }

    fn join(path: &str, key: &str) -> String {
        if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
    }

    /// A schema with its reference followed; of several forms the table, else the first.
    fn effective<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
        if let Some(reference) = schema["$ref"].as_str() {
            return effective(root, root.pointer(reference.trim_start_matches('#')).unwrap());
        }
        let forms = || schema["anyOf"].as_array().into_iter().flatten().map(|form| effective(root, form));
        forms().find(|form| form["properties"].is_object()).unwrap_or(schema)
    }

    /// Visits every place of the schema with its dotted path, arrays as their first item.
    fn walk(root: &Value, schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
        visit(path, schema);
        let schema = effective(root, schema);
        if schema["items"].is_object() {
            walk(root, &schema["items"], &join(path, "0"), visit);
        }
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            walk(root, inner, &join(path, key), visit);
        }
    }

    fn tables(root: &Value, schema: &Value, path: &str, found: &mut Vec<(String, Vec<String>)>) {
        walk(root, schema, path, &mut |path, schema| {
            if let Some(properties) = effective(root, schema)["properties"].as_object() {
                found.push((path.to_owned(), properties.keys().cloned().collect()));
            }
        });
    }

    /// A document with every key of the schema, and the stranger in every table.
    fn instance(root: &Value, schema: &Value) -> Value {
        let schema = effective(root, schema);
        if let Some(properties) = schema["properties"].as_object() {
            let known = properties.iter().map(|(key, inner)| (key.clone(), instance(root, inner)));
            return Value::Object(known.chain([(STRANGER.to_owned(), json!(1))]).collect());
        }
        if schema["additionalProperties"].is_object() || schema["additionalProperties"] == json!(true) {
            return Value::Object(Map::from_iter([("any".to_owned(), json!("text"))]));
        }
        if schema["items"].is_object() {
            return json!([instance(root, &schema["items"])]);
        }
        let given = [&schema["examples"][0], &schema["enum"][0]].into_iter().find(|value| !value.is_null());
        match (given, schema["type"].as_str()) {
            (Some(value), _) => value.clone(),
            (None, Some("string")) => json!("text"),
            (None, Some("integer" | "number")) => json!(1),
            (None, Some("boolean")) => json!(true),
            (None, other) => panic!("{other:?}: {schema}"),
        }
    }

    fn without_strangers(value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let known = fields.into_iter().filter(|(key, _)| key != STRANGER);
                Value::Object(known.map(|(key, value)| (key, without_strangers(value))).collect())
            }
            Value::Array(items) => Value::Array(items.into_iter().map(without_strangers).collect()),
            other => other,
        }
    }
}
