//! ONNX graphs on a GPU, by our own executor. Requests are joined in the memory that the GPU copies from; types are those of
//! the graph, as they are. A batch for which there is no memory is computed in halves. What is computed, and how, is `gpu`'s
//! affair.

use std::sync::Arc;

use bytes::Bytes;
use proofload_wire::tensor::{DataType, Tensor};

use super::{Backend, BackendError, Request, Stages, joined};
use crate::gpu::cuda::{Asked, CudaError, Device, Instance, Model};
use crate::gpu::graph::Port;
use crate::gpu::graph::tensor::Element;
use crate::gpu::memory::admission::TooLarge;
use crate::gpu::plan::{Precision, Settings};
use crate::profile::file::{Curve, Host};
use crate::repository::spec::{ModelSpec, TensorSpec};

/// Parameter of an ONNX model: in what a GPU keeps real numbers.
pub const PRECISION: &str = "precision";

/// Why a model does not run on a GPU.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CudaModelError {
    /// The executor cannot compute it.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// The GPU has no room for it.
    #[error(transparent)]
    TooLarge(Box<TooLarge>),
    /// The configuration does not declare what the model takes.
    #[error("the configuration declares no input '{name}' of type {element}, which the model takes")]
    Undeclared {
        /// Its name in the model.
        name: String,
        /// Its type there.
        element: &'static str,
    },
    /// The configuration declares what the model does not give.
    #[error("the model has no output '{name}' of type {datatype}")]
    Absent {
        /// Its name in the configuration.
        name: String,
        /// Its type there.
        datatype: &'static str,
    },
    /// A parameter that cannot be meant so.
    #[error("parameter '{PRECISION}' must be \"fp32\" or \"fp16\", not '{0}'")]
    Precision(String),
}

/// A graph that instances of a model share.
pub struct CudaModel {
    model: Arc<Model>,
    /// By input of the graph: which of the configuration's it is.
    inputs: Vec<usize>,
    /// By output of the configuration: which of the graph's it is.
    outputs: Vec<usize>,
    specs: (Vec<TensorSpec>, Vec<TensorSpec>),
    batched: bool,
}

impl CudaModel {
    /// Reads a graph for a GPU.
    ///
    /// # Errors
    /// When it has an operator that is not computed, or does not have what the configuration declares.
    pub fn new(onnx: Bytes, spec: &ModelSpec, device: &Arc<Device>, host: &Host) -> Result<Arc<Self>, CudaModelError> {
        let settings = Settings { precision: precision(spec)?, ..Settings::default() };
        let file_bytes = onnx.len();
        let model = Model::new(&spec.name, spec.max_batch_size, onnx, device, settings)?;
        let graph = model.graph();
        let declared = |port: &Port| {
            let found = spec.inputs.iter().position(|spec| spec.name == port.name && matches(port, spec));
            found.ok_or_else(|| CudaModelError::Undeclared { name: port.name.clone(), element: port.element.as_str() })
        };
        let inputs = graph.inputs.iter().map(declared).collect::<Result<Vec<usize>, _>>()?;
        let find = |wanted: &TensorSpec| {
            let found = graph.outputs.iter().position(|port| port.name == wanted.name && matches(port, wanted));
            let absent = || CudaModelError::Absent { name: wanted.name.clone(), datatype: wanted.datatype.as_str() };
            found.ok_or_else(absent)
        };
        let outputs = spec.outputs.iter().map(find).collect::<Result<_, _>>()?;
        model.admit(&spec.name, &asked(spec, &inputs, file_bytes)).map_err(CudaModelError::TooLarge)?;
        let specs = (spec.inputs.clone(), spec.outputs.clone());
        let measured = spec.profile.as_ref().and_then(|profile| profile.curve(host, "cuda", spec.precision()));
        let model = Arc::new(model.timed(measured.map(Curve::timed).unwrap_or_default()));
        Ok(Arc::new(Self { model, inputs, outputs, specs, batched: spec.batched() }))
    }
}

/// How a model will be asked, as far as its configuration says: sizes that it leaves open are those of its first warm-up
/// sample. `inputs` says which of the configuration's each input of the graph is.
fn asked(spec: &ModelSpec, inputs: &[usize], file_bytes: usize) -> Asked {
    let sample = |at: usize| spec.warm_up.first().and_then(|sample| sample.inputs.get(at));
    let shape = |&at: &usize| {
        let declared = &spec.inputs[at];
        let dims = declared.reshape.as_ref().unwrap_or(&declared.dims).clone();
        let known = sample(at).map(|tensor| &tensor.shape[usize::from(spec.batched()).min(tensor.shape.len())..]);
        let open = |(index, size): (usize, &i64)| match usize::try_from(*size) {
            Ok(size) => size,
            Err(_) => known.and_then(|known| usize::try_from(*known.get(index)?).ok()).unwrap_or(1),
        };
        let sizes = dims.iter().enumerate().map(open);
        spec.batched().then_some(1).into_iter().chain(sizes).collect()
    };
    let (shapes, max_batch) = (inputs.iter().map(shape).collect(), spec.max_batch_size);
    Asked { shapes, max_batch, instances: spec.instances, file_bytes }
}

