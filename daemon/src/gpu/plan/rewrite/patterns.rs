//! Functions that exporters write down as several operators.

use super::super::draft::{Op, StorageId};
use super::super::operation::Operation;
use super::Rewriter;
use crate::gpu::graph::operator::{Binary, Function};
use crate::gpu::graph::tensor::Tensor;

/// How far a constant may be from what it means: FP16 models round theirs.
const NEAR: f32 = 1e-3;

impl Rewriter<'_> {
    /// `x · sigmoid(x)`.
    pub(super) fn silu(&mut self, at: usize) -> bool {
        let x = self.op(at).and_then(|op| {
            let (left, right) = two(op, Binary::Mul)?;
            let sigmoid_of = |id: StorageId| self.unary_of(id, Function::Sigmoid);
            if sigmoid_of(right) == Some(left) { Some(left) } else { (sigmoid_of(left)? == right).then_some(right) }
        });
        self.becomes(at, x, Function::Silu)
    }

    /// `x · 0.5 · (1 + erf(x / √2))`, whatever is multiplied first.
    pub(super) fn gelu(&mut self, at: usize) -> bool {
        let x = self.op(at).and_then(|op| {
            let (left, right) = two(op, Binary::Mul)?;
            let factors = [self.factors(left), self.factors(right)].concat();
            let &[a, b, c] = factors.as_slice() else { return None };
            [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]]
                .into_iter()
                .find_map(|[half, one, x]| (self.is_about(half, 0.5) && self.one_plus_erf_of(one)? == x).then_some(x))
        });
        self.becomes(at, x, Function::Gelu)
    }

    fn becomes(&mut self, at: usize, x: Option<StorageId>, function: Function) -> bool {
        let Some(x) =
            x.filter(|x| self.op(at).is_some_and(|op| self.draft.at(op.output).count == self.draft.at(*x).count))
        else {
            return false;
        };
        let count = self.draft.at(x).count;
        if let Some(op) = self.ops[at].as_mut() {
            (op.operation, op.inputs) = (Operation::Unary { function, count }, vec![x]);
        }
        true
    }

    /// What a product is made of, or itself.
    fn factors(&self, id: StorageId) -> Vec<StorageId> {
        let product = self.given_by(id).and_then(|op| two(op, Binary::Mul));
        product.map_or_else(|| vec![id], |(left, right)| vec![left, right])
    }

    fn one_plus_erf_of(&self, id: StorageId) -> Option<StorageId> {
        let (left, right) = two(self.given_by(id)?, Binary::Add)?;
        let erf = if self.is_about(right, 1.0) { left } else { Some(right).filter(|_| self.is_about(left, 1.0))? };
        let inner = self.given_by(self.unary_of(erf, Function::Erf)?)?;
        if let Some((x, root)) = two(inner, Binary::Div) {
            return self.is_about(root, std::f32::consts::SQRT_2).then_some(x);
        }
        let (left, right) = two(inner, Binary::Mul)?;
        let is_root = |id: StorageId| self.is_about(id, std::f32::consts::FRAC_1_SQRT_2);
        if is_root(right) { Some(left) } else { is_root(left).then_some(right) }
    }

    /// What a function that gives a storage is applied to.
    fn unary_of(&self, id: StorageId, wanted: Function) -> Option<StorageId> {
        let op = self.given_by(id)?;
        let is_wanted = matches!(op.operation, Operation::Unary { function, .. } if function == wanted);
        is_wanted.then(|| op.inputs.first().copied()).flatten()
    }

    fn is_about(&self, id: StorageId, number: f32) -> bool {
        self.known(id).and_then(Tensor::only).is_some_and(|found| (found - number).abs() < NEAR)
    }
}

/// The two inputs of an operation of this kind.
fn two(op: &Op, wanted: Binary) -> Option<(StorageId, StorageId)> {
    match (&op.operation, op.inputs.as_slice()) {
        (Operation::Binary { operator, .. }, &[left, right]) if *operator == wanted => Some((left, right)),
        _ => None,
    }
}
