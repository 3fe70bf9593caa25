//! A plan on a GPU: its arena, its weights, its commands with their pointers, and all of them recorded as one CUDA graph,
//! copies in and out included. What changes from one run to the next is only what is in the staging memory.

use std::sync::Arc;

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaFunction, CudaGraph, CudaStream, LaunchConfig, PushKernelArg, result};

use super::convolution::{self, Cudnn, Scratch};
use super::device::Device;
use super::error::CudaError;
use super::lower::{Command, lower, own_convolution, own_product};
use super::pinned::Pinned;
use super::product::{self, CublasLt};
use crate::gpu::kernels::Launch;
use crate::gpu::memory::ledger::{Class, Owner};
use crate::gpu::memory::manager::{Charge, Memory};
use crate::gpu::plan::memory::aligned;
use crate::gpu::plan::{Operand, Outlet, Place, Plan};

/// Memory that libraries may use while they compute, of each instance: what cuBLASLt is recommended to get on Hopper.
pub(super) const SCRATCH_BYTES: usize = 32 << 20;

/// What an instance computes with, whatever the plan.
pub(super) struct Engine {
    pub(super) owner: Owner,
    cudnn: Option<Cudnn>,
    cublaslt: Option<CublasLt>,
    _scratch: Memory,
    scratch: Scratch,
    pub(super) stream: Arc<CudaStream>,
    pub(super) device: Arc<Device>,
}

// SAFETY: its handles and its stream belong to no thread, as NVIDIA documents; `&mut` of its owner lets one thread at a time
// use them, and that thread binds the device first.
unsafe impl Send for Engine {}

impl Drop for Engine {
    fn drop(&mut self) {
        // What failed may still be on its way; its memory is given back right after this. Where waiting fails, too, the
        // context is lost, and with it all memory. cuDNN waits for the whole device when it goes.
        let recordings = self.device.recordings();
        let _ = self.device.bind();
        let _ = self.stream.synchronize();
        self.cudnn = None;
        drop(recordings);
    }
}

impl Engine {
    pub(super) fn new(device: &Arc<Device>, owner: Owner) -> Result<Self, CudaError> {
        // What libraries do when they start is theirs, and may be nothing for a recording.
        let _recordings = device.recordings();
        device.bind()?;
        let stream = device.stream()?;
        let libraries = device.libraries();
        let scratch = device.memory(&owner, Class::Workspace, SCRATCH_BYTES)?;
        let pointer = scratch.address();
        Ok(Self {
            device: Arc::clone(device),
            owner,
            cudnn: if libraries.cudnn { Some(Cudnn::new(&stream)?) } else { None },
            cublaslt: if libraries.cublaslt { Some(CublasLt::new()?) } else { None },
            _scratch: scratch,
            scratch: Scratch { pointer, bytes: SCRATCH_BYTES },
            stream,
        })
    }

    fn run(&self, command: &Ready) -> Result<(), CudaError> {
        match (command, &self.cudnn, &self.cublaslt) {
            (Ready::Launch(launch), _, _) => launch.run(&self.stream),
            (Ready::Convolution(ready), Some(cudnn), _) => ready.run(cudnn, self.scratch),
            (Ready::Product(ready), _, Some(cublaslt)) => ready.run(cublaslt, self.scratch, &self.stream),
            _ => Err(CudaError::Inputs("a command needs a library that is not there".to_owned())),
        }
    }
}

/// Memory that a stream's work uses. It is given back when that work is over.
struct Arena {
    memory: Memory,
    stream: Arc<CudaStream>,
    /// Whether all work on it was waited for.
    settled: bool,
}

impl Drop for Arena {
    fn drop(&mut self) {
        if !self.settled {
            // As in `Engine`.
            let _ = self.stream.synchronize();
        }
    }
}

/// A command with its pointers.
enum Ready {
    Launch(Kernel),
    Convolution(convolution::Ready),
    Product(product::Ready),
}

pub(super) struct Kernel {
    pub(super) function: CudaFunction,
    pub(super) launch: Launch,
    pub(super) pointers: Vec<u64>,
}

