//! The manager with a driver that hands out addresses of nothing: what is allocated, given back and cleaned up, by several
//! threads at once.

use std::collections::BTreeMap;
use std::sync::{Mutex, Weak};

use rand_core::{RngCore as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

use super::super::clean::{PlanId, Tenant};
use super::super::ledger::{Class, Owner};
use super::super::manager::{Driver, DriverError, Memory, MemoryError};
use super::super::shelf::{Shelf, Warm};
use super::*;

const MIB: u64 = 1 << 20;

/// Addresses, of which so many bytes may be out at a time.
#[derive(Default)]
struct Addresses {
    limit_bytes: u64,
    out: Arc<Mutex<BTreeMap<u64, u64>>>,
}

impl Driver for Addresses {
    fn take(&self, bytes: u64) -> Result<u64, DriverError> {
        let mut out = self.out.lock().unwrap();
        if out.values().sum::<u64>() + bytes > self.limit_bytes {
            return Err(DriverError::Exhausted);
        }
        let address = out.last_key_value().map_or(1 << 30, |(address, bytes)| (address + bytes).next_multiple_of(4096));
        out.insert(address, bytes);
        Ok(address)
    }

    fn give(&self, address: u64) {
        assert!(self.out.lock().unwrap().remove(&address).is_some(), "it was not out");
    }
}

fn manager(budget_mib: u64, device_mib: u64) -> Arc<Manager> {
    let driver = Addresses { limit_bytes: device_mib * MIB, ..Addresses::default() };
    Manager::new(device_mib * MIB, budget_mib * MIB, Box::new(driver))
}

fn owner(model: &str, instance: usize) -> Owner {
    Owner { model: model.into(), instance: Some(instance) }
}

/// A model with plans and weights that are nothing but memory.
struct Model {
    owner: Owner,
    shelf: Mutex<Shelf<Memory>>,
    weights: Mutex<Option<Memory>>,
    idle: Duration,
    made_in: Duration,
    batch: Mutex<u32>,
}

impl Model {
    /// One that nobody has asked for so long, and whose plans take so long to make.
    fn new(manager: &Arc<Manager>, name: &str, idle: Duration, made_in_ms: u64) -> Arc<Self> {
        let (shelf, weights, batch) = (Mutex::new(Shelf::new(1000)), Mutex::default(), Mutex::new(16));
        let made_in = Duration::from_millis(made_in_ms);
        let model = Arc::new(Self { owner: owner(name, 0), shelf, weights, idle, made_in, batch });
        let weak: Weak<Self> = Arc::downgrade(&model);
        manager.enter(weak);
        model
    }

    fn keep(&self, manager: &Arc<Manager>, batch: usize, bytes: u64, now: Instant) -> Result<(), MemoryError> {
        let mut value = manager.allocate(&self.owner, Class::Activations, bytes)?;
        value.reclass(Class::CachedPlans);
        let warm = Warm { bytes: value.bytes(), value, made_in: self.made_in };
        drop(self.shelf.lock().unwrap().put(vec![vec![batch]], warm, now));
        Ok(())
    }
}

impl Occupant for Model {
    fn model(&self) -> &Arc<str> {
        &self.owner.model
    }

    fn tenant(&self, now: Instant) -> Tenant {
        Tenant {
            model: Arc::clone(&self.owner.model),
            running: self.idle.is_zero(),
            idle: self.idle,
            weight_bytes: 0,
            batch: *self.batch.lock().unwrap(),
            max_batch: 16,
            element_bytes: MIB,
            warm: self.shelf.lock().unwrap().facts(now).into_iter().map(|facts| (0, facts)).collect(),
        }
    }

    fn drop_plan(&self, plan: &PlanId) -> bool {
        self.shelf.lock().unwrap().take(&plan.shapes).is_some()
    }

    fn drop_weights(&self) {
        drop(self.weights.lock().unwrap().take());
    }

    fn limit_batch(&self, elements: u32) {
        *self.batch.lock().unwrap() = elements;
    }
}

#[test]
fn ledger_and_pool_agree_whoever_allocates() {
    let manager = manager(64, 128);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let manager = Arc::clone(&manager);
            scope.spawn(move || {
                let mut rng = Pcg64Mcg::seed_from_u64(seed);
                let (mut held, mut charges) = (Vec::new(), Vec::new());
                let classes = [Class::Weights, Class::Activations, Class::CachedPlans, Class::Workspace];
                for _ in 0..400 {
                    let (owner, class) =
                        (owner("m", (rng.next_u32() % 3) as usize), classes[(rng.next_u32() % 4) as usize]);
                    match rng.next_u32() % 8 {
                        0..4 => {
                            let bytes = u64::from(rng.next_u32() % (4 << 20)) + 1;
                            held.extend(manager.allocate(&owner, class, bytes).ok());
                        }
                        4..7 if !held.is_empty() => drop(held.swap_remove(rng.next_u32() as usize % held.len())),
                        7 => charges.push(manager.charge(&owner, Class::Staging, 100)),
                        _ => held.iter_mut().take(1).for_each(|memory: &mut Memory| memory.reclass(class)),
                    }
                    assert!(manager.is_consistent());
                }
            });
        }
    });
    assert!(manager.is_consistent());
    assert_eq!((manager.figures().used_bytes, manager.state().ledger.class(Class::Staging).bytes), (0, 0));
    let high = manager.state().ledger.device().high_water_bytes;
    assert!(high > 32 * MIB && high <= 64 * MIB, "{high}");
    let reserved = manager.figures().reserved_bytes;
    assert_eq!((manager.trim(), manager.figures().reserved_bytes), (reserved, 0));
}

