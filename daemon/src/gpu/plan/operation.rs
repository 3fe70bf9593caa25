//! What a step of a plan computes, with every size known: the closed set that the CUDA executor launches and the CPU twin
//! computes. Shapes are in elements; pictures are `[height, width]`; nothing here refers to memory.

use crate::gpu::graph::operator::{Binary, Border, Coordinates, Filter, Function, Pooling, Reduction};
use crate::gpu::graph::tensor::Element;

/// One computation. Its inputs and its output are dense, the last dimension fastest.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// `x`, `weights`, maybe a bias for each filter: cuDNN.
    Convolution(Convolution),
    /// `a`, `b`, maybe a bias for each column: cuBLASLt.
    Product(Product),
    /// `a`, `b`: element by element, with broadcasting.
    Binary {
        /// What of the two.
        operator: Binary,
        /// Dimensions of `a`.
        left: Vec<usize>,
        /// Dimensions of `b`.
        right: Vec<usize>,
    },
    /// `x`: element by element.
    Unary {
        /// What of it.
        function: Function,
        /// Elements.
        count: usize,
    },
    /// `x`, maybe a scale, maybe a bias, maybe a tensor that is added: `f(x · scale[c] + bias[c] + added)`.
    Channels(Channels),
    /// `x`, `scale`, maybe `bias`: rows of mean 0 and variance 1.
    LayerNormalization {
        /// How many.
        rows: usize,
        /// Elements of each.
        columns: usize,
        /// Added to the variance.
        epsilon: f32,
    },
    /// `x`: shares that sum to one along the middle dimension.
    Softmax(Along),
    /// `x`: of many one, along the middle dimension.
    Reduce {
        /// What is taken of them.
        reduction: Reduction,
        /// Which.
        along: Along,
    },
    /// `x`: windows over pictures.
    Pool(Pool),
    /// `x`: pictures in another size.
    Resize(Resize),
    /// Any number of tensors, one after the other along a dimension.
    Concat {
        /// The dimension.
        axis: usize,
        /// Dimensions of each.
        parts: Vec<Vec<usize>>,
    },
    /// `x` with its dimensions in another order.
    Transpose {
        /// Its dimensions.
        shape: Vec<usize>,
        /// The dimension that each new one was.
        order: Vec<usize>,
    },
    /// A part of `x`.
    Slice {
        /// Its dimensions.
        shape: Vec<usize>,
        /// Where each dimension begins.
        starts: Vec<usize>,
        /// By how much it goes on; not 0.
        steps: Vec<isize>,
        /// The dimensions of the part.
        output: Vec<usize>,
    },
    /// `x` repeated along dimensions of 1.
    Expand {
        /// Its dimensions, as many as the output's.
        shape: Vec<usize>,
        /// The output's.
        output: Vec<usize>,
    },
    /// `x` with something around it, or, where that is negative, less of it.
    Pad {
        /// Its dimensions.
        shape: Vec<usize>,
        /// Before each dimension.
        before: Vec<i64>,
        /// After each dimension.
        after: Vec<i64>,
        /// What stands there.
        border: Border,
        /// The number, where the border is one.
        value: f32,
    },
    /// `x`, `indices`: those of the middle dimension. A negative index counts from the end.
    Gather {
        /// The dimension of `x`.
        along: Along,
        /// How many indices.
        indices: usize,
    },
    /// `x` in another type.
    Cast {
        /// Elements.
        count: usize,
    },
    /// `x`, `scale`, maybe `zero`: real numbers as 8-bit ones.
    Quantize(Along),
    /// `q`, `scale`, maybe `zero`: 8-bit numbers as real ones.
    Dequantize(Along),
}

/// Three dimensions that all others were merged into, of which the middle one matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Along {
    /// What lies before it.
    pub outer: usize,
    /// It.
    pub axis: usize,
    /// What lies behind it.
    pub inner: usize,
}

impl Along {
    /// About one dimension of a shape.
    pub fn of(shape: &[usize], axis: usize) -> Self {
        let product = |sizes: &[usize]| sizes.iter().product();
        Self {
            outer: product(&shape[..axis]),
            axis: shape.get(axis).copied().unwrap_or(1),
            inner: product(shape.get(axis + 1..).unwrap_or_default()),
        }
    }

