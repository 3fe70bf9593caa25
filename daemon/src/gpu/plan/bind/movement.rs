//! What only moves numbers, or only gives them another shape.

use std::sync::Arc;

use super::super::draft::{Value, counted};
use super::super::operation::{Along, Operation};
use super::{Binder, axis_of, broadcast, padded};
use crate::gpu::graph::operator::Border;
use crate::gpu::graph::tensor::{Tensor, elements};

/// Of `ConstantOfShape`.
const MOST_FILLED: usize = 1 << 22;

impl Binder<'_> {
    pub(super) fn reshape(&mut self, zero_is_zero: bool) -> Result<Value, String> {
        let (x, target) = (self.input(0)?, self.input(1)?);
        let target = self.draft.wholes(target, "shape")?;
        let mut shape = Vec::with_capacity(target.len());
        let mut open = None;
        for (at, size) in target.iter().enumerate() {
            let size = match size {
                0 if !zero_is_zero => *x.shape.get(at).ok_or("its shape keeps a dimension that is not there")?,
                -1 if open.is_none() => {
                    open = Some(at);
                    1
                }
                size => usize::try_from(*size).map_err(|_| format!("its shape {target:?} cannot be meant"))?,
            };
            shape.push(size);
        }
        if let Some(at) = open {
            let (all, rest) = (self.draft.at(x.storage).count, elements(&shape).unwrap_or(0));
            shape[at] = all.checked_div(rest).unwrap_or(0);
        }
        self.draft.view(x, shape)
    }

    pub(super) fn flatten(&mut self, axis: i64) -> Result<Value, String> {
        let x = self.input(0)?;
        let rank = x.shape.len();
        let axis = if usize::try_from(axis) == Ok(rank) { rank } else { axis_of(axis, rank)? };
        let (outer, inner) = x.shape.split_at(axis);
        self.draft.view(x, vec![outer.iter().product(), inner.iter().product()])
    }

    fn axes(&self, said: Option<&[i64]>) -> Result<Option<Vec<i64>>, String> {
        match (said, self.optional(1)) {
            (Some(said), _) => Ok(Some(said.to_vec())),
            (None, Some(given)) => self.draft.wholes(given, "axes").map(Some),
            (None, None) => Ok(None),
        }
    }

    pub(super) fn squeeze(&mut self, said: Option<&[i64]>) -> Result<Value, String> {
        let x = self.input(0)?;
        let rank = x.shape.len();
        let axes =
            self.axes(said)?.map(|axes| axes.iter().map(|axis| axis_of(*axis, rank)).collect::<Result<Vec<_>, _>>());
        let axes = axes.transpose()?;
        let gone = |at: usize, size: usize| axes.as_ref().map_or(size == 1, |axes| axes.contains(&at));
        let shape = x.shape.iter().enumerate().filter(|(at, size)| !gone(*at, **size)).map(|(_, size)| *size);
        self.draft.view(x, shape.collect())
    }

    pub(super) fn unsqueeze(&mut self, said: Option<&[i64]>) -> Result<Value, String> {
        let x = self.input(0)?;
        let axes = self.axes(said)?.ok_or("its axes are missing")?;
        let rank = x.shape.len() + axes.len();
        let mut new = vec![false; rank];
        for axis in &axes {
            new[axis_of(*axis, rank)?] = true;
        }
        let mut old = x.shape.iter().copied();
        let shape: Vec<usize> = new.iter().map(|new| if *new { 1 } else { old.next().unwrap_or(1) }).collect();
        self.draft.view(x, shape)
    }

    pub(super) fn transpose(&mut self, order: Option<&[usize]>) -> Result<Value, String> {
        let x = self.input(0)?.clone();
        let reversed: Vec<usize> = (0..x.shape.len()).rev().collect();
        self.transposed_to(&x, order.unwrap_or(&reversed))
    }

    /// A value with its dimensions in another order. Those of 1 may go anywhere.
    pub(super) fn transposed_to(&mut self, x: &Value, order: &[usize]) -> Result<Value, String> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..x.shape.len()) {
            return Err(format!("{order:?} is no order of the dimensions of {:?}", x.shape));
        }
        let shape: Vec<usize> = order.iter().map(|at| x.shape[*at]).collect();
        let moved: Vec<usize> = order.iter().copied().filter(|at| x.shape[*at] != 1).collect();
        if moved.is_sorted() {
            return self.draft.view(x, shape);
        }
        let element = self.draft.element(x);
        let operation = Operation::Transpose { shape: x.shape.clone(), order: order.to_vec() };
        self.draft.compute(operation, &[x], element, shape)
    }

    pub(super) fn slice(&mut self) -> Result<Value, String> {
        let x = self.input(0)?.clone();
        let (from, to) = (self.draft.wholes(self.input(1)?, "starts")?, self.draft.wholes(self.input(2)?, "ends")?);
        let all = || (0..i64::try_from(from.len()).unwrap_or(0)).collect();
        let axes = self.optional(3).map(|axes| self.draft.wholes(axes, "axes")).transpose()?.unwrap_or_else(all);
        let steps = self.optional(4).map(|steps| self.draft.wholes(steps, "steps")).transpose()?;
        let steps = steps.unwrap_or_else(|| vec![1; from.len()]);
        if [to.len(), axes.len(), steps.len()].iter().any(|length| *length != from.len()) {
            return Err("its starts, ends, axes and steps must be as many".to_owned());
        }
        let mut part = Part::all(&x.shape);
        for (((from, to), axis), step) in from.iter().zip(&to).zip(&axes).zip(&steps) {
            part.cut(axis_of(*axis, x.shape.len())?, &x.shape, [*from, *to, *step])?;
        }
        self.cut(&x, part)
    }

    fn cut(&mut self, x: &Value, part: Part) -> Result<Value, String> {
        if part.output == x.shape && part.steps.iter().all(|step| *step == 1) {
            return Ok(x.clone());
        }
        let (shape, element) = (part.output.clone(), self.draft.element(x));
        let Part { starts, steps, output } = part;
        let operation = Operation::Slice { shape: x.shape.clone(), starts, steps, output };
        self.draft.compute(operation, &[x], element, shape)
    }

    pub(super) fn part(
        &mut self,
        axis: i64,
        index: usize,
        of: usize,
        sizes: Option<&[usize]>,
    ) -> Result<Value, String> {
        let x = self.input(0)?.clone();
        let axis = axis_of(axis, x.shape.len())?;
        let given = self.optional(1).map(|sizes| self.draft.wholes(sizes, "sizes")).transpose()?;
        let given = given.map(|sizes| sizes.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect::<Vec<_>>());
        let each = x.shape[axis].div_ceil(of);
        let equal: Vec<usize> =
            (0..of).map(|at| each.min(x.shape[axis].saturating_sub(at.saturating_mul(each)))).collect();
        let sizes = sizes.map(<[usize]>::to_vec).or(given).unwrap_or(equal);
        let whole = sizes.iter().try_fold(0_usize, |sum, size| sum.checked_add(*size));
        if sizes.len() != of || whole != Some(x.shape[axis]) {
            return Err(format!("parts of {sizes:?} do not make up {}", x.shape[axis]));
        }
        let mut part = Part::all(&x.shape);
        part.starts[axis] = sizes[..index].iter().sum();
        part.output[axis] = sizes[index];
        self.cut(&x, part)
    }

    pub(super) fn concat(&mut self, axis: i64) -> Result<Value, String> {
        let parts: Vec<Value> = self.inputs.iter().flatten().map(|value| (*value).clone()).collect();
        let first = parts.first().ok_or("it has no inputs")?;
        let axis = axis_of(axis, first.shape.len())?;
        let element = self.draft.element(first);
        let mut shape = first.shape.clone();
        shape[axis] = 0;
        for part in &parts {
            let same = part.shape.len() == shape.len()
                && part.shape.iter().zip(&shape).enumerate().all(|(at, (size, want))| at == axis || size == want);
            if !same || self.draft.element(part) != element {
                return Err(format!("{:?} does not fit behind {:?}", part.shape, first.shape));
            }
            shape[axis] = shape[axis].saturating_add(part.shape[axis]);
        }
        // What is empty adds nothing.
        let parts: Vec<&Value> = parts.iter().filter(|part| part.shape[axis] > 0).collect();
        if let [only] = parts[..] {
            return Ok(only.clone());
        }
        let operation = Operation::Concat { axis, parts: parts.iter().map(|part| part.shape.clone()).collect() };
        self.draft.compute(operation, &parts, element, shape)
    }

    pub(super) fn pad(&mut self, border: Border) -> Result<Value, String> {
        let x = self.input(0)?.clone();
        let rank = x.shape.len();
        let pads = self.draft.wholes(self.input(1)?, "pads")?;
        let value = self.optional(2).filter(|value| !value.shape.contains(&0));
        let value = value.map(|value| self.draft.known_reals(value, "value")).transpose()?;
        let axes = self.optional(3).map(|axes| self.draft.wholes(axes, "axes")).transpose()?;
        let axes = axes.unwrap_or_else(|| (0..i64::try_from(rank).unwrap_or(0)).collect());
        if pads.len() != axes.len() * 2 {
            return Err(format!("{} pads are not two for each of {} axes", pads.len(), axes.len()));
        }
        let (mut before, mut after) = (vec![0_i64; rank], vec![0_i64; rank]);
        for (at, axis) in axes.iter().enumerate() {
            let axis = axis_of(*axis, rank)?;
            (before[axis], after[axis]) = (pads[at], pads[axes.len() + at]);
        }
        let shape = padded_shape(&x.shape, &before, &after, border)?;
        if shape == x.shape && before.iter().all(|size| *size == 0) {
            return Ok(x);
        }
        let value = value.and_then(|numbers| numbers.first().copied()).unwrap_or(0.0);
        let element = self.draft.element(&x);
        let operation = Operation::Pad { shape: x.shape.clone(), before, after, border, value };
        self.draft.compute(operation, &[&x], element, shape)
    }

    pub(super) fn gather(&mut self, axis: i64) -> Result<Value, String> {
        let (x, indices) = (self.input(0)?.clone(), self.input(1)?.clone());
        let axis = axis_of(axis, x.shape.len())?;
        let (before, rest) = x.shape.split_at(axis);
        let shape: Vec<usize> = before.iter().chain(&indices.shape).chain(&rest[1..]).copied().collect();
        let known = self.draft.known(&indices).and_then(|tensor| tensor.wholes());
        if let Some(&[index]) = known {
            let mut part = Part::all(&x.shape);
            let size = i64::try_from(rest[0]).map_err(|error| error.to_string())?;
            let from = usize::try_from(if index < 0 { index.saturating_add(size) } else { index });
            let from = from.ok().filter(|from| *from < rest[0]);
            part.starts[axis] = from.ok_or_else(|| format!("index {index} is none of {size}"))?;
            part.output[axis] = 1;
            let one = self.cut(&x, part)?;
            return self.draft.view(&one, shape);
        }
        let (along, element) = (Along::of(&x.shape, axis), self.draft.element(&x));
        let operation = Operation::Gather { along, indices: self.draft.at(indices.storage).count };
        self.draft.compute(operation, &[&x, &indices], element, shape)
    }

    pub(super) fn expand(&mut self) -> Result<Value, String> {
        let x = self.input(0)?.clone();
        let target = self.sizes(1)?;
        let output = broadcast(&x.shape, &target)?;
        let shape = padded(&x.shape, output.len());
        if shape == output {
            return self.draft.view(&x, output);
        }
        let element = self.draft.element(&x);
        self.draft.compute(Operation::Expand { shape, output: output.clone() }, &[&x], element, output)
    }

    pub(super) fn shape(&mut self, from: i64, to: Option<i64>) -> Result<Value, String> {
        let sizes = &self.input(0)?.shape;
        let rank = i64::try_from(sizes.len()).map_err(|error| error.to_string())?;
        let place = |at: i64| {
            let from_start = if at < 0 { at.saturating_add(rank) } else { at };
            usize::try_from(from_start.clamp(0, rank)).unwrap_or(0)
        };
        let told = sizes.get(place(from)..place(to.unwrap_or(rank))).unwrap_or_default();
        let told = told.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
        Ok(self.draft.constant(Arc::new(Tensor::list(told))))
    }

    pub(super) fn fill(&mut self, value: &Tensor) -> Result<Value, String> {
        let shape = self.sizes(0)?;
        let count = counted(&shape)?;
        if count > MOST_FILLED {
            return Err(format!("shape {shape:?} has more than {MOST_FILLED} elements"));
        }
        self.draft.room_for(count)?;
        let data = value.data().pick(std::iter::repeat_n(Some(0), count));
        let tensor: Option<Tensor> = Tensor::new(value.element(), shape, data);
        Ok(self.draft.constant(Arc::new(tensor.ok_or("it cannot be filled")?)))
    }

    /// An input that says a shape.
    fn sizes(&self, at: usize) -> Result<Vec<usize>, String> {
        let sizes = self.draft.wholes(self.input(at)?, "shape")?;
        let read = sizes.iter().map(|size| usize::try_from(*size)).collect::<Result<_, _>>();
        read.map_err(|_| format!("{sizes:?} is no shape"))
    }
}

