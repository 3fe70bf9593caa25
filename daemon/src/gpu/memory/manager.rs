//! The memory of one device: every allocation goes through here, into the pool and the ledger at once, and never past the
//! budget. What is handed out knows its way back. Where there is no room, what others keep for later goes first (`clean`,
//! executed by `cleaner`); only then is an allocation refused.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::admission::{Alternatives, Need, Room, admit};
use super::clean::{PlanId, Situation, Tenant, droppable_bytes, everything};
use super::cleaner::Log;
use super::growth::Point;
use super::ledger::{Class, Ledger, Owner};
use super::pool::{BlockId, Figures, Piece, Pool, block_sizes, rounded};

/// Readings of what is used that are kept: ten minutes at one a second.
const POINTS: usize = 600;
/// Readings of what this process has in all that are looked at.
const SEEN: usize = 11;

/// Where blocks come from.
pub trait Driver: Send + Sync {
    /// A block of so many bytes, by its address.
    ///
    /// # Errors
    /// When there is none.
    fn take(&self, bytes: u64) -> Result<u64, DriverError>;

    /// Takes a block back.
    fn give(&self, address: u64);
}

/// Why a driver gives no block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverError {
    /// There is no memory left.
    Exhausted,
    /// Anything else, in the driver's words.
    Other(String),
}

/// Why there is no memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Neither the budget nor what could be given back is enough.
    #[error("{bytes} bytes for {} do not fit: {used_bytes} of the budget's {budget_bytes} are used", .class.as_str())]
    Exhausted {
        /// What they are wanted for.
        class: Class,
        /// How many.
        bytes: u64,
        /// How many may be used.
        budget_bytes: u64,
        /// How many are.
        used_bytes: u64,
    },
    /// The driver does not answer as it should.
    #[error("{0}")]
    Driver(String),
}

/// A model with memory on the device.
pub trait Occupant: Send + Sync {
    /// Its name.
    fn model(&self) -> &Arc<str>;

    /// What it keeps, at `now`. Its weights are the manager's to say.
    fn tenant(&self, now: Instant) -> Tenant;

    /// Lets go of a plan that it keeps; says whether it was there.
    fn drop_plan(&self, plan: &PlanId) -> bool;

    /// Lets go of its weights, if it computes nothing.
    fn drop_weights(&self);

    /// Forms batches of at most so many elements from now on.
    fn limit_batch(&self, elements: u32);
}

/// See the module.
pub struct Manager {
    pub(super) budget_bytes: u64,
    total_bytes: u64,
    driver: Box<dyn Driver>,
    state: Mutex<State>,
    occupants: Mutex<Vec<Weak<dyn Occupant>>>,
    room_bytes: AtomicU64,
    outside: Mutex<VecDeque<u64>>,
    pub(super) log: Mutex<Log>,
}

/// What the lock guards: pool and ledger change together.
#[derive(Default)]
pub(super) struct State {
    pool: Pool,
    addresses: BTreeMap<BlockId, u64>,
    pub(super) ledger: Ledger,
    points: VecDeque<(Instant, u64)>,
}

/// Why the pool has no piece.
enum Lack {
    Room,
    Driver(String),
}

impl Manager {
    /// Of a device with so many bytes, of which so many may be used.
    pub fn new(total_bytes: u64, budget_bytes: u64, driver: Box<dyn Driver>) -> Arc<Self> {
        let (state, occupants, log) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (room_bytes, outside) = (AtomicU64::new(budget_bytes), Mutex::default());
        Arc::new(Self { budget_bytes, total_bytes, driver, state, occupants, room_bytes, outside, log })
    }

    /// All that the device has.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// What may be used of it.
    pub fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    /// What of the budget is this process's without being in the pool: the driver's own, and its libraries'. The middle of
    /// what was seen lately, because what the driver says of a process is older than what the pool says of itself.
    pub fn outside_bytes(&self) -> u64 {
        let outside = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ascending: Vec<u64> = outside.iter().copied().collect();
        ascending.sort_unstable();
        ascending.get(ascending.len() / 2).copied().unwrap_or(0)
    }

    /// The driver says that this process has so many bytes.
    pub(super) fn seen(&self, process_bytes: u64) {
        let outside_bytes = process_bytes.saturating_sub(self.figures().reserved_bytes);
        let mut outside = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        if outside.len() == SEEN {
            outside.pop_front();
        }
        outside.push_back(outside_bytes);
    }

    /// What the pool may have.
    pub fn limit_bytes(&self) -> u64 {
        self.budget_bytes.saturating_sub(self.outside_bytes())
    }

