//! A leak that is declared: every execution leaves so much of the GPU's memory behind, as plans that nobody asks for again.
//! So it can be seen whether memory is cleaned before it is used up, and by what (`gpu::memory`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::backend::BackendError;
use crate::gpu::memory::clean::{PlanId, Tenant};
use crate::gpu::memory::ledger::{Class, Owner};
use crate::gpu::memory::manager::{Manager, Memory, Occupant};
use crate::gpu::memory::shelf::{Shelf, Warm};

/// More pieces than this are a slip of the pen.
const MOST: usize = 1 << 20;

/// What the instances of a model have left behind.
pub struct Leak {
    manager: Arc<Manager>,
    owner: Owner,
    bytes: u64,
    left: Mutex<Shelf<Memory>>,
    count: AtomicUsize,
    last_use: Mutex<Instant>,
}

impl Leak {
    /// Of a model that leaves so many bytes behind each time.
    pub fn new(model: &str, bytes: u64, manager: &Arc<Manager>) -> Arc<Self> {
        let leak = Arc::new(Self {
            manager: Arc::clone(manager),
            owner: Owner { model: model.into(), instance: Some(0) },
            bytes,
            left: Mutex::new(Shelf::new(MOST)),
            count: AtomicUsize::new(0),
            last_use: Mutex::new(Instant::now()),
        });
        let weak: Weak<Self> = Arc::downgrade(&leak);
        manager.enter(weak);
        leak
    }

    /// An execution leaves something behind at `now`.
    ///
    /// # Errors
    /// When there is no memory left.
    pub(super) fn grow(&self, now: Instant) -> Result<(), BackendError> {
        let value = self.manager.allocate(&self.owner, Class::CachedPlans, self.bytes);
        let value = value.map_err(|error| BackendError::Model(error.to_string()))?;
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        *self.last_use.lock().unwrap_or_else(PoisonError::into_inner) = now;
        let warm = Warm { bytes: value.bytes(), value, made_in: Duration::ZERO };
        drop(self.left().put(vec![vec![number]], warm, now));
        Ok(())
    }

    fn left(&self) -> MutexGuard<'_, Shelf<Memory>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Occupant for Leak {
    fn model(&self) -> &Arc<str> {
        &self.owner.model
    }

    fn tenant(&self, now: Instant) -> Tenant {
        let last_use = *self.last_use.lock().unwrap_or_else(PoisonError::into_inner);
        Tenant {
            model: Arc::clone(&self.owner.model),
            running: false,
            idle: now.saturating_duration_since(last_use),
            weight_bytes: 0,
            batch: 1,
            max_batch: 1,
            element_bytes: 0,
            warm: self.left().facts(now).into_iter().map(|facts| (0, facts)).collect(),
        }
    }

    fn drop_plan(&self, plan: &PlanId) -> bool {
        let taken = self.left().take(&plan.shapes);
        taken.is_some()
    }

    fn drop_weights(&self) {}

    fn limit_batch(&self, _elements: u32) {}
}
