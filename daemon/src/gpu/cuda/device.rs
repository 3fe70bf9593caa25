//! A GPU: finding it, what it has, and what all instances of all models share on it: compiled kernels, weights, and which
//! algorithm of cuDNN was the fastest for which convolution. Every library is looked for before it is first called, because
//! calling one that is not there panics.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use cudarc::driver::sys::CUdevice_attribute;
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, result, sys};

use super::blocks::Blocks;
use super::convolution::Algorithms;
use super::error::{Answer, CudaError, Kind};
use super::libraries::{self, CUBLAS, CUBLASLT, CUDNN, Folders, NVRTC};
use super::lower::Libraries;
use super::programs::Programs;
use crate::gpu::kernels::{Kernel, Source};
use crate::gpu::memory::budget::Budget;
use crate::gpu::memory::ledger::{Class, Owner};
use crate::gpu::memory::manager::{Manager, Memory, MemoryError};
use crate::gpu::plan::Constant;

/// See the module.
pub struct Device {
    modules: Mutex<BTreeMap<String, Arc<CudaModule>>>,
    weights: Mutex<BTreeMap<[u8; 32], Weak<Memory>>>,
    context: Arc<CudaContext>,
    name: String,
    memory: Arc<Manager>,
    libraries: Libraries,
    programs: Programs,
    pub(super) algorithms: Algorithms,
    recordings: Mutex<()>,
    lost: OnceLock<CudaError>,
}

/// What is there of what is needed and of what is only better. `folders` are looked in first.
fn present(folders: &Folders) -> Result<Libraries, CudaError> {
    // SAFETY: it only looks for a shared library by its name and loads it; the loader's path is as trusted as the program.
    let driver = unsafe { sys::is_culib_present() };
    let missing = |library, file, looked, remedy| Err(CudaError::Missing { library, file, looked, remedy });
    if !driver {
        let remedy = "it comes with NVIDIA's driver, which is not installed or not visible here";
        return missing("the CUDA driver", "libcuda.so.1", "on the loader's path".to_owned(), remedy);
    }
    [NVRTC, CUBLASLT, CUBLAS, CUDNN].into_iter().for_each(|wanted| folders.load(wanted));
    // SAFETY: as above.
    let (nvrtc, cudnn, cublaslt) = unsafe {
        (
            cudarc::nvrtc::sys::is_culib_present(),
            cudarc::cudnn::sys::is_culib_present(),
            cudarc::cublaslt::sys::is_culib_present(),
        )
    };
    if !nvrtc {
        let remedy = "it comes with CUDA, or with PyPI's nvidia-cuda-nvrtc";
        return missing("NVRTC", NVRTC.files[0], folders.looked(), remedy);
    }
    for (there, beginning, instead) in [
        (true, "libcuda.so", ""),
        (true, "libnvrtc.so", ""),
        (cudnn, "libcudnn.so", "convolutions are computed by our own kernels, which are slower"),
        (cublaslt, "libcublasLt.so", "products of matrices are computed by our own kernels, which are slower"),
    ] {
        if let Some(file) = libraries::loaded(beginning).filter(|_| there) {
            tracing::info!("CUDA: {file}");
        } else {
            tracing::info!("CUDA: {beginning} was not found {}: {instead}", folders.looked());
        }
    }
    Ok(Libraries { cudnn, cublaslt })
}

impl Device {
    /// Opens a GPU by its number, of whose memory so much may be used. Libraries other than the driver are looked for in
    /// these folders first.
    ///
    /// # Errors
    /// When there is no driver, no such GPU, or it cannot be used.
    pub fn open(ordinal: usize, budget: Budget, library_path: &[PathBuf]) -> Result<Arc<Self>, CudaError> {
        // A driver that is too old lacks functions, for which the bindings panic.
        let opened = catch_unwind(|| Self::opened(ordinal, budget, library_path));
        let why = "it lacks what CUDA 13 has; a newer driver is needed".to_owned();
        opened.unwrap_or(Err(CudaError::Call { what: "the CUDA driver", why }))
    }

    fn opened(ordinal: usize, budget: Budget, library_path: &[PathBuf]) -> Result<Arc<Self>, CudaError> {
        let libraries = present(&Folders::new(library_path))?;
        let count = CudaContext::device_count().map_err(CudaError::call("looking for GPUs"))?;
        let count = usize::try_from(count).unwrap_or(0);
        if ordinal >= count {
            return Err(CudaError::NoDevice { ordinal, count });
        }
        let context = CudaContext::new(ordinal).map_err(CudaError::call("opening the GPU"))?;
        // SAFETY: every buffer is used on the stream of one instance only, and those that are shared are never written after
        // the copy into them was waited for; so no event is needed to order their uses.
        unsafe { context.disable_event_tracking() };
        let attribute =
            |attribute| context.attribute(attribute).map_err(CudaError::call("asking for the architecture"));
        let major = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let name = context.name().map_err(CudaError::call("asking for the GPU's name"))?;
        // SAFETY: the device is that of a context that lives.
        let memory_bytes = unsafe { result::device::total_mem(context.cu_device()) };
        let memory_bytes = memory_bytes.map_err(CudaError::call("asking for the size of its memory"))?;
        let total_bytes = memory_bytes as u64;
        let memory = Manager::new(total_bytes, budget.of(total_bytes), Box::new(Blocks(Arc::clone(&context))));
        Ok(Arc::new(Self {
            modules: Mutex::default(),
            weights: Mutex::default(),
            context,
            name,
            memory,
            libraries,
            programs: Programs::new(format!("compute_{major}{minor}")),
            algorithms: Algorithms::default(),
            recordings: Mutex::default(),
            lost: OnceLock::new(),
        }))
    }

