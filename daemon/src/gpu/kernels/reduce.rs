//! Sums, means and extremes along an axis.

use super::normalize::SHORT_LINE;
use super::{GeometryError, Launch, Real, Source, blocks, elements, for_reals};

/// What becomes of the numbers along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named after the ONNX operators")]
pub enum Reduction {
    Sum,
    Mean,
    Max,
    Min,
    SumSquare,
    /// The root of the sum of squares.
    L2,
}

impl Reduction {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Sum, Self::Mean, Self::Max, Self::Min, Self::SumSquare, Self::L2];

    /// A mean is a sum that is scaled.
    fn label(self) -> &'static str {
        match self {
            Self::Sum | Self::Mean => "sum",
            Self::Max => "max",
            Self::Min => "min",
            Self::SumSquare => "square",
            Self::L2 => "length",
        }
    }
}

pub(super) fn names() -> Vec<String> {
    let labels = ["sum", "square", "length", "max", "min"];
    let kinds = |label: &str| ["rows", "columns"].map(|kind| format!("reduce_{label}_{kind}"));
    let labels: Vec<String> = labels.into_iter().flat_map(kinds).collect();
    for_reals(labels.iter().map(String::as_str))
}

/// One number for all along the middle of `outer * axis * inner` numbers. Pointers: x, y.
///
/// # Errors
/// When there are no numbers or too many.
pub fn reduce(
    reduction: Reduction,
    real: Real,
    outer: usize,
    axis: usize,
    inner: usize,
) -> Result<Launch, GeometryError> {
    elements("the tensor", &[outer, axis, inner])?;
    let results = (outer * inner) as u32;
    let scale = if reduction == Reduction::Mean { 1.0 / axis as f32 } else { 1.0 };
    let (kind, blocks) =
        if inner == 1 && axis > SHORT_LINE { ("rows", results) } else { ("columns", blocks(results, 1)) };
    let name = format!("reduce_{}_{kind}_{}", reduction.label(), real.suffix());
    Ok(Launch::new(Source::Reduce, name, blocks, vec![results, axis as u32, inner as u32, scale.to_bits()]))
}
