//! What a file costs, paid once: an execution takes one of the sessions of its graph and gives it back. Models with the same
//! file share them (two versions, or what a reload replaces), so that loading it again costs nothing; there are as many as
//! the largest of those models has instances, and more are made only when more compute at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ort::ep;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;

use super::OnnxRuntimeError;
use super::library::Library;
use super::provider::Provider;

/// The sessions of a graph.
pub(super) struct Pool {
    library: &'static Library,
    threads: Option<usize>,
    provider: Provider,
    onnx: Vec<u8>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<Session>,
    /// Sessions that there are or are being made.
    made: usize,
    /// Instances that may compute.
    members: usize,
}

impl Pool {
    /// A graph without sessions. It computes on threads of its own when it names a number.
    pub(super) fn new(library: &'static Library, threads: Option<usize>, provider: Provider, onnx: Vec<u8>) -> Self {
        Self { library, threads, provider, onnx, state: Mutex::default() }
    }

    /// The state is whole after every statement.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session, made if none is idle.
    fn take(&self) -> Result<Session, OnnxRuntimeError> {
        let mut state = self.lock();
        if let Some(session) = state.idle.pop() {
            return Ok(session);
        }
        state.made += 1;
        drop(state);
        self.make().inspect_err(|_| self.lock().made -= 1)
    }

    fn give_back(&self, session: Session) {
        let mut state = self.lock();
        if state.made > state.members.max(1) {
            state.made -= 1;
            drop(state);
            drop(session);
        } else {
            state.idle.push(session);
        }
    }

    fn make(&self) -> Result<Session, OnnxRuntimeError> {
        let failed = |error: ort::Error| OnnxRuntimeError::Load(error.to_string());
        let builder = Session::builder(&self.library.environment).map_err(failed)?;
        let builder = builder.with_optimization_level(GraphOptimizationLevel::All).map_err(|e| failed(e.into()))?;
        let builder = match self.provider {
            Provider::Cpu => builder,
            Provider::Cuda(device) => {
                // FP32 is FP32. Where it cannot be registered there is no session, not one on the CPU that says otherwise.
                let cuda = ep::CUDA::default().with_device_id(device).with_tf32(false).build().error_on_failure();
                builder.with_execution_providers([cuda]).map_err(|e| failed(e.into()))?
            }
        };
        let mut builder = match self.threads {
            None => builder,
            Some(threads) => {
                let builder = builder.with_independent_thread_pool().map_err(|e| failed(e.into()))?;
                builder.with_intra_threads(threads).map_err(|e| failed(e.into()))?
            }
        };
        builder.commit_from_memory(&self.onnx).map_err(failed)
    }
}

/// An instance's right to a session.
pub(super) struct Lease {
    pool: Arc<Pool>,
}

impl Lease {
    /// For one more instance of a model, which has had so many: there are at least as many sessions as these.
    ///
    /// # Errors
    /// When a session cannot be made.
    pub(super) fn new(pool: &Arc<Pool>, before: &AtomicUsize) -> Result<Self, OnnxRuntimeError> {
        let lease = Self { pool: Arc::clone(pool) };
        let lacks = {
            // Counted under the lock, because instances are made side by side.
            let mut state = pool.lock();
            state.members += 1;
            let lacks = state.made <= before.fetch_add(1, Ordering::Relaxed);
            state.made += usize::from(lacks);
            lacks
        };
        if lacks {
            let session = pool.make().inspect_err(|_| pool.lock().made -= 1)?;
            pool.lock().idle.push(session);
        }
        Ok(lease)
    }

    /// Computes with a session.
    ///
    /// # Errors
    /// When there is none and none can be made.
    pub(super) fn with<R>(&self, compute: impl FnOnce(&mut Session) -> R) -> Result<R, OnnxRuntimeError> {
        let mut held = Held { pool: &self.pool, session: Some(self.pool.take()?) };
        held.session.as_mut().map(compute).ok_or_else(|| OnnxRuntimeError::Load("there is no session".to_owned()))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.members -= 1;
        let more = state.made.saturating_sub(state.members.max(1)).min(state.idle.len());
        state.made -= more;
        let from = state.idle.len() - more;
        let idle: Vec<_> = state.idle.drain(from..).collect();
        // Releasing a session may take a while.
        drop(state);
        drop(idle);
    }
}

/// A session that goes back whatever happens meanwhile.
struct Held<'a> {
    pool: &'a Pool,
    session: Option<Session>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.session.take().into_iter().for_each(|session| self.pool.give_back(session));
    }
}
