//! A graph with the shapes of its inputs: every node becomes operations whose sizes are all known. ONNX's rules for shapes
//! are here; what an operation computes is not.

mod layers;
mod movement;
mod windows;

use std::collections::BTreeMap;

use super::PlanError;
use super::draft::{Draft, Value};
use super::operation::{Along, Operation};
use crate::gpu::graph::operator::{Function, Operator};
use crate::gpu::graph::tensor::Element;
use crate::gpu::graph::{Graph, Node, Port, ValueId};

/// A draft with what it takes and gives.
pub(super) struct Bound {
    pub(super) draft: Draft,
    pub(super) inputs: Vec<Value>,
    pub(super) outputs: Vec<Value>,
}

/// Binds a graph. `shapes` are those of its inputs, in order.
pub(super) fn bind(graph: &Graph, shapes: &[Vec<usize>], folds_reals: bool) -> Result<Bound, PlanError> {
    if shapes.len() != graph.inputs.len() {
        return Err(PlanError::Inputs(format!(
            "{} inputs were given to a graph of {}",
            shapes.len(),
            graph.inputs.len()
        )));
    }
    let mut draft = Draft::new(folds_reals);
    let mut values: BTreeMap<ValueId, Value> = BTreeMap::new();
    for (port, shape) in graph.inputs.iter().zip(shapes) {
        fits(port, shape)?;
        let value = draft.input(port.element, shape.clone()).map_err(PlanError::Inputs)?;
        values.insert(port.value, value);
    }
    for (id, tensor) in &graph.constants {
        values.insert(*id, draft.constant(tensor.clone()));
    }
    for (at, node) in graph.nodes.iter().enumerate() {
        let wrong = |what: String| PlanError::Node { operator: node.kind.clone(), node: node.name.to_string(), what };
        let inputs: Option<Vec<Option<&Value>>> =
            node.inputs.iter().map(|input| input.map_or(Some(None), |id| values.get(&id).map(Some))).collect();
        let inputs = inputs.ok_or_else(|| wrong("takes a value that nothing gives".to_owned()))?;
        draft.node = at;
        let value = Binder { draft: &mut draft, inputs }.bind(node).map_err(wrong)?;
        values.insert(node.output, value);
    }
    let of = |port: &Port| {
        values.get(&port.value).cloned().ok_or_else(|| PlanError::Inputs(format!("nothing gives '{}'", port.name)))
    };
    let inputs = graph.inputs.iter().map(of).collect::<Result<_, _>>()?;
    let outputs = graph.outputs.iter().map(of).collect::<Result<_, _>>()?;
    Ok(Bound { draft, inputs, outputs })
}

fn fits(port: &Port, shape: &[usize]) -> Result<(), PlanError> {
    let fits = port.shape.as_ref().is_none_or(|declared| {
        declared.len() == shape.len()
            && declared.iter().zip(shape).all(|(declared, size)| declared.is_none_or(|d| d == *size))
    });
    let what = || format!("input '{}' is declared with shape {:?}, not {shape:?}", port.name, port.shape);
    if fits { Ok(()) } else { Err(PlanError::Inputs(what())) }
}

/// One node at work.
struct Binder<'a> {
    draft: &'a mut Draft,
    inputs: Vec<Option<&'a Value>>,
}

