//! The shell run against the stand-in for CUDA's libraries (`tests/standin`), which computes on the CPU and is strict: results
//! are those of the CPU twin, nothing is used as it must not be, and nothing is left. That a GPU computes the same, and how
//! fast, is for a GPU to show.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use super::super::graph::testing::Model as File;
use super::super::plan::tests::{FLOAT, reals, whole};
use super::*;
use crate::gpu::graph::tensor::{Data, Element, Tensor};
use crate::gpu::memory::budget::Budget;
use crate::gpu::plan::{Precision, twin};

#[path = "../../../tests/standin/mod.rs"]
mod standin;

use self::standin::within;

const INT64: i32 = 7;

fn name(test: &str) -> String {
    format!("gpu::cuda::on_standin::{test}")
}

fn device() -> Arc<Device> {
    Device::open(0, Budget::default(), &[]).expect("the stand-in")
}

fn of_file(file: &File, device: &Arc<Device>, precision: Precision) -> Result<Arc<Model>, CudaError> {
    let settings = Settings { precision, ..Settings::default() };
    Model::new("model", 8, file.encoded(), device, settings).map(Arc::new)
}

fn computed(instance: &mut Instance, inputs: &[Tensor]) -> Result<Vec<Tensor>, CudaError> {
    let shapes = inputs.iter().map(|input| input.shape().to_vec()).collect();
    instance.run(
        shapes,
        |run| {
            for (at, input) in inputs.iter().enumerate() {
                let bytes = input.data().to_bytes(input.element());
                run.input(at).expect("an input").copy_from_slice(&bytes);
            }
            Ok(())
        },
        |run| {
            let tensor = |(outlet, bytes): (&Outlet, &[u8])| {
                let data = Data::from_bytes(outlet.operand.element, bytes, outlet.operand.count).expect("well-formed");
                Tensor::new(outlet.operand.element, outlet.shape.clone(), data).expect("well-formed")
            };
            Ok(run.outputs().map(tensor).collect())
        },
    )
}

/// The largest difference to the twin, relative to the largest number.
fn difference(model: &Model, found: &[Tensor], inputs: &[Tensor]) -> f64 {
    let shapes: Vec<_> = inputs.iter().map(|input| input.shape().to_vec()).collect();
    let plan = plan(&model.graph, &shapes, model.settings).expect("a plan");
    let expected = twin::run(&plan, inputs).expect("computed");
    assert_eq!(found.len(), expected.len());
    let wide = |tensor: &Tensor| -> Vec<f64> {
        match tensor.data() {
            Data::Real(numbers) => numbers.iter().map(|number| f64::from(*number)).collect(),
            Data::Whole(numbers) => numbers.iter().map(|number| *number as f64).collect(),
        }
    };
    let mut largest = 0.0_f64;
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!((found.shape(), found.element()), (expected.shape(), expected.element()));
        let (found, expected) = (wide(found), wide(expected));
        let scale = expected.iter().fold(1e-3_f64, |scale, number| scale.max(number.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            // What is not a number is as far apart as can be.
            let apart = (found - expected).abs() / scale;
            largest = if apart.is_nan() { f64::INFINITY } else { largest.max(apart) };
        }
    }
    largest
}

#[track_caller]
fn must_be_near(what: &str, model: &Arc<Model>, instance: &mut Instance, inputs: &[Tensor]) {
    let found = computed(instance, inputs).unwrap_or_else(|error| panic!("{what}: {error}"));
    let tolerance = if model.settings.precision == Precision::Fp16 { 1e-2 } else { 1e-5 };
    let apart = difference(model, &found, inputs);
    assert!(apart <= tolerance, "{what}, {:?}: {apart:.1e} apart", model.settings.precision);
}

