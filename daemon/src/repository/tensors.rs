//! The inputs and outputs of a model: what its configuration says and what its ONNX file says, brought together.
//! What the configuration leaves out comes from the file; where both speak they must agree. Pure.

use std::sync::Arc;

use proofload_wire::grpc::inference::DataType as Unknown;
use proofload_wire::grpc::inference::{ModelConfig, ModelInput, ModelOutput, ModelTensorReshape};
use proofload_wire::tensor::DataType;

use super::complaint::{Complaint, beside, of};
use super::onnx::{Port, Signature};
use super::spec::TensorSpec;

/// Resolves and completes the inputs and outputs of a configuration.
pub(super) fn resolve(
    config: &mut ModelConfig,
    signature: Option<&Signature>,
    batched: bool,
    errors: &mut Vec<Complaint>,
) -> (Vec<TensorSpec>, Vec<TensorSpec>) {
    if let Some(signature) = signature {
        complete(config, signature, batched, errors);
    }
    for input in &config.input {
        if input.optional || input.allow_ragged_batch {
            let what = format!("input '{}': 'optional' and 'allow_ragged_batch' are not supported", input.name);
            errors.push(of("input", &input.name, what));
        }
    }
    let inputs = config.input.iter().map(|input| Written {
        direction: "input",
        name: &input.name,
        datatype: input.data_type(),
        dims: &input.dims,
        reshape: input.reshape.as_ref(),
    });
    let inputs = tensors("input", inputs, signature.map(|signature| signature.inputs.as_slice()), batched, errors);
    let outputs = config.output.iter().map(|output| Written {
        direction: "output",
        name: &output.name,
        datatype: output.data_type(),
        dims: &output.dims,
        reshape: output.reshape.as_ref(),
    });
    let outputs = tensors("output", outputs, signature.map(|signature| signature.outputs.as_slice()), batched, errors);
    let unfed = signature.into_iter().flat_map(|signature| &signature.inputs);
    for port in unfed.filter(|port| !inputs.iter().any(|input| input.name == port.name)) {
        errors.push(beside(format!("the model's input '{}' is missing in the configuration", port.name)));
    }
    (inputs, outputs)
}

/// A tensor as the configuration has it.
struct Written<'a> {
    direction: &'static str,
    name: &'a str,
    datatype: proofload_wire::grpc::inference::DataType,
    dims: &'a [i64],
    reshape: Option<&'a ModelTensorReshape>,
}

fn tensors<'a>(
    direction: &'static str,
    written: impl Iterator<Item = Written<'a>>,
    ports: Option<&[Port]>,
    batched: bool,
    errors: &mut Vec<Complaint>,
) -> Vec<TensorSpec> {
    let mut written = written.peekable();
    if written.peek().is_none() {
        errors.push(beside(format!("the model needs at least one '{direction}'")));
    }
    let mut specs: Vec<TensorSpec> = Vec::new();
    for tensor in written {
        if specs.iter().any(|spec| spec.name == tensor.name) {
            errors.push(of(direction, tensor.name, format!("{direction} '{}' is given twice", tensor.name)));
        }
        match one(&tensor, ports, batched) {
            Ok(spec) => specs.push(spec),
            Err(what) => {
                errors.push(of(direction, tensor.name, format!("{direction} '{}': {what}", tensor.name)));
            }
        }
    }
    specs
}

fn one(written: &Written<'_>, ports: Option<&[Port]>, batched: bool) -> Result<TensorSpec, String> {
    if written.name.is_empty() {
        return Err("it has no 'name'".to_owned());
    }
    let datatype = DataType::from_config(written.datatype).ok_or("it has no 'data_type'")?;
    if written.dims.iter().any(|&size| size < -1 || size == 0) {
        return Err(format!("'dims' {:?} must be above 0, or -1 for any size", written.dims));
    }
    let reshape = written.reshape.map(|reshape| checked_reshape(written.dims, &reshape.shape)).transpose()?;
    if let Some(ports) = ports {
        agree(written.direction, written.name, datatype, reshape.as_deref().unwrap_or(written.dims), ports, batched)?;
    }
    Ok(TensorSpec {
        name: written.name.to_owned(),
        datatype,
        dims: written.dims.to_vec(),
        reshape,
        labels: Arc::default(),
    })
}

fn checked_reshape(dims: &[i64], shape: &[i64]) -> Result<Vec<i64>, String> {
    let fixed = |sizes: &[i64]| sizes.iter().all(|&size| size > 0).then(|| sizes.iter().product::<i64>());
    match (fixed(dims), fixed(shape)) {
        (Some(before), Some(after)) if before == after => Ok(shape.to_vec()),
        (Some(_), Some(_)) => Err(format!("'reshape' {shape:?} holds another number of elements than 'dims' {dims:?}")),
        _ => Err("'reshape' works only between fixed dimensions".to_owned()),
    }
}

