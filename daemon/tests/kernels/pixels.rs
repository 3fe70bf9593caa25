//! A relief's whole way through a GPU, laid out by `gpu::relief` and computed by the kernels on the host, against the CPU's own
//! way: the same file to the byte, whatever the depth model is.

use std::collections::BTreeSet;

use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};
use proofload_daemon::gpu::graph::tensor::Element;
use proofload_daemon::gpu::plan::{Operand, Outlet, Place};
use proofload_daemon::gpu::relief::{Action, Job, Layout, LayoutError, Made, Spot};
use proofload_daemon::mesh::Mesh;
use proofload_daemon::mesh::export::Format;
use proofload_daemon::relief::height::{Depths, HeightField};
use proofload_daemon::relief::mask::Wanted;
use proofload_daemon::relief::parameters::{Parameters, Size};
use proofload_daemon::relief::picture::{Pixels, pixels, shrink};
use proptest::prelude::*;

use super::host::{self, Arg};
use super::numbers::{decoded, encoded, noise};
use proofload_daemon::gpu::kernels::Real;

/// Memory that nobody has written.
const UNWRITTEN: u8 = 0xA5;

fn outlet(shape: &[usize], element: Element) -> Outlet {
    let operand = Operand { place: Place::Arena(0), element, count: shape.iter().product() };
    Outlet { name: String::new(), shape: shape.to_vec(), operand }
}

/// A depth model: some mixture of the colours, at every `coarser`th place.
fn model(planes: &[f32], columns: usize, rows: usize, coarser: usize) -> Depths {
    let size = columns * rows;
    let [wide, high] = [columns, rows].map(|side| side.div_ceil(coarser));
    let at = |place: usize| planes[place] * 0.5 + planes[size + place] * 0.4 - planes[2 * size + place] * 0.3;
    let places = (0..high).flat_map(|row| (0..wide).map(move |column| row * coarser * columns + column * coarser));
    Depths { columns: wide, rows: high, values: places.map(at).collect() }
}

/// The device's memories.
struct Device {
    work: Vec<u8>,
    input: Vec<u8>,
    output: Vec<u8>,
    staging: Vec<u8>,
    /// Where parts of `work` begin, and its end.
    parts: BTreeSet<usize>,
}

impl Device {
    fn new(layout: &Layout, input: &Outlet, output: &Outlet) -> Self {
        let [work, input, output, staging] =
            [layout.work_bytes, input.operand.bytes(), output.operand.bytes(), layout.staging_bytes]
                .map(|bytes| vec![UNWRITTEN; bytes]);
        let mut parts = BTreeSet::from([work.len()]);
        for (_, action) in &layout.actions {
            match action {
                Action::Upload { to, .. } | Action::Copy { to, .. } => _ = parts.insert(*to),
                Action::Download { from, .. } => _ = parts.insert(*from),
                Action::Launch { pointers, .. } => parts.extend(
                    pointers.iter().filter_map(|spot| if let Some(Spot::Work(at)) = spot { Some(*at) } else { None }),
                ),
                Action::Model => {}
            }
        }
        Self { work, input, output, staging, parts }
    }

    fn memory(&mut self, spot: Spot) -> &mut [u8] {
        match spot {
            Spot::Work(at) => {
                let end = *self.parts.range(at + 1..).next().unwrap();
                &mut self.work[at..end]
            }
            Spot::Input => &mut self.input,
            Spot::Output => &mut self.output,
        }
    }

    fn act(&mut self, action: &Action, model: impl Fn(&[u8]) -> Vec<u8>) {
        match action {
            Action::Upload { from, to, bytes } => {
                self.work[*to..][..*bytes].copy_from_slice(&self.staging[*from..][..*bytes]);
            }
            Action::Download { from, to, bytes } => {
                self.staging[*to..][..*bytes].copy_from_slice(&self.work[*from..][..*bytes]);
            }
            Action::Copy { from, to, bytes } => {
                let copied = self.memory(*from)[..*bytes].to_vec();
                self.work[*to..][..*bytes].copy_from_slice(&copied);
            }
            Action::Model => self.output = model(&self.input),
            Action::Launch { launch, pointers } => {
                let spots: Vec<Spot> = pointers.iter().flatten().copied().collect();
                let arg = |spot: &Option<Spot>| spot.map_or(Arg::Absent, |spot| Arg::Bytes(self.memory(spot).to_vec()));
                let args: Vec<Arg> = pointers.iter().map(arg).collect();
                for (spot, content) in spots.into_iter().zip(host::run(launch, &args)) {
                    self.memory(spot).copy_from_slice(&content);
                }
            }
        }
    }
}

