//! The kernels against ONNX Runtime: operators with many shapes and attributes, and what ONNX Runtime answered, are in a
//! folder that `scripts/conformance/kernels_check.py` fills; it also runs this.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proofload_daemon::gpu::kernels::convert::{self, Kind, Quantized};
use proofload_daemon::gpu::kernels::elementwise::{self, Binary, Function};
use proofload_daemon::gpu::kernels::movement::{self, Index, PadMode, Width};
use proofload_daemon::gpu::kernels::normalize;
use proofload_daemon::gpu::kernels::pool::{self, PoolKind, Window};
use proofload_daemon::gpu::kernels::product::{self, Convolution, Product};
use proofload_daemon::gpu::kernels::reduce::{self, Reduction};
use proofload_daemon::gpu::kernels::resize::{self, Coordinates, Filter, NearestMode, Resize};
use proofload_daemon::gpu::kernels::{GeometryError, Launch, Real};
use serde::Deserialize;

use super::host::{self, Arg};
use super::numbers::{decoded, near};

/// Where the cases are.
const FOLDER: &str = "PROOFLOAD_KERNEL_CASES";

/// An operator's inputs, attributes and answer.
#[derive(Deserialize)]
struct Case {
    name: String,
    operator: String,
    #[serde(default)]
    floats: Vec<f32>,
    #[serde(default)]
    sizes: Vec<usize>,
    #[serde(default)]
    integers: Vec<i64>,
    #[serde(default)]
    mode: String,
    inputs: Vec<Tensor>,
    output: Tensor,
    /// Of the terms that a number is the sum of, where they may cancel.
    size: f64,
}

#[derive(Deserialize)]
struct Tensor {
    kind: String,
    shape: Vec<usize>,
    data: String,
}

impl Tensor {
    fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.data).unwrap()
    }

    fn arg(&self) -> Arg {
        Arg::Bytes(self.bytes())
    }

    fn count(&self) -> usize {
        self.shape.iter().product()
    }

    fn kind(&self) -> Kind {
        let named = [
            ("float32", Kind::F32),
            ("float16", Kind::F16),
            ("int32", Kind::I32),
            ("int64", Kind::I64),
            ("uint8", Kind::U8),
            ("int8", Kind::I8),
            ("bool", Kind::Bool),
        ];
        named.into_iter().find(|(name, _)| *name == self.kind).unwrap().1
    }

    fn width(&self) -> Width {
        Width::ALL.into_iter().find(|width| width.bytes() == self.kind().bytes()).unwrap()
    }

    fn quantized(&self) -> Quantized {
        if self.kind() == Kind::I8 { Quantized::I8 } else { Quantized::U8 }
    }
}

/// Two numbers from a place on.
fn pair(sizes: &[usize], at: usize) -> [usize; 2] {
    [sizes[at], sizes[at + 1]]
}

fn function(case: &Case) -> Option<Function> {
    let float = |at: usize| case.floats[at];
    Some(match case.operator.as_str() {
        "Relu" => Function::Relu,
        "LeakyRelu" => Function::LeakyRelu { alpha: float(0) },
        "Sigmoid" => Function::Sigmoid,
        "Tanh" => Function::Tanh,
        "Gelu" if case.mode == "tanh" => Function::GeluTanh,
        "Gelu" => Function::Gelu,
        "Clip" => Function::Clip { low: float(0), high: float(1) },
        "HardSigmoid" => Function::HardSigmoid { alpha: float(0), beta: float(1) },
        "HardSwish" => Function::HardSwish,
        "Elu" => Function::Elu { alpha: float(0) },
        "Silu" => Function::Silu,
        "Erf" => Function::Erf,
        "Exp" => Function::Exp,
        "Log" => Function::Log,
        "Sqrt" => Function::Sqrt,
        "Reciprocal" => Function::Reciprocal,
        "Neg" => Function::Neg,
        "Abs" => Function::Abs,
        _ => return None,
    })
}

fn binary(case: &Case) -> Option<Binary> {
    Binary::ALL.into_iter().find(|op| format!("{op:?}") == case.operator)
}

fn reduction(case: &Case) -> Option<Reduction> {
    Reduction::ALL.into_iter().find(|reduction| format!("Reduce{reduction:?}") == case.operator)
}