impl Kernel {
    pub(super) fn run(&self, stream: &CudaStream) -> Result<(), CudaError> {
        let words = self.launch.words.first().ok_or_else(|| CudaError::Inputs("a kernel has no sizes".to_owned()))?;
        let mut arguments = stream.launch_builder(&self.function);
        // The first argument is a struct of all words; the driver copies as many as the kernel declares.
        arguments.arg(words);
        for pointer in &self.pointers {
            arguments.arg(pointer);
        }
        let sizes = LaunchConfig {
            grid_dim: (self.launch.blocks, 1, 1),
            block_dim: (self.launch.threads, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the kernel's table says which words and which pointers it takes, and that it touches nothing outside of the
        // shapes that the words are made of; the plan has given each of them memory of that size.
        unsafe { arguments.launch(sizes) }.map(drop).map_err(CudaError::call("launching a kernel"))
    }
}

/// See the module.
pub(super) struct Prepared {
    // Before what its work uses: dropping it waits.
    arena: Arena,
    weights: Vec<Arc<Memory>>,
    commands: Vec<Ready>,
    graph: Option<CudaGraph>,
    staging: Pinned,
    _staged: Charge,
    /// Where each input, then each output, begins in the staging memory.
    places: Vec<usize>,
    /// Where each input, then each output, is on the device.
    pointers: Vec<u64>,
    plan: Plan,
    device: Arc<Device>,
}

// SAFETY: as `Engine`, of which instance's stream it is used on.
unsafe impl Send for Prepared {}

impl Drop for Prepared {
    fn drop(&mut self) {
        // Whichever thread this is, it needs the device to free what is on it. What the driver says can change nothing.
        let _ = self.device.bind();
    }
}

impl Prepared {
    /// Puts a plan onto the GPU. Only one plan at a time: algorithms are compared by their times, and whoever looks for them
    /// waits for the whole device, which must not be while another is recorded.
    pub(super) fn new(plan: Plan, engine: &Engine) -> Result<Self, CudaError> {
        let _recordings = engine.device.recordings();
        engine.device.bind()?;
        let commands = lower(&plan, engine.device.libraries())?;
        let memory = engine.device.memory(&engine.owner, Class::Activations, plan.arena_bytes)?;
        let arena = Arena { memory, stream: Arc::clone(&engine.stream), settled: false };
        let weight = |constant| engine.device.weight(&engine.owner, constant, &engine.stream);
        let weights = plan.constants.iter().map(weight);
        let weights = weights.collect::<Result<Vec<_>, _>>()?;
        let pointer = |operand: Operand| match operand.place {
            Place::Arena(offset) => arena.memory.address() + offset as u64,
            Place::Constant(at) => weights.get(at).map_or(0, |weight| weight.address()),
        };
        let ready = commands.into_iter().map(|command| ready(command, engine, &pointer));
        let commands = ready.collect::<Result<Vec<_>, _>>()?;
        let outlets: Vec<&Outlet> = plan.inputs.iter().chain(&plan.outputs).collect();
        let pointers = outlets.iter().map(|outlet| pointer(outlet.operand)).collect();
        let mut total = 0;
        let mut places = Vec::with_capacity(outlets.len());
        for outlet in outlets {
            places.push(total);
            total += aligned(outlet.operand.bytes());
        }
        let staging = Pinned::new(total)?;
        let staged = engine.device.manager().charge(&engine.owner, Class::Staging, total as u64);
        let device = Arc::clone(&engine.device);
        let mut prepared =
            Self { arena, weights, commands, graph: None, staging, _staged: staged, places, pointers, plan, device };
        // Once without a graph: libraries load what they need at their first call, which a graph cannot record.
        prepared.submit(engine)?;
        engine.stream.synchronize().map_err(CudaError::call("a first run"))?;
        prepared.graph = match prepared.recorded(engine) {
            Ok(graph) => graph,
            Err(CudaError::Call { what, why }) => {
                tracing::warn!("a plan is submitted command by command, because it cannot be recorded: {what}: {why}");
                None
            }
            Err(other) => return Err(other),
        };
        prepared.arena.settled = true;
        Ok(prepared)
    }

    fn recorded(&mut self, engine: &Engine) -> Result<Option<CudaGraph>, CudaError> {
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        engine.stream.begin_capture(mode).map_err(CudaError::call("recording a graph"))?;
        let submitted = self.submit(engine);
        let flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        // The recording must end, however it went.
        let recorded = engine.stream.end_capture(flags).map_err(CudaError::call("recording a graph"));
        submitted.and(recorded)
    }

    /// Bytes on the GPU that only this has.
    pub(super) fn bytes(&self) -> u64 {
        self.arena.memory.bytes()
    }

    /// The constants that it computes with.
    pub(super) fn weights(&self) -> &[Arc<Memory>] {
        &self.weights
    }

    /// What its memory is for now: for a run, or kept for the next one.
    pub(super) fn reclass(&mut self, class: Class) {
        self.arena.memory.reclass(class);
    }

    /// The plan.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where the bytes of input number `at` go before a run.
    pub(super) fn input(&mut self, at: usize) -> Option<&mut [u8]> {
        let (from, bytes) = (*self.places.get(at)?, self.plan.inputs.get(at)?.operand.bytes());
        self.staging.bytes_mut().get_mut(from..from + bytes)
    }

    /// The bytes of output number `at` after a run.
    pub(super) fn output(&self, at: usize) -> Option<&[u8]> {
        let (from, bytes) =
            (*self.places.get(self.plan.inputs.len() + at)?, self.plan.outputs.get(at)?.operand.bytes());
        self.staging.bytes().get(from..from + bytes)
    }

    /// Computes what is in the staging memory, and waits for it.
    pub(super) fn run(&mut self, engine: &Engine) -> Result<(), CudaError> {
        engine.device.bind()?;
        self.arena.settled = false;
        match &self.graph {
            Some(graph) => graph.launch().map_err(CudaError::call("launching a graph"))?,
            None => self.submit(engine)?,
        }
        engine.stream.synchronize().map_err(CudaError::call("computing"))?;
        self.arena.settled = true;
        Ok(())
    }

    /// Where each input, then each output, is on the device.
    pub(super) fn pointers(&self) -> &[u64] {
        &self.pointers
    }

    /// Puts the commands into the stream, without copies.
    pub(super) fn compute(&self, engine: &Engine) -> Result<(), CudaError> {
        self.commands.iter().try_for_each(|command| engine.run(command))
    }

    /// Puts copies in, commands and copies out into the stream.
    fn submit(&mut self, engine: &Engine) -> Result<(), CudaError> {
        let stream = engine.stream.cu_stream();
        let inputs = self.plan.inputs.len();
        let sizes: Vec<usize> = self.plan.inputs.iter().chain(&self.plan.outputs).map(|o| o.operand.bytes()).collect();
        for (at, size) in sizes.iter().enumerate().take(inputs) {
            let bytes = &self.staging.bytes()[self.places[at]..][..*size];
            // SAFETY: the arena has as much room there, and the staging memory outlives the copy: whoever runs this waits.
            unsafe { result::memcpy_htod_async(self.pointers[at], bytes, stream) }
                .map_err(CudaError::call("copying an input"))?;
        }
        self.compute(engine)?;
        for (at, size) in sizes.iter().enumerate().skip(inputs) {
            let bytes = &mut self.staging.bytes_mut()[self.places[at]..][..*size];
            // SAFETY: as for inputs, the other way.
            unsafe { result::memcpy_dtoh_async(bytes, self.pointers[at], stream) }
                .map_err(CudaError::call("copying an output"))?;
        }
        Ok(())
    }
}

fn ready(command: Command, engine: &Engine, pointer: &impl Fn(Operand) -> u64) -> Result<Ready, CudaError> {
    let missing = || CudaError::Inputs("a command needs a library that is not there".to_owned());
    match command {
        Command::Launch { launch, pointers } => {
            let pointers = pointers.into_iter().map(|operand| operand.map_or(0, pointer)).collect();
            kernel(launch, pointers, engine)
        }
        Command::Convolution { convolution, operands } => {
            let cudnn = engine.cudnn.as_ref().ok_or_else(missing)?;
            let (element, algorithms) = (operands[2].element, &engine.device.algorithms);
            let pointers = operands.map(pointer);
            let made = convolution::Ready::new(cudnn, &convolution, element, pointers, engine.scratch, algorithms)?;
            match made {
                Some(ready) => Ok(Ready::Convolution(ready)),
                None => kernel(own_convolution(&convolution, element)?, pointers.to_vec(), engine),
            }
        }
        Command::Product { product, operands } => {
            let cublaslt = engine.cublaslt.as_ref().ok_or_else(missing)?;
            let (element, pointers) = (operands[2].element, operands.map(pointer));
            match product::Ready::new(cublaslt, &product, element, pointers, engine.scratch)? {
                Some(ready) => Ok(Ready::Product(ready)),
                None => kernel(own_product(&product, element)?, pointers.to_vec(), engine),
            }
        }
    }
}

fn kernel(launch: Launch, pointers: Vec<u64>, engine: &Engine) -> Result<Ready, CudaError> {
    Ok(Ready::Launch(Kernel { function: engine.device.function(&launch.kernel)?, launch, pointers }))
}
