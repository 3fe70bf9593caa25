//! What lies behind dequantisations is computed in integers. Only where 0 means 0 on both sides: then a border of zeros and
//! a product of integers mean what they say.

use super::super::draft::{Op, Quantized, StorageId};
use super::super::operation::Operation;
use super::Rewriter;
use crate::gpu::graph::tensor::Element;

impl Rewriter<'_> {
    pub(super) fn in_integers(&mut self, at: usize) -> bool {
        let Some(op) = self.op(at).cloned() else { return false };
        let Some(changed) = self.integers(op) else { return false };
        self.ops[at] = Some(changed);
        true
    }

    fn integers(&mut self, mut op: Op) -> Option<Op> {
        let &[x, weights, ..] = op.inputs.as_slice() else { return None };
        let (quantized_x, x_scale) = self.dequantized(x)?;
        let quantized = self.draft.at(weights).quantized.as_ref().filter(|quantized| quantized.symmetric)?;
        if self.draft.at(quantized.storage).element != Element::I8 {
            return None;
        }
        let worth: Vec<f32> = quantized.scales.iter().map(|scale| scale * x_scale).collect();
        let fits = worth.len() == 1 || scales_fit(&op.operation, quantized);
        let weights = quantized.storage;
        if !self.draft.may_keep(worth.len()) {
            return None;
        }
        match &mut op.operation {
            Operation::Convolution(convolution) if fits && !convolution.transposed => convolution.worth = Some(worth),
            Operation::Product(product) if fits => product.worth = Some(worth),
            _ => return None,
        }
        (op.inputs[0], op.inputs[1]) = (quantized_x, weights);
        Some(op)
    }

    /// What was dequantised, and its only scale.
    fn dequantized(&self, id: StorageId) -> Option<(StorageId, f32)> {
        let op = self.given_by(id).filter(|op| matches!(op.operation, Operation::Dequantize(_)))?;
        let (&[x, scale], zero) = op.inputs.split_first_chunk()?;
        let symmetric = zero.iter().all(|zero| {
            self.known(*zero).and_then(|zero| zero.wholes()).is_some_and(|zeros| zeros.iter().all(|zero| *zero == 0))
        });
        let scale = self.known(scale)?.only()?;
        (symmetric && self.draft.at(x).element == Element::I8).then_some((x, scale))
    }
}

/// Whether there is a scale for each filter or column.
fn scales_fit(operation: &Operation, quantized: &Quantized) -> bool {
    let (channels, inner) = match operation {
        Operation::Convolution(convolution) => {
            let taps = convolution.kernel[0] * convolution.kernel[1];
            (convolution.filters, convolution.channels / convolution.groups * taps)
        }
        Operation::Product(product) => (product.columns, if product.transposed[1] { product.depth } else { 1 }),
        _ => return false,
    };
    quantized.scales.len() == channels && quantized.inner == inner
}