fn agree(
    direction: &str,
    name: &str,
    datatype: DataType,
    dims: &[i64],
    ports: &[Port],
    batched: bool,
) -> Result<(), String> {
    let names = || ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
    let port = ports.iter().find(|port| port.name == name);
    let port = port.ok_or_else(|| format!("the model has no such {direction}; it has {}", names()))?;
    if port.datatype != datatype {
        return Err(format!("the configuration says {datatype}, the model {}", port.datatype));
    }
    let Some(shape) = &port.shape else { return Ok(()) };
    let full: Vec<i64> = batched.then_some(-1).into_iter().chain(dims.iter().copied()).collect();
    let may_be = |(&one, &other): (&i64, &i64)| one == -1 || other == -1 || one == other;
    let batch_varies = !batched || shape.first().is_some_and(|&size| size == -1);
    if full.len() == shape.len() && full.iter().zip(shape).all(may_be) && batch_varies {
        return Ok(());
    }
    Err(format!(
        "the configuration means the shape {full:?}, the model has {shape:?}{}",
        if batch_varies { "" } else { "; its first dimension must vary for a 'max_batch_size' above 0" }
    ))
}

/// Takes from the file what the configuration leaves out: types and dimensions of tensors, or all of them.
fn complete(config: &mut ModelConfig, signature: &Signature, batched: bool, errors: &mut Vec<Complaint>) {
    let mut dims = |port: &Port| {
        let dims = port.shape.as_ref().map(|shape| shape.get(usize::from(batched)..).unwrap_or_default().to_vec());
        dims.unwrap_or_else(|| {
            let what = format!("'{}': the model does not say its shape; give it in the configuration", port.name);
            errors.push(beside(what));
            Vec::new()
        })
    };
    for input in &mut config.input {
        let port = signature.inputs.iter().find(|port| port.name == input.name);
        let Some(port) = port else { continue };
        if input.data_type() == Unknown::TypeInvalid {
            input.set_data_type(port.datatype.to_config());
        }
        if input.dims.is_empty() && input.reshape.is_none() {
            input.dims = dims(port);
        }
    }
    for output in &mut config.output {
        let port = signature.outputs.iter().find(|port| port.name == output.name);
        let Some(port) = port else { continue };
        if output.data_type() == Unknown::TypeInvalid {
            output.set_data_type(port.datatype.to_config());
        }
        if output.dims.is_empty() && output.reshape.is_none() {
            output.dims = dims(port);
        }
    }
    if config.input.is_empty() {
        let input = |port: &Port| ModelInput {
            name: port.name.clone(),
            data_type: port.datatype.to_config().into(),
            dims: dims(port),
            ..ModelInput::default()
        };
        config.input = signature.inputs.iter().map(input).collect();
    }
    if config.output.is_empty() {
        let output = |port: &Port| ModelOutput {
            name: port.name.clone(),
            data_type: port.datatype.to_config().into(),
            dims: dims(port),
            ..ModelOutput::default()
        };
        config.output = signature.outputs.iter().map(output).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::pbtxt;

    fn port(name: &str, datatype: DataType, shape: &[i64]) -> Port {
        Port { name: name.to_owned(), datatype, shape: Some(shape.to_vec()) }
    }

    fn check(text: &str, batched: bool, expected: Result<(&[i64], &[i64]), &[&str]>) {
        let signature = Signature {
            inputs: vec![port("x", DataType::Fp32, &[-1, 3, -1])],
            outputs: vec![port("y", DataType::Int64, &[-1, 5])],
        };
        let (mut config, mut errors) = (pbtxt::parse(text).config, Vec::new());
        let (inputs, outputs) = resolve(&mut config, Some(&signature), batched, &mut errors);
        match expected {
            Ok((input, output)) => {
                assert_eq!(errors, [], "{text}");
                assert_eq!((inputs[0].dims.as_slice(), outputs[0].dims.as_slice()), (input, output), "{text}");
                assert_eq!((config.input[0].dims.as_slice(), config.output[0].dims.as_slice()), (input, output));
            }
            Err(parts) => {
                assert_eq!(errors.len(), parts.len(), "{text}: {errors:?}");
                assert!(errors.iter().zip(parts).all(|(error, part)| error.what.contains(part)), "{text}: {errors:?}");
            }
        }
    }

    #[test]
    fn the_file_completes_and_contradicts() {
        check("", true, Ok((&[3, -1], &[5])));
        check("", false, Ok((&[-1, 3, -1], &[-1, 5])));
        check("input { name: \"x\" data_type: TYPE_FP32 dims: [3, 8] }", true, Ok((&[3, 8], &[5])));
        check("input { name: \"x\" data_type: TYPE_FP32 dims: 24 reshape { shape: [3, 8] } }", true, Ok((&[24], &[5])));
        check(
            "input { name: \"x\" data_type: TYPE_FP32 dims: [4, 8] }",
            true,
            Err(&["the model has [-1, 3, -1]", "'x' is missing"]),
        );
        check(
            "input { name: \"x\" data_type: TYPE_FP16 dims: [3, 8] }",
            true,
            Err(&["says FP16, the model FP32", "'x' is missing"]),
        );
        check("output { name: \"z\" data_type: TYPE_INT64 dims: 5 }", true, Err(&["no such output; it has y"]));
        check("output { name: \"y\" dims: 5 } input { name: \"x\" }", true, Ok((&[3, -1], &[5])));
        check("output { name: \"y\" data_type: TYPE_INT64 }", true, Ok((&[3, -1], &[5])));
        check("output { name: \"y\" data_type: TYPE_INT64 dims: 0 }", true, Err(&["must be above 0"]));
        let reshape = "input { name: \"x\" data_type: TYPE_FP32 dims: 25 reshape { shape: [3, 8] } }";
        check(reshape, true, Err(&["another number of elements", "'x' is missing"]));
    }
}