#[test]
fn pieces_do_not_overlap_in_address() {
    let manager = manager(32, 32);
    let memories: Vec<Memory> =
        (1..40).map(|size| manager.allocate(&owner("m", 0), Class::Weights, size * 10_000).unwrap()).collect();
    let mut places: Vec<_> = memories.iter().map(|memory| (memory.address(), memory.bytes())).collect();
    places.sort_unstable();
    assert!(places.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{places:?}");
}

#[test]
fn the_budget_holds_and_so_does_the_device() {
    let check = |budget_mib: u64, device_mib: u64, fits_mib: u64| {
        let manager = manager(budget_mib, device_mib);
        let held: Vec<_> =
            std::iter::from_fn(|| manager.allocate(&owner("m", 0), Class::Weights, MIB).ok()).take(1000).collect();
        assert_eq!(held.len() as u64, fits_mib, "budget {budget_mib}, device {device_mib}");
        let error = manager.allocate(&owner("m", 0), Class::Activations, MIB).err().unwrap();
        let wanted = format!(
            "{MIB} bytes for activations do not fit: {0} of the budget's {1}",
            fits_mib * MIB,
            budget_mib * MIB
        );
        assert!(error.to_string().starts_with(&wanted), "{error}");
    };
    check(10, 20, 10);
    check(20, 10, 10);
}

#[test]
fn kept_plans_make_room_for_what_is_wanted_now() {
    let manager = manager(32, 32);
    let model = Model::new(&manager, "kept", Duration::ZERO, 10);
    let now = Instant::now();
    for batch in 0..30 {
        model.keep(&manager, batch, MIB, now).unwrap();
    }
    let large = manager.allocate(&owner("new", 0), Class::Activations, 20 * MIB).unwrap();
    assert!(manager.is_consistent() && large.bytes() == 20 * MIB);
    let left = model.shelf.lock().unwrap().facts(now).len();
    assert!(left <= 12, "{left} plans are still kept");
    let clean_ups = manager.clean_ups();
    let CleanUp { why, steps, step_count, used_before_bytes, used_after_bytes, .. } = &clean_ups[0];
    assert_eq!(why, "there was no room for activations of model 'new'");
    assert_eq!((clean_ups.len(), *used_before_bytes, steps[0].action), (1, 30 * MIB, "drop_plan"));
    assert!(*step_count >= 18 && steps.iter().all(|step| step.freed_bytes == MIB), "{steps:?}");
    assert_eq!(*used_after_bytes, 32 * MIB, "twelve plans and what was wanted");
    let refused = manager.allocate(&owner("new", 0), Class::Activations, 13 * MIB);
    assert!(matches!(refused, Err(MemoryError::Exhausted { .. })), "what is in use stays");
    assert_eq!(manager.clean_ups()[0].step_count, *step_count, "nothing goes in vain");
    let more: Vec<_> = (0..3).map(|_| manager.allocate(&owner("new", 0), Class::Activations, MIB).unwrap()).collect();
    let clean_ups = manager.clean_ups();
    assert_eq!((clean_ups.len(), more.len()), (1, 3), "what is done for the same reason at once is one clean-up");
    assert_eq!(clean_ups[0].step_count, step_count + 3, "{:?}", clean_ups[0]);
}

/// A model leaks plans that nobody asks for again: memory is cleaned before the budget is used up, whoever else allocates is
/// never refused, and the leak is what goes.
#[test]
fn a_leak_is_cleaned_before_the_limit() {
    let manager = manager(64, 64);
    let good = Model::new(&manager, "good", Duration::ZERO, 200);
    let leak = Model::new(&manager, "leak", Duration::ZERO, 1);
    let begun = Instant::now();
    let mut most = 0;
    for second in 0..600_u64 {
        let now = begun + Duration::from_secs(second);
        // What is in use stays young.
        good.keep(&manager, 1, 4 * MIB, now).unwrap();
        leak.keep(&manager, second as usize + 10, MIB / 2, now).unwrap();
        manager.look(now, Whole::default());
        most = most.max(manager.figures().used_bytes);
        assert!(manager.is_consistent());
    }
    assert!(most <= 64 * MIB * 9 / 10 + MIB, "{most}");
    assert_eq!(good.shelf.lock().unwrap().facts(begun).len(), 1, "what is used stays");
    let clean_ups = manager.clean_ups();
    assert!(!clean_ups.is_empty());
    let of_leak = |step: &Done| step.action == "trim" || step.model.as_deref() == Some("leak");
    assert!(clean_ups.iter().flat_map(|clean_up| &clean_up.steps).all(of_leak), "{clean_ups:?}");
}

#[test]
fn idle_models_leave_and_what_is_in_use_stays() {
    let manager = manager(64, 64);
    let idle = Model::new(&manager, "idle", Duration::from_secs(100), 10);
    let busy = Model::new(&manager, "busy", Duration::ZERO, 10);
    let weights = |model: &Model, bytes| {
        let held = manager.allocate(&model.owner.shared(), Class::Weights, bytes).unwrap();
        *model.weights.lock().unwrap() = Some(held);
    };
    let now = Instant::now();
    weights(&idle, 20 * MIB);
    weights(&busy, 37 * MIB);
    busy.keep(&manager, 1, 2 * MIB, now).unwrap();
    manager.look(now, Whole::default());
    assert_eq!(manager.figures().used_bytes, 39 * MIB, "only the idle one left");
    let done: Vec<_> = manager.clean_ups()[0].steps.iter().map(|step| (step.action, step.freed_bytes / MIB)).collect();
    assert_eq!((done, *busy.batch.lock().unwrap()), (vec![("move_to_host", 20)], 16));
}

#[test]
fn batches_are_smaller_while_memory_grows() {
    let manager = manager(64, 64);
    let model = Model::new(&manager, "m", Duration::ZERO, 10);
    let (begun, mut held) = (Instant::now(), Vec::new());
    let mut second = 0;
    let mut look = || {
        second += 1;
        manager.look(begun + Duration::from_secs(second), Whole::default());
    };
    for _ in 0..250 {
        held.push(manager.allocate(&model.owner, Class::Weights, MIB / 4).unwrap());
        look();
    }
    let smaller = *model.batch.lock().unwrap();
    assert!(smaller < 16, "{smaller}");
    held.clear();
    (0..700).for_each(|_| look());
    assert_eq!(*model.batch.lock().unwrap(), 16, "there is room again");
}

fn whole(pressure: Pressure) -> Whole {
    Whole { pressure: Some(pressure), process_bytes: None }
}

#[test]
fn what_the_driver_has_for_itself_is_within_the_budget() {
    let manager = manager(64, 128);
    let held = manager.allocate(&owner("m", 0), Class::Weights, 16 * MIB).unwrap();
    let now = Instant::now();
    // One reading that is older than the pool's last growth says little.
    for process_mib in [30, 0, 30, 30, 16] {
        manager.look(now, Whole { pressure: None, process_bytes: Some(process_mib * MIB) });
    }
    assert_eq!((manager.outside_bytes(), manager.limit_bytes()), (14 * MIB, 50 * MIB));
    assert!(manager.allocate(&owner("m", 0), Class::Weights, 35 * MIB).is_err());
    assert!(manager.allocate(&owner("m", 0), Class::Weights, 34 * MIB).is_ok());
    drop(held);
    assert_eq!(manager.report(now).outside_pool_bytes, 14 * MIB);
}

#[test]
fn a_full_device_gets_back_what_lies_unused() {
    let manager = manager(64, 64);
    drop(manager.allocate(&owner("m", 0), Class::Activations, 8 * MIB).unwrap());
    let now = Instant::now();
    manager.look(now, whole(Pressure::Rising));
    assert_eq!(manager.figures().reserved_bytes, 8 * MIB);
    manager.look(now, whole(Pressure::High));
    assert_eq!(manager.figures().reserved_bytes, 0);
    assert!(manager.clean_ups()[0].why.contains("the device is nearly full"));
}

#[test]
fn models_that_do_not_fit_are_refused_and_others_make_room() {
    let manager = manager(64, 64);
    let kept = Model::new(&manager, "kept", Duration::ZERO, 10);
    let now = Instant::now();
    for batch in 0..40 {
        kept.keep(&manager, batch, MIB, now).unwrap();
    }
    let need = |mib: u64| Need { weight_bytes: mib * MIB, ..Need::default() };
    manager.admit("small", 1, need(24), &Alternatives::default()).unwrap();
    assert_eq!((manager.clean_ups().len(), manager.figures().used_bytes), (0, 40 * MIB), "there is room");
    manager.admit("middle", 1, need(34), &Alternatives::default()).unwrap();
    assert_eq!(manager.figures().used_bytes, 30 * MIB);
    let error = manager.admit("large", 1, need(65), &Alternatives::default()).unwrap_err();
    assert_eq!((error.lacking_bytes(), manager.figures().used_bytes), (MIB, 30 * MIB), "nothing goes in vain");
    let refusals = manager.refusals();
    assert!(
        refusals.len() == 1 && refusals[0].model == "large" && refusals[0].why.contains("KIND_CPU"),
        "{refusals:?}"
    );
}

#[test]
fn the_cleaner_looks_and_ends() {
    let manager = manager(8, 8);
    let cleaner = Cleaner::start(Arc::clone(&manager), |_| Whole::default()).unwrap();
    let begun = Instant::now();
    while manager.outlook().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not look");
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(cleaner);
    assert_eq!(Arc::strong_count(&manager), 1);
}
