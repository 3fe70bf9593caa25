//! The operators that are computed, with their attributes read and checked. The set is closed: an operator that is not here
//! is refused by name. What depends on shapes is decided later, when a plan is made.

use std::sync::Arc;

use super::tensor::{Element, Tensor};

/// One operator of ONNX, as a file means it.
#[derive(Debug, Clone, PartialEq)]
pub enum Operator {
    /// `Conv`.
    Convolution(Window),
    /// `ConvTranspose`.
    TransposedConvolution {
        /// The filter's steps.
        window: Window,
        /// Rows and columns that are added at the end.
        output_padding: Vec<usize>,
    },
    /// `Gemm`.
    Gemm {
        /// Factor of the product.
        alpha: f32,
        /// Factor of what is added.
        beta: f32,
        /// Which of the two matrices are transposed.
        transposed: [bool; 2],
    },
    /// `MatMul`.
    MatMul,
    /// Two tensors, or any number of them, element by element, with broadcasting.
    Binary(Binary),
    /// One tensor, element by element.
    Unary(Function),
    /// `Clip`: its bounds are inputs.
    Clip,
    /// `BatchNormalization`, at inference.
    BatchNormalization {
        /// Added to the variance.
        epsilon: f32,
    },
    /// `LayerNormalization`.
    LayerNormalization {
        /// The first dimension that is normalised.
        axis: i64,
        /// Added to the variance.
        epsilon: f32,
    },
    /// `Softmax`.
    Softmax {
        /// Along which dimension.
        axis: i64,
        /// Along that and all that follow, as before version 13.
        flattened: bool,
    },
    /// `Concat`.
    Concat {
        /// Along which dimension.
        axis: i64,
    },
    /// `Split`: one of its outputs.
    Part {
        /// Along which dimension.
        axis: i64,
        /// Which output.
        index: usize,
        /// Of how many.
        of: usize,
        /// How long each is, where an attribute says so.
        sizes: Option<Arc<[usize]>>,
    },
    /// `Resize`.
    Resize {
        /// Which place of the input a place of the output means.
        coordinates: Coordinates,
        /// What is taken there.
        filter: Filter,
    },
    /// `MaxPool`, `AveragePool`.
    Pool {
        /// What is taken of a window.
        pooling: Pooling,
        /// Its steps.
        window: Window,
        /// Whether a last window that is not whole counts.
        ceil: bool,
    },
    /// `GlobalMaxPool`, `GlobalAveragePool`.
    GlobalPool(Reduction),
    /// `ReduceMean` and its like.
    Reduce {
        /// What is taken of them.
        reduction: Reduction,
        /// Which dimensions, where an attribute says so; an input may.
        axes: Option<Vec<i64>>,
        /// Whether they stay, as 1.
        keep: bool,
        /// Whether no axes mean none, rather than all.
        none_if_empty: bool,
    },
    /// `Reshape`.
    Reshape {
        /// Whether 0 means 0, rather than the size that was there.
        zero_is_zero: bool,
    },
    /// `Flatten`.
    Flatten {
        /// The first dimension of the second part.
        axis: i64,
    },
    /// `Squeeze`.
    Squeeze {
        /// Which dimensions, where an attribute says so; an input may.
        axes: Option<Vec<i64>>,
    },
    /// `Unsqueeze`.
    Unsqueeze {
        /// Which dimensions, where an attribute says so; an input may.
        axes: Option<Vec<i64>>,
    },
    /// `Transpose`.
    Transpose {
        /// The dimension that each new one was; reversed where it is not said.
        order: Option<Vec<usize>>,
    },
    /// `Slice`.
    Slice,
    /// `Pad`.
    Pad(Border),
    /// `Gather`.
    Gather {
        /// Along which dimension.
        axis: i64,
    },
    /// `Expand`.
    Expand,
    /// `Cast`.
    Cast(Element),
    /// `QuantizeLinear`.
    Quantize {
        /// The dimension that scales go along, if they are several.
        axis: i64,
    },
    /// `DequantizeLinear`.
    Dequantize {
        /// The dimension that scales go along, if they are several.
        axis: i64,
    },
    /// `Identity`, and `Dropout` at inference.
    Identity,
    /// `Shape`.
    Shape {
        /// The first dimension that is told.
        from: i64,
        /// The first that is not.
        to: Option<i64>,
    },
    /// `ConstantOfShape`.
    Fill(Tensor),
}

