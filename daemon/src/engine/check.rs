//! Whether a request fits a model: names, types, shapes and batch size, with Triton's words for what is wrong. Pure.

use proofload_wire::infer::RequestedOutput;
use proofload_wire::tensor::Tensor;

use super::answer::{self, Wanted};
use super::error::ServeError;
use crate::repository::spec::{ModelSpec, TensorSpec};

/// A request that fits.
#[derive(Debug, PartialEq)]
pub struct Checked {
    /// Its inputs in the order of the configuration.
    pub inputs: Vec<Tensor>,
    /// Its batch elements.
    pub elements: u32,
    /// Its dimensions beside the batch, input after input.
    pub shape: Vec<i64>,
    /// Which outputs it wants, in the order it wants them.
    pub outputs: Vec<Wanted>,
}

/// Checks a request against its model and puts its inputs into order.
///
/// # Errors
/// When it does not fit, in words that say what would.
pub fn check(spec: &ModelSpec, inputs: Vec<Tensor>, outputs: &[RequestedOutput]) -> Result<Checked, ServeError> {
    if inputs.len() != spec.inputs.len() {
        let (want, got, name) = (spec.inputs.len(), inputs.len(), &spec.name);
        return Err(invalid(format!("expected {want} inputs but got {got} inputs for model '{name}'")));
    }
    let inputs = in_order(spec, inputs)?;
    let mut elements = None;
    for (input, declared) in inputs.iter().zip(&spec.inputs) {
        check_input(spec, input, declared)?;
        check_batch(spec, input, &mut elements)?;
    }
    let batch_dims = usize::from(spec.batched());
    let shape = inputs.iter().flat_map(|input| input.shape.iter().skip(batch_dims).copied()).collect();
    Ok(Checked { outputs: answer::wanted(spec, outputs)?, inputs, elements: elements.unwrap_or(1), shape })
}

fn in_order(spec: &ModelSpec, mut inputs: Vec<Tensor>) -> Result<Vec<Tensor>, ServeError> {
    let mut ordered = Vec::with_capacity(inputs.len());
    for declared in &spec.inputs {
        let Some(index) = inputs.iter().position(|input| input.name == declared.name) else {
            return Err(unexpected(spec, &inputs));
        };
        ordered.push(inputs.swap_remove(index));
    }
    Ok(ordered)
}

fn unexpected(spec: &ModelSpec, left: &[Tensor]) -> ServeError {
    let known = |input: &&Tensor| !spec.inputs.iter().any(|declared| declared.name == input.name);
    let names = spec.inputs.iter().map(|input| format!("'{}'", input.name)).collect::<Vec<_>>().join(", ");
    match left.iter().find(known) {
        Some(input) => invalid(format!(
            "unexpected inference input '{}' for model '{}'; its inputs are {names}",
            input.name, spec.name
        )),
        None => invalid(format!("an input is given twice for model '{}'; its inputs are {names}", spec.name)),
    }
}

fn check_input(spec: &ModelSpec, input: &Tensor, declared: &TensorSpec) -> Result<(), ServeError> {
    if input.datatype != declared.datatype {
        return Err(invalid(format!(
            "inference input '{}' data-type is '{}', but model '{}' expects '{}'",
            input.name, input.datatype, spec.name, declared.datatype
        )));
    }
    let expected = declared.full_shape(spec.batched());
    let same = |(&size, &want): (&i64, &i64)| want == -1 || size == want;
    if input.shape.len() == expected.len() && input.shape.iter().zip(&expected).all(same) {
        return Ok(());
    }
    Err(invalid(format!(
        "unexpected shape for input '{}' for model '{}'. Expected {}, got {}",
        input.name,
        spec.name,
        brackets(&expected),
        brackets(&input.shape)
    )))
}

fn check_batch(spec: &ModelSpec, input: &Tensor, elements: &mut Option<u32>) -> Result<(), ServeError> {
    let (true, Some(&size)) = (spec.batched(), input.shape.first()) else { return Ok(()) };
    let batch = u32::try_from(size).ok().filter(|batch| (1..=spec.max_batch_size).contains(batch));
    let batch = batch.ok_or_else(|| {
        let (max, name) = (spec.max_batch_size, &spec.name);
        invalid(format!("inference request batch-size must be >= 1 and <= {max} for '{name}', got {size}"))
    })?;
    match elements.replace(batch) {
        Some(other) if other != batch => Err(invalid(format!(
            "input '{}' has batch size {batch} and another input of model '{}' has {other}; they must agree",
            input.name, spec.name
        ))),
        _ => Ok(()),
    }
}

fn brackets(shape: &[i64]) -> String {
    format!("[{}]", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

fn invalid(message: String) -> ServeError {
    ServeError::InvalidArgument(message)
}
