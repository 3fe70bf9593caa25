//! `config.pbtxt`: the text format of protocol buffers, as far as model configurations need it. `text` knows the
//! grammar and no model; `fields`, `scheduling`, `ensemble` and `warm_up` know the configuration's
//! fields and no grammar.

mod ensemble;
pub mod fields;
pub mod json;
mod scheduling;
pub mod text;
mod warm_up;

use proofload_wire::grpc::inference::ModelConfig;

/// Something in a file that is wrong, or that has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The line, from 1.
    pub line: usize,
    /// What is there, and what would be right.
    pub what: String,
}

/// A configuration as it was written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// What could be read.
    pub config: ModelConfig,
    /// The fields as they were written, with their lines.
    pub written: text::Message,
    /// What cannot be meant so. A configuration with errors must not be used.
    pub errors: Vec<Remark>,
    /// What the daemon knows of and does not act on.
    pub warnings: Vec<Remark>,
}

/// Reads the text of a `config.pbtxt`.
pub fn parse(text: &str) -> Parsed {
    match text::parse(text) {
        Ok(message) => fields::read(&message),
        Err(remark) => Parsed { errors: vec![remark], ..Parsed::default() },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// No text makes the parser panic, and an error always names a line of the text.
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,300}") {
            let lines = text.lines().count().max(1) + 1;
            prop_assert!(parse(&text).errors.iter().all(|remark| (1..=lines).contains(&remark.line)));
        }

        /// Nor does any sequence of the format's own tokens.
        #[test]
        fn any_tokens_are_read_or_refused(tokens in proptest::collection::vec(
            prop_oneof![
                Just("name"), Just("input"), Just("dims"), Just("dynamic_batching"), Just("parameters"), Just("key"),
                Just(":"), Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just("\"x\""), Just("'y"), Just("\\"),
                Just("-1"), Just("1e9999"), Just("TYPE_FP32"), Just("#"), Just("\n"), Just("<"), Just(">"), Just("true"),
            ], 0..60)) {
            parse(&tokens.join(" "));
        }
    }
}
