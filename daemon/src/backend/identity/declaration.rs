//! How an identity model is declared: inputs and outputs that mirror each other, and the `parameters` of its
//! configuration. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use proofload_wire::grpc::inference::ModelParameter;

use super::IdentitySpec;
use crate::repository::scheduling::OF_ANY_MODEL;
use crate::repository::spec::TensorSpec;

/// How many responses a request gets; only with `model_transaction_policy { decoupled: true }`, 1 by default.
const REPEAT: &str = "repeat";
/// How long computing each response takes, in milliseconds; 0 by default.
const DELAY_MS: &str = "delay_ms";

/// The longest delay: more is a slip of the pen.
const LONGEST_DELAY_MS: f64 = 600_000.0;

/// Reads a declaration. All mistakes are given at once.
///
/// # Errors
/// One message for each mistake.
pub fn read(parameters: &BTreeMap<String, ModelParameter>, decoupled: bool) -> Result<IdentitySpec, Vec<String>> {
    let known = [REPEAT, DELAY_MS];
    let unknown =
        parameters.keys().filter(|key| !known.contains(&key.as_str()) && !OF_ANY_MODEL.contains(&key.as_str()));
    let mut errors: Vec<_> =
        unknown.map(|key| format!("unknown parameter '{key}'; known are {}", known.join(", "))).collect();
    let text = |key: &str| parameters.get(key).map(|parameter| parameter.string_value.as_str());
    let repeat = text(REPEAT).map_or(Ok(1), str::parse);
    let repeat = repeat.unwrap_or_else(|_| {
        errors.push(format!("parameter '{REPEAT}' must be a whole number of 0 or more"));
        1
    });
    if !decoupled && text(REPEAT).is_some() {
        errors.push(format!("parameter '{REPEAT}' needs model_transaction_policy {{ decoupled: true }}"));
    }
    let delay_ms = text(DELAY_MS).map_or(Ok(0.0), str::parse);
    let delay_ms = delay_ms.ok().filter(|ms: &f64| (0.0..=LONGEST_DELAY_MS).contains(ms)).unwrap_or_else(|| {
        errors.push(format!("parameter '{DELAY_MS}' must be a number between 0 and {LONGEST_DELAY_MS}"));
        0.0
    });
    let delay = Duration::from_secs_f64(delay_ms / 1000.0);
    if errors.is_empty() { Ok(IdentitySpec { repeat, delay, decoupled }) } else { Err(errors) }
}

/// What keeps the outputs from being the inputs: one message for each contradiction.
pub fn contradictions(inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Vec<String> {
    if inputs.len() != outputs.len() {
        let (inputs, outputs) = (inputs.len(), outputs.len());
        return vec![format!("an identity model needs as many outputs as inputs; it has {outputs} and {inputs}")];
    }
    let differ =
        |(input, output): &(&TensorSpec, &TensorSpec)| input.datatype != output.datatype || input.dims != output.dims;
    let pairs = inputs.iter().zip(outputs).filter(differ);
    pairs
        .map(|(input, output)| {
            format!(
                "output '{}' must have the 'data_type' and 'dims' of input '{}', {} and {:?}, for it is its copy",
                output.name, input.name, input.datatype, input.dims
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proofload_wire::tensor::DataType;

    use super::*;

    #[test]
    fn declarations() {
        let check = |written: &[(&str, &str)], decoupled, expected: Result<(u32, u64), &[&str]>| {
            let parameter =
                |(key, value): &(&str, &str)| ((*key).to_owned(), ModelParameter { string_value: (*value).to_owned() });
            match (read(&written.iter().map(parameter).collect(), decoupled), expected) {
                (Ok(spec), Ok((repeat, delay_us))) => {
                    assert_eq!(
                        spec,
                        IdentitySpec { repeat, delay: Duration::from_micros(delay_us), decoupled },
                        "{written:?}"
                    );
                }
                (Err(errors), Err(parts)) => {
                    assert_eq!(errors.len(), parts.len(), "{errors:?}");
                    assert!(errors.iter().zip(parts).all(|(error, part)| error.contains(part)), "{errors:?}");
                }
                (got, expected) => panic!("{written:?}: got {got:?}, expected {expected:?}"),
            }
        };
        check(&[], false, Ok((1, 0)));
        check(&[("delay_ms", "1.5")], false, Ok((1, 1500)));
        check(&[("repeat", "0")], true, Ok((0, 0)));
        check(&[("repeat", "5"), ("delay_ms", "2")], true, Ok((5, 2000)));
        check(&[("repeat", "5")], false, Err(&["needs model_transaction_policy"]));
        check(&[("repeat", "-1"), ("delay_ms", "x")], true, Err(&["'repeat' must be", "'delay_ms' must be"]));
        check(&[("delay_ms", "1e9")], false, Err(&["between 0 and"]));
        check(&[("mean_ms", "1")], false, Err(&["unknown parameter 'mean_ms'; known are repeat, delay_ms"]));
    }

    #[test]
    fn outputs_mirror_inputs() {
        let tensor = |name: &str, datatype, dims: &[i64]| TensorSpec {
            name: name.to_owned(),
            datatype,
            dims: dims.to_vec(),
            reshape: None,
            labels: Default::default(),
        };
        let (x, y) = (tensor("x", DataType::Bf16, &[-1]), tensor("y", DataType::Bf16, &[-1]));
        let check = |inputs: &[&TensorSpec], outputs: &[&TensorSpec], expected: &[&str]| {
            let owned = |specs: &[&TensorSpec]| specs.iter().map(|spec| (*spec).clone()).collect::<Vec<_>>();
            let found = contradictions(&owned(inputs), &owned(outputs));
            assert_eq!(found.len(), expected.len(), "{found:?}");
            assert!(found.iter().zip(expected).all(|(error, part)| error.contains(part)), "{found:?}");
        };
        check(&[&x], &[&y], &[]);
        check(&[&x, &x], &[&y], &["it has 1 and 2"]);
        check(&[&x, &x], &[&tensor("y", DataType::Fp16, &[-1]), &y], &["output 'y' must have"]);
        check(&[&x], &[&tensor("y", DataType::Bf16, &[2])], &["BF16 and [-1]"]);
    }
}
