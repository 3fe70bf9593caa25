//! Depths to heights, as a sequence of launches: the CPU's way is `relief::height`.

use super::{GeometryError, Launch, Source, blocks, elements, halves, size};
use crate::relief::height::{LEAST_CONTRAST, ROBUST_RANGE, half_kernel, row_weights};

/// Samples that a thread of `height_count_ranks` takes: `EACH` of the source.
const EACH: u32 = 16;
/// Bytes of a key, each of which is a pass of the search.
const PASSES: u32 = 4;
/// Words of the search's memory: `STATE` of the source.
pub const STATE_WORDS: usize = 8 + 2 * 256;

/// What heights are made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heights {
    /// Samples in a row.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
    /// Standard deviation of the smoothing, in samples.
    pub deviation: f64,
    /// Columns and rows of the mask, where there is one.
    pub mask: Option<[usize; 2]>,
    /// From the lowest to the highest point, in millimetres.
    pub height_mm: f32,
    /// Under the lowest point, in millimetres.
    pub base_mm: f32,
    /// Whether what is near lies low.
    pub invert: bool,
}

/// Memory that the launches read and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Buffer {
    /// The depths, single precision. They are overwritten.
    Depths,
    /// As large as the depths.
    Scratch,
    /// The mask as it came, single precision.
    Mask,
    /// The mask over the depths' samples, as large as these.
    Shares,
    /// [`Smoothing::kernel`].
    Kernel,
    /// [`Smoothing::across`].
    Across,
    /// [`Smoothing::down`].
    Down,
    /// [`STATE_WORDS`] words, zero at first.
    State,
    /// A word, zero at first: 1 afterwards where a depth was no number.
    Flag,
    /// The heights in millimetres, as large as the depths.
    Heights,
}

/// A launch, and what its pointers point to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is launched.
    pub launch: Launch,
    /// Its pointers, in order; `None` is null.
    pub buffers: Vec<Option<Buffer>>,
}

/// The numbers that smoothing needs beside the depths, made on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Smoothing {
    /// Weights of the middle and of one side.
    pub kernel: Vec<f32>,
    /// What they add up to at each place of a row.
    pub across: Vec<f32>,
    /// And of a column.
    pub down: Vec<f32>,
}

impl Smoothing {
    /// For a deviation in samples; `None` where it smooths nothing.
    pub fn new(deviation: f64, columns: usize, rows: usize) -> Option<Self> {
        let kernel = half_kernel(deviation);
        let [across, down] = [columns, rows].map(|count| row_weights(&kernel, count));
        (kernel.len() > 1).then_some(Self { kernel, across, down })
    }
}

pub(super) fn names() -> Vec<String> {
    ["check", "smooth_rows", "smooth_columns", "resample", "count_ranks", "narrow_ranks", "stretch"]
        .map(|label| format!("height_{label}"))
        .to_vec()
}

/// All launches, in order.
///
/// # Errors
/// When a side has fewer than two samples, or there are too many.
pub fn steps(heights: &Heights) -> Result<Vec<Step>, GeometryError> {
    if heights.columns < 2 || heights.rows < 2 {
        return Err(GeometryError::Shape("a surface has two samples each way"));
    }
    let count = elements("the depths", &[heights.columns, heights.rows])?;
    let mut steps = vec![step("check", blocks(count, 1), vec![count], vec![Buffer::Depths, Buffer::Flag])];
    steps.extend(smooth(heights, count, Buffer::Depths));
    if let Some(mask) = heights.mask {
        steps.push(resample(heights, count, mask)?);
        steps.extend(smooth(heights, count, Buffer::Shares));
    }
    let shares = heights.mask.map(|_| Buffer::Shares);
    steps.extend((0..PASSES).flat_map(|pass| narrow(count, pass, shares)));
    steps.push(stretch(heights, count, shares));
    Ok(steps)
}

fn step(label: &str, blocks: u32, words: Vec<u32>, buffers: Vec<Buffer>) -> Step {
    let launch = Launch::new(Source::Height, format!("height_{label}"), blocks, words);
    Step { launch, buffers: buffers.into_iter().map(Some).collect() }
}