/// `[outer, axis, inner]` of a shape.
fn around(shape: &[usize], axis: usize) -> [usize; 3] {
    [shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product()]
}

fn window(case: &Case) -> Window {
    let (x, y, sizes) = (&case.inputs[0].shape, &case.output.shape, &case.sizes);
    Window {
        planes: x[0] * x[1],
        input: pair(x, 2),
        output: pair(y, 2),
        kernel: pair(sizes, 0),
        stride: pair(sizes, 2),
        dilation: pair(sizes, 4),
        pads: std::array::from_fn(|at| sizes[6 + at]),
    }
}

fn convolution(case: &Case) -> Convolution {
    let window = window(case);
    let (x, y) = (&case.inputs[0].shape, &case.output.shape);
    let Window { input, output, kernel, stride, dilation, pads, .. } = window;
    let (groups, batch, in_channels, out_channels) = (case.sizes[10], x[0], x[1], y[1]);
    Convolution { batch, groups, in_channels, out_channels, input, output, kernel, stride, dilation, pads }
}

fn resized(case: &Case) -> Resize {
    let mut words = case.mode.split(' ');
    let mut word = || words.next().unwrap();
    let coordinates = match word() {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        other => panic!("{other}"),
    };
    let filter = match word() {
        "linear" => Filter::Linear,
        "round_prefer_floor" => Filter::Nearest(NearestMode::RoundPreferFloor),
        "round_prefer_ceil" => Filter::Nearest(NearestMode::RoundPreferCeil),
        "floor" => Filter::Nearest(NearestMode::Floor),
        "ceil" => Filter::Nearest(NearestMode::Ceil),
        other => panic!("{other}"),
    };
    let (x, y) = (&case.inputs[0].shape, &case.output.shape);
    let scale = [case.floats[0], case.floats[1]];
    Resize { planes: x[0] * x[1], input: pair(x, 2), output: pair(y, 2), scale, coordinates, filter }
}

/// `[..., m, k]` times `[..., k, n]`; the left side may be one for all.
fn product(case: &Case) -> Product {
    let (a, b) = (&case.inputs[0].shape, &case.inputs[1].shape);
    let (m, k, n) = (a[a.len() - 2], a[a.len() - 1], b[b.len() - 1]);
    let batch = b[..b.len() - 2].iter().product();
    let shared = a.len() == 2 && b.len() > 2;
    Product { batch, m, n, k, a: [if shared { 0 } else { m * k }, k, 1], b: [k * n, n, 1], alpha: 1.0 }
}

fn pad_mode(case: &Case) -> PadMode {
    match case.mode.as_str() {
        "edge" => PadMode::Edge,
        "reflect" => PadMode::Reflect,
        _ => PadMode::Constant(u64::from(case.floats[0].to_bits())),
    }
}

/// The launch of a case, and its arguments but the last.
fn launch(case: &Case) -> Result<(Launch, Vec<Arg>), GeometryError> {
    let x = &case.inputs[0];
    let mut args: Vec<Arg> = case.inputs.iter().map(Tensor::arg).collect();
    if case.operator == "BatchNormalization" {
        args.push(Arg::Absent);
    }
    let launch = if let Some(function) = function(case) {
        elementwise::unary(function, Real::F32, x.count())
    } else if let Some(op) = binary(case) {
        elementwise::binary(op, Real::F32, &x.shape, &case.inputs[1].shape)
    } else if let Some(reduction) = reduction(case) {
        let [outer, axis, inner] = around(&x.shape, case.sizes[0]);
        reduce::reduce(reduction, Real::F32, outer, axis, inner)
    } else {
        moved(case).or_else(|| layer(case)).unwrap_or_else(|| panic!("{}: no kernel is known", case.name))
    };
    Ok((launch?, args))
}

