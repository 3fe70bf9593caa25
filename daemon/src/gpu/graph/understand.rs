//! From an operator's name and attributes to what it means. What a version of ONNX says differently from another is
//! decided here and nowhere else.

use std::sync::Arc;

use super::attributes::Attributes;
use super::operator::{
    Binary, Border, Coordinates, Filter, Function, Nearest, Operator, Padding, Pooling, Reduction, Window,
};
use super::tensor::{Element, Tensor};

/// What a name means, or `None` if it is outside the set. The number is that of the operator set's version.
pub(super) fn operator(name: &str, from: &mut Attributes, opset: i64) -> Result<Option<Operator>, String> {
    let understood = match elementwise(name, from)? {
        Some(operator) => Some(operator),
        None => match layers(name, from, opset)? {
            Some(operator) => Some(operator),
            None => movement(name, from)?,
        },
    };
    Ok(understood)
}

/// How many inputs an operator takes, at least and at most.
pub(super) fn arity(operator: &Operator) -> (usize, usize) {
    match operator {
        Operator::Binary(Binary::Min | Binary::Max) | Operator::Concat { .. } => (1, usize::MAX),
        Operator::Convolution(_)
        | Operator::TransposedConvolution { .. }
        | Operator::Gemm { .. }
        | Operator::LayerNormalization { .. }
        | Operator::Quantize { .. }
        | Operator::Dequantize { .. } => (2, 3),
        Operator::MatMul
        | Operator::Binary(_)
        | Operator::Reshape { .. }
        | Operator::Expand
        | Operator::Gather { .. } => (2, 2),
        Operator::Clip | Operator::Identity => (1, 3),
        Operator::BatchNormalization { .. } => (5, 5),
        Operator::Resize { .. } => (1, 4),
        Operator::Pad(_) => (2, 4),
        Operator::Slice => (3, 5),
        Operator::Reduce { .. } | Operator::Squeeze { .. } | Operator::Unsqueeze { .. } | Operator::Part { .. } => {
            (1, 2)
        }
        Operator::Unary(_)
        | Operator::Softmax { .. }
        | Operator::Pool { .. }
        | Operator::GlobalPool(_)
        | Operator::Flatten { .. }
        | Operator::Transpose { .. }
        | Operator::Cast(_)
        | Operator::Shape { .. }
        | Operator::Fill(_) => (1, 1),
    }
}

fn elementwise(name: &str, from: &mut Attributes) -> Result<Option<Operator>, String> {
    let unary = |function| Operator::Unary(function);
    Ok(Some(match name {
        "Add" => Operator::Binary(Binary::Add),
        "Sub" => Operator::Binary(Binary::Sub),
        "Mul" => Operator::Binary(Binary::Mul),
        "Div" => Operator::Binary(Binary::Div),
        "Pow" => Operator::Binary(Binary::Pow),
        "Min" => Operator::Binary(Binary::Min),
        "Max" => Operator::Binary(Binary::Max),
        "Relu" => unary(Function::Relu),
        "LeakyRelu" => unary(Function::LeakyRelu(from.float_or("alpha", 0.01)?)),
        "Elu" => unary(Function::Elu(from.float_or("alpha", 1.0)?)),
        "Sigmoid" => unary(Function::Sigmoid),
        "HardSigmoid" => unary(Function::HardSigmoid(from.float_or("alpha", 0.2)?, from.float_or("beta", 0.5)?)),
        "HardSwish" => unary(Function::HardSwish),
        "Tanh" => unary(Function::Tanh),
        "Gelu" => unary(gelu(&from.text_or("approximate", "none")?)?),
        "Swish" if from.float_or("alpha", 1.0)?.to_bits() == 1.0_f32.to_bits() => unary(Function::Silu),
        "Erf" => unary(Function::Erf),
        "Exp" => unary(Function::Exp),
        "Log" => unary(Function::Log),
        "Sqrt" => unary(Function::Sqrt),
        "Reciprocal" => unary(Function::Reciprocal),
        "Neg" => unary(Function::Neg),
        "Abs" => unary(Function::Abs),
        "Clip" => Operator::Clip,
        "Identity" => Operator::Identity,
        "Dropout" => {
            from.ignore(&["seed", "ratio"]);
            Operator::Identity
        }
        "Cast" => cast(from)?,
        _ => return Ok(None),
    }))
}

fn gelu(approximate: &str) -> Result<Function, String> {
    match approximate {
        "none" => Ok(Function::Gelu),
        "tanh" => Ok(Function::GeluTanh),
        other => Err(format!("attribute 'approximate' is '{other}'; 'none' and 'tanh' are computed")),
    }
}