    /// Elements.
    pub fn count(self) -> usize {
        self.outer * self.axis * self.inner
    }
}

/// A convolution, or a transposed one. The bias is FP32 whatever the rest is.
#[derive(Debug, Clone, PartialEq)]
pub struct Convolution {
    /// Pictures.
    pub batch: usize,
    /// Into how many parts channels and filters are divided.
    pub groups: usize,
    /// Channels of the input.
    pub channels: usize,
    /// Channels of the output.
    pub filters: usize,
    /// Size of an input's channel.
    pub input: [usize; 2],
    /// Size of an output's channel.
    pub output: [usize; 2],
    /// Size of the filter.
    pub kernel: [usize; 2],
    /// By how much it moves.
    pub strides: [usize; 2],
    /// How far apart its elements are.
    pub dilations: [usize; 2],
    /// What is added above and to the left of the input (of the output, if transposed).
    pub before: [usize; 2],
    /// What is added below and to the right.
    pub after: [usize; 2],
    /// Whether it is the transposed one, whose weights have the input's channels first.
    pub transposed: bool,
    /// Whether a bias comes third.
    pub bias: bool,
    /// Applied to the result.
    pub activation: Option<Function>,
    /// Where input and weights are 8-bit: what an integer of the result is worth, for all filters or for each.
    pub worth: Option<Vec<f32>>,
}

/// A product of matrices. The bias is FP32 whatever the rest is.
#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    /// Pairs of matrices.
    pub batch: usize,
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result.
    pub columns: usize,
    /// What is summed over.
    pub depth: usize,
    /// Elements from one matrix of `a` to the next; 0 where all are the same.
    pub left_stride: usize,
    /// Elements from one matrix of `b` to the next; 0 where all are the same.
    pub right_stride: usize,
    /// Which of the two stand transposed in memory.
    pub transposed: [bool; 2],
    /// Factor of the result.
    pub alpha: f32,
    /// Whether a bias comes third.
    pub bias: bool,
    /// Applied to the result.
    pub activation: Option<Function>,
    /// Where both are 8-bit: what an integer of the result is worth, for all columns or for each.
    pub worth: Option<Vec<f32>>,
}

/// A scale, a bias, another tensor and an activation, all at once. Scale and bias are FP32 whatever the rest is.
#[derive(Debug, Clone, PartialEq)]
pub struct Channels {
    /// The middle dimension is that of the channels.
    pub along: Along,
    /// Whether a scale comes next.
    pub scale: bool,
    /// Whether a bias comes next.
    pub bias: bool,
    /// Whether a tensor of the same shape comes last.
    pub added: bool,
    /// Applied to the result.
    pub activation: Option<Function>,
}

/// Windows over pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// What is taken of each.
    pub pooling: Pooling,
    /// Pictures: batch times channels.
    pub planes: usize,
    /// Size of the input.
    pub input: [usize; 2],
    /// Size of the output.
    pub output: [usize; 2],
    /// Size of a window.
    pub kernel: [usize; 2],
    /// By how much it moves.
    pub strides: [usize; 2],
    /// How far apart its elements are.
    pub dilations: [usize; 2],
    /// What is added above and to the left.
    pub before: [usize; 2],
    /// What is added below and to the right.
    pub after: [usize; 2],
}

/// Pictures in another size.
#[derive(Debug, Clone, PartialEq)]
pub struct Resize {
    /// Pictures: batch times channels.
    pub planes: usize,
    /// Size of the input.
    pub input: [usize; 2],
    /// Size of the output.
    pub output: [usize; 2],
    /// Output over input, as the model says it.
    pub scale: [f32; 2],
    /// Which place of the input a place of the output means.
    pub coordinates: Coordinates,
    /// What is taken there.
    pub filter: Filter,
}

impl Operation {
    /// Whether input number `at` is FP32 although the plan computes in FP16.
    pub fn keeps_precision(&self, at: usize) -> bool {
        match self {
            Self::Convolution(_) | Self::Product(_) => at == 2,
            Self::Channels(channels) => at >= 1 && at <= usize::from(channels.scale) + usize::from(channels.bias),
            Self::LayerNormalization { .. } | Self::Quantize(_) | Self::Dequantize(_) => at >= 1,
            _ => false,
        }
    }

