//! Products of matrices, normalisations, reductions, and two tensors at once.

use super::super::draft::Value;
use super::super::operation::{Along, Channels, Operation, Product};
use super::{Binder, axis_of, broadcast, padded};
use crate::gpu::graph::operator::{Binary, Reduction};
use crate::gpu::graph::tensor::{Element, elements};

/// Two matrices, or as many pairs of them as `batch` says.
struct Matrices {
    batch: Vec<usize>,
    rows: usize,
    columns: usize,
    depth: usize,
}

impl Binder<'_> {
    pub(super) fn binary(&mut self, operator: Binary) -> Result<Value, String> {
        let mut value = self.input(0)?.clone();
        for at in 1..self.inputs.len() {
            let next = self.input(at)?.clone();
            value = self.two(operator, &value, &next)?;
        }
        Ok(value)
    }

    fn two(&mut self, operator: Binary, left: &Value, right: &Value) -> Result<Value, String> {
        let shape = broadcast(&left.shape, &right.shape)?;
        let (element, other) = (self.draft.element(left), self.draft.element(right));
        if element.is_real() != other.is_real() {
            return Err(format!("{} and {} do not go together", element.as_str(), other.as_str()));
        }
        let operation = Operation::Binary { operator, left: left.shape.clone(), right: right.shape.clone() };
        self.draft.compute(operation, &[left, right], element, shape)
    }

    pub(super) fn gemm(&mut self, alpha: f32, beta: f32, transposed: [bool; 2]) -> Result<Value, String> {
        let (a, b) = (self.input(0)?.clone(), self.input(1)?.clone());
        let sides = |value: &Value, transposed: bool| match *value.shape {
            [first, second] if transposed => Ok((second, first)),
            [first, second] => Ok((first, second)),
            _ => Err(format!("shape {:?} is no matrix", value.shape)),
        };
        let ((rows, depth), (other, columns)) = (sides(&a, transposed[0])?, sides(&b, transposed[1])?);
        if depth != other {
            return Err(format!("matrices {:?} and {:?} do not go together", a.shape, b.shape));
        }
        let product = Product {
            batch: 1,
            rows,
            columns,
            depth,
            left_stride: 0,
            right_stride: 0,
            transposed,
            alpha,
            bias: false,
            activation: None,
            worth: None,
        };
        let product = self.draft.compute(Operation::Product(product), &[&a, &b], Element::F32, vec![rows, columns])?;
        let Some(added) = self.optional(2).cloned() else { return Ok(product) };
        let added = if beta.to_bits() == 1.0_f32.to_bits() {
            added
        } else {
            let beta = self.draft.reals(Vec::new(), vec![beta])?;
            self.two(Binary::Mul, &added, &beta)?
        };
        if broadcast(&added.shape, &product.shape)? != product.shape {
            return Err(format!("what is added, {:?}, does not fit {:?}", added.shape, product.shape));
        }
        self.two(Binary::Add, &product, &added)
    }

    pub(super) fn matmul(&mut self) -> Result<Value, String> {
        let (a, b) = (self.input(0)?.clone(), self.input(1)?.clone());
        let (left, right) = (self.as_matrices(&a, true)?, self.as_matrices(&b, false)?);
        let matrices = Matrices::of(&left.shape, &right.shape)?;
        let mut shape = matrices.batch.clone();
        shape.extend((a.shape.len() > 1).then_some(matrices.rows));
        shape.extend((b.shape.len() > 1).then_some(matrices.columns));
        // One matrix for all: their rows are one after the other.
        if right.shape.len() == 2 {
            let rows = matrices.batch.iter().product::<usize>() * matrices.rows;
            return self.product(&left, &right, &Matrices { batch: Vec::new(), rows, ..matrices }, [0, 0], shape);
        }
        let (left, left_stride) = self.in_batch(&left, &matrices.batch)?;
        let (right, right_stride) = self.in_batch(&right, &matrices.batch)?;
        self.product(&left, &right, &matrices, [left_stride, right_stride], shape)
    }

    /// A vector is a row on the left and a column on the right.
    fn as_matrices(&self, value: &Value, left: bool) -> Result<Value, String> {
        match (value.shape.as_slice(), left) {
            ([], _) => Err("a single number is no matrix".to_owned()),
            (&[size], true) => self.draft.view(value, vec![1, size]),
            (&[size], false) => self.draft.view(value, vec![size, 1]),
            _ => Ok(value.clone()),
        }
    }

    /// One matrix, or one for each of the batch; what is repeated otherwise is written out.
    fn in_batch(&mut self, value: &Value, batch: &[usize]) -> Result<(Value, usize), String> {
        let (own, matrix) = value.shape.split_at(value.shape.len() - 2);
        let each = matrix[0] * matrix[1];
        if own.iter().all(|size| *size == 1) && !batch.iter().all(|size| *size == 1) {
            return Ok((value.clone(), 0));
        }
        let wanted: Vec<usize> = batch.iter().chain(matrix).copied().collect();
        if padded(own, batch.len()) == batch {
            return Ok((self.draft.view(value, wanted)?, each));
        }
        let operation = Operation::Expand { shape: padded(&value.shape, wanted.len()), output: wanted.clone() };
        Ok((self.draft.compute(operation, &[value], Element::F32, wanted)?, each))
    }

    fn product(
        &mut self,
        left: &Value,
        right: &Value,
        matrices: &Matrices,
        [left_stride, right_stride]: [usize; 2],
        shape: Vec<usize>,
    ) -> Result<Value, String> {
        let product = Product {
            batch: elements(&matrices.batch).ok_or("more matrices than can be counted")?,
            rows: matrices.rows,
            columns: matrices.columns,
            depth: matrices.depth,
            left_stride,
            right_stride,
            transposed: [false; 2],
            alpha: 1.0,
            bias: false,
            activation: None,
            worth: None,
        };
        self.draft.compute(Operation::Product(product), &[left, right], Element::F32, shape)
    }

    pub(super) fn batch_normalization(&mut self, epsilon: f32) -> Result<Value, String> {
        let x = self.input(0)?.clone();
        if x.shape.len() < 2 {
            return Err(format!("shape {:?} has no channels", x.shape));
        }
        let along = Along::of(&x.shape, 1);
        let known = |at: usize| {
            let numbers = self.draft.known_reals(self.input(at)?, "scale, bias, mean and variance")?;
            let fits = numbers.len() == along.axis;
            fits.then_some(numbers).ok_or_else(|| format!("its parameters must have {} elements", along.axis))
        };
        let (scale, bias, mean, variance) = (known(1)?, known(2)?, known(3)?, known(4)?);
        let scales: Vec<f32> = scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        let biases = bias.iter().zip(&mean).zip(&scales).map(|((bias, mean), scale)| bias - mean * scale).collect();
        let (scales, biases) =
            (self.draft.reals(vec![along.axis], scales)?, self.draft.reals(vec![along.axis], biases)?);
        let channels = Channels { along, scale: true, bias: true, added: false, activation: None };
        let inputs = [&x, &scales, &biases];
        self.draft.compute(Operation::Channels(channels), &inputs, Element::F32, x.shape.clone())
    }

    pub(super) fn layer_normalization(&mut self, axis: i64, epsilon: f32) -> Result<Value, String> {
        let (x, scale, bias) = (self.input(0)?.clone(), self.input(1)?.clone(), self.optional(2).cloned());
        let axis = axis_of(axis, x.shape.len())?;
        let (rows, columns) = (x.shape[..axis].iter().product(), x.shape[axis..].iter().product());
        if [Some(&scale), bias.as_ref()]
            .into_iter()
            .flatten()
            .any(|value| self.draft.at(value.storage).count != columns)
        {
            return Err(format!("its scale and bias must have {columns} elements"));
        }
        let inputs: Vec<&Value> = [&x, &scale].into_iter().chain(&bias).collect();
        let operation = Operation::LayerNormalization { rows, columns, epsilon };
        self.draft.compute(operation, &inputs, Element::F32, x.shape.clone())
    }

    pub(super) fn softmax(&mut self, axis: i64, flattened: bool) -> Result<Value, String> {
        let x = self.input(0)?.clone();
        let axis = axis_of(axis, x.shape.len())?;
        let mut along = Along::of(&x.shape, axis);
        if flattened {
            along = Along { outer: along.outer, axis: along.axis * along.inner, inner: 1 };
        }
        let element = self.draft.element(&x);
        self.draft.compute(Operation::Softmax(along), &[&x], element, x.shape.clone())
    }

    pub(super) fn reduce(
        &mut self,
        reduction: Reduction,
        said: Option<&[i64]>,
        keep: bool,
        none_if_empty: bool,
    ) -> Result<Value, String> {
        let x = self.input(0)?.clone();
        let rank = x.shape.len();
        let given = self.optional(1).map(|axes| self.draft.wholes(axes, "axes")).transpose()?;
        let axes = said.map(<[i64]>::to_vec).or(given).unwrap_or_default();
        if axes.is_empty() && none_if_empty {
            return Ok(x);
        }
        let mut reduced = vec![axes.is_empty(); rank];
        for axis in axes {
            reduced[axis_of(axis, rank)?] = true;
        }
        let sizes = x.shape.iter().zip(&reduced);
        let shape = sizes.filter_map(|(size, gone)| if *gone { keep.then_some(1) } else { Some(*size) }).collect();
        let (moved, along) = self.adjacent(&x, &reduced)?;
        let element = self.draft.element(&x);
        self.draft.compute(Operation::Reduce { reduction, along }, &[&moved], element, shape)
    }

    /// The value with those dimensions side by side, and where they are.
    fn adjacent(&mut self, x: &Value, reduced: &[bool]) -> Result<(Value, Along), String> {
        let product = |sizes: &[usize]| sizes.iter().product::<usize>();
        let first = reduced.iter().position(|reduced| *reduced).unwrap_or(0);
        let count = reduced.iter().filter(|reduced| **reduced).count();
        if reduced.iter().skip(first).take(count).all(|reduced| *reduced) {
            let (outer, rest) = x.shape.split_at(first);
            let (axis, inner) = rest.split_at(count);
            return Ok((x.clone(), Along { outer: product(outer), axis: product(axis), inner: product(inner) }));
        }
        let of = |wanted: bool| (0..reduced.len()).filter(move |at| reduced[*at] == wanted);
        let order: Vec<usize> = of(false).chain(of(true)).collect();
        let moved = self.transposed_to(x, &order)?;
        let (outer, axis) = moved.shape.split_at(reduced.len() - count);
        let along = Along { outer: product(outer), axis: product(axis), inner: 1 };
        Ok((moved, along))
    }
}

impl Matrices {
    fn of(left: &[usize], right: &[usize]) -> Result<Self, String> {
        let wrong = || format!("matrices {left:?} and {right:?} do not go together");
        let (Some((left_batch, &[rows, depth])), Some((right_batch, &[other, columns]))) =
            (left.split_last_chunk(), right.split_last_chunk())
        else {
            return Err(wrong());
        };
        if depth != other {
            return Err(wrong());
        }
        Ok(Self { batch: broadcast(left_batch, right_batch)?, rows, columns, depth })
    }
}