/// A part of a tensor.
struct Part {
    starts: Vec<usize>,
    steps: Vec<isize>,
    output: Vec<usize>,
}

impl Part {
    fn all(shape: &[usize]) -> Self {
        Self { starts: vec![0; shape.len()], steps: vec![1; shape.len()], output: shape.to_vec() }
    }

    /// Cuts a dimension as ONNX's `Slice` does: what lies outside is moved to the edge.
    fn cut(&mut self, axis: usize, shape: &[usize], [from, to, step]: [i64; 3]) -> Result<(), String> {
        let size = i64::try_from(shape[axis]).map_err(|error| error.to_string())?;
        let place = |at: i64, low: i64, high: i64| (if at < 0 { at.saturating_add(size) } else { at }).clamp(low, high);
        let (from, to) = match step {
            0 => return Err("a step is 0".to_owned()),
            1.. => (place(from, 0, size), place(to, 0, size)),
            _ => (place(from, -1, size - 1), place(to, -1, size - 1)),
        };
        let span = if step > 0 { to - from } else { from - to };
        let count = u64::try_from(span).unwrap_or(0).div_ceil(step.unsigned_abs());
        self.starts[axis] = usize::try_from(from).unwrap_or(0);
        self.steps[axis] = isize::try_from(step).map_err(|error| error.to_string())?;
        self.output[axis] = usize::try_from(count).map_err(|error| error.to_string())?;
        Ok(())
    }
}