    /// Which of its inputs the output may take the memory of: those that are read at the same place as it is written, and
    /// nowhere else. They must be of the output's size.
    pub fn in_place(&self) -> &'static [usize] {
        match self {
            Self::Binary { left, right, .. } if left == right => &[0, 1],
            Self::Binary { left, right, .. } if is_wider(left, right) => &[0],
            Self::Binary { left, right, .. } if is_wider(right, left) => &[1],
            Self::Channels(channels) if channels.added => {
                match usize::from(channels.scale) + usize::from(channels.bias) {
                    0 => &[0, 1],
                    1 => &[0, 2],
                    _ => &[0, 3],
                }
            }
            Self::Unary { .. } | Self::Channels(_) => &[0],
            _ => &[],
        }
    }

    /// What it is called in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Convolution(convolution) if convolution.transposed => "transposed convolution",
            Self::Convolution(_) => "convolution",
            Self::Product(_) => "matrix product",
            Self::Binary { .. } => "binary",
            Self::Unary { .. } => "unary",
            Self::Channels(_) => "channels",
            Self::LayerNormalization { .. } => "layer normalization",
            Self::Softmax(_) => "softmax",
            Self::Reduce { .. } => "reduction",
            Self::Pool(_) => "pooling",
            Self::Resize(_) => "resize",
            Self::Concat { .. } => "concat",
            Self::Transpose { .. } => "transpose",
            Self::Slice { .. } => "slice",
            Self::Expand { .. } => "expand",
            Self::Pad { .. } => "pad",
            Self::Gather { .. } => "gather",
            Self::Cast { .. } => "cast",
            Self::Quantize(_) => "quantize",
            Self::Dequantize(_) => "dequantize",
        }
    }

    /// Whether the numbers it computes with may be of such a type on a device. What only moves numbers moves any.
    pub fn takes(&self, at: usize, element: Element) -> bool {
        match self {
            Self::Concat { .. }
            | Self::Transpose { .. }
            | Self::Slice { .. }
            | Self::Expand { .. }
            | Self::Cast { .. } => true,
            Self::Gather { .. } => at == 0 || matches!(element, Element::I32 | Element::I64),
            Self::Dequantize(_) if at != 1 => matches!(element, Element::I8 | Element::U8),
            Self::Quantize(_) if at == 2 => matches!(element, Element::I8 | Element::U8),
            Self::Convolution(Convolution { worth: Some(_), .. }) | Self::Product(Product { worth: Some(_), .. })
                if at < 2 =>
            {
                element == Element::I8
            }
            _ => element.is_real(),
        }
    }
}

/// Whether the result of broadcasting the two has the first one's shape.
fn is_wider(wide: &[usize], narrow: &[usize]) -> bool {
    let narrow_from_end = narrow.iter().rev();
    wide.len() >= narrow.len()
        && wide.iter().rev().zip(narrow_from_end).all(|(wide, narrow)| narrow == wide || *narrow == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_broadcast_is_overwritten() {
        let check = |left: &[usize], right: &[usize], expected: &[usize]| {
            let (left, right) = (left.to_vec(), right.to_vec());
            assert_eq!(Operation::Binary { operator: Binary::Add, left, right }.in_place(), expected);
        };
        check(&[2, 3], &[2, 3], &[0, 1]);
        check(&[2, 3], &[3], &[0]);
        check(&[1, 3], &[2, 3], &[1]);
        check(&[2, 1], &[1, 3], &[]);
        check(&[3], &[1, 3], &[1]);
    }

    #[test]
    fn dimensions_are_merged_about_one() {
        assert_eq!(Along::of(&[2, 3, 4], 1), Along { outer: 2, axis: 3, inner: 4 });
        assert_eq!(Along::of(&[], 0), Along { outer: 1, axis: 1, inner: 1 });
        assert_eq!(Along::of(&[2, 3], 1).count(), 6);
    }
}
