//! `MaxPool` and `AveragePool`.

use super::{GeometryError, Launch, Real, Source, amount, blocks, elements, for_reals, sides, size};

/// What a window gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// Its largest number.
    Max,
    /// The mean of its numbers.
    Average {
        /// Whether what lies in the padding counts, as zero.
        count_include_pad: bool,
    },
}

/// Windows over planes; each pair is height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Planes: batch times channels.
    pub planes: usize,
    /// A plane of the source.
    pub input: [usize; 2],
    /// A plane of the result.
    pub output: [usize; 2],
    /// A window.
    pub kernel: [usize; 2],
    /// From one window to the next.
    pub stride: [usize; 2],
    /// From one number of a window to the next.
    pub dilation: [usize; 2],
    /// Top, left, bottom, right.
    pub pads: [usize; 4],
}

pub(super) fn names() -> Vec<String> {
    for_reals(["max_pool", "average_pool"])
}

/// Pools planes. Pointers: x, y.
///
/// # Errors
/// When a size is zero or too large.
pub fn pool(kind: PoolKind, real: Real, window: &Window) -> Result<Launch, GeometryError> {
    let [input, output] = [sides("the source", window.input)?, sides("the result", window.output)?];
    let [kernel, stride] = [sides("the window", window.kernel)?, sides("the stride", window.stride)?];
    let dilation = sides("the dilation", window.dilation)?;
    elements("the source", &[window.planes, window.input[0], window.input[1]])?;
    let count = elements("the result", &[window.planes, window.output[0], window.output[1]])?;
    for side in 0..2 {
        let padding = window.pads[side].saturating_add(window.pads[side + 2]);
        let reach = window.output[side].saturating_mul(window.stride[side]);
        let reach = reach.saturating_add(window.kernel[side].saturating_mul(window.dilation[side]));
        size("the window's way", window.input[side].saturating_add(padding))?;
        size("the window's way", reach)?;
    }
    let (label, padding_counts) = match kind {
        PoolKind::Max => ("max_pool", false),
        PoolKind::Average { count_include_pad } => ("average_pool", count_include_pad),
    };
    let mut words = vec![count];
    words.extend([input, output, kernel, stride, dilation].as_flattened());
    for pad in window.pads {
        words.push(amount("the padding", pad)?);
    }
    words.push(u32::from(padding_counts));
    Ok(Launch::new(Source::Pool, format!("{label}_{}", real.suffix()), blocks(count, 1), words))
}