fn precision(spec: &ModelSpec) -> Result<Precision, CudaModelError> {
    match spec.precision() {
        "fp32" => Ok(Precision::Fp32),
        "fp16" => Ok(Precision::Fp16),
        other => Err(CudaModelError::Precision(other.to_owned())),
    }
}

fn matches(port: &Port, spec: &TensorSpec) -> bool {
    let datatype = match port.element {
        Element::F32 => DataType::Fp32,
        Element::F16 => DataType::Fp16,
        Element::I8 => DataType::Int8,
        Element::U8 => DataType::Uint8,
        Element::I32 => DataType::Int32,
        Element::I64 => DataType::Int64,
        Element::Bool => DataType::Bool,
    };
    datatype == spec.datatype
}

/// An instance of a graph.
pub struct CudaInstance {
    model: Arc<CudaModel>,
    instance: Instance,
}

impl CudaInstance {
    /// One more instance.
    ///
    /// # Errors
    /// When the GPU refuses.
    pub fn new(model: Arc<CudaModel>) -> Result<Self, CudaModelError> {
        let instance = Instance::new(Arc::clone(&model.model))?;
        Ok(Self { model, instance })
    }
}

impl Backend for CudaInstance {
    fn largest_batch(&self, waiting: u64) -> Option<u32> {
        Some(self.instance.largest_batch(waiting))
    }

    fn execute(&mut self, requests: &[Request], stages: &mut Stages) -> Result<Vec<Vec<Tensor>>, BackendError> {
        if let [Request { errand: Some(errand), .. }] = requests {
            return errand.run(&mut self.instance).map(|()| vec![Vec::new()]);
        }
        match self.compute(requests, stages)? {
            Ok(answers) => Ok(answers),
            Err(short @ CudaError::Memory { .. }) => self.in_halves(requests, stages, &short),
            Err(other) => Err(BackendError::Model(other.to_string())),
        }
    }
}

impl CudaInstance {
    /// All of them at once. What the GPU says against it is told from what is wrong with the requests.
    fn compute(
        &mut self,
        requests: &[Request],
        stages: &mut Stages,
    ) -> Result<Result<Vec<Vec<Tensor>>, CudaError>, BackendError> {
        let Self { model, instance } = self;
        let (specs, batched) = (&model.specs, model.batched);
        let mut parts = Vec::with_capacity(model.inputs.len());
        for &at in &model.inputs {
            parts.push(joined::join(&specs.0[at], at, requests, batched)?);
        }
        let outputs = match run(instance, &parts, stages) {
            Ok(outputs) => outputs,
            Err(error) => return Ok(Err(error)),
        };
        let elements: Vec<u32> = requests.iter().map(|request| request.elements).collect();
        let mut answers: Vec<Vec<Tensor>> = requests.iter().map(|_| Vec::with_capacity(outputs.len())).collect();
        for (spec, &at) in specs.1.iter().zip(&model.outputs) {
            let parts = joined::split(spec, &outputs[at].0, &outputs[at].1, &elements, batched)?;
            answers.iter_mut().zip(parts).for_each(|(answer, part)| answer.push(part));
        }
        Ok(Ok(answers))
    }

    /// The same in two parts, because the GPU had no memory for all at once; each of them again in two, if need be. What
    /// cannot be divided fails.
    fn in_halves(
        &mut self,
        requests: &[Request],
        stages: &mut Stages,
        short: &CudaError,
    ) -> Result<Vec<Vec<Tensor>>, BackendError> {
        if let [request] = requests {
            let halves = self.model.batched.then(|| halves(request)).flatten();
            let (first, second) = halves.ok_or_else(|| BackendError::Model(short.to_string()))?;
            let parts = [self.execute(&[first], stages)?, self.execute(&[second], stages)?];
            return Ok(vec![one_behind_the_other(parts.into_iter().flatten().collect())]);
        }
        tracing::warn!("a batch of {} requests is computed in halves: {short}", requests.len());
        let (first, second) = requests.split_at(requests.len() / 2);
        let mut answers = self.execute(first, stages)?;
        answers.extend(self.execute(second, stages)?);
        Ok(answers)
    }
}

/// Shape and bytes of each of the graph's outputs.
type Outputs = Vec<(Vec<i64>, Bytes)>;

