//! Pictures of bytes to planes of numbers: the CPU's way is `relief::picture`.

use super::{GeometryError, Launch, Real, Source, THREADS, elements, for_reals, size};

/// Pixels that one thread adds up, if there are threads enough.
const PIXELS_EACH: u32 = 16;

/// A picture that is averaged down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shrink {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes of a pixel: 1 for grey, 3 for colour, 4 for colour with alpha.
    pub channels: usize,
    /// Samples in a row, at most as many as pixels.
    pub columns: usize,
    /// Rows of samples.
    pub rows: usize,
    /// Light in 0..1 times this, for red, green and blue; 1 leaves it.
    pub gain: [f32; 3],
    /// What is added then.
    pub shift: [f32; 3],
}

pub(super) fn names() -> Vec<String> {
    for_reals(["shrink"])
}

/// Averages a picture down. Pointers: pixels (bytes, rows of pixels), planes (three, one behind the other), alpha (single
/// precision; null where it is not wanted).
///
/// # Errors
/// When a size is zero or too large, or there would be more samples than pixels.
pub fn shrink(real: Real, shrink: &Shrink) -> Result<Launch, GeometryError> {
    let Shrink { width, height, channels, columns, rows, gain, shift } = *shrink;
    if ![1, 3, 4].contains(&channels) {
        return Err(GeometryError::Shape("a pixel has 1, 3 or 4 bytes"));
    }
    if columns > width || rows > height {
        return Err(GeometryError::Shape("a picture is not enlarged"));
    }
    elements("the picture", &[width, height, channels])?;
    let samples = elements("the samples", &[3, columns, rows])? / 3;
    for (pixels, samples) in [(width, columns), (height, rows)] {
        elements("the picture's side", &[pixels, samples])?;
    }
    let covered = size("a sample's pixels", width.div_ceil(columns) * height.div_ceil(rows))?;
    if covered > u32::MAX / 255 {
        return Err(GeometryError::TooLarge { what: "a sample's light" });
    }
    let lanes = covered.div_ceil(PIXELS_EACH).next_power_of_two().min(THREADS);
    let mut words = [width, height, channels, columns, rows].map(|size| size as u32).to_vec();
    words.push(lanes);
    words.extend(gain.iter().chain(&shift).map(|value| value.to_bits()));
    let blocks = samples.div_ceil(THREADS / lanes);
    Ok(Launch::new(Source::Picture, format!("shrink_{}", real.suffix()), blocks, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_the_pixels_of_a_sample() {
        let check = |(width, height): (usize, usize), (columns, rows): (usize, usize), lanes: u32, blocks: u32| {
            let (gain, shift) = ([1.0; 3], [0.0; 3]);
            let launch = shrink(Real::F32, &Shrink { width, height, channels: 3, columns, rows, gain, shift }).unwrap();
            assert_eq!((launch.words[5], launch.blocks), (lanes, blocks), "{width} × {height} to {columns} × {rows}");
        };
        check((512, 512), (512, 512), 1, 1024);
        check((6000, 4000), (128, 85), 256, 128 * 85);
        check((512, 512), (128, 128), 1, 64);
        check((1024, 1024), (128, 128), 4, 256);
        check((6000, 4000), (2, 2), 256, 4);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let whole = Shrink { width: 8, height: 8, channels: 3, columns: 4, rows: 4, gain: [1.0; 3], shift: [0.0; 3] };
        let check = |wrong: Shrink, expected: &str| {
            let error = shrink(Real::F16, &wrong).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(Shrink { channels: 2, ..whole }, "1, 3 or 4 bytes");
        check(Shrink { columns: 9, ..whole }, "not enlarged");
        check(Shrink { rows: 0, ..whole }, "no elements");
        check(Shrink { width: 1 << 29, ..whole }, "more than");
        check(Shrink { width: 1 << 14, height: 1 << 14, columns: 2, rows: 2, ..whole }, "a sample's light");
    }
}