/// How a filter or a window goes over a picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window {
    /// Its size, where the weights do not say it.
    pub kernel: Option<Vec<usize>>,
    /// By how much it moves; 1 where it is not said.
    pub strides: Option<Vec<usize>>,
    /// How far apart its elements are; 1 where it is not said.
    pub dilations: Option<Vec<usize>>,
    /// What is added around the picture.
    pub padding: Padding,
    /// Into how many parts the channels are divided.
    pub groups: usize,
}

/// What is added around a picture before a window goes over it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Padding {
    /// Nothing.
    #[default]
    None,
    /// So much at the beginning of each dimension, then so much at the end of each.
    Said(Vec<usize>),
    /// As much as makes the output as large as the input over the stride; the odd one at the end.
    SameUpper,
    /// The same; the odd one at the beginning.
    SameLower,
}

/// Of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a · b
    Mul,
    /// a / b
    Div,
    /// a to the power of b
    Pow,
    /// The smaller one.
    Min,
    /// The larger one.
    Max,
}

/// Of one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// max(x, 0)
    Relu,
    /// x, or alpha · x below 0.
    LeakyRelu(f32),
    /// x, or alpha · (eˣ - 1) below 0.
    Elu(f32),
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// max(0, min(1, alpha · x + beta))
    HardSigmoid(f32, f32),
    /// x · max(0, min(1, x / 6 + 0.5))
    HardSwish,
    /// The hyperbolic tangent.
    Tanh,
    /// x · Φ(x), by the error function.
    Gelu,
    /// The same by a hyperbolic tangent.
    GeluTanh,
    /// x · sigmoid(x)
    Silu,
    /// Between two bounds.
    Clip(f32, f32),
    /// The error function.
    Erf,
    /// eˣ
    Exp,
    /// The natural logarithm.
    Log,
    /// The square root.
    Sqrt,
    /// 1 / x
    Reciprocal,
    /// -x
    Neg,
    /// |x|
    Abs,
}

/// Which place of the input a place of the output means: ONNX's `coordinate_transformation_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinates {
    /// Centres of pixels keep their places.
    HalfPixel,
    /// The same, but 0 where the output is one pixel.
    PytorchHalfPixel,
    /// The first and the last pixel keep their places.
    AlignCorners,
    /// Corners of pixels keep their places.
    Asymmetric,
    /// As half pixel, about the middle, where the scale and the sizes do not agree.
    HalfPixelSymmetric,
}

/// What is taken at a place between pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// One of them.
    Nearest(Nearest),
    /// As much of each as it is near.
    Linear,
}

/// Which pixel is the nearest: ONNX's `nearest_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nearest {
    /// Of two at the same distance the first.
    RoundPreferFloor,
    /// Of two at the same distance the second.
    RoundPreferCeil,
    /// Always the one before.
    Floor,
    /// Always the one behind.
    Ceil,
}

/// What is taken of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The largest.
    Max,
    /// The mean.
    Average {
        /// Whether what was added around the picture counts, as zeros.
        padding_counts: bool,
    },
}

/// What is taken of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// The sum of their squares.
    SumSquare,
    /// The root of it.
    L2,
}

/// What stands beyond the edge of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Border {
    /// A number.
    Constant,
    /// The last pixel.
    Edge,
    /// The picture mirrored about its last pixel.
    Reflect,
}
