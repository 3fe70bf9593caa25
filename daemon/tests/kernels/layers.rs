//! Normalisation, reductions, pooling, resizing and conversions, against loops in double precision.

use proofload_daemon::gpu::kernels::convert::{self, Kind, Quantized};
use proofload_daemon::gpu::kernels::pool::{self, PoolKind, Window};
use proofload_daemon::gpu::kernels::reduce::{self, Reduction};
use proofload_daemon::gpu::kernels::resize::{self, Coordinates, Filter, NearestMode, Resize};
use proofload_daemon::gpu::kernels::{Launch, Real, normalize};
use proptest::prelude::*;

use super::host::{self, Arg};
use super::numbers::{decoded, floats, near, noise, optional, scaled, tensor};

/// A line of the middle of `outer * axis * inner` numbers.
fn line(x: &[f32], (axis, inner): (usize, usize), at: usize) -> Vec<f64> {
    let first = at / inner * axis * inner + at % inner;
    (0..axis).map(|step| f64::from(x[first + step * inner])).collect()
}

fn check(what: &str, real: Real, launch: &Launch, args: &[Arg], expected: &[f64], size: f64) {
    let found = host::result(launch, args, expected.len() * real.bytes());
    near(what, real, &decoded(real, &found), expected, size);
}

/// Lengths around the size of a block, and small and odd ones.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![1..9_usize, 60..70_usize, 250..260_usize, 500..1100_usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn layers_are_normalised(rows in 1..5_usize, columns in lengths(), [scale, shift] in any::<[bool; 2]>(), seed: u64) {
        let of_columns = |wanted: bool, seed: u64| wanted.then(|| noise(Real::F32, seed, columns));
        let (gamma, beta) = (of_columns(scale, seed ^ 1), of_columns(shift, seed ^ 2));
        for real in Real::ALL {
            // A mean far from zero: where squares of numbers are subtracted, this shows.
            let x = scaled(real, &noise(real, seed, rows * columns).iter().map(|x| x + 3.0).collect::<Vec<_>>(), 1.0);
            let wanted = (0..rows).flat_map(|row| {
                let line = line(&x, (columns, 1), row);
                let mean = line.iter().sum::<f64>() / columns as f64;
                let variance = line.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / columns as f64;
                let (gamma, beta) = (gamma.clone(), beta.clone());
                line.into_iter().enumerate().map(move |(at, x)| {
                    let of = |values: &Option<Vec<f32>>, absent: f64| values.as_ref().map_or(absent, |all| f64::from(all[at]));
                    (x - mean) / (variance + f64::from(1e-3_f32)).sqrt() * of(&gamma, 1.0) + of(&beta, 0.0)
                })
            });
            let wanted: Vec<f64> = wanted.collect();
            let launch = normalize::layer_norm(real, rows, columns, 1e-3).unwrap();
            let args = [tensor(real, &x), optional(gamma.as_deref()), optional(beta.as_deref())];
            check("layer_norm", real, &launch, &args, &wanted, 3.0);
        }
    }

    #[test]
    fn shares_add_up_to_one(outer in 1..4_usize, axis in lengths(), inner in 1..4_usize, seed: u64) {
        for real in Real::ALL {
            let x = scaled(real, &noise(real, seed, outer * axis * inner), 12.0);
            let mut wanted = vec![0.0; x.len()];
            for at in 0..outer * inner {
                let line = line(&x, (axis, inner), at);
                let most = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = line.iter().map(|x| (x - most).exp()).sum();
                for (step, x) in line.iter().enumerate() {
                    wanted[(at / inner * axis + step) * inner + at % inner] = (x - most).exp() / sum;
                }
            }
            let launch = normalize::softmax(real, outer, axis, inner).unwrap();
            check("softmax", real, &launch, &[tensor(real, &x)], &wanted, 0.0);
        }
    }

    #[test]
    fn lines_are_reduced(outer in 1..4_usize, axis in lengths(), inner in 1..4_usize, seed: u64) {
        for real in Real::ALL {
            let x = noise(real, seed, outer * axis * inner);
            for reduction in Reduction::ALL {
                let of = |at: usize| {
                    let line = line(&x, (axis, inner), at).into_iter();
                    match reduction {
                        Reduction::Sum => line.sum(),
                        Reduction::Mean => line.sum::<f64>() / axis as f64,
                        Reduction::Max => line.fold(f64::NEG_INFINITY, f64::max),
                        Reduction::Min => line.fold(f64::INFINITY, f64::min),
                        Reduction::SumSquare => line.map(|x| x * x).sum(),
                        Reduction::L2 => line.map(|x| x * x).sum::<f64>().sqrt(),
                    }
                };
                let wanted: Vec<f64> = (0..outer * inner).map(of).collect();
                let size = match reduction {
                    // Terms of up to 1 that cancel.
                    Reduction::Sum => axis as f64 / 2.0,
                    Reduction::Mean => 0.5,
                    _ => 0.0,
                };
                let launch = reduce::reduce(reduction, real, outer, axis, inner).unwrap();
                check(&format!("{reduction:?}"), real, &launch, &[tensor(real, &x)], &wanted, size);
            }
        }
    }
}

