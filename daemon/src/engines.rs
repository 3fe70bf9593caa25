//! What computes a model: which engine takes it, in which order they are asked, and one backend for each instance. What they
//! do is `backend`'s affair.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use proofload_wire::grpc::inference::model_instance_group::Kind;

use crate::backend::Backend;
use crate::backend::cpu::{Cpu, CpuModel};
use crate::backend::cuda::{CudaInstance, CudaModel, CudaModelError};
use crate::backend::identity::Identity;
use crate::backend::onnxruntime::{Library, OnnxInstance, OnnxModel, Provider};
use crate::backend::simulated::Simulated;
use crate::backend::simulated::leak::Leak;
use crate::gpu::cuda::Device;
use crate::model::{Means, StartError};
use crate::parallel;
use crate::repository::spec::{BackendSpec, ModelSpec, OnnxEngine, Placement};

/// What computes a model.
pub(crate) struct Computed {
    pub(crate) engine: &'static str,
    /// Why our own executor does not, where it was to.
    pub(crate) not_on_gpu: Option<String>,
}

impl Computed {
    pub(crate) fn by(engine: &'static str) -> Self {
        Self { engine, not_on_gpu: None }
    }

    /// Whether a GPU computes it, and we are told when that is lost.
    pub(crate) fn on_gpu(&self) -> bool {
        [CUDA, CUDA_PROVIDER].contains(&self.engine)
    }
}

/// Our own executor.
const CUDA: &str = "cuda";
/// ONNX Runtime's.
const CUDA_PROVIDER: &str = "onnxruntime_cuda";

/// Where its instances really are, in the configuration as clients read it.
pub(crate) fn place(spec: &mut ModelSpec, gpu: Option<&Device>) {
    match gpu {
        Some(device) => {
            let number = i32::try_from(device.ordinal()).unwrap_or(i32::MAX);
            for group in &mut spec.config.instance_group {
                group.set_kind(Kind::Gpu);
                group.gpus = vec![number];
            }
        }
        None if spec.placement == Placement::Gpu => {
            tracing::warn!("model '{}' is of KIND_GPU and runs on the CPU", spec.name);
        }
        None => {}
    }
}

pub(crate) type Instance = Box<dyn Backend>;
/// Makes the instance of a number.
type Make = Box<dyn Fn(usize) -> Result<Instance, StartError> + Send + Sync>;

/// What computes a model, and one backend for each instance, made side by side.
pub(crate) fn backends(spec: &mut ModelSpec, means: &Means) -> Result<(Computed, Vec<Instance>), StartError> {
    let (computed, make) = maker(spec, means)?;
    let numbers: Vec<usize> = (0..spec.instances).collect();
    let made = parallel::map(&numbers, means.load_threads, |number| make(*number));
    Ok((computed, made.into_iter().collect::<Result<_, _>>()?))
}

/// One instance that serves nobody, and what computes it.
///
/// # Errors
/// When the backend cannot run it.
pub(crate) fn instance(mut spec: ModelSpec, means: &Means) -> Result<(&'static str, Instance), StartError> {
    let (computed, make) = maker(&mut spec, means)?;
    Ok((computed.engine, make(0)?))
}

/// What all instances share is made here. The file of an ONNX model is not needed any more afterwards.
fn maker(spec: &mut ModelSpec, means: &Means) -> Result<(Computed, Make), StartError> {
    Ok(match &mut spec.backend {
        BackendSpec::Cpu { onnx, engine } => {
            let (onnx, engine) = (std::mem::take(onnx), *engine);
            with_onnx(onnx, engine, spec, means)?
        }
        BackendSpec::Simulated(simulated) => {
            let (simulated, outputs, batched) = (*simulated, spec.outputs.clone(), spec.batched());
            let leak = leak(&spec.name, simulated.leak_gpu_bytes, means);
            let make = move |number| -> Result<Instance, StartError> {
                let instance = Simulated::new(simulated, outputs.clone(), batched, number as u64);
                Ok(Box::new(instance.leaking(leak.clone())))
            };
            (Computed::by("simulated"), Box::new(make))
        }
        BackendSpec::Identity(identity) => {
            let (identity, names) = (*identity, spec.outputs.iter().map(|output| output.name.clone()));
            let names: Vec<_> = names.collect();
            (Computed::by("identity"), Box::new(move |_| Ok(Box::new(Identity::new(identity, names.clone())))))
        }
        BackendSpec::Ensemble(_) => return Err(StartError::Ensemble { model: spec.name.clone() }),
    })
}

/// What a simulated model leaks of the GPU's memory, if it declares that and there is one.
fn leak(model: &str, bytes: u64, means: &Means) -> Option<Arc<Leak>> {
    if bytes > 0 && means.gpu.is_none() {
        tracing::warn!("model '{model}': 'leak_gpu_bytes' has no effect, because models run on no GPU");
    }
    means.gpu.as_ref().filter(|_| bytes > 0).map(|device| Leak::new(model, bytes, device.manager()))
}

