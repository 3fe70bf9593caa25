//! From the steps of a plan to commands: launches of our own kernels with their geometry, and calls of cuDNN and cuBLASLt.
//! Pure: whether a plan can run on a device is known before anything is put there.

use half::f16;

use crate::gpu::graph::operator::{Binary, Border, Coordinates, Filter, Function, Nearest, Pooling, Reduction};
use crate::gpu::graph::tensor::Element;
use crate::gpu::kernels::{
    self, GeometryError, Launch, convert, elementwise, movement, normalize, pool, product, reduce, resize,
};
use crate::gpu::plan::operation::{Along, Channels, Convolution, Operation, Product};
use crate::gpu::plan::{Operand, Plan, Step};

/// Which libraries compute what they are best at; our kernels do where one is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Libraries {
    /// Convolutions.
    pub cudnn: bool,
    /// Products of matrices.
    pub cublaslt: bool,
}

/// Something that goes into a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A kernel of ours, and what it is pointed to, in its order.
    Launch {
        /// Which, and with what geometry.
        launch: Launch,
        /// Inputs and outputs; `None` for what is left out.
        pointers: Vec<Option<Operand>>,
    },
    /// A convolution by cuDNN, without its bias and activation.
    Convolution {
        /// Its sizes.
        convolution: Convolution,
        /// Input, weights, output.
        operands: [Operand; 3],
    },
    /// A product of matrices by cuBLASLt, without its bias and activation.
    Product {
        /// Its sizes.
        product: Product,
        /// Left, right, result.
        operands: [Operand; 3],
    },
}

/// Why a plan does not run on a device.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{operation}: {what}")]
pub struct LowerError {
    operation: &'static str,
    what: String,
}

/// The commands of a plan, in order.
///
/// # Errors
/// When a step has sizes that no kernel takes, or is computed in integers, for which there is none.
pub fn lower(plan: &Plan, libraries: Libraries) -> Result<Vec<Command>, LowerError> {
    let mut commands = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        let wrong = |what: String| LowerError { operation: step.operation.name(), what };
        Lowering { step, libraries, commands: &mut commands }.step().map_err(wrong)?;
    }
    Ok(commands)
}

struct Lowering<'a> {
    step: &'a Step,
    libraries: Libraries,
    commands: &'a mut Vec<Command>,
}

