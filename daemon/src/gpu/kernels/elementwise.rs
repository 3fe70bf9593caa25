//! Functions of one number and of two, and what follows a convolution or a matrix product.

use super::walk::{self, Dimension};
use super::{GeometryError, Launch, Real, Source, blocks, elements, for_reals, size};

/// A function of one number. Its attributes are those of the ONNX operator.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "named after the ONNX operators and their attributes")]
pub enum Function {
    /// The number itself.
    None,
    Relu,
    LeakyRelu {
        alpha: f32,
    },
    Sigmoid,
    Tanh,
    /// Exactly, by the error function.
    Gelu,
    /// By the approximation with tanh.
    GeluTanh,
    /// Also called Swish.
    Silu,
    Clip {
        low: f32,
        high: f32,
    },
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    HardSwish,
    Elu {
        alpha: f32,
    },
    Erf,
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    Neg,
    Abs,
}

/// A function on its own.
pub type Unary = Function;
/// A function behind a convolution or a matrix product.
pub type Activation = Function;

impl Function {
    const LABELS: [&'static str; 19] = [
        "none",
        "relu",
        "leaky_relu",
        "sigmoid",
        "tanh",
        "gelu",
        "gelu_tanh",
        "silu",
        "clip",
        "hard_sigmoid",
        "hard_swish",
        "elu",
        "erf",
        "exp",
        "log",
        "sqrt",
        "reciprocal",
        "neg",
        "abs",
    ];

    fn label(self) -> &'static str {
        let at = match self {
            Self::None => 0,
            Self::Relu => 1,
            Self::LeakyRelu { .. } => 2,
            Self::Sigmoid => 3,
            Self::Tanh => 4,
            Self::Gelu => 5,
            Self::GeluTanh => 6,
            Self::Silu => 7,
            Self::Clip { .. } => 8,
            Self::HardSigmoid { .. } => 9,
            Self::HardSwish => 10,
            Self::Elu { .. } => 11,
            Self::Erf => 12,
            Self::Exp => 13,
            Self::Log => 14,
            Self::Sqrt => 15,
            Self::Reciprocal => 16,
            Self::Neg => 17,
            Self::Abs => 18,
        };
        Self::LABELS[at]
    }

    /// The operator's attributes as the kernels' `alpha` and `beta`.
    fn words(self) -> [u32; 2] {
        let attributes = match self {
            Self::LeakyRelu { alpha } | Self::Elu { alpha } => [alpha, 0.0],
            Self::Clip { low, high } => [low, high],
            Self::HardSigmoid { alpha, beta } => [alpha, beta],
            _ => [0.0; 2],
        };
        attributes.map(f32::to_bits)
    }
}

/// A function of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named after the ONNX operators")]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
}

