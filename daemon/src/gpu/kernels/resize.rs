//! Nearest and linear Resize of planes.

use super::{GeometryError, Launch, Real, Source, blocks, elements, for_reals, sides};

/// Where a pixel of the result lies in the source: ONNX's `coordinate_transformation_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named after ONNX's modes")]
pub enum Coordinates {
    HalfPixel,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    HalfPixelSymmetric,
}

impl Coordinates {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::HalfPixel, Self::PytorchHalfPixel, Self::AlignCorners, Self::Asymmetric, Self::HalfPixelSymmetric];

    fn word(self) -> u32 {
        match self {
            Self::HalfPixel => 0,
            Self::PytorchHalfPixel => 1,
            Self::AlignCorners => 2,
            Self::Asymmetric => 3,
            Self::HalfPixelSymmetric => 4,
        }
    }
}

/// Which pixel is the nearest: ONNX's `nearest_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named after ONNX's modes")]
pub enum NearestMode {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

impl NearestMode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::RoundPreferFloor, Self::RoundPreferCeil, Self::Floor, Self::Ceil];

    fn word(self) -> u32 {
        match self {
            Self::RoundPreferFloor => 0,
            Self::RoundPreferCeil => 1,
            Self::Floor => 2,
            Self::Ceil => 3,
        }
    }
}

/// What a pixel of the result is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The nearest pixel.
    Nearest(NearestMode),
    /// The four around it.
    Linear,
}

/// Planes that get another size; each pair is height and width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resize {
    /// Planes: batch times channels.
    pub planes: usize,
    /// A plane of the source.
    pub input: [usize; 2],
    /// A plane of the result.
    pub output: [usize; 2],
    /// The operator's `scales`, or result over source where it has `sizes`.
    pub scale: [f32; 2],
    /// Where pixels lie.
    pub coordinates: Coordinates,
    /// How they are made.
    pub filter: Filter,
}

pub(super) fn names() -> Vec<String> {
    for_reals(["resize_nearest", "resize_linear"])
}

/// Resizes planes. Pointers: x, y.
///
/// # Errors
/// When a size is zero or too large, or a scale is no positive number.
pub fn resize(real: Real, resize: &Resize) -> Result<Launch, GeometryError> {
    let [input, output] = [sides("the source", resize.input)?, sides("the result", resize.output)?];
    elements("the source", &[resize.planes, resize.input[0], resize.input[1]])?;
    let count = elements("the result", &[resize.planes, resize.output[0], resize.output[1]])?;
    if !resize.scale.iter().all(|scale| scale.is_finite() && *scale > 0.0) {
        return Err(GeometryError::Shape("scales are positive numbers"));
    }
    let (label, rounding) = match resize.filter {
        Filter::Nearest(mode) => ("nearest", mode.word()),
        Filter::Linear => ("linear", 0),
    };
    let mut words = vec![count];
    words.extend([input, output].as_flattened());
    words.extend(resize.scale.map(f32::to_bits));
    words.extend([resize.coordinates.word(), rounding]);
    Ok(Launch::new(Source::Resize, format!("resize_{label}_{}", real.suffix()), blocks(count, 1), words))
}