fn cast(from: &mut Attributes) -> Result<Operator, String> {
    // Of 8-bit floating point only, which is outside the set.
    from.ignore(&["saturate", "round_mode"]);
    let to = from.int("to")?.ok_or("attribute 'to' is missing")?;
    let element = Element::of_onnx(to).ok_or_else(|| format!("attribute 'to' is ONNX element type {to}"))?;
    Ok(Operator::Cast(element))
}

fn layers(name: &str, from: &mut Attributes, opset: i64) -> Result<Option<Operator>, String> {
    Ok(Some(match name {
        "Conv" => Operator::Convolution(window(from)?),
        "ConvTranspose" => transposed(from)?,
        "Gemm" => Operator::Gemm {
            alpha: from.float_or("alpha", 1.0)?,
            beta: from.float_or("beta", 1.0)?,
            transposed: [from.flag("transA", false)?, from.flag("transB", false)?],
        },
        "MatMul" => Operator::MatMul,
        "BatchNormalization" => {
            from.ignore(&["momentum"]);
            from.only("training_mode", 0)?;
            Operator::BatchNormalization { epsilon: from.float_or("epsilon", 1e-5)? }
        }
        "LayerNormalization" => {
            from.only("stash_type", 1)?;
            Operator::LayerNormalization { axis: from.int_or("axis", -1)?, epsilon: from.float_or("epsilon", 1e-5)? }
        }
        "Softmax" => {
            let flattened = opset < 13;
            Operator::Softmax { axis: from.int_or("axis", if flattened { 1 } else { -1 })?, flattened }
        }
        "MaxPool" => {
            from.only("storage_order", 0)?;
            pool(from, Pooling::Max)?
        }
        "AveragePool" => {
            let padding_counts = from.flag("count_include_pad", false)?;
            pool(from, Pooling::Average { padding_counts })?
        }
        "GlobalMaxPool" => Operator::GlobalPool(Reduction::Max),
        "GlobalAveragePool" => Operator::GlobalPool(Reduction::Mean),
        "ReduceSum" => reduce(from, Reduction::Sum)?,
        "ReduceMean" => reduce(from, Reduction::Mean)?,
        "ReduceMax" => reduce(from, Reduction::Max)?,
        "ReduceMin" => reduce(from, Reduction::Min)?,
        "ReduceSumSquare" => reduce(from, Reduction::SumSquare)?,
        "ReduceL2" => reduce(from, Reduction::L2)?,
        "Resize" => resize(from)?,
        "QuantizeLinear" => Operator::Quantize { axis: quantized(from, true)? },
        "DequantizeLinear" => Operator::Dequantize { axis: quantized(from, false)? },
        _ => return Ok(None),
    }))
}

fn quantized(from: &mut Attributes, to_whole: bool) -> Result<i64, String> {
    from.only("block_size", 0)?;
    from.only("output_dtype", 0)?;
    from.only("precision", 0)?;
    if to_whole {
        // Of 8-bit floating point only.
        from.ignore(&["saturate"]);
    }
    from.int_or("axis", 1)
}

fn window(from: &mut Attributes) -> Result<Window, String> {
    let said = from.sizes("pads")?;
    let padding = match from.text_or("auto_pad", "NOTSET")?.as_str() {
        "NOTSET" => said.map_or(Padding::None, Padding::Said),
        "VALID" => Padding::None,
        "SAME_UPPER" => Padding::SameUpper,
        "SAME_LOWER" => Padding::SameLower,
        other => return Err(format!("attribute 'auto_pad' is '{other}', which ONNX does not know")),
    };
    let groups = from.int_or("group", 1)?;
    Ok(Window {
        kernel: from.sizes("kernel_shape")?,
        strides: from.sizes("strides")?,
        dilations: from.sizes("dilations")?,
        padding,
        groups: usize::try_from(groups)
            .ok()
            .filter(|groups| *groups > 0)
            .ok_or("attribute 'group' must be positive")?,
    })
}

fn transposed(from: &mut Attributes) -> Result<Operator, String> {
    let window = window(from)?;
    if matches!(window.padding, Padding::SameUpper | Padding::SameLower) {
        return Err("attribute 'auto_pad' is computed for no ConvTranspose; 'pads' are".to_owned());
    }
    Ok(Operator::TransposedConvolution { window, output_padding: from.sizes("output_padding")?.unwrap_or_default() })
}

fn pool(from: &mut Attributes, pooling: Pooling) -> Result<Operator, String> {
    let window = window(from)?;
    if window.kernel.is_none() {
        return Err("attribute 'kernel_shape' is missing".to_owned());
    }
    Ok(Operator::Pool { pooling, window, ceil: from.flag("ceil_mode", false)? })
}

fn reduce(from: &mut Attributes, reduction: Reduction) -> Result<Operator, String> {
    Ok(Operator::Reduce {
        reduction,
        axes: from.ints("axes"),
        keep: from.flag("keepdims", true)?,
        none_if_empty: from.flag("noop_with_empty_axes", false)?,
    })
}

