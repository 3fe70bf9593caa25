//! From a draft to a plan: the type that each value has on the device, and its place in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::bind::Bound;
use super::draft::{Op, StorageId, Value};
use super::memory::{self, Span, aligned};
use super::operation::Operation;
use super::rewrite::wanted;
use super::{Constant, Operand, Outlet, Place, Plan, PlanError, Step};
use crate::gpu::graph::tensor::{Element, Tensor};
use crate::gpu::graph::{Graph, Port};

/// Steps of a plan. Placing values takes the square of it.
pub(super) const MOST_STEPS: usize = 1 << 13;

pub(super) fn assemble(graph: &Graph, bound: Bound, real: Element) -> Result<Plan, PlanError> {
    let Bound { draft, inputs, outputs } = bound;
    let elements = draft.storages.iter().map(|storage| if storage.element.is_real() { real } else { storage.element });
    let constants = draft.storages.iter().map(|storage| storage.constant.clone());
    let mut assembly = Assembly {
        graph,
        real,
        elements: elements.collect(),
        counts: draft.storages.iter().map(|storage| storage.count).collect(),
        constants: constants.collect(),
        ops: wanted(draft.ops, draft.storages.len(), &outputs),
    };
    let inputs = assembly.take_as_declared(&inputs);
    let outputs = assembly.give_as_declared(&outputs)?;
    assembly.check()?;
    assembly.finish(&inputs, &outputs)
}

/// Refuses what computes with nothing before anything trusts its sizes: beside a 0, the other dimensions may be any.
/// What nobody wants goes away first.
pub(super) fn refuse_empty(graph: &Graph, bound: &mut Bound) -> Result<(), PlanError> {
    let draft = &mut bound.draft;
    draft.ops = wanted(std::mem::take(&mut draft.ops), draft.storages.len(), &bound.outputs);
    let empty = draft.ops.iter().find(|op| is_empty(op, |id| draft.at(id).count));
    empty.map_or(Ok(()), |op| Err(wrong(graph, op, EMPTY.to_owned())))
}

const EMPTY: &str = "computes with a value that has no elements";

fn is_empty(op: &Op, count: impl Fn(StorageId) -> usize) -> bool {
    op.inputs.iter().chain([&op.output]).any(|id| count(*id) == 0)
}

fn wrong(graph: &Graph, op: &Op, what: String) -> PlanError {
    match graph.nodes.get(op.node) {
        Some(node) => PlanError::Node { operator: node.kind.clone(), node: node.name.to_string(), what },
        None => PlanError::Inputs(what),
    }
}

/// A plan whose values have no places yet.
struct Assembly<'a> {
    graph: &'a Graph,
    real: Element,
    /// By storage: its type on the device.
    elements: Vec<Element>,
    counts: Vec<usize>,
    constants: Vec<Option<Arc<Tensor>>>,
    ops: Vec<Op>,
}

impl Assembly<'_> {
    fn storage(&mut self, element: Element, count: usize) -> StorageId {
        self.elements.push(element);
        self.counts.push(count);
        self.constants.push(None);
        StorageId(self.elements.len() - 1)
    }

    fn cast(&self, input: StorageId, output: StorageId) -> Op {
        Op { operation: Operation::Cast { count: self.counts[input.0] }, inputs: vec![input], output, node: usize::MAX }
    }

    /// Inputs come in the type that the graph declares.
    fn take_as_declared(&mut self, inputs: &[Value]) -> Vec<Value> {
        let mut casts = Vec::new();
        let mut taken = Vec::with_capacity(inputs.len());
        for (port, value) in self.graph.inputs.iter().zip(inputs) {
            let id = value.storage;
            let mut outside = value.clone();
            if port.element != self.elements[id.0] {
                outside.storage = self.storage(port.element, self.counts[id.0]);
                casts.push(self.cast(outside.storage, id));
            }
            taken.push(outside);
        }
        self.ops.splice(0..0, casts);
        taken
    }

    /// Outputs are given in the type that the graph declares.
    fn give_as_declared(&mut self, outputs: &[Value]) -> Result<Vec<Value>, PlanError> {
        let mut given = Vec::with_capacity(outputs.len());
        for (port, value) in self.graph.outputs.iter().zip(outputs) {
            let (id, mut outside) = (value.storage, value.clone());
            let element = self.elements[id.0];
            if port.element.is_real() != element.is_real() || (!element.is_real() && element != port.element) {
                return Err(PlanError::Inputs(format!(
                    "output '{}' is declared {} and computed as {}",
                    port.name,
                    port.element.as_str(),
                    element.as_str()
                )));
            }
            if port.element != element {
                outside.storage = self.storage(port.element, self.counts[id.0]);
                match self.constants[id.0].clone() {
                    Some(known) => self.constants[outside.storage.0] = Some(known),
                    None => self.ops.push(self.cast(id, outside.storage)),
                }
            }
            given.push(outside);
        }
        Ok(given)
    }

    /// Whether a device computes all that.
    fn check(&self) -> Result<(), PlanError> {
        if self.ops.len() > MOST_STEPS {
            return Err(PlanError::Steps { steps: self.ops.len(), most: MOST_STEPS });
        }
        for op in &self.ops {
            if is_empty(op, |id| self.counts[id.0]) {
                return Err(wrong(self.graph, op, EMPTY.to_owned()));
            }
            for (at, id) in op.inputs.iter().enumerate() {
                let element = self.elements[id.0];
                let what = || format!("computes with {} that is not known before it runs", element.as_str());
                if !op.operation.takes(at, element) {
                    return Err(wrong(self.graph, op, what()));
                }
                let exact = op.operation.keeps_precision(at) && element.is_real() && element != Element::F32;
                if exact && self.constants[id.0].is_none() {
                    let what = "has a scale or a bias that is not known before it runs";
                    return Err(wrong(self.graph, op, what.to_owned()));
                }
            }
        }
        Ok(())
    }

    fn bytes(&self, id: StorageId) -> usize {
        self.counts[id.0] * self.elements[id.0].bytes()
    }

    fn finish(self, inputs: &[Value], outputs: &[Value]) -> Result<Plan, PlanError> {
        let lives = Lives::of(&self, inputs, outputs);
        let (offsets, arena_bytes) = memory::place(&lives.spans);
        let mut known = Known::default();
        let mut operand = |id: StorageId, exact: bool| -> Result<Operand, PlanError> {
            let mut element = self.elements[id.0];
            let place = match (&self.constants[id.0], lives.buffer[id.0]) {
                (Some(tensor), _) => {
                    element = if exact && element.is_real() { Element::F32 } else { element };
                    Place::Constant(known.index(id, tensor, element))
                }
                (None, Some(buffer)) => Place::Arena(offsets[buffer]),
                (None, None) => return Err(PlanError::Inputs("a value is taken that nothing gives".to_owned())),
            };
            Ok(Operand { place, element, count: self.counts[id.0] })
        };
        let mut steps = Vec::with_capacity(self.ops.len());
        for op in &self.ops {
            let read = op.inputs.iter().enumerate().map(|(at, id)| operand(*id, op.operation.keeps_precision(at)));
            let inputs = read.collect::<Result<_, _>>()?;
            steps.push(Step { operation: op.operation.clone(), inputs, output: operand(op.output, false)? });
        }
        let mut outlets = |ports: &[Port], values: &[Value]| -> Result<Vec<Outlet>, PlanError> {
            let outlet = |(port, value): (&Port, &Value)| {
                let operand = operand(value.storage, false)?;
                Ok(Outlet { name: port.name.clone(), shape: value.shape.clone(), operand })
            };
            ports.iter().zip(values).map(outlet).collect()
        };
        let inputs = outlets(&self.graph.inputs, inputs)?;
        let outputs = outlets(&self.graph.outputs, outputs)?;
        let (constants, values_bytes) = (known.constants, lives.values_bytes);
        Ok(Plan { steps, constants, inputs, outputs, arena_bytes, values_bytes, real: self.real })
    }
}