/// Any window that reaches into its plane.
fn windows() -> impl Strategy<Value = Window> {
    let side = (1..14_usize, 1..4_usize, 1..4_usize, 1..3_usize, any::<bool>());
    (1..4_usize, [side.clone(), side], any::<[bool; 4]>()).prop_map(|(planes, sides, padded)| {
        let of = |field: fn(&(usize, usize, usize, usize, bool)) -> usize| [field(&sides[0]), field(&sides[1])];
        let (input, kernel, stride, dilation) =
            (of(|side| side.0), of(|side| side.1), of(|side| side.2), of(|side| side.3));
        // Less than a window, so that none lies in the padding alone.
        let pads: [usize; 4] = std::array::from_fn(|at| if padded[at] { kernel[at % 2] / 2 } else { 0 });
        let output = std::array::from_fn(|side| {
            let reach = dilation[side] * (kernel[side] - 1) + 1;
            let room = (input[side] + pads[side] + pads[side + 2]).saturating_sub(reach);
            let whole = room / stride[side];
            // One more where windows are counted up, if it begins within the plane.
            let more =
                sides[side].4 && room % stride[side] > 0 && (whole + 1) * stride[side] < input[side] + pads[side];
            whole + usize::from(more) + 1
        });
        Window { planes, input, output, kernel, stride, dilation, pads }
    })
}

