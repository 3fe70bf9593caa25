//! From a picture's bytes to a mesh's: the kernels against the CPU's own way, to the bit.

use std::collections::HashMap;

use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};
use proofload_daemon::gpu::kernels::height::{self, Buffer, Heights, STATE_WORDS, Smoothing};
use proofload_daemon::gpu::kernels::mesh::{self, Solid};
use proofload_daemon::gpu::kernels::picture::{self, Shrink};
use proofload_daemon::gpu::kernels::{Real, Source};
use proofload_daemon::mesh::Mesh;
use proofload_daemon::mesh::export::Format;
use proofload_daemon::relief::height::{Depths, HeightField};
use proofload_daemon::relief::mask::{Mask, Wanted};
use proofload_daemon::relief::parameters::{Parameters, Size};
use proofload_daemon::relief::picture::{Raster, shrink};
use proptest::prelude::*;

use super::host::{self, Arg};
use super::numbers::{decoded, encoded, floats, near, noise};

#[test]
fn what_equals_the_cpu_is_compiled_without_fused_rounding() {
    for source in [Source::Picture, Source::Height, Source::Mesh] {
        assert!(!source.fused_multiply_add(), "{}", source.file());
    }
}

fn bytes(seed: u64, count: usize) -> Vec<u8> {
    noise(Real::F32, seed, count).iter().map(|value| (value * 127.0 + 128.0) as u8).collect()
}