impl Binder<'_> {
    fn bind(&mut self, node: &Node) -> Result<Value, String> {
        match &node.operator {
            Operator::Convolution(window) => self.convolution(window),
            Operator::TransposedConvolution { window, output_padding } => self.transposed(window, output_padding),
            Operator::Gemm { alpha, beta, transposed } => self.gemm(*alpha, *beta, *transposed),
            Operator::MatMul => self.matmul(),
            Operator::Binary(operator) => self.binary(*operator),
            Operator::Unary(function) => self.unary(*function),
            Operator::Clip => self.clip(),
            Operator::BatchNormalization { epsilon } => self.batch_normalization(*epsilon),
            Operator::LayerNormalization { axis, epsilon } => self.layer_normalization(*axis, *epsilon),
            Operator::Softmax { axis, flattened } => self.softmax(*axis, *flattened),
            Operator::Concat { axis } => self.concat(*axis),
            Operator::Part { axis, index, of, sizes } => self.part(*axis, *index, *of, sizes.as_deref()),
            Operator::Resize { coordinates, filter } => self.resize(*coordinates, *filter),
            Operator::Pool { pooling, window, ceil } => self.pool(*pooling, window, *ceil),
            Operator::GlobalPool(reduction) => self.global_pool(*reduction),
            Operator::Reduce { reduction, axes, keep, none_if_empty } => {
                self.reduce(*reduction, axes.as_deref(), *keep, *none_if_empty)
            }
            Operator::Reshape { zero_is_zero } => self.reshape(*zero_is_zero),
            Operator::Flatten { axis } => self.flatten(*axis),
            Operator::Squeeze { axes } => self.squeeze(axes.as_deref()),
            Operator::Unsqueeze { axes } => self.unsqueeze(axes.as_deref()),
            Operator::Transpose { order } => self.transpose(order.as_deref()),
            Operator::Slice => self.slice(),
            Operator::Pad(border) => self.pad(*border),
            Operator::Gather { axis } => self.gather(*axis),
            Operator::Expand => self.expand(),
            Operator::Cast(element) => self.cast(*element),
            Operator::Quantize { axis } => self.quantize(*axis),
            Operator::Dequantize { axis } => self.dequantize(*axis),
            Operator::Identity => self.identity(),
            Operator::Shape { from, to } => self.shape(*from, *to),
            Operator::Fill(value) => self.fill(value),
        }
    }

    /// An input that must be there.
    fn input(&self, at: usize) -> Result<&Value, String> {
        self.optional(at).ok_or_else(|| format!("input {at} is missing"))
    }

    fn optional(&self, at: usize) -> Option<&Value> {
        self.inputs.get(at).copied().flatten()
    }

    /// A `Dropout` may have an input that says that it is trained.
    fn identity(&self) -> Result<Value, String> {
        let trained = self.optional(2).map(|trained| self.draft.wholes(trained, "training_mode")).transpose()?;
        if trained.is_none_or(|trained| trained.iter().all(|trained| *trained == 0)) {
            self.input(0).cloned()
        } else {
            Err("is computed at inference only: its training_mode must be false".to_owned())
        }
    }

    fn unary(&mut self, function: Function) -> Result<Value, String> {
        let x = self.input(0)?.clone();
        let (count, element) = (self.draft.at(x.storage).count, self.draft.element(&x));
        self.draft.compute(Operation::Unary { function, count }, &[&x], element, x.shape.clone())
    }

    fn clip(&mut self) -> Result<Value, String> {
        let bound = |at: usize, default: f32| match self.optional(at) {
            None => Ok(default),
            Some(value) => {
                let numbers = self.draft.known_reals(value, "bounds")?;
                numbers.first().copied().ok_or_else(|| "its bounds must be single numbers".to_owned())
            }
        };
        let (low, high) = (bound(1, f32::MIN)?, bound(2, f32::MAX)?);
        self.unary(Function::Clip(low, high))
    }

    fn cast(&mut self, element: Element) -> Result<Value, String> {
        let x = self.input(0)?.clone();
        let from = self.draft.element(&x);
        if from == element || (from.is_real() && element.is_real()) {
            return Ok(x);
        }
        let count = self.draft.at(x.storage).count;
        self.draft.compute(Operation::Cast { count }, &[&x], element, x.shape.clone())
    }

    fn quantize(&mut self, axis: i64) -> Result<Value, String> {
        let (x, scale) = (self.input(0)?.clone(), self.input(1)?.clone());
        let zero = self.optional(2).cloned();
        let along = self.scales_along(&x, &scale, axis)?;
        let element = zero.as_ref().map_or(Element::U8, |zero| self.draft.element(zero));
        if !matches!(element, Element::I8 | Element::U8) {
            return Err(format!("{} is not quantised to; INT8 and UINT8 are", element.as_str()));
        }
        let inputs: Vec<&Value> = [&x, &scale].into_iter().chain(&zero).collect();
        self.draft.compute(Operation::Quantize(along), &inputs, element, x.shape.clone())
    }

    fn dequantize(&mut self, axis: i64) -> Result<Value, String> {
        let (x, scale) = (self.input(0)?.clone(), self.input(1)?.clone());
        let zero = self.optional(2).cloned();
        let along = self.scales_along(&x, &scale, axis)?;
        if self.draft.element(&x).is_real() {
            return Err("what is dequantised must be whole numbers".to_owned());
        }
        let inputs: Vec<&Value> = [&x, &scale].into_iter().chain(&zero).collect();
        self.draft.compute(Operation::Dequantize(along), &inputs, Element::F32, x.shape.clone())
    }

    fn scales_along(&self, x: &Value, scale: &Value, axis: i64) -> Result<Along, String> {
        let count = self.draft.at(x.storage).count;
        let scales = self.draft.at(scale.storage).count;
        if scales == 1 {
            return Ok(Along { outer: 1, axis: 1, inner: count });
        }
        let along = Along::of(&x.shape, axis_of(axis, x.shape.len())?);
        if along.axis == scales {
            Ok(along)
        } else {
            Err(format!("{scales} scales do not go along {} channels", along.axis))
        }
    }
}

/// A dimension that may be counted from the end.
fn axis_of(axis: i64, rank: usize) -> Result<usize, String> {
    let rank_signed = i64::try_from(rank).map_err(|error| error.to_string())?;
    let from_start = if axis < 0 { axis.saturating_add(rank_signed) } else { axis };
    let found = usize::try_from(from_start).ok().filter(|axis| *axis < rank);
    found.ok_or_else(|| format!("axis {axis} is none of {rank} dimensions"))
}

/// The shape that two are broadcast to.
fn broadcast(left: &[usize], right: &[usize]) -> Result<Vec<usize>, String> {
    let rank = left.len().max(right.len());
    let size = |shape: &[usize], at: usize| (at + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    let sizes = (0..rank).map(|at| match (size(left, at), size(right, at)) {
        (left, right) if left == right => Ok(left),
        (1, other) | (other, 1) => Ok(other),
        _ => Err(format!("shapes {left:?} and {right:?} do not go together")),
    });
    sizes.collect()
}

/// A shape with ones in front, so that it has so many dimensions.
fn padded(shape: &[usize], rank: usize) -> Vec<usize> {
    std::iter::repeat_n(1, rank.saturating_sub(shape.len())).chain(shape.iter().copied()).collect()
}