/// Why our own executor does not compute a model.
enum NotOurs {
    /// It is not to run on a GPU, or there is none.
    Unwanted,
    /// It has no room there.
    Room(String),
    /// It has something that is not computed.
    Uncomputed(String),
}

/// Our own executor on a GPU first, then ONNX Runtime there, then ONNX Runtime, then rten: the first of them that is there,
/// wanted, and computes all of the model.
fn with_onnx(
    onnx: Vec<u8>,
    engine: OnnxEngine,
    spec: &ModelSpec,
    means: &Means,
) -> Result<(Computed, Make), StartError> {
    let onnx = Bytes::from(onnx);
    let not_ours = match with_cuda(&onnx, spec, means)? {
        Ok(make) => return Ok((Computed::by(CUDA), make)),
        Err(why) => why,
    };
    // Nobody else holds it any more, so it is not copied.
    let onnx = Vec::from(onnx);
    let library = means.onnxruntime.filter(|_| engine == OnnxEngine::Best);
    let not_on_gpu = match not_ours {
        NotOurs::Unwanted => None,
        NotOurs::Room(why) => {
            tracing::warn!("model '{}' runs on the CPU: {why}", spec.name);
            Some(why)
        }
        NotOurs::Uncomputed(why) => match with_cuda_provider(&onnx, spec, library, means) {
            Ok(make) => {
                tracing::warn!("model '{}' runs on the GPU by ONNX Runtime: {why}", spec.name);
                return Ok((Computed { engine: CUDA_PROVIDER, not_on_gpu: Some(why) }, make));
            }
            Err(nor) => {
                tracing::warn!("model '{}' runs on the CPU: {why}; {nor}", spec.name);
                Some(why)
            }
        },
    };
    let (engine, make) = match library {
        Some(library) => ("onnxruntime", with_onnxruntime(onnx, spec, library)?),
        None => ("rten", with_rten(onnx, spec, means)?),
    };
    Ok((Computed { engine, not_on_gpu }, make))
}

/// Our own executor, or why not. A model that is meant for a GPU and finds no room there is not loaded at all.
fn with_cuda(onnx: &Bytes, spec: &ModelSpec, means: &Means) -> Result<Result<Make, NotOurs>, StartError> {
    let name = spec.name.clone();
    let (Some(device), Placement::Auto | Placement::Gpu) = (&means.gpu, spec.placement) else {
        return Ok(Err(NotOurs::Unwanted));
    };
    match CudaModel::new(onnx.clone(), spec, device, &means.host) {
        Ok(model) => {
            let failed = move |source| StartError::Cuda { model: name.clone(), source };
            Ok(Ok(Box::new(move |_| Ok(Box::new(CudaInstance::new(Arc::clone(&model)).map_err(&failed)?)))))
        }
        Err(source @ CudaModelError::TooLarge(_)) if spec.placement == Placement::Gpu => {
            Err(StartError::Cuda { model: name, source })
        }
        Err(why @ CudaModelError::TooLarge(_)) => Ok(Err(NotOurs::Room(why.to_string()))),
        Err(why) => Ok(Err(NotOurs::Uncomputed(why.to_string()))),
    }
}

/// ONNX Runtime's CUDA provider. Whether it works shows when it is first tried, so the first instance is made here.
fn with_cuda_provider(
    onnx: &[u8],
    spec: &ModelSpec,
    library: Option<&'static Library>,
    means: &Means,
) -> Result<Make, String> {
    let device = means.gpu.as_ref().map_or(0, |device| device.ordinal());
    let library = library.ok_or("ONNX Runtime, whose CUDA provider might, is not there or not wanted")?;
    let provider = library.cuda(device).map_err(|error| error.to_string())?;
    let model = OnnxModel::new(onnx.to_vec(), spec, library, provider).map_err(|error| error.to_string())?;
    let first = Mutex::new(Some(OnnxInstance::new(Arc::clone(&model)).map_err(|error| error.to_string())?));
    let name = spec.name.clone();
    let failed = move |source| StartError::OnnxRuntime { model: name.clone(), source };
    Ok(Box::new(move |_| {
        let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let instance = first.map_or_else(|| OnnxInstance::new(Arc::clone(&model)), Ok);
        Ok(Box::new(instance.map_err(&failed)?))
    }))
}

fn with_rten(onnx: Vec<u8>, spec: &ModelSpec, means: &Means) -> Result<Make, StartError> {
    let model = CpuModel::load(onnx, spec, &means.graphs, Arc::clone(&means.pool));
    let model = model.map_err(|source| StartError::Cpu { model: spec.name.clone(), source })?;
    Ok(Box::new(move |_| Ok(Box::new(Cpu::new(Arc::clone(&model))))))
}

fn with_onnxruntime(onnx: Vec<u8>, spec: &ModelSpec, library: &'static Library) -> Result<Make, StartError> {
    let name = spec.name.clone();
    let failed = move |source| StartError::OnnxRuntime { model: name.clone(), source };
    let model = OnnxModel::new(onnx, spec, library, Provider::Cpu).map_err(&failed)?;
    Ok(Box::new(move |_| Ok(Box::new(OnnxInstance::new(Arc::clone(&model)).map_err(&failed)?))))
}