fn run(instance: &mut Instance, parts: &[(Vec<&Tensor>, Vec<i64>)], stages: &mut Stages) -> Result<Outputs, CudaError> {
    let sizes = |shape: &Vec<i64>| shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
    let shapes = parts.iter().map(|(_, shape)| sizes(shape)).collect();
    let stages = std::cell::RefCell::new(stages);
    instance.run(
        shapes,
        |run| {
            for (at, (tensors, _)) in parts.iter().enumerate() {
                let to = run.input(at).ok_or_else(|| CudaError::Inputs("an input is missing".to_owned()))?;
                gather(tensors, to)?;
            }
            stages.borrow_mut().compute_begins();
            Ok(())
        },
        |run| {
            stages.borrow_mut().compute_ends();
            let sized = |shape: &[usize]| shape.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
            let outputs = run.outputs();
            Ok(outputs.map(|(outlet, bytes)| (sized(&outlet.shape), Bytes::copy_from_slice(bytes))).collect())
        },
    )
}

/// A request of several elements as two of half as many, whose tensors are parts of its own.
fn halves(request: &Request) -> Option<(Request, Request)> {
    let first = request.elements / 2;
    if first == 0 {
        return None;
    }
    let part = |begin: u32, end: u32| {
        let of = |tensor: &Tensor| {
            let row = tensor.data.len() / usize::try_from(request.elements).ok()?;
            let (from, to) = (usize::try_from(begin).ok()? * row, usize::try_from(end).ok()? * row);
            let mut shape = tensor.shape.clone();
            *shape.first_mut()? = i64::from(end - begin);
            Some(Tensor { shape, data: tensor.data.slice(from..to), ..tensor.clone() })
        };
        let inputs = request.inputs.iter().map(of).collect::<Option<Vec<_>>>()?;
        Some(Request::new(inputs, end - begin))
    };
    Some((part(0, first)?, part(first, request.elements)?))
}

/// The outputs of the parts of one request as those of the whole.
fn one_behind_the_other(parts: Vec<Vec<Tensor>>) -> Vec<Tensor> {
    let mut parts = parts.into_iter();
    let first = parts.next().unwrap_or_default();
    parts
        .fold(first, |whole, part| whole.into_iter().zip(part).map(|(whole, part)| joined_pair(whole, &part)).collect())
}

fn joined_pair(whole: Tensor, part: &Tensor) -> Tensor {
    let mut shape = whole.shape.clone();
    if let (Some(size), Some(more)) = (shape.first_mut(), part.shape.first()) {
        *size += more;
    }
    let data = [&whole.data[..], &part.data[..]].concat().into();
    Tensor { shape, data, ..whole }
}

/// The bytes of all parts, one after the other.
fn gather(parts: &[&Tensor], mut to: &mut [u8]) -> Result<(), CudaError> {
    for part in parts {
        let room = to.split_at_mut_checked(part.data.len());
        let (here, rest) =
            room.ok_or_else(|| CudaError::Inputs("an input has more bytes than its shape".to_owned()))?;
        here.copy_from_slice(&part.data);
        to = rest;
    }
    if to.is_empty() { Ok(()) } else { Err(CudaError::Inputs("an input has fewer bytes than its shape".to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_lie_one_after_the_other() {
        let check = |parts: &[&[u8]], room: usize, expected: Option<&[u8]>| {
            let tensor = |data: &&[u8]| {
                let shape = vec![i64::try_from(data.len()).expect("small")];
                Tensor::new("x", DataType::Uint8, shape, Bytes::copy_from_slice(data)).expect("well-formed")
            };
            let tensors: Vec<Tensor> = parts.iter().map(tensor).collect();
            let mut to = vec![0; room];
            let gathered = gather(&tensors.iter().collect::<Vec<_>>(), &mut to);
            assert_eq!(gathered.ok().map(|()| to.as_slice()), expected, "{parts:?} into {room}");
        };
        check(&[&[1, 2], &[3]], 3, Some(&[1, 2, 3]));
        check(&[&[], &[7]], 1, Some(&[7]));
        check(&[&[1, 2], &[3]], 2, None);
        check(&[&[1]], 2, None);
    }

    #[test]
    fn halves_make_the_whole() {
        let check = |elements: u32, columns: i64, expected: Option<(u32, u32)>| {
            let numbers: Vec<f32> = (0..i64::from(elements) * columns).map(|number| number as f32).collect();
            let tensor = Tensor::from_f32("x", vec![i64::from(elements), columns], &numbers).expect("well-formed");
            let request = Request::new(vec![tensor.clone()], elements);
            let halves = halves(&request);
            assert_eq!(halves.as_ref().map(|(a, b)| (a.elements, b.elements)), expected, "{elements} x {columns}");
            let Some((first, second)) = halves else { return };
            assert_eq!(first.inputs[0].shape, [i64::from(first.elements), columns]);
            let whole = one_behind_the_other(vec![first.inputs, second.inputs]);
            assert_eq!(whole, [tensor], "{elements} x {columns}");
        };
        check(1, 3, None);
        check(2, 3, Some((1, 1)));
        check(5, 2, Some((2, 3)));
    }
}
