//! What a layout has to keep to, whatever the picture.

use super::*;
use crate::gpu::plan::{Operand, Place};
use proptest::prelude::*;

fn outlet(shape: &[usize], element: Element) -> Outlet {
    let operand = Operand { place: Place::Arena(0), element, count: shape.iter().product() };
    Outlet { name: "x".to_owned(), shape: shape.to_vec(), operand }
}

fn job(width: usize, height: usize, channels: usize, parameters: &Parameters) -> Option<Job> {
    Job::new(&Pixels { width, height, channels, bytes: vec![7; width * height * channels] }, parameters)
}

#[test]
fn what_has_no_kernel_is_the_cpus() {
    let check = |parameters: Parameters, expected: bool| {
        assert_eq!(job(20, 30, 3, &parameters).is_some(), expected, "{parameters:?}");
    };
    let plain = Parameters::default();
    check(plain, true);
    check(Parameters { format: Format::Ply, invert: true, smoothing: 0.0, ..plain }, true);
    check(Parameters { format: Format::Obj, ..plain }, false);
    check(Parameters { mask: Wanted::Alpha, ..plain }, false);
    check(Parameters { mask: Wanted::Auto, ..plain }, false);
    let many = Pixels { width: 4096, height: 2731, channels: 3, bytes: vec![0; MOST_PIXEL_BYTES + 1] };
    assert_eq!(Job::new(&many, &plain), None);
}

#[test]
fn other_models_are_named() {
    let job = job(40, 30, 3, &Parameters::default()).unwrap();
    let check = |input: Outlet, output: Outlet, expected: &str| {
        let error = Layout::new(&job, &input, &output).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let (light, depth) = (outlet(&[1, 3, 30, 40], Element::F32), outlet(&[1, 1, 30, 40], Element::F32));
    assert!(Layout::new(&job, &light, &depth).is_ok());
    assert!(Layout::new(&job, &outlet(&[1, 3, 30, 40], Element::F16), &depth).is_ok());
    check(outlet(&[1, 3, 40, 30], Element::F32), depth.clone(), "input is FP32 of [1, 3, 40, 30], not real numbers");
    check(outlet(&[1, 3, 30, 40], Element::U8), depth, "input is");
    check(light.clone(), outlet(&[1, 30, 40], Element::F32), "output is");
    check(light.clone(), outlet(&[1, 1, 30, 40], Element::F16), "output is");
    check(light, outlet(&[1, 1, 1, 40], Element::F32), "two samples each way");
}

#[test]
fn what_does_not_fit_is_refused() {
    let job = job(20, 20, 1, &Parameters::default()).unwrap();
    let (light, depth) = (outlet(&[1, 3, 20, 20], Element::F32), outlet(&[1, 1, 20, 20], Element::F32));
    let layout = Layout::new(&job, &light, &depth).unwrap();
    let mut staging = vec![0; layout.staging_bytes];
    assert!(layout.fill(&mut staging, &[1; 400]).is_ok());
    assert!(matches!(layout.fill(&mut staging, &[1; 399]), Err(LayoutError::Bytes { what: "pixels", .. })));
    let short = layout.staging_bytes - 1;
    assert!(matches!(layout.fill(&mut staging[..short], &[1; 400]), Err(LayoutError::Bytes { .. })));
    assert!(matches!(layout.made(&staging[..short]), Err(LayoutError::Bytes { .. })));
    assert!(layout.made(&staging).is_ok());
    staging[layout.flag.0] = 1;
    assert_eq!(layout.made(&staging), Err(LayoutError::NotFinite));
}

proptest! {
    /// Everything lies within its memory, aligned; the steps come in their order; nothing that comes down lies over
    /// something else there.
    #[test]
    fn everything_has_its_place(
        (width, height) in (16..200_usize, 16..200_usize),
        channels in proptest::sample::select(vec![1_usize, 3, 4]),
        resolution in 16..256_usize,
        smoothing in prop_oneof![Just(0.0), 0.3..8.0_f64],
        ply: bool,
        coarser in 1..4_usize,
    ) {
        let format = if ply { Format::Ply } else { Format::Stl };
        let parameters = Parameters { resolution, smoothing, format, ..Parameters::default() };
        let job = job(width, height, channels, &parameters).unwrap();
        let light = outlet(&job.input_shape(), Element::F32);
        let depth = outlet(&[1, 1, (job.rows / coarser).max(2), (job.columns / coarser).max(2)], Element::F32);
        let layout = Layout::new(&job, &light, &depth).unwrap();
        let steps: Vec<Step> = layout.actions.iter().map(|(step, _)| *step).collect();
        let order = [Step::Upload, Step::Prepare, Step::Model, Step::Height, Step::Emit, Step::Download];
        prop_assert!(steps.is_sorted_by_key(|step| order.iter().position(|other| other == step)));
        let mut taken: Vec<Part> = vec![(0, layout.constants.len()), layout.pixels];
        for (_, action) in &layout.actions {
            match action {
                Action::Launch { pointers, .. } => for pointer in pointers.iter().flatten() {
                    if let Spot::Work(at) = pointer { prop_assert!(at % 256 == 0 && *at < layout.work_bytes); }
                },
                Action::Upload { from, to, bytes } => {
                    prop_assert!(from + bytes <= layout.staging_bytes && to + bytes <= layout.work_bytes);
                }
                Action::Copy { from, to, bytes } => {
                    prop_assert_eq!(*from, Spot::Output);
                    prop_assert_eq!(*bytes, depth.operand.bytes());
                    prop_assert!(to + bytes <= layout.work_bytes);
                }
                Action::Download { from, to, bytes } => {
                    prop_assert!(from + bytes <= layout.work_bytes && to + bytes <= layout.staging_bytes);
                    prop_assert!(taken.iter().all(|(begin, size)| begin + size <= *to || to + bytes <= *begin));
                    taken.push((*to, *bytes));
                }
                Action::Model => {}
            }
        }
    }
}
