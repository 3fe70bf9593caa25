//! Fewer operations that give the same: what one operation can do with the next is done by it, and what changes nothing or
//! is wanted by nobody goes away. Results change by rounding only.

mod folds;
mod patterns;
mod whole;

use std::sync::Arc;

use super::draft::{Draft, Op, StorageId, Value};
use super::operation::{Channels, Operation};
use crate::gpu::graph::operator::{Binary, Function};
use crate::gpu::graph::tensor::{Data, Element, Tensor};

/// Rewrites a draft. With `int8`, what lies between a dequantisation and a quantisation is computed in integers where it can
/// be.
pub(super) fn rewrite(draft: &mut Draft, outputs: &mut [Value], int8: bool) {
    let ops = std::mem::take(&mut draft.ops).into_iter().map(Some).collect();
    let mut rewriter = Rewriter { draft, ops, giver: Vec::new(), uses: Vec::new() };
    rewriter.count(outputs);
    rewriter.each(|rewriter, at| rewriter.without_effect(at, outputs));
    rewriter.count(outputs);
    rewriter.each(|rewriter, at| rewriter.gelu(at) || rewriter.silu(at));
    // What a pattern left behind would count as a use.
    rewriter.ops = wanted(rewriter.ops.into_iter().flatten().collect(), rewriter.draft.storages.len(), outputs)
        .into_iter()
        .map(Some)
        .collect();
    rewriter.count(outputs);
    if int8 {
        rewriter.each(Rewriter::in_integers);
    }
    rewriter.each(|rewriter, at| rewriter.fold(at) || rewriter.activate(at));
    let ops = std::mem::take(&mut rewriter.ops);
    draft.ops = wanted(ops.into_iter().flatten().collect(), draft.storages.len(), outputs);
}

/// Operations that something comes of.
pub(super) fn wanted(ops: Vec<Op>, storages: usize, outputs: &[Value]) -> Vec<Op> {
    let mut wanted = vec![false; storages];
    outputs.iter().for_each(|value| wanted[value.storage.0] = true);
    let mut kept: Vec<Op> = Vec::with_capacity(ops.len());
    for op in ops.into_iter().rev() {
        if wanted[op.output.0] {
            op.inputs.iter().for_each(|input| wanted[input.0] = true);
            kept.push(op);
        }
    }
    kept.reverse();
    kept
}

/// The operations of a draft, each of which may be gone.
struct Rewriter<'a> {
    draft: &'a mut Draft,
    ops: Vec<Option<Op>>,
    /// By storage: which operation gives it.
    giver: Vec<Option<usize>>,
    /// By storage: how often it is taken.
    uses: Vec<usize>,
}