fn moved(case: &Case) -> Option<Result<Launch, GeometryError>> {
    let (x, y) = (&case.inputs[0], &case.output);
    Some(match case.operator.as_str() {
        "Transpose" => movement::transpose(x.width(), &x.shape, &case.sizes),
        "Slice" => {
            let (starts, steps) = case.integers.split_at(x.shape.len());
            movement::slice(x.width(), &x.shape, starts, steps, &y.shape)
        }
        "Expand" => movement::expand(x.width(), &x.shape, &y.shape),
        "Pad" => {
            let (begins, ends) = case.integers.split_at(x.shape.len());
            movement::pad(x.width(), &x.shape, begins, ends, pad_mode(case))
        }
        "Gather" => {
            let [outer, axis, inner] = around(&x.shape, case.sizes[0]);
            let index = if case.inputs[1].kind() == Kind::I64 { Index::I64 } else { Index::I32 };
            movement::gather(x.width(), index, outer, axis, inner, case.inputs[1].count())
        }
        "Cast" => convert::cast(x.kind(), y.kind(), x.count()),
        _ => return None,
    })
}

fn layer(case: &Case) -> Option<Result<Launch, GeometryError>> {
    let (x, y) = (&case.inputs[0], &case.output);
    let axis = || around(&x.shape, case.sizes[0]);
    Some(match case.operator.as_str() {
        "BatchNormalization" => {
            let [outer, channels, inner] = around(&x.shape, 1);
            elementwise::channels(Function::None, Real::F32, outer, channels, inner)
        }
        "LayerNormalization" => {
            let [rows, columns, inner] = axis();
            normalize::layer_norm(Real::F32, rows, columns * inner, case.floats[0])
        }
        "Softmax" => {
            let [outer, axis, inner] = axis();
            normalize::softmax(Real::F32, outer, axis, inner)
        }
        "MaxPool" => pool::pool(PoolKind::Max, Real::F32, &window(case)),
        "AveragePool" => {
            let count_include_pad = case.sizes[10] == 1;
            pool::pool(PoolKind::Average { count_include_pad }, Real::F32, &window(case))
        }
        "Resize" => resize::resize(Real::F32, &resized(case)),
        "Conv" => product::conv(Real::F32, &convolution(case)),
        "ConvTranspose" => product::conv_transpose(Real::F32, &convolution(case)),
        "MatMul" => product::matmul(Real::F32, &product(case)),
        "QuantizeLinear" => {
            let [outer, channels, inner] = axis();
            convert::quantize(Real::F32, y.quantized(), outer, channels, inner)
        }
        "DequantizeLinear" => {
            let [outer, channels, inner] = axis();
            convert::dequantize(x.quantized(), Real::F32, outer, channels, inner)
        }
        _ => return None,
    })
}

fn check(case: &Case) {
    let found = if case.operator == "Concat" { concatenated(case) } else { computed(case) };
    let expected = case.output.bytes();
    if case.output.kind() != Kind::F32 {
        assert_eq!(found, expected, "{}", case.name);
        return;
    }
    let expected: Vec<f64> = decoded(Real::F32, &expected).into_iter().map(f64::from).collect();
    near(&case.name, Real::F32, &decoded(Real::F32, &found), &expected, case.size);
}

fn computed(case: &Case) -> Vec<u8> {
    let (launch, args) = launch(case).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    host::result(&launch, &args, case.output.bytes().len())
}

fn concatenated(case: &Case) -> Vec<u8> {
    let axis = case.sizes[0];
    let mut result = vec![0xA5; case.output.bytes().len()];
    let mut at = 0;
    for part in &case.inputs {
        let whole = case.output.shape[axis];
        let launch = movement::concat_part(part.width(), &part.shape, axis, at, whole).unwrap();
        result = host::run(&launch, &[part.arg(), Arg::Bytes(result)]).pop().unwrap();
        at += part.shape[axis];
    }
    result
}

#[test]
#[ignore = "needs ONNX Runtime's answers: scripts/conformance/kernels_check.py makes them and runs this"]
fn kernels_compute_what_onnx_runtime_does() {
    let folder = std::env::var(FOLDER).unwrap_or_else(|_| panic!("{FOLDER} names the folder of cases"));
    let mut files: Vec<_> = std::fs::read_dir(Path::new(&folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 100, "{} cases in {folder}", files.len());
    let differs = |file: &Path| {
        let case = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        std::panic::catch_unwind(|| check(&case)).is_err()
    };
    // All that differ at once, each with its message.
    let different = files.iter().filter(|file| differs(file)).count();
    assert_eq!(different, 0, "of {} cases", files.len());
    println!("{} cases equal ONNX Runtime's answers", files.len());
}