impl Lowering<'_> {
    fn input(&self, at: usize) -> Result<Operand, String> {
        self.step.inputs.get(at).copied().ok_or_else(|| format!("input {at} is missing"))
    }

    fn optional(&self, at: usize) -> Option<Operand> {
        self.step.inputs.get(at).copied()
    }

    fn launch(&mut self, launch: Result<Launch, GeometryError>, pointers: Vec<Option<Operand>>) -> Result<(), String> {
        let launch = launch.map_err(|error| error.to_string())?;
        self.commands.push(Command::Launch { launch, pointers });
        Ok(())
    }

    /// A kernel that takes all inputs and then the output.
    fn whole(&mut self, launch: Result<Launch, GeometryError>) -> Result<(), String> {
        let pointers = self.step.inputs.iter().chain([&self.step.output]).map(|operand| Some(*operand)).collect();
        self.launch(launch, pointers)
    }

    /// The same, with three inputs of which the last may be left out.
    fn with_optional_third(&mut self, launch: Result<Launch, GeometryError>) -> Result<(), String> {
        let pointers = vec![Some(self.input(0)?), Some(self.input(1)?), self.optional(2), Some(self.step.output)];
        self.launch(launch, pointers)
    }

    fn step(&mut self) -> Result<(), String> {
        let output = self.step.output;
        match &self.step.operation {
            Operation::Convolution(convolution) => self.convolution(convolution),
            Operation::Product(product) => self.product(product),
            Operation::Channels(channels) => self.channels(channels),
            Operation::Concat { axis, parts } => self.concat(*axis, parts),
            Operation::Binary { operator, left, right } => {
                self.whole(elementwise::binary(binary(*operator), real(output.element)?, left, right))
            }
            Operation::Unary { function: of, count } => {
                self.whole(elementwise::unary(function(*of), real(output.element)?, *count))
            }
            Operation::LayerNormalization { rows, columns, epsilon } => {
                let launch = normalize::layer_norm(real(output.element)?, *rows, *columns, *epsilon);
                self.with_optional_third(launch)
            }
            Operation::Softmax(Along { outer, axis, inner }) => {
                self.whole(normalize::softmax(real(output.element)?, *outer, *axis, *inner))
            }
            Operation::Reduce { reduction, along: Along { outer, axis, inner } } => {
                let kind = reduction_of(*reduction);
                self.whole(reduce::reduce(kind, real(output.element)?, *outer, *axis, *inner))
            }
            Operation::Pool(of) => self.whole(pool::pool(pool_kind(of.pooling), real(output.element)?, &window(of))),
            Operation::Resize(of) => self.whole(resize::resize(real(output.element)?, &resized(of))),
            Operation::Quantize(along) => {
                let launch = convert::quantize(
                    real(self.input(0)?.element)?,
                    quantized(output.element)?,
                    along.outer,
                    along.axis,
                    along.inner,
                );
                self.with_optional_third(launch)
            }
            Operation::Dequantize(along) => {
                let launch = convert::dequantize(
                    quantized(self.input(0)?.element)?,
                    real(output.element)?,
                    along.outer,
                    along.axis,
                    along.inner,
                );
                self.with_optional_third(launch)
            }
            moved => self.movement(moved),
        }
    }

    fn movement(&mut self, operation: &Operation) -> Result<(), String> {
        let output = self.step.output;
        let width = width(output.element);
        match operation {
            Operation::Transpose { shape, order } => self.whole(movement::transpose(width, shape, order)),
            Operation::Slice { shape, starts, steps, output } => {
                let starts = starts.iter().map(|start| signed(*start)).collect::<Result<Vec<_>, _>>()?;
                let steps: Vec<i64> = steps.iter().map(|step| *step as i64).collect();
                self.whole(movement::slice(width, shape, &starts, &steps, output))
            }
            Operation::Expand { shape, output } => self.whole(movement::expand(width, shape, output)),
            Operation::Pad { shape, before, after, border, value } => {
                self.whole(movement::pad(width, shape, before, after, pad_mode(*border, *value, output.element)))
            }
            Operation::Gather { along: Along { outer, axis, inner }, indices } => {
                let index = match self.input(1)?.element {
                    Element::I64 => movement::Index::I64,
                    Element::I32 => movement::Index::I32,
                    other => return Err(format!("{} is no index", other.as_str())),
                };
                self.whole(movement::gather(width, index, *outer, *axis, *inner, *indices))
            }
            Operation::Cast { count } => {
                self.whole(convert::cast(kind(self.input(0)?.element), kind(output.element), *count))
            }
            other => Err(format!("{} does not only move numbers", other.name())),
        }
    }

    fn concat(&mut self, axis: usize, parts: &[Vec<usize>]) -> Result<(), String> {
        let output = self.step.output;
        let total = parts.iter().filter_map(|part| part.get(axis)).sum();
        let mut at = 0;
        for (number, part) in parts.iter().enumerate() {
            let launch = movement::concat_part(width(output.element), part, axis, at, total);
            self.launch(launch, vec![Some(self.input(number)?), Some(output)])?;
            at += part.get(axis).copied().unwrap_or(0);
        }
        Ok(())
    }

    fn channels(&mut self, channels: &Channels) -> Result<(), String> {
        let mut next = 1;
        let mut take = |there: bool| {
            there.then(|| {
                next += 1;
                self.input(next - 1)
            })
        };
        let (scale, bias) = (take(channels.scale).transpose()?, take(channels.bias).transpose()?);
        let added = take(channels.added).transpose()?;
        let pointers = vec![Some(self.input(0)?), scale, bias, added, Some(self.step.output)];
        self.activated(channels.activation, channels.along, pointers)
    }

    fn activated(&mut self, of: Option<Function>, along: Along, pointers: Vec<Option<Operand>>) -> Result<(), String> {
        let real = real(self.step.output.element)?;
        let activation = of.map_or(elementwise::Function::None, function);
        self.launch(elementwise::channels(activation, real, along.outer, along.axis, along.inner), pointers)
    }

    /// Bias and activation of what was just computed, in its place.
    fn finish(&mut self, bias: bool, function: Option<Function>, along: Along) -> Result<(), String> {
        if !bias && function.is_none() {
            return Ok(());
        }
        let (bias, output) = (if bias { Some(self.input(2)?) } else { None }, Some(self.step.output));
        self.activated(function, along, vec![output, None, bias, None, output])
    }

    fn convolution(&mut self, of: &Convolution) -> Result<(), String> {
        if of.worth.is_some() {
            return Err("there is no convolution in integers".to_owned());
        }
        let operands = [self.input(0)?, self.input(1)?, self.step.output];
        // cuDNN adds as much on one side as on the other.
        if self.libraries.cudnn && of.before == of.after {
            self.commands.push(Command::Convolution { convolution: of.clone(), operands });
        } else {
            self.launch(convolution_launch(of, real(self.step.output.element)?), operands.map(Some).to_vec())?;
        }
        let along = Along { outer: of.batch, axis: of.filters, inner: of.output[0] * of.output[1] };
        self.finish(of.bias, of.activation, along)
    }

    fn product(&mut self, of: &Product) -> Result<(), String> {
        if of.worth.is_some() {
            return Err("there is no product in integers".to_owned());
        }
        let operands = [self.input(0)?, self.input(1)?, self.step.output];
        if self.libraries.cublaslt {
            self.commands.push(Command::Product { product: of.clone(), operands });
        } else {
            self.launch(product_launch(of, real(self.step.output.element)?), operands.map(Some).to_vec())?;
        }
        let along = Along { outer: of.batch * of.rows, axis: of.columns, inner: 1 };
        self.finish(of.bias, of.activation, along)
    }
}

