//! Element by element.

use super::super::operation::{Along, Channels};
use super::movement::broadcast_places;
use super::{Inputs, channel, hold};
use crate::gpu::graph::operator::{Binary, Function};
use crate::gpu::graph::tensor::{Data, Element};

pub(super) fn function(function: Function, x: f32) -> f32 {
    let wide = f64::from(x);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match function {
        // As ONNX Runtime does, what is no number stays none.
        Function::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Function::LeakyRelu(alpha) => {
            if x < 0.0 {
                alpha * x
            } else {
                x
            }
        }
        Function::Elu(alpha) => {
            if x < 0.0 {
                (f64::from(alpha) * wide.exp_m1()) as f32
            } else {
                x
            }
        }
        Function::Sigmoid => sigmoid(wide) as f32,
        Function::HardSigmoid(alpha, beta) => (alpha * x + beta).clamp(0.0, 1.0),
        Function::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Function::Tanh => wide.tanh() as f32,
        Function::Gelu => (0.5 * wide * (1.0 + libm::erf(wide * std::f64::consts::FRAC_1_SQRT_2))) as f32,
        Function::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3));
            (0.5 * wide * (1.0 + inner.tanh())) as f32
        }
        Function::Silu => (wide * sigmoid(wide)) as f32,
        // Unlike `clamp`, it does not mind bounds in the wrong order.
        Function::Clip(low, high) => x.max(low).min(high),
        Function::Erf => libm::erf(wide) as f32,
        Function::Exp => wide.exp() as f32,
        Function::Log => wide.ln() as f32,
        Function::Sqrt => x.sqrt(),
        Function::Reciprocal => 1.0 / x,
        Function::Neg => -x,
        Function::Abs => x.abs(),
    }
}

pub(super) fn activated(activation: Option<Function>, x: f32) -> f32 {
    activation.map_or(x, |activation| function(activation, x))
}

pub(super) fn binary(
    operator: Binary,
    left: &[usize],
    right: &[usize],
    inputs: Inputs<'_>,
    element: Element,
) -> Result<Data, String> {
    let places = broadcast_places(left, right);
    match (inputs.get(0)?, inputs.get(1)?) {
        (Data::Real(a), Data::Real(b)) => {
            let each = places.map(|(left, right)| Some(real(operator, *a.get(left)?, *b.get(right)?)));
            each.collect::<Option<_>>().map(Data::Real)
        }
        (Data::Whole(a), Data::Whole(b)) => {
            let each = places.map(|(left, right)| whole(operator, *a.get(left)?, *b.get(right)?));
            each.map(|number| number.map(|number| element.saturated(number))).collect::<Option<_>>().map(Data::Whole)
        }
        _ => None,
    }
    .ok_or_else(|| format!("{left:?} and {right:?} cannot be computed with"))
}

fn real(operator: Binary, a: f32, b: f32) -> f32 {
    match operator {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Pow => f64::from(a).powf(f64::from(b)) as f32,
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
    }
}

/// `None` where there is no such number.
fn whole(operator: Binary, a: i64, b: i64) -> Option<i64> {
    match operator {
        Binary::Add => a.checked_add(b),
        Binary::Sub => a.checked_sub(b),
        Binary::Mul => a.checked_mul(b),
        Binary::Div => a.checked_div(b),
        Binary::Pow => a.checked_pow(u32::try_from(b).ok()?),
        Binary::Min => Some(a.min(b)),
        Binary::Max => Some(a.max(b)),
    }
}

pub(super) fn channels(channels: &Channels, inputs: Inputs<'_>) -> Result<Vec<f32>, String> {
    let along = channels.along;
    let x = inputs.reals(0)?;
    let mut next = 1;
    let mut take = |there: bool, count: usize| {
        if !there {
            return Ok(None);
        }
        let numbers = inputs.reals(next)?;
        next += 1;
        hold(numbers, count).map(|()| Some(numbers))
    };
    let (scale, bias) = (take(channels.scale, along.axis)?, take(channels.bias, along.axis)?);
    let added = take(channels.added, x.len())?;
    let each = x.iter().enumerate().map(|(at, x)| {
        let channel = channel(along, at);
        let scaled = x * scale.map_or(1.0, |scale| scale[channel]) + bias.map_or(0.0, |bias| bias[channel]);
        activated(channels.activation, scaled + added.map_or(0.0, |added| added[at]))
    });
    Ok(each.collect())
}

pub(super) fn quantize(along: Along, inputs: Inputs<'_>, element: Element) -> Result<Vec<i64>, String> {
    let (x, scale) = (inputs.reals(0)?, inputs.reals(1)?);
    let zero = inputs.wholes(2).ok();
    hold(scale, along.axis)?;
    let each = x.iter().enumerate().map(|(at, x)| {
        let channel = channel(along, at);
        let zero = zero.and_then(|zero| zero.get(channel)).copied().unwrap_or(0);
        // What is no number becomes 0, as conversions of Rust have it.
        element.saturated(((x / scale[channel]).round_ties_even() as i64).saturating_add(zero))
    });
    Ok(each.collect())
}

pub(super) fn dequantize(along: Along, inputs: Inputs<'_>) -> Result<Vec<f32>, String> {
    let (q, scale) = (inputs.wholes(0)?, inputs.reals(1)?);
    let zero = inputs.wholes(2).ok();
    hold(scale, along.axis)?;
    let each = q.iter().enumerate().map(|(at, q)| {
        let channel = channel(along, at);
        let zero = zero.and_then(|zero| zero.get(channel)).copied().unwrap_or(0);
        q.saturating_sub(zero) as f32 * scale[channel]
    });
    Ok(each.collect())
}
