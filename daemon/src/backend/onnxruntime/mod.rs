//! ONNX graphs on the CPU, or on a GPU, by ONNX Runtime, where its shared library is there. It computes in every data type that the
//! protocol has, as the graph declares it. Finding and loading the library is `library`'s affair, sharing what a file costs
//! `sessions`', and values are `convert`'s.

mod convert;
mod library;
mod provider;
mod sessions;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use ort::session::{Session, SessionInputValue};
use proofload_wire::tensor::Tensor;

pub use self::library::{Library, LibraryError, find};
pub use self::provider::{Provider, ProviderError};
use self::sessions::{Lease, Pool};
use super::{Backend, BackendError, Request, Stages, joined};
use crate::repository::onnx::INTRA_OP_THREADS;
use crate::repository::spec::{ModelSpec, TensorSpec};

/// Why a model cannot run on ONNX Runtime.
#[derive(Debug, thiserror::Error)]
pub enum OnnxRuntimeError {
    /// The file is no model that it can run.
    #[error("ONNX Runtime cannot load the model: {0}")]
    Load(String),
    /// A parameter that cannot be meant so.
    #[error("parameter '{INTRA_OP_THREADS}' must be a whole number between 1 and 1024, not '{0}'")]
    Threads(String),
}

/// A graph that instances of a model share.
pub struct OnnxModel {
    pool: Arc<Pool>,
    /// How many were made.
    instances: AtomicUsize,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    batched: bool,
}

impl OnnxModel {
    /// Takes a graph that is loaded already, or prepares to load it.
    ///
    /// # Errors
    /// When a parameter of the model cannot be meant so.
    pub fn new(
        onnx: Vec<u8>,
        spec: &ModelSpec,
        library: &'static Library,
        provider: Provider,
    ) -> Result<Arc<Self>, OnnxRuntimeError> {
        let threads = threads(spec)?;
        let pool = library.graph((spec.digest, threads, provider), onnx);
        let (inputs, outputs) = (spec.inputs.clone(), spec.outputs.clone());
        Ok(Arc::new(Self { pool, instances: AtomicUsize::new(0), inputs, outputs, batched: spec.batched() }))
    }
}

fn threads(spec: &ModelSpec) -> Result<Option<usize>, OnnxRuntimeError> {
    let Some(written) = spec.config.parameters.get(INTRA_OP_THREADS) else { return Ok(None) };
    let written = &written.string_value;
    // Triton's own default, 0, is all cores; here that is the daemon's setting.
    let number = written.parse().ok().filter(|number| (0..=1024).contains(number));
    let number: usize = number.ok_or_else(|| OnnxRuntimeError::Threads(written.clone()))?;
    Ok(Some(number).filter(|number| *number > 0))
}

/// An instance of a graph.
pub struct OnnxInstance {
    model: Arc<OnnxModel>,
    lease: Lease,
}

impl OnnxInstance {
    /// One more instance.
    ///
    /// # Errors
    /// When the graph cannot be loaded.
    pub fn new(model: Arc<OnnxModel>) -> Result<Self, OnnxRuntimeError> {
        let lease = Lease::new(&model.pool, &model.instances)?;
        Ok(Self { model, lease })
    }
}

impl Backend for OnnxInstance {
    fn execute(&mut self, requests: &[Request], stages: &mut Stages) -> Result<Vec<Vec<Tensor>>, BackendError> {
        let model = &self.model;
        let mut inputs = Vec::with_capacity(model.inputs.len());
        for (index, spec) in model.inputs.iter().enumerate() {
            let (parts, shape) = joined::join(spec, index, requests, model.batched)?;
            let value = convert::gather(spec.datatype, &parts, shape);
            let value = value.map_err(|what| BackendError::Input { tensor: spec.name.clone(), what })?;
            inputs.push((Cow::Borrowed(spec.name.as_str()), SessionInputValue::from(value)));
        }
        let failed = |error: OnnxRuntimeError| BackendError::Model(error.to_string());
        self.lease.with(|session| run(session, model, inputs, requests, stages)).map_err(failed)?
    }
}

fn run(
    session: &mut Session,
    model: &OnnxModel,
    inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)>,
    requests: &[Request],
    stages: &mut Stages,
) -> Result<Vec<Vec<Tensor>>, BackendError> {
    let elements: Vec<u32> = requests.iter().map(|request| request.elements).collect();
    stages.compute_begins();
    let values = session.run(inputs).map_err(|error| BackendError::Model(error.to_string()))?;
    stages.compute_ends();
    let mut answers: Vec<Vec<Tensor>> = requests.iter().map(|_| Vec::with_capacity(model.outputs.len())).collect();
    for spec in &model.outputs {
        let wrong = |what: String| BackendError::Output { tensor: spec.name.clone(), what };
        let value = values.get(spec.name.as_str()).ok_or_else(|| wrong("the model did not answer it".to_owned()))?;
        let (shape, data) = convert::scatter(spec.datatype, value).map_err(wrong)?;
        let parts = joined::split(spec, &shape, &data, &elements, model.batched)?;
        answers.iter_mut().zip(parts).for_each(|(answer, part)| answer.push(part));
    }
    Ok(answers)
}