/// There and back: what is smooth lies where it lay before.
fn smooth(heights: &Heights, count: u32, values: Buffer) -> Vec<Step> {
    let radius = half_kernel(heights.deviation).len() as u32 - 1;
    if radius == 0 {
        return Vec::new();
    }
    let words = vec![heights.columns as u32, heights.rows as u32, radius];
    let along =
        |label, sums, from, to| step(label, blocks(count, 1), words.clone(), vec![Buffer::Kernel, sums, from, to]);
    vec![
        along("smooth_rows", Buffer::Across, values, Buffer::Scratch),
        along("smooth_columns", Buffer::Down, Buffer::Scratch, values),
    ]
}

fn resample(heights: &Heights, count: u32, mask: [usize; 2]) -> Result<Step, GeometryError> {
    let [columns, rows] = [heights.columns, heights.rows].map(|side| side as u32);
    elements("the mask", &mask)?;
    for (side, of) in [(heights.columns, mask[0]), (heights.rows, mask[1])] {
        elements("the mask's side", &[2, side, of])?;
    }
    let words = vec![columns, rows, size("the mask", mask[0])?, size("the mask", mask[1])?];
    Ok(step("resample", blocks(count, 1), words, vec![Buffer::Mask, Buffer::Shares]))
}

/// One byte of both ranks.
fn narrow(count: u32, pass: u32, shares: Option<Buffer>) -> [Step; 2] {
    let launch = |label, blocks, words| Launch::new(Source::Height, format!("height_{label}"), blocks, words);
    let mut words = vec![pass];
    words.extend(ROBUST_RANGE.map(halves).as_flattened());
    [
        Step {
            launch: launch("count_ranks", blocks(count, EACH), vec![count, pass]),
            buffers: vec![Some(Buffer::Depths), shares, Some(Buffer::State)],
        },
        Step { launch: launch("narrow_ranks", 1, words), buffers: vec![Some(Buffer::State)] },
    ]
}

fn stretch(heights: &Heights, count: u32, shares: Option<Buffer>) -> Step {
    let mut words = vec![count, u32::from(heights.invert)];
    words.extend([heights.base_mm, heights.height_mm, LEAST_CONTRAST].map(f32::to_bits));
    Step {
        launch: Launch::new(Source::Height, "height_stretch".to_owned(), blocks(count, 1), words),
        buffers: vec![Some(Buffer::Depths), shares, Some(Buffer::State), Some(Buffer::Heights)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Heights =
        Heights { columns: 30, rows: 20, deviation: 0.7, mask: None, height_mm: 8.0, base_mm: 2.0, invert: false };

    #[test]
    fn only_what_is_needed_is_launched() {
        let check = |heights: Heights, expected: usize| assert_eq!(steps(&heights).unwrap().len(), expected);
        check(PLAIN, 12);
        check(Heights { deviation: 0.0, ..PLAIN }, 10);
        check(Heights { mask: Some([60, 40]), ..PLAIN }, 15);
        assert!(matches!(steps(&Heights { rows: 1, ..PLAIN }), Err(GeometryError::Shape(_))));
        assert!(matches!(steps(&Heights { mask: Some([0, 4]), ..PLAIN }), Err(GeometryError::Empty)));
    }

    /// Nothing is read before it was written, but for what the host brings.
    #[test]
    fn steps_read_what_was_written() {
        let brought = [Buffer::Depths, Buffer::Mask, Buffer::Kernel, Buffer::Across, Buffer::Down];
        let mut written = [&brought[..], &[Buffer::State, Buffer::Flag]].concat();
        for step in steps(&Heights { mask: Some([60, 40]), ..PLAIN }).unwrap() {
            let (result, read) = step.buffers.split_last().unwrap();
            assert!(read.iter().flatten().all(|buffer| written.contains(buffer)), "{step:?} of {written:?}");
            written.extend(result);
        }
        assert!(written.contains(&Buffer::Heights));
    }
}
