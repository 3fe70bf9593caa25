//! The JSON Schema of `findings.json`, made from its types, whose comments are its descriptions. Never written by hand.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

use super::Findings;

/// The schema, draft 2020-12, of what this version writes.
pub fn schema() -> Value {
    let settings =
        SchemaSettings::draft2020_12().for_serialize().with_transform(RecursiveTransform(unwrap_description));
    settings.into_generator().into_root_schema_for::<Findings>().to_value()
}

/// Comments are wrapped for people who read code.
fn unwrap_description(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}