    /// What is whole after every statement stays whole.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody who may be asked to give back.
    pub fn enter(&self, occupant: Weak<dyn Occupant>) {
        let mut occupants = self.occupants.lock().unwrap_or_else(PoisonError::into_inner);
        occupants.retain(|occupant| occupant.strong_count() > 0);
        occupants.push(occupant);
    }

    /// Forgets the lines of a model that is gone.
    pub fn retire(&self, model: &str) {
        self.state().ledger.retire(model);
    }

    /// Those who may be asked to give back. Nothing is locked while they are.
    pub(super) fn occupants(&self) -> Vec<Arc<dyn Occupant>> {
        let occupants = self.occupants.lock().unwrap_or_else(PoisonError::into_inner);
        occupants.iter().filter_map(Weak::upgrade).collect()
    }

    /// Memory of the device; what is in it is not known. If there is no room, what is kept for later goes for it.
    ///
    /// # Errors
    /// When even that is not enough.
    pub fn allocate(self: &Arc<Self>, owner: &Owner, class: Class, bytes: u64) -> Result<Memory, MemoryError> {
        match self.take(owner, class, bytes) {
            Ok((piece, address)) => return Ok(self.memory(owner, class, piece, address)),
            Err(Lack::Driver(why)) => return Err(MemoryError::Driver(why)),
            Err(Lack::Room) => {}
        }
        let taken = self.take_from_others(owner, class, bytes);
        let memory = taken.map(|(piece, address)| self.memory(owner, class, piece, address));
        memory.ok_or_else(|| MemoryError::Exhausted {
            class,
            bytes,
            budget_bytes: self.limit_bytes(),
            used_bytes: self.figures().used_bytes,
        })
    }

    fn take_from_others(&self, owner: &Owner, class: Class, bytes: u64) -> Option<(Piece, u64)> {
        let situation = self.situation(Instant::now());
        let stays_bytes = situation.used_bytes.saturating_sub(droppable_bytes(&situation));
        if rounded(bytes) > self.limit_bytes().saturating_sub(stays_bytes) {
            // Nothing goes in vain.
            return None;
        }
        let mut taken = None;
        let why = format!("there was no room for {} of model '{}'", class.as_str(), owner.model);
        self.execute(&why, &everything(&situation), || {
            taken = self.take(owner, class, bytes).ok();
            taken.is_some()
        });
        taken
    }

    fn memory(self: &Arc<Self>, owner: &Owner, class: Class, piece: Piece, address: u64) -> Memory {
        Memory { manager: Arc::clone(self), owner: owner.clone(), class, piece, address }
    }

    fn take(&self, owner: &Owner, class: Class, bytes: u64) -> Result<(Piece, u64), Lack> {
        let mut state = self.state();
        let (piece, address) = state.take(&*self.driver, bytes, self.limit_bytes())?;
        state.ledger.add(owner, class, piece.bytes);
        Ok((piece, address))
    }

    /// Counts memory of the host, for as long as what is given back lives.
    pub fn charge(self: &Arc<Self>, owner: &Owner, class: Class, bytes: u64) -> Charge {
        self.state().ledger.add(owner, class, bytes);
        Charge { manager: Arc::clone(self), owner: owner.clone(), class, bytes }
    }

    /// Gives unused blocks back to the driver; says how many bytes they had.
    pub(super) fn trim(&self) -> u64 {
        self.state().trim(&*self.driver)
    }

    /// What the pool looks like.
    pub fn figures(&self) -> Figures {
        self.state().pool.figures()
    }

    /// What is known at `now`.
    pub fn situation(&self, now: Instant) -> Situation {
        // The occupants first: they have locks of their own.
        let mut tenants: Vec<Tenant> = self.occupants().iter().map(|occupant| occupant.tenant(now)).collect();
        let state = self.state();
        for tenant in &mut tenants {
            tenant.weight_bytes = state.ledger.of_model(&tenant.model, Class::Weights);
        }
        let Figures { used_bytes, unused_block_bytes, .. } = state.pool.figures();
        Situation { budget_bytes: self.limit_bytes(), used_bytes, unused_block_bytes, tenants }
    }

    /// What there is for a model of this name: what serves under it now will be gone when it has come.
    pub(super) fn room(&self, model: &str, situation: &Situation) -> Room {
        let others = Situation {
            tenants: situation.tenants.iter().filter(|tenant| &*tenant.model != model).cloned().collect(),
            ..*situation
        };
        Room {
            budget_bytes: self.limit_bytes(),
            used_bytes: situation.used_bytes,
            droppable_bytes: droppable_bytes(&others) + self.held_by(model),
        }
    }

    /// Bytes of the device that a model of this name has.
    pub(super) fn held_by(&self, model: &str) -> u64 {
        let state = self.state();
        let classes = Class::ALL.into_iter().filter(|class| class.on_device());
        classes.map(|class| state.ledger.of_model(model, class)).sum()
    }

