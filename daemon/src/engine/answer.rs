//! From a model's outputs to the response that was asked for: which outputs, in which order, and which of them as
//! classes. Pure.

use proofload_wire::infer::{InferResponse, ParameterValue, Parameters, RequestedOutput};
use proofload_wire::tensor::Tensor;

use super::ServeError;
use super::classify::classify;
use crate::repository::spec::ModelSpec;

/// Parameter of a wanted output: how many of its classes are wanted instead of its data; 0 for the data.
const CLASSIFICATION: &str = "classification";

/// One output of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Which output of the configuration.
    pub index: usize,
    /// How many of its classes instead of its data.
    pub classes: Option<usize>,
}

/// The outputs that a request wants, in its order; all of them when it names none.
pub(super) fn wanted(spec: &ModelSpec, outputs: &[RequestedOutput]) -> Result<Vec<Wanted>, ServeError> {
    if outputs.is_empty() {
        return Ok((0..spec.outputs.len()).map(|index| Wanted { index, classes: None }).collect());
    }
    let one = |output: &RequestedOutput| {
        let index = spec.outputs.iter().position(|declared| declared.name == output.name);
        let unexpected = || format!("unexpected inference output '{}' for model '{}'", output.name, spec.name);
        let index = index.ok_or_else(|| ServeError::InvalidArgument(unexpected()))?;
        Ok(Wanted { index, classes: classes(&output.parameters)? })
    };
    outputs.iter().map(one).collect()
}

fn classes(parameters: &Parameters) -> Result<Option<usize>, ServeError> {
    let count = match parameters.get(CLASSIFICATION) {
        None => return Ok(None),
        Some(ParameterValue::Int(count)) => usize::try_from(*count).ok(),
        Some(ParameterValue::Uint(count)) => usize::try_from(*count).ok(),
        Some(_) => None,
    };
    let wrong = || format!("the parameter `{CLASSIFICATION}` must be a number of classes, 0 for the output itself");
    let count = count.ok_or_else(|| ServeError::InvalidArgument(wrong()))?;
    Ok(Some(count).filter(|count| *count > 0))
}

/// The response. An output that is wanted twice is given twice.
pub(super) fn respond(
    spec: &ModelSpec,
    wanted: &[Wanted],
    outputs: Vec<Tensor>,
    id: String,
) -> Result<InferResponse, ServeError> {
    Ok(InferResponse {
        model_name: spec.name.clone(),
        model_version: spec.version.to_string(),
        id,
        parameters: Parameters::new(),
        outputs: pick(spec, wanted, outputs)?,
    })
}

fn pick(spec: &ModelSpec, wanted: &[Wanted], outputs: Vec<Tensor>) -> Result<Vec<Tensor>, ServeError> {
    let as_they_are = (0..outputs.len()).map(|index| Wanted { index, classes: None });
    if wanted.iter().copied().eq(as_they_are) {
        return Ok(outputs);
    }
    let one = |Wanted { index, classes }: &Wanted| {
        let (output, declared) = (outputs.get(*index)?, spec.outputs.get(*index)?);
        Some(match classes {
            Some(count) => classify(output, spec.batched(), *count, &declared.labels),
            None => Ok(output.clone()),
        })
    };
    wanted.iter().filter_map(one).collect()
}
