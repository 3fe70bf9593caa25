//! A relief on a GPU: the actions of `gpu::relief` put into the stream of an instance, one after the other, and waited for
//! once. Nothing comes back to the host between the pixels and the mesh.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cudarc::driver::sys::CUevent_flags;
use cudarc::driver::{CudaEvent, CudaFunction, result};

use super::Instance;
use super::device::{Device, lock};
use super::error::CudaError;
use super::pinned::Pinned;
use super::prepared::{Engine, Kernel, Prepared};
use crate::gpu::kernels::Launch;
use crate::gpu::memory::ledger::Class;
use crate::gpu::memory::manager::{Charge, Memory};
use crate::gpu::relief::{Action, Job, Layout, Made, Spot};
use crate::relief::laps::{Laps, Step};

impl Instance {
    /// Makes a relief of a picture's pixels, and says how long each step took on the device.
    ///
    /// # Errors
    /// When the model or the sizes are none that there is a way for, or the GPU refuses. What was prepared is let go of then.
    pub fn relief(&mut self, job: &Job, pixels: &[u8]) -> Result<(Made, Laps), CudaError> {
        let _running = self.model.occupancy.begin();
        let shapes = vec![job.input_shape()];
        let kept = lock(&self.kept).take(&shapes);
        let mut warm = match kept {
            Some(warm) => warm,
            None => self.prepare(&shapes)?,
        };
        warm.value.reclass(Class::Activations);
        let made = self.bench.make(&self.engine, &warm.value, job, pixels)?;
        warm.value.reclass(Class::CachedPlans);
        let gone = lock(&self.kept).put(shapes, warm, Instant::now());
        // Freeing it takes longer than others should wait for the lock.
        drop(gone);
        Ok(made)
    }
}

/// What an instance keeps to make reliefs with: memory as large as the largest needed, and the kernels.
#[derive(Default)]
pub(super) struct Bench {
    /// Once there is something on it.
    device: Option<Arc<Device>>,
    work: Option<Memory>,
    staging: Option<(Pinned, Charge)>,
    functions: BTreeMap<String, CudaFunction>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Whichever thread this is, it needs the device to free what is on it. What the driver says can change nothing.
        let _ = self.device.as_ref().map(|device| device.bind());
    }
}

impl Bench {
    fn make(
        &mut self,
        engine: &Engine,
        prepared: &Prepared,
        job: &Job,
        pixels: &[u8],
    ) -> Result<(Made, Laps), CudaError> {
        engine.device.bind()?;
        self.device.get_or_insert_with(|| Arc::clone(&engine.device));
        let plan = prepared.plan();
        let ([input], [output]) = (plan.inputs.as_slice(), plan.outputs.as_slice()) else {
            return Err(CudaError::Inputs("the depth model must have one input and one output".to_owned()));
        };
        let layout = Layout::new(job, input, output)?;
        self.make_room(engine, &layout)?;
        layout.fill(self.staging_mut(), pixels)?;
        let begun = Instant::now();
        let submitted = self.submit(engine, prepared, &layout);
        // Whatever has begun still uses the memory.
        let waited = engine.stream.synchronize().map_err(CudaError::call("making a relief"));
        let marks = submitted.and_then(|marks| waited.map(|()| marks))?;
        let laps = laps(begun, &marks)?;
        Ok((layout.made(self.staging())?, laps))
    }

    fn staging(&self) -> &[u8] {
        self.staging.as_ref().map(|(memory, _)| memory.bytes()).unwrap_or_default()
    }

    fn staging_mut(&mut self) -> &mut [u8] {
        self.staging.as_mut().map(|(memory, _)| memory.bytes_mut()).unwrap_or_default()
    }

    /// Takes more memory where there is too little. What there was goes first.
    fn make_room(&mut self, engine: &Engine, layout: &Layout) -> Result<(), CudaError> {
        if self.work.as_ref().is_none_or(|work| work.bytes() < layout.work_bytes as u64) {
            self.work = None;
            let bytes = layout.work_bytes.next_power_of_two();
            self.work = Some(engine.device.memory(&engine.owner, Class::Workspace, bytes)?);
        }
        if self.staging().len() < layout.staging_bytes {
            self.staging = None;
            let bytes = layout.staging_bytes.next_power_of_two();
            let charge = engine.device.manager().charge(&engine.owner, Class::Staging, bytes as u64);
            self.staging = Some((Pinned::new(bytes)?, charge));
        }
        Ok(())
    }