/// What the GPU's way makes of a picture, with a model whose input is kept so.
fn on_gpu(picture: &Pixels, parameters: &Parameters, real: Real, coarser: usize) -> Result<Made, LayoutError> {
    let job = Job::new(picture, parameters).unwrap();
    let (columns, rows) = (job.columns, job.rows);
    let element = if real == Real::F16 { Element::F16 } else { Element::F32 };
    let light = outlet(&[1, 3, rows, columns], element);
    let depth = outlet(&[1, 1, rows.div_ceil(coarser), columns.div_ceil(coarser)], Element::F32);
    let layout = Layout::new(&job, &light, &depth)?;
    let mut device = Device::new(&layout, &light, &depth);
    layout.fill(&mut device.staging, &picture.bytes)?;
    let compute = |input: &[u8]| encoded(Real::F32, &model(&decoded(real, input), columns, rows, coarser).values);
    layout.actions.iter().for_each(|(_, action)| device.act(action, compute));
    layout.made(&device.staging)
}

fn picture(width: u32, height: u32, channels: usize, seed: u64) -> DynamicImage {
    let count = (width * height) as usize * channels;
    let bytes = noise(Real::F32, seed, count).iter().map(|value| (value * 127.0 + 128.0) as u8).collect();
    match channels {
        1 => GrayImage::from_raw(width, height, bytes).unwrap().into(),
        3 => RgbImage::from_raw(width, height, bytes).unwrap().into(),
        _ => RgbaImage::from_raw(width, height, bytes).unwrap().into(),
    }
}

fn parameters() -> impl Strategy<Value = Parameters> {
    let format = prop_oneof![Just(Format::Stl), Just(Format::Ply)];
    let smoothing = prop_oneof![Just(0.0), 0.2..6.0_f64];
    (format, 16..64_usize, 10.0..500.0_f64, any::<bool>(), 0.1..100.0_f64, smoothing, any::<bool>()).prop_map(
        |(format, resolution, side, longest, height_mm, smoothing, invert)| Parameters {
            format,
            resolution,
            size: if longest { Size::Longest(side) } else { Size::Width(side) },
            height_mm,
            smoothing,
            invert,
            mask: Wanted::None,
            ..Parameters::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pixels_become_the_files_of_the_cpu(
        (width, height) in (16..90_u32, 16..90_u32),
        channels in proptest::sample::select(vec![1_usize, 3, 4]),
        parameters in parameters(),
        coarser in 1..3_usize,
        seed: u64,
    ) {
        let image = picture(width, height, channels, seed);
        let found = on_gpu(&pixels(image.clone()), &parameters, Real::F32, coarser).unwrap();
        let raster = shrink(image, parameters.resolution);
        let depths = model(&raster.planes, raster.columns, raster.rows, coarser);
        let field = HeightField::from_depths(depths, raster.aspect, None, &parameters).unwrap();
        prop_assert_eq!(found.columns, field.columns());
        prop_assert_eq!(found.heights_mm.as_slice(), field.heights_mm());
        prop_assert!(found.file == parameters.format.encode(&Mesh::solid(&field)), "the files differ");
    }
}

#[test]
fn a_model_of_halves_gets_halves() {
    let image = picture(40, 30, 3, 5);
    let parameters = Parameters { resolution: 20, smoothing: 0.0, ..Parameters::default() };
    let found = on_gpu(&pixels(image.clone()), &parameters, Real::F16, 1).unwrap();
    let raster = shrink(image, 20);
    let halves: Vec<f32> = decoded(Real::F16, &encoded(Real::F16, &raster.planes));
    let depths = model(&halves, raster.columns, raster.rows, 1);
    let field = HeightField::from_depths(depths, raster.aspect, None, &parameters).unwrap();
    assert_eq!(found.heights_mm.as_slice(), field.heights_mm());
}

/// Sixteen bits a channel and other kinds become bytes here as they do on the CPU.
#[test]
fn every_kind_of_picture_is_the_same_as_on_the_cpu() {
    let bytes = picture(33, 21, 4, 9);
    let parameters = Parameters { resolution: 16, ..Parameters::default() };
    for image in [
        bytes.clone(),
        DynamicImage::ImageRgb16(bytes.to_rgb16()),
        DynamicImage::ImageRgba16(bytes.to_rgba16()),
        DynamicImage::ImageLumaA8(bytes.to_luma_alpha8()),
        DynamicImage::ImageLuma16(bytes.to_luma16()),
    ] {
        let found = on_gpu(&pixels(image.clone()), &parameters, Real::F32, 1).unwrap();
        let kind = image.color();
        let raster = shrink(image, 16);
        let depths = model(&raster.planes, raster.columns, raster.rows, 1);
        let field = HeightField::from_depths(depths, raster.aspect, None, &parameters).unwrap();
        assert_eq!(found.heights_mm.as_slice(), field.heights_mm(), "{kind:?}");
    }
}
