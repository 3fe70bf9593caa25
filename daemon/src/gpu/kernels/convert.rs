//! Numbers of one type as numbers of another: Cast, `QuantizeLinear`, `DequantizeLinear`.

use super::{GeometryError, Launch, Real, Source, blocks, elements, size};

/// A type of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the types are in the names")]
pub enum Kind {
    F32,
    F16,
    I32,
    I64,
    U8,
    I8,
    /// A byte that is 0 or 1.
    Bool,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::F32, Self::F16, Self::I32, Self::I64, Self::U8, Self::I8, Self::Bool];

    fn label(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::Bool => "bool",
        }
    }

    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

/// A type of quantised numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the types are in the names")]
pub enum Quantized {
    I8,
    U8,
}

impl Quantized {
    /// Both.
    pub const ALL: [Self; 2] = [Self::I8, Self::U8];

    fn label(self) -> &'static str {
        match self {
            Self::I8 => "i8",
            Self::U8 => "u8",
        }
    }

    fn range(self) -> [f32; 2] {
        match self {
            Self::I8 => [-128.0, 127.0],
            Self::U8 => [0.0, 255.0],
        }
    }
}

pub(super) fn names() -> Vec<String> {
    let casts = Kind::ALL.into_iter().flat_map(|from| Kind::ALL.map(|to| cast_name(from, to)));
    let quantized = Quantized::ALL.into_iter().flat_map(|kind| Real::ALL.map(|real| (kind, real)));
    let both = quantized.flat_map(|(kind, real)| [quantize_name(real, kind), dequantize_name(kind, real)]);
    casts.chain(both).collect()
}

fn cast_name(from: Kind, to: Kind) -> String {
    format!("cast_{}_{}", from.label(), to.label())
}

fn quantize_name(from: Real, to: Quantized) -> String {
    format!("quantize_{}_{}", from.suffix(), to.label())
}

fn dequantize_name(from: Quantized, to: Real) -> String {
    format!("dequantize_{}_{}", from.label(), to.suffix())
}

/// Cast. Pointers: x, y. From floating to whole numbers towards zero, and to the type's end where that lies beyond.
///
/// # Errors
/// When there are no numbers or too many.
pub fn cast(from: Kind, to: Kind, count: usize) -> Result<Launch, GeometryError> {
    let count = size("the tensor", count)?;
    Ok(Launch::new(Source::Convert, cast_name(from, to), blocks(count, 1), vec![count]))
}

/// `QuantizeLinear`, with a scale for each of the channels in `outer * channels * inner` numbers. Pointers: x, scale
/// (single precision), zero (of the result's type, may be null), y.
///
/// # Errors
/// When there are no numbers or too many.
pub fn quantize(
    real: Real,
    to: Quantized,
    outer: usize,
    channels: usize,
    inner: usize,
) -> Result<Launch, GeometryError> {
    let count = elements("the tensor", &[outer, channels, inner])?;
    let mut words = vec![count, channels as u32, inner as u32];
    words.extend(to.range().map(f32::to_bits));
    Ok(Launch::new(Source::Convert, quantize_name(real, to), blocks(count, 1), words))
}

/// `DequantizeLinear`. Pointers: x, scale (single precision), zero (of the source's type, may be null), y.
///
/// # Errors
/// When there are no numbers or too many.
pub fn dequantize(
    from: Quantized,
    real: Real,
    outer: usize,
    channels: usize,
    inner: usize,
) -> Result<Launch, GeometryError> {
    let count = elements("the tensor", &[outer, channels, inner])?;
    let words = vec![count, channels as u32, inner as u32];
    Ok(Launch::new(Source::Convert, dequantize_name(from, real), blocks(count, 1), words))
}