    /// Puts everything into the stream; gives a mark at the beginning, and one behind each step.
    fn submit(
        &mut self,
        engine: &Engine,
        prepared: &Prepared,
        layout: &Layout,
    ) -> Result<Vec<(Step, CudaEvent)>, CudaError> {
        let mut marks = Vec::new();
        for (at, (step, action)) in layout.actions.iter().enumerate() {
            if at == 0 {
                marks.push((*step, mark(engine)?));
            }
            self.act(engine, prepared, action)?;
            if layout.actions.get(at + 1).is_none_or(|(next, _)| next != step) {
                marks.push((*step, mark(engine)?));
            }
        }
        Ok(marks)
    }

    fn act(&mut self, engine: &Engine, prepared: &Prepared, action: &Action) -> Result<(), CudaError> {
        let stream = engine.stream.cu_stream();
        let work = self.work.as_ref().map_or(0, Memory::address);
        let pointers = prepared.pointers();
        let pointer = |spot: Spot| match spot {
            Spot::Work(offset) => work + offset as u64,
            Spot::Input => pointers.first().copied().unwrap_or(0),
            Spot::Output => pointers.last().copied().unwrap_or(0),
        };
        let failed = CudaError::call("copying for a relief");
        let outside = || CudaError::Inputs("a relief lies outside of the staging memory".to_owned());
        match action {
            Action::Model => prepared.compute(engine),
            Action::Launch { launch, pointers } => {
                let pointers = pointers.iter().map(|spot| spot.map_or(0, pointer)).collect();
                let function = self.function(engine, launch)?;
                Kernel { function, launch: launch.clone(), pointers }.run(&engine.stream)
            }
            &Action::Upload { from, to, bytes } => {
                let source = self.staging().get(from..from + bytes).ok_or_else(outside)?;
                // SAFETY: the layout lies within the memory that was made for it, and whoever submits this waits for it.
                unsafe { result::memcpy_htod_async(pointer(Spot::Work(to)), source, stream) }.map_err(failed)
            }
            &Action::Copy { from, to, bytes } => {
                // SAFETY: as above; the model's output has as many bytes, and the two do not overlap.
                unsafe { result::memcpy_dtod_async(pointer(Spot::Work(to)), pointer(from), bytes, stream) }
                    .map_err(failed)
            }
            &Action::Download { from, to, bytes } => {
                let target = self.staging_mut().get_mut(to..to + bytes).ok_or_else(outside)?;
                // SAFETY: as for what goes up, the other way.
                unsafe { result::memcpy_dtoh_async(target, pointer(Spot::Work(from)), stream) }.map_err(failed)
            }
        }
    }

    fn function(&mut self, engine: &Engine, launch: &Launch) -> Result<CudaFunction, CudaError> {
        if let Some(function) = self.functions.get(&launch.kernel.name) {
            return Ok(function.clone());
        }
        let function = engine.device.function(&launch.kernel)?;
        self.functions.insert(launch.kernel.name.clone(), function.clone());
        Ok(function)
    }
}

fn mark(engine: &Engine) -> Result<CudaEvent, CudaError> {
    let event = engine.stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
    event.map_err(CudaError::call("marking a step"))
}

/// How long each step took on the device, as if the device had begun when the first action was submitted.
fn laps(begun: Instant, marks: &[(Step, CudaEvent)]) -> Result<Laps, CudaError> {
    let mut laps = Laps::default();
    let Some(((_, first), later)) = marks.split_first() else { return Ok(laps) };
    let mut from = begun;
    for (step, mark) in later {
        let ms = first.elapsed_ms(mark).map_err(CudaError::call("timing a step"))?;
        let to = begun + Duration::from_secs_f64(f64::from(ms.max(0.0)) / 1e3);
        laps.note(*step, from, to.max(from));
        from = to.max(from);
    }
    Ok(laps)
}
