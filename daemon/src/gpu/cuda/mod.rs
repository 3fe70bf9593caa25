//! Plans on a GPU: the shell around the driver, cuDNN, cuBLASLt and NVRTC, all of them loaded when they are first needed and
//! looked for before that, so that one program runs everywhere. What is computed is decided in `plan`; whether it can run
//! here, in `lower`, which is pure.

// Calls into the driver cannot be checked by a compiler: each block says why it is right.
#![allow(unsafe_code)]

mod convolution;
mod device;
mod error;
mod lower;
mod pinned;
mod prepared;
mod product;
mod programs;

use std::sync::Arc;

use bytes::Bytes;

pub use self::device::Device;
pub use self::error::CudaError;
pub use self::lower::{Command, Libraries, LowerError, lower};
use self::prepared::{Engine, Prepared};
use crate::gpu::graph::{Graph, read};
use crate::gpu::plan::kept::{Kept, Shapes};
use crate::gpu::plan::{Outlet, Settings, plan};

/// Memory that one instance may keep for shapes that come again.
const KEPT_BYTES: usize = 2 << 30;

/// A model as instances share it.
pub struct Model {
    device: Arc<Device>,
    graph: Graph,
    settings: Settings,
}

impl Model {
    /// Reads a model.
    ///
    /// # Errors
    /// When it is none, or has something in it that is not computed; the operator is named.
    pub fn new(onnx: Bytes, device: &Arc<Device>, settings: Settings) -> Result<Arc<Self>, CudaError> {
        let graph = read(onnx)?;
        Ok(Arc::new(Self { device: Arc::clone(device), graph, settings }))
    }

    /// Its graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
}

/// An instance: a stream of its own, and what it has prepared for the shapes that came.
pub struct Instance {
    model: Arc<Model>,
    engine: Engine,
    kept: Kept<Prepared>,
}

impl Instance {
    /// One more instance.
    ///
    /// # Errors
    /// When the GPU refuses.
    pub fn new(model: Arc<Model>) -> Result<Self, CudaError> {
        let engine = Engine::new(&model.device)?;
        Ok(Self { model, engine, kept: Kept::new(KEPT_BYTES) })
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
        let mut prepared = match self.kept.take(&shapes) {
            Some(prepared) => prepared,
            None => self.prepare(&shapes)?,
        };
        let mut run = Run(&mut prepared);
        write(&mut run)?;
        run.0.run(&self.engine)?;
        let answer = read(&run);
        let bytes = prepared.bytes();
        self.kept.put(shapes, prepared, bytes);
        answer
    }

    /// Plans for shapes that are new here. If memory is short, what was kept for others goes first.
    fn prepare(&mut self, shapes: &Shapes) -> Result<Prepared, CudaError> {
        loop {
            let plan = plan(&self.model.graph, shapes, self.model.settings)?;
            match Prepared::new(plan, &self.engine) {
                Err(CudaError::Memory { .. }) if self.kept.drop_oldest().is_some() => {}
                prepared => return prepared,
            }
        }
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
mod tests;
