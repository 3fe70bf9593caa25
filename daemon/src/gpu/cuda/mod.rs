//! Plans on a GPU: the shell around the driver, cuDNN, cuBLASLt and NVRTC, all of them loaded when they are first needed and
//! looked for before that, so that one program runs everywhere. What is computed is decided in `plan`; whether it can run
//! here, in `lower`, which is pure.

// Calls into the driver cannot be checked by a compiler: each block says why it is right.
#![allow(unsafe_code)]

mod blocks;
mod convolution;
mod device;
mod error;
mod fit;
mod libraries;
mod lower;
mod occupancy;
mod pinned;
mod prepared;
mod product;
mod programs;
mod relief;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

pub use self::device::Device;
pub use self::error::CudaError;
pub use self::fit::Asked;
pub use self::lower::{Command, Libraries, LowerError, lower};
use self::occupancy::{Kept, Occupancy};
use self::prepared::{Engine, Prepared};
use crate::gpu::graph::{Graph, read};
use crate::gpu::memory::admission::TooLarge;
use crate::gpu::memory::ledger::Class;
use crate::gpu::memory::recommend::{self, Timed};
use crate::gpu::memory::shelf::{Shapes, Warm};
use crate::gpu::plan::{Outlet, Settings, plan};

/// A model as instances share it.
pub struct Model {
    device: Arc<Device>,
    graph: Graph,
    settings: Settings,
    occupancy: Arc<Occupancy>,
    max_batch: u32,
    timed: Vec<Timed>,
}

impl Model {
    /// Reads a model of this name that takes batches of so many elements at most; 0 for one without a batch dimension.
    ///
    /// # Errors
    /// When it is none, or has something in it that is not computed, which is named; or when the GPU is lost.
    pub fn new(
        name: &str,
        max_batch: u32,
        onnx: Bytes,
        device: &Arc<Device>,
        settings: Settings,
    ) -> Result<Self, CudaError> {
        if let Some(lost) = device.lost() {
            return Err(lost.clone());
        }
        let graph = read(onnx)?;
        let occupancy = Occupancy::new(name, max_batch, device);
        Ok(Self { device: Arc::clone(device), graph, settings, occupancy, max_batch, timed: Vec::new() })
    }

    /// With what was measured of its batches, in order of size.
    #[must_use]
    pub fn timed(self, timed: Vec<Timed>) -> Self {
        Self { timed, ..self }
    }

    /// Makes room for it on the device, as it will be asked.
    ///
    /// # Errors
    /// When there is none; says by how much and what would help.
    pub fn admit(&self, name: &str, asked: &Asked) -> Result<(), Box<TooLarge>> {
        fit::admit(&self.graph, self.settings, name, asked, self.device.manager())
    }

    /// What it runs on.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Its graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The largest batch that is worth forming while so many elements wait.
    pub fn largest_batch(&self, waiting: u64) -> u32 {
        let (batch, element_bytes) = self.occupancy.batch();
        let fits = recommend::fits(self.device.manager().room_bytes(), element_bytes);
        recommend::batch(self.max_batch.max(1), fits.min(batch), waiting, &self.timed)
    }
}

/// An instance: a stream of its own, and what it has prepared for the shapes that came.
pub struct Instance {
    model: Arc<Model>,
    kept: Kept,
    bench: relief::Bench,
    engine: Engine,
}

impl Instance {
    /// One more instance.
    ///
    /// # Errors
    /// When the GPU refuses.
    pub fn new(model: Arc<Model>) -> Result<Self, CudaError> {
        let (owner, kept) = model.occupancy.instance();
        let engine = Engine::new(&model.device, owner)?;
        Ok(Self { model, kept, bench: relief::Bench::default(), engine })
    }

    /// The largest batch that is worth forming while so many elements wait.
    pub fn largest_batch(&self, waiting: u64) -> u32 {
        self.model.largest_batch(waiting)
    }

    /// Computes inputs of these shapes. `write` is called with the number of each input and the memory for its bytes; `read`
    /// with all outputs, once they are there.
    ///
    /// # Errors
    /// When the model does not take such shapes, or the GPU refuses. What was prepared is let go of then.
    pub fn run<T>(
        &mut self,
        shapes: Shapes,
        write: impl FnOnce(&mut Run<'_>) -> Result<(), CudaError>,
        read: impl FnOnce(&Run<'_>) -> Result<T, CudaError>,
    ) -> Result<T, CudaError> {
        if let Some(lost) = self.model.device.lost() {
            return Err(lost.clone());
        }
        let answer = self.attempt(shapes, write, read);
        answer.map_err(|error| self.model.device.verdict(error, &self.engine.stream))
    }

    fn attempt<T>(
        &mut self,
        shapes: Shapes,
        write: impl FnOnce(&mut Run<'_>) -> Result<(), CudaError>,
        read: impl FnOnce(&Run<'_>) -> Result<T, CudaError>,
    ) -> Result<T, CudaError> {
        let _running = self.model.occupancy.begin();
        let kept = device::lock(&self.kept).take(&shapes);
        let mut warm = match kept {
            Some(warm) => warm,
            None => self.prepare(&shapes)?,
        };
        warm.value.reclass(Class::Activations);
        let mut run = Run(&mut warm.value);
        write(&mut run)?;
        run.0.run(&self.engine)?;
        let answer = read(&run);
        warm.value.reclass(Class::CachedPlans);
        let gone = device::lock(&self.kept).put(shapes, warm, Instant::now());
        // Freeing it takes longer than others should wait for the lock.
        drop(gone);
        answer
    }

    /// Plans for shapes that are new here. If memory is short, what is kept for others goes first: the manager sees to that.
    fn prepare(&self, shapes: &Shapes) -> Result<Warm<Prepared>, CudaError> {
        let begun = Instant::now();
        let plan = plan(&self.model.graph, shapes, self.model.settings)?;
        let value = Prepared::new(plan, &self.engine)?;
        let elements = shapes.first().and_then(|shape| shape.first()).copied().unwrap_or(1);
        self.model.occupancy.made(elements, &value);
        Ok(Warm { bytes: value.bytes(), value, made_in: begun.elapsed() })
    }
}

/// What goes in before a run and comes out of it.
pub struct Run<'a>(&'a mut Prepared);

impl Run<'_> {
    /// Where the bytes of an input go.
    pub fn input(&mut self, at: usize) -> Option<&mut [u8]> {
        self.0.input(at)
    }

    /// The outputs, each with its bytes.
    pub fn outputs(&self) -> impl Iterator<Item = (&Outlet, &[u8])> {
        let outlets = self.0.plan().outputs.iter().enumerate();
        outlets.map(|(at, outlet)| (outlet, self.0.output(at).unwrap_or_default()))
    }
}

#[cfg(test)]
mod on_standin;
#[cfg(test)]
mod tests;