/// Models of one or two operators, and what goes into them.
#[derive(Default)]
struct Operators(Vec<(&'static str, File, Vec<Tensor>)>);

impl Operators {
    fn add(&mut self, name: &'static str, inputs: Vec<Tensor>, build: &dyn Fn(&mut File)) {
        let mut file = File::new(17);
        for (input, tensor) in ["x", "z"].iter().zip(&inputs) {
            let element = if tensor.element() == Element::I64 { INT64 } else { FLOAT };
            file.input(input, element, &vec![None; tensor.shape().len()]);
        }
        build(&mut file);
        file.output("y", FLOAT);
        self.0.push((name, file, inputs));
    }

    fn all() -> Self {
        let mut all = Self::default();
        all.convolutions();
        all.products();
        all.elements();
        all.movements();
        all
    }

    fn convolutions(&mut self) {
        self.add("Conv", picture(), &|file| {
            file.constant("w", &reals(&[6, 4, 3, 3], 2)).constant("b", &reals(&[6], 3));
            file.ints("pads", &[1, 1, 1, 1]).node("Conv", &["x", "w", "b"], &["c"]).node("Relu", &["c"], &["y"]);
        });
        self.add("Conv with strides, dilations and groups", picture(), &|file| {
            file.constant("w", &reals(&[4, 2, 2, 3], 2)).int("group", 2).ints("strides", &[2, 1]);
            file.ints("dilations", &[1, 2]).ints("pads", &[0, 2, 0, 2]).node("Conv", &["x", "w"], &["y"]);
        });
        self.add("Conv with more on one side", picture(), &|file| {
            file.constant("w", &reals(&[3, 4, 3, 3], 2)).ints("pads", &[0, 1, 2, 0]).node("Conv", &["x", "w"], &["y"]);
        });
        self.add("ConvTranspose", picture(), &|file| {
            file.constant("w", &reals(&[4, 3, 3, 3], 2)).constant("b", &reals(&[3], 3)).ints("strides", &[2, 2]);
            file.ints("output_padding", &[1, 1]).ints("pads", &[1, 1, 1, 1]);
            file.node("ConvTranspose", &["x", "w", "b"], &["y"]);
        });
        self.add("ConvTranspose in groups", picture(), &|file| {
            file.constant("w", &reals(&[4, 2, 2, 2], 2)).int("group", 2).ints("strides", &[2, 2]);
            file.node("ConvTranspose", &["x", "w"], &["y"]);
        });
    }

    fn products(&mut self) {
        self.add("MatMul", vec![reals(&[2, 3, 5, 7], 1), reals(&[2, 3, 7, 4], 2)], &|file| {
            _ = file.node("MatMul", &["x", "z"], &["y"]);
        });
        self.add("MatMul with the same right side", vec![reals(&[3, 5, 8], 1)], &|file| {
            file.constant("w", &reals(&[8, 6], 2)).constant("b", &reals(&[6], 3));
            file.node("MatMul", &["x", "w"], &["m"]).node("Add", &["m", "b"], &["s"]).node("Tanh", &["s"], &["y"]);
        });
        for (left, right) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let (a, b) = (if left == 1 { [7, 3] } else { [3, 7] }, if right == 1 { [5, 7] } else { [7, 5] });
            self.add("Gemm", vec![reals(&a, 1)], &|file| {
                file.constant("w", &reals(&b, 2))
                    .constant("b", &reals(&[5], 3))
                    .int("transA", left)
                    .int("transB", right);
                file.node("Gemm", &["x", "w", "b"], &["y"]);
            });
        }
    }

    fn elements(&mut self) {
        self.add("Add", vec![reals(&[2, 3, 5], 1), reals(&[3, 1], 2)], &|file| {
            _ = file.node("Add", &["x", "z"], &["y"]);
        });
        self.add("Mul", vec![reals(&[2, 3], 1), reals(&[2, 3], 2)], &|file| _ = file.node("Mul", &["x", "z"], &["y"]));
        self.add("Sigmoid", picture(), &|file| _ = file.node("Sigmoid", &["x"], &["y"]));
        self.add("MaxPool", picture(), &|file| {
            file.ints("kernel_shape", &[3, 2]).ints("strides", &[2, 2]).ints("pads", &[1, 0, 1, 0]);
            file.node("MaxPool", &["x"], &["y"]);
        });
        self.add("AveragePool", picture(), &|file| {
            file.ints("kernel_shape", &[2, 2]).ints("strides", &[2, 2]).node("AveragePool", &["x"], &["y"]);
        });
        self.add("GlobalAveragePool", picture(), &|file| _ = file.node("GlobalAveragePool", &["x"], &["y"]));
        self.add("Resize", picture(), &|file| {
            let scales = Tensor::vector(vec![1.0, 1.0, 2.0, 1.5]);
            file.constant("s", &scales).node("Resize", &["x", "", "s"], &["y"]);
        });
        self.add("Softmax", picture(), &|file| _ = file.int("axis", 1).node("Softmax", &["x"], &["y"]));
        self.add("LayerNormalization", vec![reals(&[3, 5, 33], 1)], &|file| {
            file.constant("s", &reals(&[33], 2)).constant("b", &reals(&[33], 3));
            file.node("LayerNormalization", &["x", "s", "b"], &["y"]);
        });
    }

    fn movements(&mut self) {
        self.add("ReduceMean", picture(), &|file| _ = file.ints("axes", &[2, 3]).node("ReduceMean", &["x"], &["y"]));
        self.add("Transpose", picture(), &|file| {
            _ = file.ints("perm", &[0, 3, 1, 2]).node("Transpose", &["x"], &["y"]);
        });
        self.add("Concat", vec![reals(&[2, 3, 5], 1), reals(&[2, 1, 5], 2)], &|file| {
            file.int("axis", 1).node("Concat", &["x", "z"], &["y"]);
        });
        self.add("Pad", vec![reals(&[2, 5], 1)], &|file| {
            file.constant("p", &whole(Element::I64, &[4], vec![1, 0, 0, 2])).node("Pad", &["x", "p"], &["y"]);
        });
        self.add("Slice", picture(), &|file| {
            for (name, at) in [("from", 5), ("to", 0), ("axis", 2), ("step", -2)] {
                file.constant(name, &whole(Element::I64, &[1], vec![at]));
            }
            file.node("Slice", &["x", "from", "to", "axis", "step"], &["y"]);
        });
        self.add("Gather", vec![reals(&[5, 6], 1), whole(Element::I64, &[2, 2], vec![0, 4, -1, 2])], &|file| {
            file.node("Gather", &["x", "z"], &["y"]);
        });
    }
}

fn picture() -> Vec<Tensor> {
    vec![reals(&[2, 4, 7, 9], 1)]
}

/// An encoder and a decoder with a bridge between them, of any size that two divides.
fn network() -> File {
    let mut file = File::new(17);
    file.input("x", FLOAT, &[None, Some(3), None, None]);
    let mut seed = 10;
    let mut weights = |file: &mut File, name: &str, shape: &[usize]| {
        seed += 1;
        file.constant(name, &reals(shape, seed));
    };
    weights(&mut file, "w1", &[8, 3, 3, 3]);
    weights(&mut file, "b1", &[8]);
    weights(&mut file, "w2", &[8, 8, 3, 3]);
    weights(&mut file, "w3", &[8, 8, 2, 2]);
    weights(&mut file, "w4", &[1, 16, 1, 1]);
    file.ints("pads", &[1; 4]).node("Conv", &["x", "w1", "b1"], &["c1"]).node("Relu", &["c1"], &["r1"]);
    file.ints("kernel_shape", &[2, 2]).ints("strides", &[2, 2]).node("MaxPool", &["r1"], &["p"]);
    file.ints("pads", &[1; 4]).node("Conv", &["p", "w2"], &["c2"]).node("Add", &["c2", "p"], &["deep"]);
    file.ints("strides", &[2, 2]).node("ConvTranspose", &["deep", "w3"], &["up"]);
    file.int("axis", 1).node("Concat", &["up", "r1"], &["both"]).node("Conv", &["both", "w4"], &["c4"]);
    file.node("Sigmoid", &["c4"], &["y"]).output("y", FLOAT);
    file
}

/// One block of a transformer encoder with one head.
fn encoder() -> File {
    let mut file = File::new(17);
    file.input("x", FLOAT, &[None, None, Some(16)]);
    for (at, name) in ["q", "k", "v", "o"].iter().enumerate() {
        file.constant(name, &reals(&[16, 16], 30 + at as u64));
    }
    file.constant("s", &reals(&[16], 40)).constant("b", &reals(&[16], 41));
    file.node("LayerNormalization", &["x", "s", "b"], &["n"]);
    file.node("MatMul", &["n", "q"], &["nq"]).node("MatMul", &["n", "k"], &["nk"]).node("MatMul", &["n", "v"], &["nv"]);
    file.ints("perm", &[0, 2, 1]).node("Transpose", &["nk"], &["kt"]).node("MatMul", &["nq", "kt"], &["scores"]);
    file.int("axis", -1).node("Softmax", &["scores"], &["shares"]).node("MatMul", &["shares", "nv"], &["mixed"]);
    file.node("MatMul", &["mixed", "o"], &["out"]).node("Add", &["x", "out"], &["y"]).output("y", FLOAT);
    file
}

/// Everything, in both precisions, twice: the second time from a recorded graph, with other numbers.
fn all_operators() {
    let device = device();
    let networks =
        [("network", network(), vec![reals(&[2, 3, 12, 8], 5)]), ("encoder", encoder(), vec![reals(&[2, 9, 16], 6)])];
    for (what, file, inputs) in Operators::all().0.into_iter().chain(networks) {
        for precision in [Precision::Fp32, Precision::Fp16] {
            let model = of_file(&file, &device, precision).expect("a model");
            let mut instance = Instance::new(Arc::clone(&model)).expect("an instance");
            must_be_near(what, &model, &mut instance, &inputs);
            let others: Vec<Tensor> = inputs
                .iter()
                .map(|input| if input.element() == Element::F32 { reals(input.shape(), 99) } else { input.clone() })
                .collect();
            must_be_near(what, &model, &mut instance, &others);
        }
    }
}

#[test]
fn operators_are_what_the_twin_computes() {
    for order in ["late", "early"] {
        let test = name("operators_are_what_the_twin_computes");
        let Some(report) = within(&test, &[("STANDIN_ORDER", order)], all_operators) else { return };
        report.must_be_clean();
        assert!(report.count("graph_launches") >= 100, "{report:?}");
    }
}

#[test]
fn our_own_kernels_do_what_libraries_do_not() {
    let test = name("our_own_kernels_do_what_libraries_do_not");
    let Some(report) = within(&test, &[("STANDIN_UNSUPPORTED", "cudnn,cublaslt")], all_operators) else { return };
    report.must_be_clean();
}

/// A folder with some of the libraries.
fn some(libraries: &[&str], folder: &Path) {
    std::fs::create_dir_all(folder).expect("made");
    for library in libraries {
        symlink(standin::folder().join(library), folder.join(library)).expect("linked");
    }
}

const DRIVER: &str = "libcuda.so.1";
const NVRTC_FILE: &str = "libnvrtc.so.13";

#[test]
fn our_own_kernels_do_where_libraries_are_not_there() {
    let scratch = tempfile::tempdir().expect("a folder");
    some(&[DRIVER, NVRTC_FILE], scratch.path());
    let path = scratch.path().to_str().expect("text");
    let test = name("our_own_kernels_do_where_libraries_are_not_there");
    let Some(report) = within(&test, &[("LD_LIBRARY_PATH", path)], all_operators) else { return };
    report.must_be_clean();
}

#[test]
fn libraries_are_found_where_they_are() {
    let test = name("libraries_are_found_where_they_are");
    let scratch = tempfile::tempdir().expect("a folder");
    let environment = scratch.path().join("environment");
    let packages = environment.join("lib/python3.12/site-packages/nvidia");
    let at = |path: &Path| path.to_str().expect("text").to_owned();
    let [driver, named] = ["driver", "named"].map(|name| at(&scratch.path().join(name)));
    if std::env::var_os("STANDIN_WITHIN").is_none() {
        some(&[DRIVER], Path::new(&driver));
        some(&[NVRTC_FILE, "libcudnn.so.9"], Path::new(&named));
        some(&[NVRTC_FILE, "libcublasLt.so.13"], &packages.join("cu13/lib"));
        some(&["libcudnn.so.9"], &packages.join("cudnn/lib"));
    }
    // What the machine has besides is found too, so more than is expected is no mistake.
    let check = |named: &str, environment: &str, expected: &str| {
        let settings = [
            ("LD_LIBRARY_PATH", driver.as_str()),
            ("VIRTUAL_ENV", environment),
            ("HOME", "/nonexistent"),
            ("PATH", "/nonexistent"),
            ("NAMED", named),
            ("EXPECTED", expected),
        ];
        let body = || {
            let variable = |name: &str| std::env::var(name).expect("set");
            let named = Some(variable("NAMED")).filter(|path| !path.is_empty());
            let opened = Device::open(0, Budget::default(), &named.into_iter().map(Into::into).collect::<Vec<_>>());
            // Also where nothing was opened: the stand-in's report is made by whoever calls the driver.
            cudarc::driver::result::init().expect("the stand-in");
            match (opened, variable("EXPECTED").as_str()) {
                (Ok(device), expected) => {
                    assert!(device.libraries().cudnn || !expected.contains("cuDNN"));
                    assert!(device.libraries().cublaslt || !expected.contains("cuBLASLt"));
                }
                (Err(error), "nothing") => {
                    let error = error.to_string();
                    let parts = ["libnvrtc.so.13", "gpu.library_path", "Python's packages"];
                    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
                }
                (Err(error), expected) => panic!("{expected}: {error}"),
            }
        };
        within(&test, &settings, body);
    };
    check(&named, "/nonexistent", "NVRTC, cuDNN");
    if std::env::var_os("STANDIN_WITHIN").is_some() {
        return;
    }
    check("", &at(&environment), "NVRTC, cuDNN, cuBLASLt");
    check(&named, &at(&environment), "NVRTC, cuDNN, cuBLASLt");
    check("", "/nonexistent", "nothing");
}

#[test]
fn shapes_come_and_go() {
    let test = name("shapes_come_and_go");
    let body = || {
        let device = device();
        let model = of_file(&network(), &device, Precision::Fp32).expect("a model");
        let mut instance = Instance::new(Arc::clone(&model)).expect("an instance");
        for round in 0..3 {
            for (batch, height, width) in [(1, 8, 8), (4, 8, 8), (1, 16, 6), (3, 2, 2)] {
                let seed = round * 10 + batch as u64;
                must_be_near("network", &model, &mut instance, &[reals(&[batch, 3, height, width], seed)]);
            }
        }
    };
    let Some(report) = within(&test, &[], body) else { return };
    report.must_be_clean();
}

#[test]
fn instances_do_not_disturb_each_other() {
    let test = name("instances_do_not_disturb_each_other");
    let body = || {
        let device = device();
        let models: Vec<_> = [network(), encoder()]
            .iter()
            .map(|file| of_file(file, &device, Precision::Fp32).expect("a model"))
            .collect();
        // Instances come and go on threads of their own, while others record and compute; weights are shared.
        std::thread::scope(|scope| {
            for thread in 0..6_u64 {
                let model = &models[usize::from(thread % 3 == 2)];
                scope.spawn(move || {
                    for round in 0..4 {
                        let mut instance = Instance::new(Arc::clone(model)).expect("an instance");
                        for size in [4, 6 + 2 * thread as usize] {
                            let shape = if thread % 3 == 2 { vec![1, size, 16] } else { vec![1, 3, size, 4] };
                            must_be_near("model", model, &mut instance, &[reals(&shape, thread * 100 + round)]);
                        }
                        // Another thread lets go of it than used it.
                        scope.spawn(move || drop(instance));
                    }
                });
            }
        });
    };
    let Some(report) = within(&test, &[], body) else { return };
    report.must_be_clean();
}

#[test]
fn what_is_kept_goes_before_memory_ends() {
    let test = name("what_is_kept_goes_before_memory_ends");
    let body = || {
        // Scratch memory, weights, and little more than the activations of two shapes.
        let device = Device::open(0, Budget::Bytes(44 << 20), &[]).expect("the stand-in");
        let model = of_file(&network(), &device, Precision::Fp32).expect("a model");
        let mut instance = Instance::new(Arc::clone(&model)).expect("an instance");
        for size in [128, 130, 128, 126, 124] {
            must_be_near("network", &model, &mut instance, &[reals(&[1, 3, size, 128], 7)]);
        }
        let error = computed(&mut instance, &[reals(&[16, 3, 128, 128], 7)]).expect_err("no room");
        assert!(matches!(error, CudaError::Memory { .. }), "{error}");
        must_be_near("network", &model, &mut instance, &[reals(&[1, 3, 64, 64], 7)]);
        assert!(device.lost().is_none());
    };
    let Some(report) = within(&test, &[], body) else { return };
    report.must_be_clean();
    // A recorded graph of each shape is the driver's own; what the stand-in charges for one is no part of the pool.
    let graphs = 6 * (64 << 10);
    assert!(report.count("peak_bytes") <= (44 << 20) + graphs, "{report:?}");
}

#[test]
fn whichever_allocation_fails_leaves_nothing_behind() {
    let test = name("whichever_allocation_fails_leaves_nothing_behind");
    let body = || {
        let device = device();
        let model = of_file(&network(), &device, Precision::Fp32).expect("a model");
        let mut failed = 0;
        // Each attempt gets further, until one gets through.
        loop {
            let instance = Instance::new(Arc::clone(&model));
            let answer = instance.and_then(|mut instance| computed(&mut instance, &[reals(&[1, 3, 8, 8], 7)]));
            match answer {
                Ok(_) => break,
                Err(CudaError::Memory { .. }) => failed += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(failed >= 1, "{failed}");
    };
    let Some(report) = within(&test, &[("STANDIN_FAIL_ALLOCATIONS", "1-5")], body) else { return };
    report.must_be_clean();
}

#[test]
fn a_lost_gpu_is_said_once_and_kept_in_mind() {
    let test = name("a_lost_gpu_is_said_once_and_kept_in_mind");
    let body = || {
        let device = device();
        let model = of_file(&network(), &device, Precision::Fp32).expect("a model");
        let mut instance = Instance::new(Arc::clone(&model)).expect("an instance");
        let mut other = Instance::new(Arc::clone(&model)).expect("another instance");
        let input = [reals(&[1, 3, 8, 8], 7)];
        let errors: Vec<_> = (0..40).filter_map(|_| computed(&mut instance, &input).err()).collect();
        assert!(!errors.is_empty() && errors.len() < 40, "{errors:?}");
        assert!(errors.iter().all(|error| matches!(error, CudaError::Lost { .. })), "{errors:?}");
        assert!(matches!(computed(&mut other, &input), Err(CudaError::Lost { .. })));
        let said = device.lost().expect("lost").to_string();
        assert!(said.contains("ILLEGAL_ADDRESS") && said.contains("started again"), "{said}");
        assert!(of_file(&network(), &device, Precision::Fp32).is_err());
    };
    let Some(report) = within(&test, &[("STANDIN_ILLEGAL_LAUNCH", "30")], body) else { return };
    assert_eq!((report.count("sticky"), report.count("misuses")), (700, 0), "{report:?}");
}
