//! A plan while it is made: values that share storage, and operations in order. What is known beforehand is computed at
//! once. Real numbers have one type here; which one they have on the device is decided at the end.

use std::sync::Arc;

use super::operation::Operation;
use super::twin;
use crate::gpu::graph::tensor::{Data, Element, Tensor, elements};

/// Elements of one value: kernels count them in 31 bits.
pub(super) const MOST_ELEMENTS: usize = (1 << 31) - 1;
/// Multiplications that computing things beforehand may take, all of them together.
const MOST_FOLDED_WORK: usize = 1 << 30;
/// Elements of all that is computed beforehand, and kept.
const MOST_FOLDED_ELEMENTS: usize = 1 << 27;

/// Where a value is kept; several may be in the same place in other shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StorageId(pub(super) usize);

/// What is known of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    pub(super) storage: StorageId,
    pub(super) shape: Vec<usize>,
}

/// What is known of a storage.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    /// Real numbers are `F32` in a draft.
    pub(super) element: Element,
    pub(super) count: usize,
    /// Its content, if it is known beforehand.
    pub(super) constant: Option<Arc<Tensor>>,
    /// What the constant was before it was dequantised.
    pub(super) quantized: Option<Quantized>,
}

/// 8-bit weights whose real values are known too.
#[derive(Debug, Clone)]
pub(super) struct Quantized {
    pub(super) storage: StorageId,
    /// One for all, or one for each along a dimension.
    pub(super) scales: Vec<f32>,
    /// Elements between two that have neighbouring scales.
    pub(super) inner: usize,
    /// Whether real 0 is 0.
    pub(super) symmetric: bool,
}

/// An operation in its place.
#[derive(Debug, Clone)]
pub(super) struct Op {
    pub(super) operation: Operation,
    pub(super) inputs: Vec<StorageId>,
    pub(super) output: StorageId,
    /// Which node of the graph it came from.
    pub(super) node: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) storages: Vec<Storage>,
    pub(super) ops: Vec<Op>,
    /// Whether real numbers are computed beforehand too.
    folds_reals: bool,
    /// The node that is at work.
    pub(super) node: usize,
    folded_work: usize,
    folded_elements: usize,
}

impl Draft {
    pub(super) fn new(folds_reals: bool) -> Self {
        Self { folds_reals, ..Self::default() }
    }

    fn storage(&mut self, element: Element, count: usize, constant: Option<Arc<Tensor>>) -> StorageId {
        self.storages.push(Storage { element, count, constant, quantized: None });
        StorageId(self.storages.len() - 1)
    }

    pub(super) fn at(&self, id: StorageId) -> &Storage {
        &self.storages[id.0]
    }

    /// A value that comes from outside.
    pub(super) fn input(&mut self, element: Element, shape: Vec<usize>) -> Result<Value, String> {
        let count = counted(&shape)?;
        let element = if element.is_real() { Element::F32 } else { element };
        Ok(Value { storage: self.storage(element, count, None), shape })
    }

    /// A value that is known.
    pub(super) fn constant(&mut self, tensor: Arc<Tensor>) -> Value {
        let element = if tensor.element().is_real() { Element::F32 } else { tensor.element() };
        let shape = tensor.shape().to_vec();
        Value { storage: self.storage(element, tensor.data().len(), Some(tensor)), shape }
    }

    /// A value that is known, made here; takes its share of what may be.
    pub(super) fn reals(&mut self, shape: Vec<usize>, numbers: Vec<f32>) -> Result<Value, String> {
        self.room_for(numbers.len())?;
        let tensor = Tensor::new(Element::F32, shape, Data::Real(numbers)).ok_or("a constant of another size")?;
        Ok(self.constant(Arc::new(tensor)))
    }

    /// The elements of a value.
    pub(super) fn element(&self, value: &Value) -> Element {
        self.at(value.storage).element
    }

    /// What is known of a value's content; its own shape is that of the value, not of this.
    pub(super) fn known(&self, value: &Value) -> Option<&Arc<Tensor>> {
        self.at(value.storage).constant.as_ref()
    }

    /// Whole numbers that must be known.
    pub(super) fn wholes(&self, value: &Value, what: &str) -> Result<Vec<i64>, String> {
        let known = self.known(value).and_then(|tensor| tensor.wholes());
        known
            .map(<[i64]>::to_vec)
            .ok_or_else(|| format!("its {what} must be whole numbers that do not depend on values"))
    }

    /// Real numbers that must be known.
    pub(super) fn known_reals(&self, value: &Value, what: &str) -> Result<Vec<f32>, String> {
        let known = self.known(value).and_then(|tensor| tensor.reals());
        known.map(<[f32]>::to_vec).ok_or_else(|| format!("its {what} must be numbers that do not depend on values"))
    }

