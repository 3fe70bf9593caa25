//! From a graph and the shapes of its inputs to a plan: steps in order, each with all its sizes, and a place in memory for
//! every value. A plan holds for these shapes only; those of other batches are made beside it. Pure: no GPU is needed to make
//! one, nor to compute it as its CPU twin does.

mod assemble;
mod bind;
mod draft;
pub mod memory;
pub mod operation;
mod rewrite;
#[cfg(test)]
pub(crate) mod tests;
pub mod twin;

use std::sync::Arc;

use self::operation::Operation;
use crate::gpu::graph::Graph;
use crate::gpu::graph::tensor::{Element, Tensor};

/// In what real numbers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// In 32 bits.
    #[default]
    Fp32,
    /// In 16 bits; sums are FP32.
    Fp16,
}

impl Precision {
    /// The type of real numbers.
    pub fn real(self) -> Element {
        match self {
            Self::Fp32 => Element::F32,
            Self::Fp16 => Element::F16,
        }
    }
}

/// How a plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// In what real numbers are kept.
    pub precision: Precision,
    /// Whether what lies between a dequantisation and a quantisation is computed in integers where that is exact.
    pub int8: bool,
    /// Whether operations are put together and what is known is computed beforehand. Without, a plan has one step for each
    /// operator, which is what the other is compared with.
    pub optimised: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { precision: Precision::Fp32, int8: false, optimised: true }
    }
}

/// Where a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Among the constants.
    Constant(usize),
    /// In the arena, so many bytes from its beginning.
    Arena(usize),
}

/// A value as a step finds it in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operand {
    /// Where it is.
    pub place: Place,
    /// What its elements are.
    pub element: Element,
    /// How many there are.
    pub count: usize,
}

impl Operand {
    /// Its size.
    pub fn bytes(self) -> usize {
        self.count * self.element.bytes()
    }
}

/// One computation with what it reads and writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What is computed.
    pub operation: Operation,
    /// What it reads, in the order that the operation says.
    pub inputs: Vec<Operand>,
    /// What it writes: all of it.
    pub output: Operand,
}

/// Something that is known before a plan runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// Its values.
    pub tensor: Arc<Tensor>,
    /// What its elements are on the device.
    pub element: Element,
    /// SHA-256 of its bytes there and their type: what has the same is kept once, whatever plans it belongs to.
    pub digest: [u8; 32],
}

/// An input or output of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlet {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Where it is put before the first step, or found after the last.
    pub operand: Operand,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What is computed, in order.
    pub steps: Vec<Step>,
    /// What is known.
    pub constants: Vec<Constant>,
    /// What it takes.
    pub inputs: Vec<Outlet>,
    /// What it gives.
    pub outputs: Vec<Outlet>,
    /// Size of the memory that all values share.
    pub arena_bytes: usize,
    /// What all values would take if none shared.
    pub values_bytes: usize,
    /// The type of real numbers.
    pub real: Element,
}

impl Plan {
    /// Bytes of all constants.
    pub fn constant_bytes(&self) -> usize {
        self.constants.iter().map(|constant| constant.tensor.data().len() * constant.element.bytes()).sum()
    }
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The inputs are not those of the graph.
    #[error("{0}")]
    Inputs(String),
    /// A node cannot be computed with such shapes, or not at all.
    #[error("{operator} '{node}': {what}")]
    Node {
        /// Its operator.
        operator: String,
        /// Its name.
        node: String,
        /// What is wrong.
        what: String,
    },
    /// The graph is too long.
    #[error("{steps} steps are more than {most}")]
    Steps {
        /// How many.
        steps: usize,
        /// How many there may be.
        most: usize,
    },
}

/// Makes a plan. `shapes` are those of the graph's inputs, in order.
///
/// # Errors
/// When the shapes do not fit the graph or each other, or something in it is not computed; which node, is said.
pub fn plan(graph: &Graph, shapes: &[Vec<usize>], settings: Settings) -> Result<Plan, PlanError> {
    if graph.nodes.len() > assemble::MOST_STEPS {
        return Err(PlanError::Steps { steps: graph.nodes.len(), most: assemble::MOST_STEPS });
    }
    let mut bound = bind::bind(graph, shapes, settings.optimised)?;
    assemble::refuse_empty(graph, &mut bound)?;
    if settings.optimised {
        rewrite::rewrite(&mut bound.draft, &mut bound.outputs, settings.int8);
    }
    assemble::assemble(graph, bound, settings.precision.real())
}