/// What a window sees, each with whether it lies in the plane; what lies beyond even the padding is not there.
fn seen(window: &Window, x: &[f32], [plane, row, column]: [usize; 3]) -> Vec<Option<f64>> {
    let along = |side: usize, at: usize, step: usize| {
        (at * window.stride[side] + step * window.dilation[side]) as i64 - window.pads[side] as i64
    };
    let there = |side: usize, at: i64| at < (window.input[side] + window.pads[side + 2]) as i64;
    let inside = |side: usize, at: i64| (0..window.input[side] as i64).contains(&at);
    let mut seen = Vec::new();
    for line in 0..window.kernel[0] {
        for step in 0..window.kernel[1] {
            let (y, at) = (along(0, row, line), along(1, column, step));
            if there(0, y) && there(1, at) {
                let place = (plane as i64 * window.input[0] as i64 + y) * window.input[1] as i64 + at;
                seen.push((inside(0, y) && inside(1, at)).then(|| f64::from(x[place as usize])));
            }
        }
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn windows_are_pooled(window in windows(), seed: u64) {
        let places = super::numbers::indices(&[window.planes, window.output[0], window.output[1]]);
        for real in Real::ALL {
            let x = noise(real, seed, window.planes * window.input[0] * window.input[1]);
            for kind in [PoolKind::Max, PoolKind::Average { count_include_pad: false }, PoolKind::Average { count_include_pad: true }] {
                let of = |place: &Vec<usize>| {
                    let seen = seen(&window, &x, [place[0], place[1], place[2]]);
                    let inside = seen.iter().flatten();
                    match kind {
                        PoolKind::Max => inside.copied().fold(f64::NEG_INFINITY, f64::max),
                        PoolKind::Average { count_include_pad } => {
                            let count = if count_include_pad { seen.len() } else { inside.clone().count() };
                            if count == 0 { 0.0 } else { inside.sum::<f64>() / count as f64 }
                        }
                    }
                };
                let wanted: Vec<f64> = places.iter().map(of).collect();
                let launch = pool::pool(kind, real, &window).unwrap();
                check(&format!("{kind:?} {window:?}"), real, &launch, &[tensor(real, &x)], &wanted, 0.5);
            }
        }
    }

    #[test]
    fn planes_are_resized(
        (planes, input, output) in (1..3_usize, [1..12_usize, 1..12_usize], [1..30_usize, 1..30_usize]),
        seed: u64,
    ) {
        let scale: [f32; 2] = std::array::from_fn(|side| output[side] as f32 / input[side] as f32);
        let nearest = NearestMode::ALL.map(Filter::Nearest);
        for coordinates in Coordinates::ALL {
            for filter in nearest.into_iter().chain([Filter::Linear]) {
                for real in Real::ALL {
                    let x = noise(real, seed, planes * input[0] * input[1]);
                    let wanted = resized(&x, &Resize { planes, input, output, scale, coordinates, filter });
                    let launch = resize::resize(real, &Resize { planes, input, output, scale, coordinates, filter }).unwrap();
                    // Single precision places pixels to a few millionths of a side.
                    check(&format!("{coordinates:?} {filter:?} {input:?} {output:?}"), real, &launch, &[tensor(real, &x)], &wanted, 1.0);
                }
            }
        }
    }
}

/// Resize by its definition. Places are computed in single precision, as the operator's are: which pixel is the nearest
/// depends on it.
fn resized(x: &[f32], resize: &Resize) -> Vec<f64> {
    let Resize { planes, input, output, scale, coordinates, filter } = *resize;
    let source = |side: usize, at: usize| -> f32 {
        let (at, scale, from, to) = (at as f32, scale[side], input[side] as f32, output[side] as f32);
        match coordinates {
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners if output[side] == 1 => 0.0,
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => (at + 0.5) / scale - 0.5,
            Coordinates::AlignCorners => at * (from - 1.0) / (to - 1.0),
            Coordinates::Asymmetric => at / scale,
            Coordinates::HalfPixelSymmetric => from / 2.0 * (1.0 - to / (scale * from)) + (at + 0.5) / scale - 0.5,
        }
    };
    // The pixels that one is made of, with their shares.
    let taps = |side: usize, at: usize| -> Vec<(usize, f64)> {
        let (place, last) = (source(side, at), (input[side] - 1) as f32);
        let Filter::Nearest(mode) = filter else {
            let place = place.clamp(0.0, last);
            let (low, share) = (place.floor() as usize, f64::from(place.fract()));
            return vec![(low, 1.0 - share), ((low + 1).min(input[side] - 1), share)];
        };
        let rounded = match mode {
            NearestMode::RoundPreferFloor if place.fract().total_cmp(&0.5).is_eq() => place.floor(),
            NearestMode::RoundPreferFloor | NearestMode::RoundPreferCeil => place.round(),
            NearestMode::Floor => place.floor(),
            NearestMode::Ceil => place.ceil(),
        };
        vec![(rounded.clamp(0.0, last) as usize, 1.0)]
    };
    let pixel = |place: Vec<usize>| {
        let plane = &x[place[0] * input[0] * input[1]..];
        let row = |row: usize| {
            taps(1, place[2]).iter().map(|(at, share)| share * f64::from(plane[row * input[1] + at])).sum::<f64>()
        };
        taps(0, place[1]).iter().map(|&(at, share)| share * row(at)).sum()
    };
    super::numbers::indices(&[planes, output[0], output[1]]).into_iter().map(pixel).collect()
}

/// A whole number as a tensor of whole numbers holds it.
fn whole(kind: Kind, value: i64) -> Vec<u8> {
    match kind {
        Kind::Bool => vec![u8::from(value != 0)],
        _ => value.to_le_bytes()[..kind.bytes()].to_vec(),
    }
}

#[test]
fn whole_numbers_are_cast() {
    let values = [0, 1, -1, 100, -100, 127, -128, 200, 255, 65504, 1 << 24, -(1 << 24)];
    let reals = [(Kind::F32, Real::F32), (Kind::F16, Real::F16)];
    for from in [Kind::I32, Kind::I64, Kind::U8, Kind::I8, Kind::Bool] {
        let x: Vec<u8> = values.iter().flat_map(|&value| whole(from, value)).collect();
        // What fits the source's type.
        let held = values.map(|value| match from {
            Kind::U8 => i64::from(value as u8),
            Kind::I8 => i64::from(value as i8),
            Kind::Bool => i64::from(value != 0),
            _ => value,
        });
        for to in [Kind::I32, Kind::I64, Kind::U8, Kind::I8, Kind::Bool] {
            let launch = convert::cast(from, to, values.len()).unwrap();
            let found = host::result(&launch, &[Arg::Bytes(x.clone())], values.len() * to.bytes());
            let expected: Vec<u8> = held.iter().flat_map(|&value| whole(to, value)).collect();
            assert_eq!(found, expected, "{from:?} to {to:?}");
        }
        for (to, real) in reals {
            let launch = convert::cast(from, to, values.len()).unwrap();
            let expected = held.map(|value| value as f64);
            check(&format!("{from:?} to {to:?}"), real, &launch, &[Arg::Bytes(x.clone())], &expected, 0.0);
        }
    }
}

#[test]
fn fractions_are_cast_towards_zero_and_to_the_ends() {
    let values =
        [0.0, 0.9, -0.9, 1.5, -1.5, 126.9, 127.0, 300.0, -300.0, 3e9, -3e9, 1e19, -1e19, f32::NAN, f32::INFINITY];
    let check = |to: Kind, low: i64, high: i64| {
        let launch = convert::cast(Kind::F32, to, values.len()).unwrap();
        let found = host::result(&launch, &[floats(&values)], values.len() * to.bytes());
        // Rust's own conversion goes to the ends as well.
        let expected: Vec<u8> = values.iter().flat_map(|&value| whole(to, (value as i64).clamp(low, high))).collect();
        assert_eq!(found, expected, "{to:?}");
    };
    check(Kind::I32, i64::from(i32::MIN), i64::from(i32::MAX));
    check(Kind::I64, i64::MIN, i64::MAX);
    check(Kind::U8, 0, 255);
    check(Kind::I8, -128, 127);
    let launch = convert::cast(Kind::F32, Kind::Bool, 5).unwrap();
    let found = host::result(&launch, &[floats(&[0.0, -0.0, 1e-30, f32::NAN, -2.0])], 5);
    assert_eq!(found, [0, 0, 1, 1, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn levels_go_there_and_back(
        (outer, channels, inner) in (1..4_usize, 1..6_usize, 1..50_usize),
        shifted: bool,
        seed: u64,
    ) {
        let count = outer * channels * inner;
        let scale: Vec<f32> = noise(Real::F32, seed ^ 1, channels).iter().map(|x| x.abs() / 16.0 + 0.004).collect();
        for (kind, real) in Quantized::ALL.into_iter().flat_map(|kind| Real::ALL.map(|real| (kind, real))) {
            let (low, high) = if kind == Quantized::I8 { (-128, 127) } else { (0, 255) };
            let zeros: Vec<i32> = (0..channels).map(|at| low + 100 + 7 * at as i32).collect();
            let zero = |channel: usize| if shifted { zeros[channel] } else { 0 };
            let given = if shifted { Arg::Bytes(zeros.iter().map(|&zero| zero as u8).collect()) } else { Arg::Absent };
            let x = scaled(real, &noise(real, seed, count), 4.0);
            let channel = |at: usize| at / inner % channels;
            let level = |at: usize| {
                let level = (x[at] / scale[channel(at)]).round_ties_even() as i32 + zero(channel(at));
                level.clamp(low, high)
            };
            let launch = convert::quantize(real, kind, outer, channels, inner).unwrap();
            let q = host::result(&launch, &[tensor(real, &x), floats(&scale), given.clone()], count);
            let levels: Vec<u8> = (0..count).map(|at| level(at) as u8).collect();
            prop_assert_eq!(&q, &levels, "{:?} {:?}", kind, real);
            let wanted = |at: usize| f64::from(level(at) - zero(channel(at))) * f64::from(scale[channel(at)]);
            let wanted: Vec<f64> = (0..count).map(wanted).collect();
            let launch = convert::dequantize(kind, real, outer, channels, inner).unwrap();
            check("dequantize", real, &launch, &[Arg::Bytes(q), floats(&scale), given], &wanted, 0.0);
        }
    }
}
