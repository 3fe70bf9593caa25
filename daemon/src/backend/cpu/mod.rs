//! ONNX graphs on the CPU, by rten. Requests are joined along the batch dimension, computed once and taken apart
//! again. Conversions between the wire's types and rten's are in `convert`.

mod convert;
mod graphs;

use std::sync::Arc;

use proofload_wire::tensor::Tensor;
use rten::{Model, NodeId, RunOptions, ThreadPool, Value, ValueOrView};

use self::convert::{Kind, gather, scatter};
pub use self::graphs::Graphs;
use super::{Backend, BackendError, Request, Stages, joined};
use crate::repository::spec::{ModelSpec, TensorSpec};

/// Why a model cannot run on the CPU.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    /// The file is no ONNX model that rten can run.
    #[error("cannot load the ONNX model: {0}")]
    Load(String),
    /// The configuration names a tensor that the model lacks.
    #[error("the model has no {direction} '{name}'; it has {known}")]
    NoTensor {
        /// "input" or "output".
        direction: &'static str,
        /// The name in the configuration.
        name: String,
        /// What the model has.
        known: String,
    },
    /// A type that rten cannot compute with.
    #[error(
        "'{name}' is {datatype}, which rten, the built-in engine, does not compute with; it takes FP32, FP64 (as FP32), \
         INT32, INT64 (as INT32), INT8, UINT8 and BOOL. ONNX Runtime computes with all types: 'models.onnxruntime' names \
         its library"
    )]
    Datatype {
        /// The tensor.
        name: String,
        /// Its declared type.
        datatype: &'static str,
    },
}

/// A tensor of the configuration, found in the graph.
#[derive(Clone)]
struct Port {
    node: NodeId,
    kind: Kind,
    spec: TensorSpec,
}

/// A loaded graph, shared by the instances of a model.
pub struct CpuModel {
    model: Arc<Model>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    output_nodes: Vec<NodeId>,
    batched: bool,
    pool: Arc<ThreadPool>,
}

impl CpuModel {
    /// Loads a graph, or takes it out of `graphs`; it computes on the threads of `pool`.
    ///
    /// # Errors
    /// When it cannot be loaded, or does not have the inputs and outputs that the configuration declares.
    pub fn load(
        onnx: Vec<u8>,
        spec: &ModelSpec,
        graphs: &Graphs,
        pool: Arc<ThreadPool>,
    ) -> Result<Arc<Self>, CpuError> {
        // First of all: for a type that it lacks, rten may lack the operators too, and would name only those.
        spec.inputs.iter().chain(&spec.outputs).try_for_each(|tensor| kind(tensor).map(drop))?;
        let model = graphs.get(spec.digest, onnx)?;
        let inputs = ports(&model, "input", model.input_ids(), &spec.inputs)?;
        let outputs = ports(&model, "output", model.output_ids(), &spec.outputs)?;
        let output_nodes = outputs.iter().map(|port| port.node).collect();
        Ok(Arc::new(Self { model, inputs, outputs, output_nodes, batched: spec.batched(), pool }))
    }

    fn run(&self, inputs: Vec<(NodeId, Value)>) -> Result<Vec<Value>, BackendError> {
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.pool)));
        let inputs = inputs.into_iter().map(|(node, value)| (node, ValueOrView::from(value))).collect();
        let outputs = self.model.run(inputs, &self.output_nodes, Some(options));
        outputs.map_err(|error| BackendError::Model(error.to_string()))
    }
}

fn ports(
    model: &Model,
    direction: &'static str,
    nodes: &[NodeId],
    specs: &[TensorSpec],
) -> Result<Vec<Port>, CpuError> {
    let name_of = |node: &NodeId| model.node_info(*node).and_then(|info| info.name().map(str::to_owned));
    let port = |spec: &TensorSpec| {
        let node = nodes.iter().copied().find(|node| name_of(node).as_deref() == Some(&spec.name));
        let node = node.ok_or_else(|| CpuError::NoTensor {
            direction,
            name: spec.name.clone(),
            known: nodes.iter().filter_map(name_of).collect::<Vec<_>>().join(", "),
        })?;
        Ok(Port { node, kind: kind(spec)?, spec: spec.clone() })
    };
    specs.iter().map(port).collect()
}

fn kind(spec: &TensorSpec) -> Result<Kind, CpuError> {
    let unsupported = || CpuError::Datatype { name: spec.name.clone(), datatype: spec.datatype.as_str() };
    Kind::of(spec.datatype).ok_or_else(unsupported)
}

/// An instance of a graph.
pub struct Cpu {
    model: Arc<CpuModel>,
}

impl Cpu {
    /// One more instance.
    pub fn new(model: Arc<CpuModel>) -> Self {
        Self { model }
    }
}

impl Backend for Cpu {
    fn execute(&mut self, requests: &[Request], stages: &mut Stages) -> Result<Vec<Vec<Tensor>>, BackendError> {
        let batched = self.model.batched;
        let elements: Vec<u32> = requests.iter().map(|request| request.elements).collect();
        let joined = self.model.inputs.iter().enumerate();
        let inputs = joined.map(|(index, port)| Ok((port.node, join(port, index, requests, batched)?)));
        let inputs = inputs.collect::<Result<Vec<_>, BackendError>>()?;
        stages.compute_begins();
        let values = self.model.run(inputs)?;
        stages.compute_ends();
        let mut answers: Vec<Vec<Tensor>> = requests.iter().map(|_| Vec::with_capacity(values.len())).collect();
        for (port, value) in self.model.outputs.iter().zip(values) {
            let parts = split(port, value, &elements, batched)?;
            answers.iter_mut().zip(parts).for_each(|(answer, part)| answer.push(part));
        }
        Ok(answers)
    }

    fn runs_anywhere(&self) -> bool {
        true
    }
}

/// Input number `index` of all requests as one value of the graph.
fn join(port: &Port, index: usize, requests: &[Request], batched: bool) -> Result<Value, BackendError> {
    let (parts, shape) = joined::join(&port.spec, index, requests, batched)?;
    let shape: Vec<usize> = shape.into_iter().filter_map(|size| usize::try_from(size).ok()).collect();
    let wrong = |what| BackendError::Input { tensor: port.spec.name.clone(), what };
    gather(port.kind, &parts, &shape).map_err(wrong)
}

/// An output of the graph as one tensor for each request.
fn split(port: &Port, value: Value, elements: &[u32], batched: bool) -> Result<Vec<Tensor>, BackendError> {
    let wrong = |what: String| BackendError::Output { tensor: port.spec.name.clone(), what };
    let (shape, data) = scatter(port.kind, value).map_err(wrong)?;
    joined::split(&port.spec, &shape, &data, elements, batched)
}