/// The constants of a plan, each once.
#[derive(Default)]
struct Known {
    constants: Vec<Constant>,
    indices: BTreeMap<(StorageId, Element), usize>,
}

impl Known {
    fn index(&mut self, id: StorageId, tensor: &Arc<Tensor>, element: Element) -> usize {
        *self.indices.entry((id, element)).or_insert_with(|| {
            let digest = Sha256::new().chain_update([element as u8]).chain_update(tensor.data().to_bytes(element));
            let digest = digest.finalize().into();
            self.constants.push(Constant { tensor: Arc::clone(tensor), element, digest });
            self.constants.len() - 1
        })
    }
}

/// Which storages share a buffer, and how long each buffer is wanted.
struct Lives {
    /// By storage, if it is in the arena.
    buffer: Vec<Option<usize>>,
    spans: Vec<Span>,
    values_bytes: usize,
}

impl Lives {
    fn of(assembly: &Assembly<'_>, inputs: &[Value], outputs: &[Value]) -> Self {
        let end = assembly.ops.len();
        let mut last_use: Vec<Option<usize>> = vec![None; assembly.elements.len()];
        for (at, op) in assembly.ops.iter().enumerate() {
            op.inputs.iter().for_each(|id| last_use[id.0] = Some(at));
        }
        outputs.iter().for_each(|value| last_use[value.storage.0] = Some(end));
        let mut lives = Self { buffer: vec![None; assembly.elements.len()], spans: Vec::new(), values_bytes: 0 };
        // All inputs are there before the first step.
        inputs.iter().for_each(|value| lives.begin(assembly, value.storage, 0, &last_use));
        for (at, op) in assembly.ops.iter().enumerate() {
            match lives.in_place(assembly, op, at, &last_use) {
                Some(buffer) => {
                    lives.values_bytes += aligned(assembly.bytes(op.output));
                    lives.buffer[op.output.0] = Some(buffer);
                    lives.spans[buffer].last = last_use[op.output.0].unwrap_or(at);
                }
                None => lives.begin(assembly, op.output, at, &last_use),
            }
        }
        lives
    }

    fn begin(&mut self, assembly: &Assembly<'_>, id: StorageId, at: usize, last_use: &[Option<usize>]) {
        if self.buffer[id.0].is_some() {
            return;
        }
        let bytes = assembly.bytes(id);
        self.values_bytes += aligned(bytes);
        self.buffer[id.0] = Some(self.spans.len());
        self.spans.push(Span { bytes, first: at, last: last_use[id.0].unwrap_or(at) });
    }

    /// The buffer of an input that nobody wants after this step, if its output may overwrite it.
    fn in_place(&self, assembly: &Assembly<'_>, op: &Op, at: usize, last_use: &[Option<usize>]) -> Option<usize> {
        let allowed = op.operation.in_place();
        allowed.iter().find_map(|&input| {
            let id = *op.inputs.get(input)?;
            let elsewhere = op.inputs.iter().enumerate().any(|(at, other)| *other == id && !allowed.contains(&at));
            let same_size = assembly.bytes(id) == assembly.bytes(op.output);
            let ends = last_use[id.0] == Some(at);
            (ends && same_size && !elsewhere).then(|| self.buffer[id.0]).flatten()
        })
    }
}