fn padded_shape(shape: &[usize], before: &[i64], after: &[i64], border: Border) -> Result<Vec<usize>, String> {
    let sizes = shape.iter().zip(before.iter().zip(after)).map(|(size, (before, after))| {
        let signed = i64::try_from(*size).map_err(|error| error.to_string())?;
        let room = match border {
            Border::Constant => i64::MAX,
            Border::Edge => {
                if signed == 0 {
                    0
                } else {
                    i64::MAX
                }
            }
            Border::Reflect => signed - 1,
        };
        let padded = signed.checked_add(*before).and_then(|size| size.checked_add(*after));
        let padded = padded.filter(|_| *before <= room && *after <= room).and_then(|size| usize::try_from(size).ok());
        padded.ok_or_else(|| format!("{shape:?} cannot be padded by {before} and {after}"))
    });
    sizes.collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::draft::Draft;
    use super::*;

    #[test]
    fn parts_are_cut_as_onnx_cuts_them() {
        let check = |size: usize, cut: [i64; 3], start: usize, count: usize| {
            let mut part = Part::all(&[size]);
            part.cut(0, &[size], cut).expect("cut");
            assert_eq!((part.starts[0], part.output[0]), (start, count), "{size} {cut:?}");
        };
        check(10, [2, 5, 1], 2, 3);
        check(10, [-3, i64::MAX, 1], 7, 3);
        check(10, [0, 100, 3], 0, 4);
        check(10, [8, 2, 1], 8, 0);
        check(10, [-1, i64::MIN, -1], 9, 10);
        check(10, [7, 2, -2], 7, 3);
        check(10, [100, 0, -1], 9, 9);
        check(0, [0, 5, 1], 0, 0);
        assert!(Part::all(&[3]).cut(0, &[3], [0, 3, 0]).is_err());
    }

    #[test]
    fn what_is_filled_takes_of_the_room_for_all() {
        let mut draft = Draft::new(true);
        draft.leave_room(250);
        let shape = draft.constant(Arc::new(Tensor::list(vec![10, 10])));
        let mut fill = || Binder { draft: &mut draft, inputs: vec![Some(&shape)] }.fill(&Tensor::scalar(0.0));
        assert!(fill().is_ok() && fill().is_ok());
        assert!(fill().is_err_and(|why| why.contains("before the graph runs")));
    }
}