fn resize(from: &mut Attributes) -> Result<Operator, String> {
    // They are of filters and of a coordinate mode that are outside the set.
    from.ignore(&["cubic_coeff_a", "exclude_outside", "extrapolation_value"]);
    from.only("antialias", 0)?;
    if from.ints("axes").is_some() || from.text_or("keep_aspect_ratio_policy", "stretch")? != "stretch" {
        return Err("attributes 'axes' and 'keep_aspect_ratio_policy' are not computed".to_owned());
    }
    let coordinates = match from.text_or("coordinate_transformation_mode", "half_pixel")?.as_str() {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        other => return Err(format!("attribute 'coordinate_transformation_mode' is '{other}', which is not computed")),
    };
    let nearest = match from.text_or("nearest_mode", "round_prefer_floor")?.as_str() {
        "round_prefer_floor" => Nearest::RoundPreferFloor,
        "round_prefer_ceil" => Nearest::RoundPreferCeil,
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        other => return Err(format!("attribute 'nearest_mode' is '{other}', which is not computed")),
    };
    let filter = match from.text_or("mode", "nearest")?.as_str() {
        "nearest" => Filter::Nearest(nearest),
        "linear" => Filter::Linear,
        other => return Err(format!("attribute 'mode' is '{other}'; 'nearest' and 'linear' are computed")),
    };
    Ok(Operator::Resize { coordinates, filter })
}

fn movement(name: &str, from: &mut Attributes) -> Result<Option<Operator>, String> {
    Ok(Some(match name {
        "Concat" => Operator::Concat { axis: from.int("axis")?.ok_or("attribute 'axis' is missing")? },
        "Reshape" => Operator::Reshape { zero_is_zero: from.flag("allowzero", false)? },
        "Flatten" => Operator::Flatten { axis: from.int_or("axis", 1)? },
        "Squeeze" => Operator::Squeeze { axes: from.ints("axes") },
        "Unsqueeze" => Operator::Unsqueeze { axes: from.ints("axes") },
        "Transpose" => Operator::Transpose { order: from.sizes("perm")? },
        "Slice" => Operator::Slice,
        "Expand" => Operator::Expand,
        "Gather" => Operator::Gather { axis: from.int_or("axis", 0)? },
        "Shape" => Operator::Shape { from: from.int_or("start", 0)?, to: from.int("end")? },
        "ConstantOfShape" => {
            let value = from.tensor("value")?.unwrap_or_else(|| Tensor::vector(vec![0.0]));
            if value.data().len() != 1 {
                return Err("attribute 'value' must hold one element".to_owned());
            }
            Operator::Fill(value)
        }
        "Pad" => Operator::Pad(match from.text_or("mode", "constant")?.as_str() {
            "constant" => Border::Constant,
            "edge" => Border::Edge,
            "reflect" => Border::Reflect,
            other => return Err(format!("attribute 'mode' is '{other}', which is not computed")),
        }),
        _ => return Ok(None),
    }))
}

/// The value of a `Constant` node.
pub(super) fn constant(from: &mut Attributes) -> Result<Tensor, String> {
    if let Some(tensor) = from.tensor("value")? {
        return Ok(tensor);
    }
    if let Some(number) = from.int("value_int")? {
        return Tensor::list(vec![number]).reshaped(Vec::new()).ok_or_else(|| "is inconsistent".to_owned());
    }
    if let Some(numbers) = from.ints("value_ints") {
        return Ok(Tensor::list(numbers));
    }
    if let Some(numbers) = from.floats("value_floats") {
        return Ok(Tensor::vector(numbers));
    }
    Ok(Tensor::scalar(from.float_or("value_float", 0.0)?))
}

/// The outputs of a `Split`, each an operator of its own.
pub(super) fn split(from: &mut Attributes, outputs: usize) -> Result<Vec<Operator>, String> {
    let (axis, sizes) = (from.int_or("axis", 0)?, from.sizes("split")?);
    if let Some(said) = from.int("num_outputs")?.filter(|said| usize::try_from(*said) != Ok(outputs)) {
        return Err(format!("attribute 'num_outputs' is {said}, but the node has {outputs}"));
    }
    if let Some(sizes) = sizes.as_ref().filter(|sizes| sizes.len() != outputs) {
        return Err(format!("attribute 'split' has {} sizes, but the node has {outputs} outputs", sizes.len()));
    }
    // All outputs share the list: a copy for each would be the square of what the file holds.
    let sizes: Option<Arc<[usize]>> = sizes.map(Arc::from);
    Ok((0..outputs).map(|index| Operator::Part { axis, index, of: outputs, sizes: sizes.clone() }).collect())
}