/// A convolution by our own kernel, where cuDNN has no algorithm for it.
pub(super) fn own_convolution(of: &Convolution, element: Element) -> Result<Launch, LowerError> {
    let launch = real(element).and_then(|real| convolution_launch(of, real).map_err(|error| error.to_string()));
    launch.map_err(|what| LowerError { operation: "convolution", what })
}

/// The same of a product, where cuBLASLt has none.
pub(super) fn own_product(of: &Product, element: Element) -> Result<Launch, LowerError> {
    let launch = real(element).and_then(|real| product_launch(of, real).map_err(|error| error.to_string()));
    launch.map_err(|what| LowerError { operation: "matrix product", what })
}

fn convolution_launch(of: &Convolution, real: kernels::Real) -> Result<Launch, GeometryError> {
    let sizes = kernel_convolution(of);
    if of.transposed { product::conv_transpose(real, &sizes) } else { product::conv(real, &sizes) }
}

fn product_launch(of: &Product, real: kernels::Real) -> Result<Launch, GeometryError> {
    let strides = |stride: usize, transposed: bool, rows: usize, columns: usize| {
        if transposed { [stride, 1, rows] } else { [stride, columns, 1] }
    };
    let sizes = product::Product {
        batch: of.batch,
        m: of.rows,
        n: of.columns,
        k: of.depth,
        a: strides(of.left_stride, of.transposed[0], of.rows, of.depth),
        b: strides(of.right_stride, of.transposed[1], of.depth, of.columns),
        alpha: of.alpha,
    };
    product::matmul(real, &sizes)
}

fn signed(size: usize) -> Result<i64, String> {
    i64::try_from(size).map_err(|error| error.to_string())
}

fn real(element: Element) -> Result<kernels::Real, String> {
    match element {
        Element::F32 => Ok(kernels::Real::F32),
        Element::F16 => Ok(kernels::Real::F16),
        other => Err(format!("{} is no real number", other.as_str())),
    }
}

fn quantized(element: Element) -> Result<convert::Quantized, String> {
    match element {
        Element::I8 => Ok(convert::Quantized::I8),
        Element::U8 => Ok(convert::Quantized::U8),
        other => Err(format!("{} is not quantised", other.as_str())),
    }
}

fn kind(element: Element) -> convert::Kind {
    match element {
        Element::F32 => convert::Kind::F32,
        Element::F16 => convert::Kind::F16,
        Element::I8 => convert::Kind::I8,
        Element::U8 => convert::Kind::U8,
        Element::I32 => convert::Kind::I32,
        Element::I64 => convert::Kind::I64,
        Element::Bool => convert::Kind::Bool,
    }
}

fn width(element: Element) -> movement::Width {
    match element.bytes() {
        1 => movement::Width::B1,
        2 => movement::Width::B2,
        4 => movement::Width::B4,
        _ => movement::Width::B8,
    }
}

fn pad_mode(border: Border, value: f32, element: Element) -> movement::PadMode {
    match border {
        Border::Edge => movement::PadMode::Edge,
        Border::Reflect => movement::PadMode::Reflect,
        Border::Constant => movement::PadMode::Constant(match element {
            Element::F32 => u64::from(value.to_bits()),
            Element::F16 => u64::from(f16::from_f32(value).to_bits()),
            // Whole numbers take the lowest bytes.
            _ => (value as i64).cast_unsigned(),
        }),
    }
}