    /// The same elements in other dimensions: nothing is computed.
    pub(super) fn view(&self, value: &Value, shape: Vec<usize>) -> Result<Value, String> {
        if elements(&shape) == Some(self.at(value.storage).count) {
            return Ok(Value { storage: value.storage, shape });
        }
        Err(format!("shape {:?} does not hold what {shape:?} does", value.shape))
    }

    /// What an operation gives: computed now if all it takes is known, else later.
    pub(super) fn compute(
        &mut self,
        operation: Operation,
        inputs: &[&Value],
        element: Element,
        shape: Vec<usize>,
    ) -> Result<Value, String> {
        let count = counted(&shape)?;
        let element = if element.is_real() { Element::F32 } else { element };
        let inputs: Vec<StorageId> = inputs.iter().map(|value| value.storage).collect();
        let known: Option<Vec<Arc<Tensor>>> = inputs.iter().map(|id| self.at(*id).constant.clone()).collect();
        let known = known.filter(|_| self.folds_reals || !element.is_real());
        let empty = count == 0 || inputs.iter().any(|id| self.at(*id).count == 0);
        if count == 0 && known.is_some() && !element.is_real() {
            // A list of no dimensions, as exporters compute with; its other dimensions may be any, so nothing walks them.
            let tensor =
                Tensor::new(element, shape, Data::Whole(Vec::new())).ok_or("it gave something of another size")?;
            return Ok(self.constant(Arc::new(tensor)));
        }
        if let Some(known) = known.filter(|_| !empty && self.may_fold(&operation, count)) {
            let data: Vec<&Data> = known.iter().map(|tensor| tensor.data()).collect();
            let data = twin::compute(&operation, &data, count, element)?;
            let tensor = Tensor::new(element, shape, data).ok_or("it gave something of another size")?;
            let value = self.constant(Arc::new(tensor));
            self.remember_quantized(&operation, &inputs, value.storage);
            return Ok(value);
        }
        let output = self.storage(element, count, None);
        self.ops.push(Op { operation, inputs, output, node: self.node });
        Ok(Value { storage: output, shape })
    }

    /// Whether there is patience and room left to compute something beforehand; takes its share if there is.
    fn may_fold(&mut self, operation: &Operation, count: usize) -> bool {
        let total_work = self.folded_work.saturating_add(work(operation, count));
        let may = total_work <= MOST_FOLDED_WORK && self.may_keep(count);
        if may {
            self.folded_work = total_work;
        }
        may
    }

    /// Whether there is room left for so many elements that are made beforehand.
    pub(super) fn has_room(&self, count: usize) -> bool {
        self.folded_elements.saturating_add(count) <= MOST_FOLDED_ELEMENTS
    }

    /// The same; takes its share if there is.
    pub(super) fn may_keep(&mut self, count: usize) -> bool {
        let may = self.has_room(count);
        if may {
            self.folded_elements += count;
        }
        may
    }

    /// Takes room for what cannot be left for later.
    pub(super) fn room_for(&mut self, count: usize) -> Result<(), String> {
        let refused = || format!("more than {MOST_FOLDED_ELEMENTS} elements would be made before the graph runs");
        self.may_keep(count).then_some(()).ok_or_else(refused)
    }

    /// Leaves room for so many elements.
    #[cfg(test)]
    pub(super) fn leave_room(&mut self, count: usize) {
        self.folded_elements = MOST_FOLDED_ELEMENTS - count;
    }

    /// Weights that come dequantised may be wanted as they were.
    fn remember_quantized(&mut self, operation: &Operation, inputs: &[StorageId], output: StorageId) {
        let (Operation::Dequantize(along), [weights, scale, zero @ ..]) = (operation, inputs) else { return };
        let scales = self.at(*scale).constant.as_ref().and_then(|tensor| tensor.reals()).map(<[f32]>::to_vec);
        let zeros = zero.first().and_then(|zero| self.at(*zero).constant.as_ref()?.wholes());
        let symmetric = zeros.is_none_or(|zeros| zeros.iter().all(|zero| *zero == 0));
        if let Some(scales) = scales {
            let quantized = Quantized { storage: *weights, scales, inner: along.inner, symmetric };
            self.storages[output.0].quantized = Some(quantized);
        }
    }
}

/// How many elements a shape has, if that many can be computed with.
pub(super) fn counted(shape: &[usize]) -> Result<usize, String> {
    let count = elements(shape).filter(|count| *count <= MOST_ELEMENTS);
    count.ok_or_else(|| format!("a value of shape {shape:?} has more than {MOST_ELEMENTS} elements"))
}

/// Multiplications, roughly.
fn work(operation: &Operation, count: usize) -> usize {
    let each = match operation {
        Operation::Convolution(convolution) => {
            convolution.kernel[0].saturating_mul(convolution.kernel[1]).saturating_mul(convolution.channels)
        }
        Operation::Product(product) => product.depth,
        Operation::Pool(pool) => pool.kernel[0].saturating_mul(pool.kernel[1]),
        Operation::Reduce { along, .. } => along.axis,
        _ => 1,
    };
    count.saturating_mul(each)
}
