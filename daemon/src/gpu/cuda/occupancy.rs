//! What a model has on a GPU, as the memory manager may ask for it back: plans that its instances keep, and weights that stay
//! between two requests.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use super::device::{Device, lock};
use super::prepared::Prepared;
use crate::gpu::memory::clean::{PlanId, Tenant};
use crate::gpu::memory::ledger::Owner;
use crate::gpu::memory::manager::{Memory, Occupant};
use crate::gpu::memory::shelf::Shelf;

/// Plans that an instance keeps at most; how many bytes they may have together is the manager's affair.
const MOST_PLANS: usize = 64;

/// What an instance keeps.
pub(super) type Kept = Arc<Mutex<Shelf<Prepared>>>;
/// The number of an instance, and what it keeps.
type OfInstance = (usize, Weak<Mutex<Shelf<Prepared>>>);

/// See the module.
pub(super) struct Occupancy {
    name: Arc<str>,
    max_batch: u32,
    device: Arc<Device>,
    instances: AtomicUsize,
    kept: Mutex<Vec<OfInstance>>,
    /// Those of the plan that was made last: what its plans share stays although they go.
    weights: Mutex<Vec<Arc<Memory>>>,
    running: AtomicUsize,
    last_use: Mutex<Instant>,
    batch: AtomicU32,
    element_bytes: AtomicU64,
}

impl Occupancy {
    /// Of a model that has nothing yet, and batches of so many elements at most; 0 for one without a batch dimension.
    pub(super) fn new(name: &str, max_batch: u32, device: &Arc<Device>) -> Arc<Self> {
        let occupancy = Arc::new(Self {
            name: name.into(),
            max_batch: max_batch.max(1),
            device: Arc::clone(device),
            instances: AtomicUsize::new(0),
            kept: Mutex::default(),
            weights: Mutex::default(),
            running: AtomicUsize::new(0),
            last_use: Mutex::new(Instant::now()),
            batch: AtomicU32::new(max_batch.max(1)),
            element_bytes: AtomicU64::new(0),
        });
        let weak: Weak<Self> = Arc::downgrade(&occupancy);
        device.manager().enter(weak);
        occupancy
    }

    /// One more instance: who owns what it has, and where it keeps plans.
    pub(super) fn instance(&self) -> (Owner, Kept) {
        let number = self.instances.fetch_add(1, Ordering::Relaxed);
        let shelf = Arc::new(Mutex::new(Shelf::new(MOST_PLANS)));
        let mut kept = lock(&self.kept);
        kept.retain(|(_, shelf)| shelf.strong_count() > 0);
        kept.push((number, Arc::downgrade(&shelf)));
        (Owner { model: Arc::clone(&self.name), instance: Some(number) }, shelf)
    }

    /// A computation, until it is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::AcqRel);
        *lock(&self.last_use) = Instant::now();
        Running(Arc::clone(self))
    }

    /// A plan was made for batches of so many elements.
    pub(super) fn made(&self, elements: usize, prepared: &Prepared) {
        *lock(&self.weights) = prepared.weights().to_vec();
        if self.max_batch > 1 {
            let each = prepared.bytes().div_ceil(elements.max(1) as u64);
            self.element_bytes.store(each, Ordering::Relaxed);
        }
    }

    /// The most elements that a batch may have now, and what each of them takes; 0 while that is not known.
    pub(super) fn batch(&self) -> (u32, u64) {
        (self.batch.load(Ordering::Relaxed), self.element_bytes.load(Ordering::Relaxed))
    }
}

/// See `Occupancy::begin`.
pub(super) struct Running(Arc<Occupancy>);

impl Drop for Running {
    fn drop(&mut self) {
        *lock(&self.0.last_use) = Instant::now();
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Occupant for Occupancy {
    fn model(&self) -> &Arc<str> {
        &self.name
    }

    fn tenant(&self, now: Instant) -> Tenant {
        let shelves: Vec<_> = lock(&self.kept).iter().filter_map(|(at, kept)| Some((*at, kept.upgrade()?))).collect();
        let of_one = |(at, shelf): &(usize, Kept)| {
            let facts = lock(shelf).facts(now);
            facts.into_iter().map(|facts| (*at, facts)).collect::<Vec<_>>()
        };
        let (batch, element_bytes) = self.batch();
        Tenant {
            model: Arc::clone(&self.name),
            running: self.running.load(Ordering::Acquire) > 0,
            idle: now.saturating_duration_since(*lock(&self.last_use)),
            weight_bytes: 0,
            batch,
            max_batch: self.max_batch,
            element_bytes,
            warm: shelves.iter().flat_map(of_one).collect(),
        }
    }

    fn drop_plan(&self, plan: &PlanId) -> bool {
        let found = lock(&self.kept).iter().find(|(at, _)| *at == plan.instance).and_then(|(_, kept)| kept.upgrade());
        let taken = found.and_then(|shelf| lock(&shelf).take(&plan.shapes));
        // What it has of the GPU is freed on this thread.
        taken.is_some() && self.device.bind().is_ok()
    }

    fn drop_weights(&self) {
        if self.running.load(Ordering::Acquire) == 0 {
            lock(&self.weights).clear();
        }
    }

    fn limit_batch(&self, elements: u32) {
        self.batch.store(elements.clamp(1, self.max_batch), Ordering::Relaxed);
    }
}

impl Drop for Occupancy {
    fn drop(&mut self) {
        lock(&self.weights).clear();
        self.device.manager().retire(&self.name);
    }
}