    /// Whether a model would be taken.
    pub fn has_room(&self, model: &str, need: Need) -> bool {
        let room = self.room(model, &self.situation(Instant::now()));
        admit(1, need, &room, &Alternatives::default()).is_ok()
    }

    /// Bytes that batches may take: what was free or could be given back at the last look.
    pub fn room_bytes(&self) -> u64 {
        self.room_bytes.load(Ordering::Relaxed)
    }

    /// Takes down what is used at `now`.
    pub(super) fn note(&self, now: Instant) {
        let situation = self.situation(now);
        let used_bytes = situation.used_bytes;
        let stays_bytes = used_bytes.saturating_sub(droppable_bytes(&situation));
        self.room_bytes.store(self.limit_bytes().saturating_sub(stays_bytes), Ordering::Relaxed);
        let mut state = self.state();
        if state.points.len() == POINTS {
            state.points.pop_front();
        }
        state.points.push_back((now, used_bytes));
    }

    /// What was used, oldest first.
    pub(super) fn points(&self) -> Vec<Point> {
        let state = self.state();
        let Some((first, _)) = state.points.front().copied() else { return Vec::new() };
        let at_s = |at: &Instant| at.saturating_duration_since(first).as_secs_f64();
        state.points.iter().map(|(at, used)| Point { at_s: at_s(at), used_bytes: *used as f64 }).collect()
    }

    /// Whether ledger and pool say the same.
    #[cfg(test)]
    pub(super) fn is_consistent(&self) -> bool {
        let state = self.state();
        let figures = state.pool.figures();
        let on_device = Class::ALL.into_iter().filter(|class| class.on_device());
        let sum: u64 = on_device.map(|class| state.ledger.class(class).bytes).sum();
        sum == figures.used_bytes
            && sum == state.ledger.device().bytes
            && figures.reserved_bytes <= self.budget_bytes
            && figures.blocks == state.addresses.len()
    }
}

impl State {
    fn take(&mut self, driver: &dyn Driver, bytes: u64, budget_bytes: u64) -> Result<(Piece, u64), Lack> {
        loop {
            if let Some(piece) = self.pool.take(bytes) {
                let block = self.addresses.get(&piece.block).copied().unwrap_or_default();
                return Ok((piece, block + piece.offset));
            }
            // Blocks that are too small and that nobody uses make room for one that is large enough.
            if !self.grow(driver, bytes, budget_bytes)? && self.trim(driver) == 0 {
                return Err(Lack::Room);
            }
        }
    }

    /// Takes another block with room for so many bytes; says whether there was one within the budget.
    fn grow(&mut self, driver: &dyn Driver, bytes: u64, budget_bytes: u64) -> Result<bool, Lack> {
        let left = budget_bytes.saturating_sub(self.pool.figures().reserved_bytes);
        for size in block_sizes(bytes, left, budget_bytes) {
            match driver.take(size) {
                Ok(address) => {
                    let block = self.pool.add(size);
                    self.addresses.insert(block, address);
                    return Ok(true);
                }
                Err(DriverError::Exhausted) => {}
                Err(DriverError::Other(why)) => return Err(Lack::Driver(why)),
            }
        }
        Ok(false)
    }

    fn trim(&mut self, driver: &dyn Driver) -> u64 {
        let unused = self.pool.trim();
        for (block, _) in &unused {
            if let Some(address) = self.addresses.remove(block) {
                driver.give(address);
            }
        }
        unused.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// Memory of the device, until it is dropped. Whoever drops it has waited for what uses it.
pub struct Memory {
    manager: Arc<Manager>,
    owner: Owner,
    class: Class,
    piece: Piece,
    address: u64,
}

impl Memory {
    /// Where it is.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// How much it is, with what it was rounded up by.
    pub fn bytes(&self) -> u64 {
        self.piece.bytes
    }

    /// It is for something else from now on.
    pub fn reclass(&mut self, class: Class) {
        if class != self.class {
            self.manager.state().ledger.reclass(&self.owner, self.class, class, self.piece.bytes);
            self.class = class;
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut state = self.manager.state();
        if state.pool.give(self.piece) {
            state.ledger.subtract(&self.owner, self.class, self.piece.bytes);
        }
    }
}

/// Memory of the host that is counted, until it is dropped.
pub struct Charge {
    manager: Arc<Manager>,
    owner: Owner,
    class: Class,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.manager.state().ledger.subtract(&self.owner, self.class, self.bytes);
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // Nobody has any of it any more: what was handed out holds the manager.
        self.trim();
    }
}