    /// Its number, as the driver counts.
    pub fn ordinal(&self) -> usize {
        self.context.ordinal()
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its memory.
    pub fn manager(&self) -> &Arc<Manager> {
        &self.memory
    }

    /// What NVML calls it, if it says so.
    pub fn uuid(&self) -> Option<String> {
        let bytes = self.context.uuid().ok()?.bytes;
        let hex: String = bytes.iter().map(|byte| format!("{:02x}", *byte as u8)).collect();
        let part = |from: usize, to: usize| hex.get(from..to);
        Some(format!("GPU-{}-{}-{}-{}-{}", part(0, 8)?, part(8, 12)?, part(12, 16)?, part(16, 20)?, part(20, 32)?))
    }

    /// What is there beside the driver.
    pub fn libraries(&self) -> Libraries {
        self.libraries
    }

    /// Why nothing can be computed on it any more, if that is so.
    pub fn lost(&self) -> Option<&CudaError> {
        self.lost.get()
    }

    /// What an error really is: the driver may say only at the next call that the device is lost, and a library may call it
    /// anything.
    pub(super) fn verdict(&self, error: CudaError, stream: &CudaStream) -> CudaError {
        let error = match error {
            CudaError::Call { what, why } => match stream.synchronize() {
                Err(lost) if lost.kind() == Kind::Lost => {
                    CudaError::Lost { what, why: format!("{lost:?}, then {why}") }
                }
                _ => CudaError::Call { what, why },
            },
            other => other,
        };
        if matches!(error, CudaError::Lost { .. }) && self.lost.set(error.clone()).is_ok() {
            tracing::error!("{error}");
        }
        error
    }

    /// Held while a graph is recorded, and while something waits for the whole device: each spoils the other.
    pub(super) fn recordings(&self) -> MutexGuard<'_, ()> {
        lock(&self.recordings)
    }

    /// A stream of its own.
    pub(super) fn stream(&self) -> Result<Arc<CudaStream>, CudaError> {
        self.context.new_stream().map_err(CudaError::call("making a stream"))
    }

    /// Makes the GPU that of the calling thread.
    pub(super) fn bind(&self) -> Result<(), CudaError> {
        self.context.bind_to_thread().map_err(CudaError::call("binding the GPU to a thread"))
    }

    /// A kernel, compiled and loaded if it is not yet.
    pub(super) fn function(&self, kernel: &Kernel) -> Result<CudaFunction, CudaError> {
        let module = self.module(kernel.source)?;
        module.load_function(&kernel.name).map_err(CudaError::call("finding a kernel in its program"))
    }

    fn module(&self, source: Source) -> Result<Arc<CudaModule>, CudaError> {
        let name = format!("{source:?}");
        let mut modules = lock(&self.modules);
        if let Some(module) = modules.get(&name) {
            return Ok(Arc::clone(module));
        }
        let load = |ptx| self.context.load_module(ptx).map_err(CudaError::call("loading a program"));
        // What was kept on disk may be damaged: then it is compiled again.
        let kept = self.programs.kept(source).and_then(|ptx| load(ptx).ok());
        let module = kept.map_or_else(|| load(self.programs.compiled(source)?), Ok)?;
        modules.insert(name, Arc::clone(&module));
        Ok(module)
    }

    /// A constant of a plan in the GPU's memory: once, however many plans have it.
    pub(super) fn weight(
        &self,
        owner: &Owner,
        constant: &Constant,
        stream: &Arc<CudaStream>,
    ) -> Result<Arc<Memory>, CudaError> {
        let mut weights = lock(&self.weights);
        if let Some(found) = weights.get(&constant.digest).and_then(Weak::upgrade) {
            return Ok(found);
        }
        weights.retain(|_, weight| weight.strong_count() > 0);
        let bytes = constant.tensor.data().to_bytes(constant.element);
        let weight = Arc::new(self.memory(&owner.shared(), Class::Weights, bytes.len())?);
        if !bytes.is_empty() {
            // SAFETY: there are as many bytes, here and there, and both live until the copy was waited for right below.
            let copied = unsafe { result::memcpy_htod_async(weight.address(), &bytes, stream.cu_stream()) };
            // Others may use it on their streams as soon as they find it.
            let waited = stream.synchronize();
            copied.and(waited).map_err(CudaError::call("copying weights"))?;
        }
        weights.insert(constant.digest, Arc::downgrade(&weight));
        Ok(weight)
    }

    /// Memory for a use on one stream; what is in it is not known. Whoever drops it has waited for the stream.
    pub(super) fn memory(&self, owner: &Owner, class: Class, bytes: usize) -> Result<Memory, CudaError> {
        self.memory.allocate(owner, class, bytes as u64).map_err(|error| match error {
            MemoryError::Exhausted { .. } => CudaError::Memory { what: class.as_str(), bytes: Some(bytes) },
            MemoryError::Driver(why) => CudaError::Call { what: "the GPU's memory", why },
        })
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they hold is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
