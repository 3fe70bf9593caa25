//! The models that the binary carries, so that a daemon serves something wherever it was installed. They live in
//! `daemon/models` in the repository's own layout.

/// A model in the binary, in version 1.
#[derive(Debug)]
pub struct EmbeddedModel {
    /// Its name.
    pub name: &'static str,
    /// Its `config.pbtxt`.
    pub config: &'static str,
    /// Its file; empty for a simulated model and for an ensemble.
    pub onnx: &'static [u8],
}

/// All of them.
pub static MODELS: [EmbeddedModel; 6] = [
    EmbeddedModel { name: "relief", config: include_str!("../../models/relief/config.pbtxt"), onnx: &[] },
    EmbeddedModel {
        name: "relief_depth",
        config: include_str!("../../models/relief_depth/config.pbtxt"),
        onnx: include_bytes!("../../models/relief_depth/1/model.onnx"),
    },
    EmbeddedModel {
        name: "relief_height",
        config: include_str!("../../models/relief_height/config.pbtxt"),
        onnx: include_bytes!("../../models/relief_height/1/model.onnx"),
    },
    EmbeddedModel {
        name: "relief_prepare",
        config: include_str!("../../models/relief_prepare/config.pbtxt"),
        onnx: include_bytes!("../../models/relief_prepare/1/model.onnx"),
    },
    EmbeddedModel { name: "sim_4x10ms", config: include_str!("../../models/sim_4x10ms/config.pbtxt"), onnx: &[] },
    EmbeddedModel {
        name: "tiny_mlp",
        config: include_str!("../../models/tiny_mlp/config.pbtxt"),
        onnx: include_bytes!("../../models/tiny_mlp/1/model.onnx"),
    },
];
