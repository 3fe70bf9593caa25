//! Compiles `proto/` without `protoc`, and teaches the model configuration the JSON form that Triton's HTTP
//! endpoint answers with.

use std::error::Error;

/// The one file whose messages are also served as JSON.
const JSON_FILE: &str = "model_config.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["proto/service.proto", "proto/health.proto"], ["proto"])?;
    let mut builder = tonic_prost_build::configure()
        .generate_default_stubs(true)
        .btree_map(".")
        .bytes(".inference.ModelInferRequest.raw_input_contents")
        .bytes(".inference.ModelInferResponse.raw_output_contents")
        .bytes(".inference.InferTensorContents.bytes_contents");

    // A list of work instead of recursion: nested messages follow the message that holds them.
    let mut messages = Vec::new();
    for message in descriptors.file.iter().filter(|file| file.name() == JSON_FILE).flat_map(|file| &file.message_type) {
        let path = format!(".inference.{}", message.name());
        // Holds for the messages nested in it, too.
        builder = builder.message_attribute(&path, "#[derive(serde::Serialize)]");
        messages.push((path, message));
    }
    while let Some((path, message)) = messages.pop() {
        for oneof in &message.oneof_decl {
            // A path without the leading dot is a suffix: as a prefix it would also hit the choices themselves.
            let field = format!("{}.{}", message.name(), oneof.name());
            let oneof = format!("{path}.{}", oneof.name());
            builder = builder
                .type_attribute(oneof, "#[derive(serde::Serialize)] #[serde(rename_all = \"snake_case\")]")
                .field_attribute(field, "#[serde(flatten)]");
        }
        for field in message.field.iter().filter(|field| field.oneof_index.is_none()) {
            if let Some(attribute) = json_attribute(field.type_name(), field.r#type, field.label) {
                builder = builder.field_attribute(format!("{path}.{}", field.name()), attribute);
            }
        }
        messages.extend(message.nested_type.iter().map(|nested| (format!("{path}.{}", nested.name()), nested)));
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}

/// How a field differs from what `serde` would do by itself: enums go by their names, absent messages go away.
fn json_attribute(type_name: &str, kind: Option<i32>, label: Option<i32>) -> Option<String> {
    // Numbers of `google.protobuf.FieldDescriptorProto`.
    const TYPE_MESSAGE: i32 = 11;
    const TYPE_ENUM: i32 = 14;
    const LABEL_REPEATED: i32 = 3;
    match kind {
        Some(TYPE_MESSAGE) if label != Some(LABEL_REPEATED) => {
            Some("#[serde(skip_serializing_if = \"Option::is_none\")]".to_owned())
        }
        Some(TYPE_ENUM) => {
            let name = rust_path(type_name);
            Some(format!("#[serde(serialize_with = \"crate::grpc::enum_name::serialize::<{name}, _>\")]"))
        }
        _ => None,
    }
}

/// `.inference.ModelInput.Format` -> `crate::grpc::inference::model_input::Format`.
fn rust_path(type_name: &str) -> String {
    let mut parts: Vec<String> = type_name.trim_start_matches('.').split('.').map(str::to_owned).collect();
    let modules = parts.len() - 1;
    for part in &mut parts[..modules] {
        *part = snake_case(part);
    }
    format!("crate::grpc::{}", parts.join("::"))
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
