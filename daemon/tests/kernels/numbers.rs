//! Numbers as tensors hold them, numbers that look like chance, and how near two of them are.

use half::f16;
use proofload_daemon::gpu::kernels::Real;

use super::host::Arg;

/// As a tensor holds them.
pub(crate) fn encoded(real: Real, values: &[f32]) -> Vec<u8> {
    match real {
        Real::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Real::F16 => values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
    }
}

/// What a tensor holds.
pub(crate) fn decoded(real: Real, bytes: &[u8]) -> Vec<f32> {
    match real {
        Real::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Real::F16 => bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
    }
}

/// A tensor as an argument.
pub(crate) fn tensor(real: Real, values: &[f32]) -> Arg {
    Arg::Bytes(encoded(real, values))
}

/// Single precision, whatever the tensors are.
pub(crate) fn floats(values: &[f32]) -> Arg {
    tensor(Real::F32, values)
}

/// Words, or null.
pub(crate) fn optional(values: Option<&[f32]>) -> Arg {
    values.map_or(Arg::Absent, floats)
}

/// `count` numbers from -1 to 1 that a tensor can hold.
pub(crate) fn noise(real: Real, seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let numbers = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    });
    let numbers: Vec<f32> = numbers.take(count).collect();
    decoded(real, &encoded(real, &numbers))
}

/// Scaled, as a tensor can hold them.
pub(crate) fn scaled(real: Real, values: &[f32], factor: f32) -> Vec<f32> {
    let scaled: Vec<f32> = values.iter().map(|value| value * factor).collect();
    decoded(real, &encoded(real, &scaled))
}

/// Compares results with what they should be, to 1e-5 of each number in single precision, and to half a step of half
/// precision. Where a number is a sum that may cancel, `size` is that of its terms; else zero.
#[track_caller]
pub(crate) fn near(what: &str, real: Real, found: &[f32], expected: &[f64], size: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let tolerance = match real {
            Real::F32 => 1e-5 * expected.abs().max(size) + 1e-37,
            // Half of the last of eleven binary digits is 4.9e-4, and half of the smallest number 3e-8.
            Real::F16 => 5e-4 * expected.abs() + 1e-5 * size + 3e-8,
        };
        let same = f64::from(found).total_cmp(&expected).is_eq() || found.is_nan() && expected.is_nan();
        let near = (f64::from(found) - expected).abs() <= tolerance;
        // Beyond half precision's range lies its infinity.
        let beyond = real == Real::F16 && expected.abs() >= 65519.0 && found.is_infinite();
        assert!(same || near || beyond, "{what}, {real:?}, number {at}: {found} is not {expected}");
    }
}

/// Every index of a shape, in order.
pub(crate) fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![Vec::new()], |indices, &size| {
        let next = |index: Vec<usize>| (0..size).map(move |at| [&index[..], &[at]].concat());
        indices.into_iter().flat_map(next).collect()
    })
}

/// Where an index lies in a dense tensor.
pub(crate) fn place(shape: &[usize], index: &[usize]) -> usize {
    shape.iter().zip(index).fold(0, |place, (size, at)| place * size + at)
}