fn picture(width: u32, height: u32, channels: usize, pixels: Vec<u8>) -> DynamicImage {
    match channels {
        1 => GrayImage::from_raw(width, height, pixels).unwrap().into(),
        3 => RgbImage::from_raw(width, height, pixels).unwrap().into(),
        _ => RgbaImage::from_raw(width, height, pixels).unwrap().into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_picture_is_shrunk_as_on_the_cpu(
        (width, height) in (16..150_u32, 16..150_u32),
        resolution in prop_oneof![2..20_usize, 20..200_usize],
        channels in proptest::sample::select(vec![1_usize, 3, 4]),
        seed: u64,
    ) {
        let pixels = bytes(seed, (width * height) as usize * channels);
        let raster = shrink(picture(width, height, channels, pixels.clone()), resolution);
        let Raster { columns, rows, .. } = raster;
        let sizes = Shrink {
            width: width as usize, height: height as usize, channels, columns, rows, gain: [1.0; 3], shift: [0.0; 3],
        };
        let samples = columns * rows;
        let launch = picture::shrink(Real::F32, &sizes).unwrap();
        let planes = Arg::Bytes(vec![0xA5; 12 * samples]);
        let alpha = if channels == 4 { Arg::Bytes(vec![0x5A; 4 * samples]) } else { Arg::Absent };
        let found = host::run(&launch, &[Arg::Bytes(pixels.clone()), planes, alpha]);
        prop_assert_eq!(&found[0], &pixels);
        prop_assert_eq!(&decoded(Real::F32, &found[1]), &raster.planes);
        prop_assert_eq!(found.get(2).map(|alpha| decoded(Real::F32, alpha)), raster.alpha);

        // As a network may want it: normalised, in half precision, without alpha.
        let (gain, shift) = ([4.367, 4.464, 4.444], [-2.118, -2.036, -1.804]);
        let launch = picture::shrink(Real::F16, &Shrink { gain, shift, ..sizes }).unwrap();
        let half = vec![Arg::Bytes(pixels), Arg::Bytes(vec![0xA5; 6 * samples]), Arg::Absent];
        let found = decoded(Real::F16, &host::run(&launch, &half)[1]);
        let wanted: Vec<f64> = raster.planes.iter().enumerate().map(|(at, &light)| {
            f64::from(light) * f64::from(gain[at / samples]) + f64::from(shift[at / samples])
        }).collect();
        near("normalised", Real::F16, &found, &wanted, 1.0);
    }
}

/// Runs all steps of a height map; gives the heights, and whether a depth was no number.
fn heights_of(heights: &Heights, depths: &[f32], mask: Option<&[f32]>) -> (Vec<f32>, bool) {
    let mut memory: HashMap<Buffer, Vec<u8>> = HashMap::new();
    let fresh = vec![0xA5; 4 * depths.len()];
    memory.insert(Buffer::Depths, encoded(Real::F32, depths));
    for buffer in [Buffer::Scratch, Buffer::Shares, Buffer::Heights] {
        memory.insert(buffer, fresh.clone());
    }
    memory.insert(Buffer::Mask, encoded(Real::F32, mask.unwrap_or_default()));
    if let Some(smoothing) = Smoothing::new(heights.deviation, heights.columns, heights.rows) {
        let Smoothing { kernel, across, down } = smoothing;
        for (buffer, values) in [(Buffer::Kernel, kernel), (Buffer::Across, across), (Buffer::Down, down)] {
            memory.insert(buffer, encoded(Real::F32, &values));
        }
    }
    memory.insert(Buffer::State, vec![0; 4 * STATE_WORDS]);
    memory.insert(Buffer::Flag, vec![0; 4]);
    for step in height::steps(heights).unwrap() {
        let arg = |buffer: &Option<Buffer>| buffer.map_or(Arg::Absent, |buffer| Arg::Bytes(memory[&buffer].clone()));
        let args: Vec<Arg> = step.buffers.iter().map(arg).collect();
        let contents = host::run(&step.launch, &args);
        memory.extend(step.buffers.iter().flatten().copied().zip(contents));
    }
    (decoded(Real::F32, &memory[&Buffer::Heights]), memory[&Buffer::Flag] != [0; 4])
}

fn parameters() -> impl Strategy<Value = Parameters> {
    let smoothing = prop_oneof![Just(0.0), 0.2..8.0_f64];
    (10.0..500.0_f64, 0.1..100.0_f64, 0.2..50.0_f64, smoothing, any::<bool>()).prop_map(
        |(width, height_mm, base_mm, smoothing, invert)| Parameters {
            size: Size::Width(width),
            height_mm,
            base_mm,
            smoothing,
            invert,
            mask: Wanted::Alpha,
            ..Parameters::default()
        },
    )
}

/// How contrasts may lie: anywhere, on few levels so that ranks tie, flat, and far from zero with both signs.
fn depths(seed: u64, kind: u8, count: usize) -> Vec<f32> {
    let noise = noise(Real::F32, seed, count);
    let shaped = |value: f32| match kind {
        0 => value,
        1 => (value * 3.0).round() / 3.0,
        2 => 0.4 + value * 1e-5,
        3 => value * 1e6,
        _ => -0.0 * value,
    };
    noise.into_iter().map(shaped).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn heights_are_the_cpus(
        (columns, rows) in prop_oneof![(2..24_usize, 2..24_usize), (60..90_usize, 60..90_usize)],
        parameters in parameters(),
        (masked, mask_scale) in (any::<bool>(), 1..4_usize),
        kind in 0..5_u8,
        seed: u64,
    ) {
        let values = depths(seed, kind, columns * rows);
        // A mask is made of a picture's alpha, which may be finer than the depths.
        let (width, height) = (columns * mask_scale, rows * mask_scale);
        let alpha: Vec<f32> = noise(Real::F32, seed ^ 1, width * height).iter().map(|value| (value + 1.0) / 2.0).collect();
        let raster = Raster { columns: width, rows: height, planes: vec![0.5; 3 * width * height], alpha: Some(alpha.clone()), aspect: 1.0 };
        let mask = if masked { Mask::of(&raster, Wanted::Alpha) } else { None };
        let cpu = HeightField::from_depths(Depths { columns, rows, values: values.clone() }, 1.0, mask.as_ref(), &parameters).unwrap();
        let heights = Heights {
            columns, rows,
            deviation: parameters.smoothing,
            mask: mask.as_ref().map(|_| [width, height]),
            height_mm: parameters.height_mm as f32,
            base_mm: parameters.base_mm as f32,
            invert: parameters.invert,
        };
        let (found, spoiled) = heights_of(&heights, &values, mask.map(|_| alpha).as_deref());
        prop_assert!(!spoiled);
        prop_assert_eq!(found.as_slice(), cpu.heights_mm());
    }

    #[test]
    fn what_is_no_number_is_noticed(place in 0..900_usize, wrong in proptest::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY])) {
        let mut values = noise(Real::F32, 3, 900);
        values[place] = wrong;
        let heights = Heights { columns: 30, rows: 30, deviation: 0.0, mask: None, height_mm: 8.0, base_mm: 2.0, invert: false };
        prop_assert!(heights_of(&heights, &values, None).1);
    }

    #[test]
    fn meshes_are_the_cpus(
        (columns, rows) in (2..40_usize, 2..40_usize),
        parameters in parameters(),
        aspect in 0.125..8.0_f64,
        seed: u64,
    ) {
        let values = noise(Real::F32, seed, columns * rows);
        let field = HeightField::from_depths(Depths { columns, rows, values }, aspect, None, &parameters).unwrap();
        let cpu = Mesh::solid(&field);
        let solid = Solid { columns, rows, width_mm: field.width_mm(), depth_mm: field.depth_mm() };
        prop_assert_eq!((solid.vertices(), solid.triangles()), (cpu.vertices.len(), cpu.triangles.len()));
        let heights = floats(field.heights_mm());

        let header = |format: Format| format.header(solid.vertices(), solid.triangles()).unwrap();
        let records = host::result(&mesh::stl(&solid).unwrap(), std::slice::from_ref(&heights), solid.stl_bytes());
        prop_assert!(Format::Stl.encode(&cpu) == [header(Format::Stl), records].concat());

        let [vertex_bytes, face_bytes] = solid.ply_bytes();
        let vertices = host::result(&mesh::vertices(&solid).unwrap(), std::slice::from_ref(&heights), vertex_bytes);
        let faces = host::result(&mesh::faces(&solid).unwrap(), &[heights], face_bytes);
        prop_assert!(Format::Ply.encode(&cpu) == [header(Format::Ply), vertices, faces].concat());
    }
}