fn binary(operator: Binary) -> elementwise::Binary {
    match operator {
        Binary::Add => elementwise::Binary::Add,
        Binary::Sub => elementwise::Binary::Sub,
        Binary::Mul => elementwise::Binary::Mul,
        Binary::Div => elementwise::Binary::Div,
        Binary::Pow => elementwise::Binary::Pow,
        Binary::Min => elementwise::Binary::Min,
        Binary::Max => elementwise::Binary::Max,
    }
}

fn function(function: Function) -> elementwise::Function {
    match function {
        Function::Relu => elementwise::Function::Relu,
        Function::LeakyRelu(alpha) => elementwise::Function::LeakyRelu { alpha },
        Function::Elu(alpha) => elementwise::Function::Elu { alpha },
        Function::Sigmoid => elementwise::Function::Sigmoid,
        Function::HardSigmoid(alpha, beta) => elementwise::Function::HardSigmoid { alpha, beta },
        Function::HardSwish => elementwise::Function::HardSwish,
        Function::Tanh => elementwise::Function::Tanh,
        Function::Gelu => elementwise::Function::Gelu,
        Function::GeluTanh => elementwise::Function::GeluTanh,
        Function::Silu => elementwise::Function::Silu,
        Function::Clip(low, high) => elementwise::Function::Clip { low, high },
        Function::Erf => elementwise::Function::Erf,
        Function::Exp => elementwise::Function::Exp,
        Function::Log => elementwise::Function::Log,
        Function::Sqrt => elementwise::Function::Sqrt,
        Function::Reciprocal => elementwise::Function::Reciprocal,
        Function::Neg => elementwise::Function::Neg,
        Function::Abs => elementwise::Function::Abs,
    }
}

fn reduction_of(reduction: Reduction) -> reduce::Reduction {
    match reduction {
        Reduction::Sum => reduce::Reduction::Sum,
        Reduction::Mean => reduce::Reduction::Mean,
        Reduction::Max => reduce::Reduction::Max,
        Reduction::Min => reduce::Reduction::Min,
        Reduction::SumSquare => reduce::Reduction::SumSquare,
        Reduction::L2 => reduce::Reduction::L2,
    }
}

fn pool_kind(pooling: Pooling) -> pool::PoolKind {
    match pooling {
        Pooling::Max => pool::PoolKind::Max,
        Pooling::Average { padding_counts } => pool::PoolKind::Average { count_include_pad: padding_counts },
    }
}

fn pads(before: [usize; 2], after: [usize; 2]) -> [usize; 4] {
    [before[0], before[1], after[0], after[1]]
}

fn window(of: &crate::gpu::plan::operation::Pool) -> pool::Window {
    pool::Window {
        planes: of.planes,
        input: of.input,
        output: of.output,
        kernel: of.kernel,
        stride: of.strides,
        dilation: of.dilations,
        pads: pads(of.before, of.after),
    }
}

fn kernel_convolution(of: &Convolution) -> product::Convolution {
    product::Convolution {
        batch: of.batch,
        groups: of.groups,
        in_channels: of.channels,
        out_channels: of.filters,
        input: of.input,
        output: of.output,
        kernel: of.kernel,
        stride: of.strides,
        dilation: of.dilations,
        pads: pads(of.before, of.after),
    }
}

fn resized(of: &crate::gpu::plan::operation::Resize) -> resize::Resize {
    let coordinates = match of.coordinates {
        Coordinates::HalfPixel => resize::Coordinates::HalfPixel,
        Coordinates::PytorchHalfPixel => resize::Coordinates::PytorchHalfPixel,
        Coordinates::AlignCorners => resize::Coordinates::AlignCorners,
        Coordinates::Asymmetric => resize::Coordinates::Asymmetric,
        Coordinates::HalfPixelSymmetric => resize::Coordinates::HalfPixelSymmetric,
    };
    let filter = match of.filter {
        Filter::Linear => resize::Filter::Linear,
        Filter::Nearest(Nearest::RoundPreferFloor) => resize::Filter::Nearest(resize::NearestMode::RoundPreferFloor),
        Filter::Nearest(Nearest::RoundPreferCeil) => resize::Filter::Nearest(resize::NearestMode::RoundPreferCeil),
        Filter::Nearest(Nearest::Floor) => resize::Filter::Nearest(resize::NearestMode::Floor),
        Filter::Nearest(Nearest::Ceil) => resize::Filter::Nearest(resize::NearestMode::Ceil),
    };
    resize::Resize { planes: of.planes, input: of.input, output: of.output, scale: of.scale, coordinates, filter }
}