impl Binary {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Add, Self::Sub, Self::Mul, Self::Div, Self::Pow, Self::Min, Self::Max];

    fn label(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Div => "div",
            Self::Pow => "pow",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

pub(super) fn names() -> Vec<String> {
    let prefixed = |prefix: &'static str, label: &str| format!("{prefix}_{label}");
    let of_one = Function::LABELS.into_iter().flat_map(|label| ["unary", "channels"].map(|kind| prefixed(kind, label)));
    let of_two = Binary::ALL.into_iter().flat_map(|op| ["flat", "binary"].map(|kind| prefixed(kind, op.label())));
    let labels: Vec<String> = of_one.chain(of_two).collect();
    for_reals(labels.iter().map(String::as_str))
}

/// `y = function(x)` over `count` numbers. Pointers: x, y, which may be the same.
///
/// # Errors
/// When there are none or too many.
pub fn unary(function: Unary, real: Real, count: usize) -> Result<Launch, GeometryError> {
    let count = size("the tensor", count)?;
    let [alpha, beta] = function.words();
    let name = format!("unary_{}_{}", function.label(), real.suffix());
    Ok(Launch::new(Source::Elementwise, name, blocks(count, real.lanes()), vec![count, alpha, beta]))
}

/// `y = a op b`, with ONNX's broadcasting. Pointers: a, b, y. The result may take the place of an operand that has its
/// shape.
///
/// # Errors
/// When the shapes do not fit, or are empty or too large.
pub fn binary(op: Binary, real: Real, a: &[usize], b: &[usize]) -> Result<Launch, GeometryError> {
    let shape = walk::broadcast(a, b)?;
    let count = elements("the result", &shape)?;
    let strides = walk::repeated(a, &shape).into_iter().zip(walk::repeated(b, &shape));
    let dimensions = shape.iter().zip(strides).map(|(&size, (a, b))| Dimension { size, strides: [a, b] });
    let walk = walk::joined(dimensions)?;
    let steps = match walk.as_slice() {
        [] => Some([0; 2]),
        [Dimension { strides, .. }] => Some(strides.map(walk::stride_word)),
        _ => None,
    };
    let name = |kind: &str| format!("{kind}_{}_{}", op.label(), real.suffix());
    let launch = |kind, each, words| Launch::new(Source::Elementwise, name(kind), blocks(count, each), words);
    if let Some([a, b]) = steps {
        return Ok(launch("flat", real.lanes(), vec![count, a, b]));
    }
    let mut words = vec![count, walk.len() as u32];
    words.extend(walk::row(&walk, |dimension| dimension.size as u32));
    words.extend(walk::row(&walk, |dimension| walk::stride_word(dimension.strides[0])));
    words.extend(walk::row(&walk, |dimension| walk::stride_word(dimension.strides[1])));
    Ok(launch("binary", 1, words))
}

/// `y = activation(x * scale[c] + bias[c] + residual)`, over `outer * channels * inner` numbers. Pointers: x, scale, bias,
/// residual, y; scale and bias are single precision, and these and the residual may be null. The result may take the
/// place of x or of the residual.
///
/// # Errors
/// When there are no numbers or too many.
pub fn channels(
    activation: Activation,
    real: Real,
    outer: usize,
    channels: usize,
    inner: usize,
) -> Result<Launch, GeometryError> {
    let count = elements("the tensor", &[outer, channels, inner])?;
    let [alpha, beta] = activation.words();
    let name = format!("channels_{}_{}", activation.label(), real.suffix());
    // Each size divides the count, so it fits as the count does.
    let words = vec![count, channels as u32, inner as u32, alpha, beta];
    Ok(Launch::new(Source::Elementwise, name, blocks(count, real.lanes()), words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_flat_is_not_walked() {
        let check = |a: &[usize], b: &[usize], expected: Option<[u32; 2]>| {
            let launch = binary(Binary::Add, Real::F32, a, b).unwrap();
            let steps = launch.kernel.name.starts_with("flat").then(|| [launch.words[1], launch.words[2]]);
            assert_eq!(steps, expected, "{a:?} {b:?}");
        };
        check(&[2, 3, 4], &[2, 3, 4], Some([1, 1]));
        check(&[2, 3, 4], &[], Some([1, 0]));
        check(&[1, 1], &[5], Some([0, 1]));
        check(&[1], &[1, 1], Some([0, 0]));
        check(&[2, 3, 4], &[4], None);
        check(&[2, 3, 4], &[3, 1], None);
    }

    #[test]
    fn what_cannot_be_launched_is_named() {
        assert_eq!(unary(Function::Relu, Real::F16, 0), Err(GeometryError::Empty));
        assert!(matches!(unary(Function::Relu, Real::F16, 1 << 31), Err(GeometryError::TooLarge { .. })));
        assert!(matches!(binary(Binary::Mul, Real::F32, &[2], &[3]), Err(GeometryError::Shape(_))));
        assert_eq!(binary(Binary::Mul, Real::F32, &[2, 0], &[1]), Err(GeometryError::Empty));
    }
}