impl Rewriter<'_> {
    /// Finds out who gives and who takes what.
    fn count(&mut self, outputs: &[Value]) {
        self.giver = vec![None; self.draft.storages.len()];
        self.uses = vec![0; self.draft.storages.len()];
        outputs.iter().for_each(|value| self.uses[value.storage.0] += 1);
        for (at, op) in self.ops.iter().enumerate().filter_map(|(at, op)| Some((at, op.as_ref()?))) {
            self.giver[op.output.0] = Some(at);
            op.inputs.iter().for_each(|input| self.uses[input.0] += 1);
        }
    }

    fn each(&mut self, mut change: impl FnMut(&mut Self, usize) -> bool) {
        for at in 0..self.ops.len() {
            change(self, at);
        }
    }

    fn op(&self, at: usize) -> Option<&Op> {
        self.ops.get(at)?.as_ref()
    }

    /// The operation that gives a storage.
    fn given_by(&self, id: StorageId) -> Option<&Op> {
        self.op(self.giver.get(id.0).copied().flatten()?)
    }

    /// The place of the operation that gives a storage to nobody else.
    fn only_giver(&self, id: StorageId) -> Option<usize> {
        (self.uses.get(id.0) == Some(&1)).then(|| self.giver.get(id.0).copied().flatten()).flatten()
    }

    fn known(&self, id: StorageId) -> Option<&Tensor> {
        self.draft.at(id).constant.as_deref()
    }

    fn known_reals(&self, id: StorageId) -> Option<&[f32]> {
        self.known(id)?.reals()
    }

    /// A constant that takes the place of another, if there is room for it beside that.
    fn constant(&mut self, like: &Tensor, numbers: Vec<f32>) -> Option<StorageId> {
        if !self.draft.may_keep(numbers.len()) {
            return None;
        }
        let tensor = Tensor::new(Element::F32, like.shape().to_vec(), Data::Real(numbers))?;
        Some(self.draft.constant(Arc::new(tensor)).storage)
    }

    fn vector(&mut self, numbers: Vec<f32>) -> Option<StorageId> {
        let there_is_room = self.draft.may_keep(numbers.len());
        there_is_room.then(|| self.draft.constant(Arc::new(Tensor::vector(numbers))).storage)
    }

    /// Lets the operation at `giver` give what the one at `at` gave, which goes away.
    fn take_over(&mut self, giver: usize, at: usize, changed: Op) {
        if let Some(gone) = self.ops[at].take() {
            self.giver[gone.output.0] = Some(giver);
            self.ops[giver] = Some(Op { output: gone.output, ..changed });
        }
    }

    /// Adds 0, multiplies by 1: whoever takes its result takes what it was given.
    fn without_effect(&mut self, at: usize, outputs: &mut [Value]) -> bool {
        let Some(op) = self.op(at) else { return false };
        let Operation::Binary { operator, .. } = op.operation else { return false };
        let neutral = match operator {
            Binary::Add | Binary::Sub => 0.0_f32,
            Binary::Mul | Binary::Div | Binary::Pow => 1.0,
            Binary::Min | Binary::Max => return false,
        };
        let &[left, right] = op.inputs.as_slice() else { return false };
        let is_neutral = |id: StorageId| {
            self.known_reals(id)
                .is_some_and(|numbers| numbers.iter().all(|number| number.to_bits() == neutral.to_bits()))
        };
        let output = op.output;
        let same = |id: StorageId| self.draft.at(id).count == self.draft.at(output).count;
        let kept = match operator {
            _ if is_neutral(right) && same(left) => left,
            Binary::Add | Binary::Mul if is_neutral(left) && same(right) => right,
            _ => return false,
        };
        self.ops[at] = None;
        let inputs = self.ops.iter_mut().flatten().flat_map(|op| &mut op.inputs);
        let outputs = outputs.iter_mut().map(|value| &mut value.storage);
        inputs.chain(outputs).filter(|id| **id == output).for_each(|id| *id = kept);
        true
    }

    /// An element-wise function right behind an operation that can apply it.
    fn activate(&mut self, at: usize) -> bool {
        let changed = self.op(at).and_then(|op| {
            let Operation::Unary { function, .. } = op.operation else { return None };
            let giver = self.only_giver(*op.inputs.first()?)?;
            let mut changed = self.op(giver)?.clone();
            changed.operation = activated(changed.operation, function)?;
            Some((giver, changed))
        });
        let Some((giver, changed)) = changed else { return false };
        self.take_over(giver, at, changed);
        true
    }
}

fn activated(mut operation: Operation, function: Function) -> Option<Operation> {
    let free = match &mut operation {
        Operation::Convolution(convolution) => &mut convolution.activation,
        Operation::Product(product) => &mut product.activation,
        Operation::Channels(channels) => &mut channels.activation,
        Operation::Binary { operator: Binary::Add, left, right } if left == right => {
            let along = super::operation::Along { outer: 1, axis: 1, inner: left.iter().product() };
            let activation = Some(function);
            return Some(Operation::Channels(Channels { along, scale: false, bias: false, added: true, activation }));
        }
        _ => return None,
    };
    if free.is_some() {
        return None;
    }
    *free = Some(function);
    Some(operation)
}
