//! `LayerNormalization` and Softmax.

use super::{GeometryError, Launch, Real, Source, blocks, elements, for_reals};

/// A row this long or shorter is one thread's work; a longer one is a block's.
pub(super) const SHORT_LINE: usize = 64;

pub(super) fn names() -> Vec<String> {
    for_reals(["layer_norm", "softmax_rows", "softmax_columns"])
}

/// `LayerNormalization` of `rows` rows. Pointers: x, gamma, beta, y, of which gamma and beta are single precision and may
/// be null.
///
/// # Errors
/// When there are no numbers or too many.
pub fn layer_norm(real: Real, rows: usize, columns: usize, epsilon: f32) -> Result<Launch, GeometryError> {
    elements("the tensor", &[rows, columns])?;
    let name = format!("layer_norm_{}", real.suffix());
    Ok(Launch::new(Source::Normalize, name, rows as u32, vec![columns as u32, epsilon.to_bits()]))
}

/// Softmax along the middle of `outer * axis * inner` numbers. Pointers: x, y.
///
/// # Errors
/// When there are no numbers or too many.
pub fn softmax(real: Real, outer: usize, axis: usize, inner: usize) -> Result<Launch, GeometryError> {
    elements("the tensor", &[outer, axis, inner])?;
    let launch = |kind, blocks, words| {
        Launch::new(Source::Normalize, format!("softmax_{kind}_{}", real.suffix()), blocks, words)
    };
    if inner == 1 && axis > SHORT_LINE {
        return Ok(launch("rows", outer as u32, vec![axis as u32]));
    }
    let lines = (outer * inner) as u32;
    Ok(launch("columns", blocks(lines, 1), vec![lines, axis as u32, inner as u32]))
}
