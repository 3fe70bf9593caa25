//! What each operation means, in plain loops on the CPU: what is known when a plan is made is computed with it, and tests
//! compare it with ONNX Runtime, and with it what runs on a GPU. Sums are kept in `f64` and rounded once, so that it is the
//! more exact side of every comparison. It is no engine: the CPU's is rten or ONNX Runtime.

mod movement;
mod numbers;
mod run;
mod sums;
mod windows;

pub use self::run::run;

use super::operation::{Along, Operation};
use crate::gpu::graph::tensor::{Data, Element};

/// Computes `count` elements of a type.
///
/// # Errors
/// When an input is missing, of another kind or smaller than the operation says, or an index lies outside.
pub fn compute(operation: &Operation, inputs: &[&Data], count: usize, element: Element) -> Result<Data, String> {
    let given = Inputs(inputs);
    let data = match operation {
        Operation::Convolution(convolution) => Data::Real(windows::convolution(convolution, given)?),
        Operation::Product(product) => Data::Real(sums::product(product, given)?),
        Operation::Binary { operator, left, right } => numbers::binary(*operator, left, right, given, element)?,
        Operation::Unary { function, .. } => {
            Data::Real(given.reals(0)?.iter().map(|x| numbers::function(*function, *x)).collect())
        }
        Operation::Channels(channels) => Data::Real(numbers::channels(channels, given)?),
        Operation::LayerNormalization { rows, columns, epsilon } => {
            Data::Real(sums::layer_normalization(*rows, *columns, *epsilon, given)?)
        }
        Operation::Softmax(along) => Data::Real(sums::softmax(*along, given.reals(0)?)?),
        Operation::Reduce { reduction, along } => sums::reduce(*reduction, *along, given)?,
        Operation::Pool(pool) => Data::Real(windows::pool(pool, given.reals(0)?)?),
        Operation::Resize(resize) => Data::Real(windows::resize(resize, given.reals(0)?)?),
        Operation::Concat { axis, parts } => movement::concat(*axis, parts, given, element)?,
        Operation::Transpose { shape, order } => movement::transpose(shape, order, given.get(0)?)?,
        Operation::Slice { shape, starts, steps, output } => {
            movement::slice(shape, starts, steps, output, given.get(0)?)?
        }
        Operation::Expand { shape, output } => movement::expand(shape, output, given.get(0)?)?,
        Operation::Pad { shape, before, after, border, value } => {
            movement::pad(shape, (before, after), *border, *value, given.get(0)?)?
        }
        Operation::Gather { along, .. } => movement::gather(*along, given)?,
        Operation::Cast { .. } => given.get(0)?.cast(element),
        Operation::Quantize(along) => Data::Whole(numbers::quantize(*along, given, element)?),
        Operation::Dequantize(along) => Data::Real(numbers::dequantize(*along, given)?),
    };
    if data.len() == count {
        Ok(data)
    } else {
        Err(format!("{} gave {} elements instead of {count}", operation.name(), data.len()))
    }
}

/// What an operation takes.
#[derive(Clone, Copy)]
struct Inputs<'a>(&'a [&'a Data]);

impl<'a> Inputs<'a> {
    fn get(self, at: usize) -> Result<&'a Data, String> {
        self.0.get(at).copied().ok_or_else(|| format!("input {at} is missing"))
    }

    fn reals(self, at: usize) -> Result<&'a [f32], String> {
        match self.get(at)? {
            Data::Real(numbers) => Ok(numbers),
            Data::Whole(_) => Err(format!("input {at} must be real numbers")),
        }
    }

    fn wholes(self, at: usize) -> Result<&'a [i64], String> {
        match self.get(at)? {
            Data::Real(_) => Err(format!("input {at} must be whole numbers")),
            Data::Whole(numbers) => Ok(numbers),
        }
    }
}

/// Checks that there is as much as is going to be read.
fn hold<T>(numbers: &[T], count: usize) -> Result<(), String> {
    if numbers.len() >= count { Ok(()) } else { Err(format!("{} numbers are fewer than {count}", numbers.len())) }
}

/// Which channel an element belongs to.
fn channel(along: Along, at: usize) -> usize {
    at / along.inner.max(1) % along.axis.max(1)
}
