//! Does what `clean` decides, and writes down what it brought: when an allocation finds no room, when a model is to be loaded,
//! and once in a while when memory is tight or will be soon.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::Serialize;

use super::admission::{Alternatives, Need, TooLarge, admit};
use super::clean::{Action, Goal, PlanId, Reach, Situation, Step, everything, goal, restored, towards};
use super::manager::{Manager, Occupant};
use super::pressure::{Pressure, Profile};

/// Clean-ups that are remembered.
const REMEMBERED: usize = 64;
/// Models that were refused that are remembered.
const REFUSALS: usize = 16;
/// Of one clean-up, the steps that are shown.
const STEPS_SHOWN: usize = 32;
/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// What is done for the same reason within this time is one clean-up.
const ONE_MS: u64 = 10_000;

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "GpuMemoryStep")]
pub struct Done {
    /// `trim`, `drop_plan`, `shrink_batch` or `move_to_host`.
    pub action: &'static str,
    /// The model that it was done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The instance, or the batch before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Bytes that it was to bring.
    pub expected_bytes: u64,
    /// Bytes that it brought.
    pub freed_bytes: u64,
    /// Why this.
    pub reason: String,
}

/// A clean-up: what was done, and why.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "GpuMemoryCleanUp")]
pub struct CleanUp {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Why.
    pub why: String,
    /// What was done, in order; the first of it where it was much.
    pub steps: Vec<Done>,
    /// How much was done.
    pub step_count: usize,
    /// What was used of the budget before.
    pub used_before_bytes: u64,
    /// And after.
    pub used_after_bytes: u64,
}

/// A model that was not taken.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "GpuMemoryRefusal")]
pub struct Refused {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Which.
    pub model: String,
    /// By how much it is too large, and what would help.
    pub why: String,
    /// By how much, in bytes.
    pub lacking_bytes: u64,
}

/// What was done, the last of it.
#[derive(Debug, Default)]
pub struct Log {
    clean_ups: VecDeque<CleanUp>,
    refusals: VecDeque<Refused>,
}

fn keep<T>(list: &mut VecDeque<T>, item: T, most: usize) {
    if list.len() == most {
        list.pop_front();
    }
    list.push_back(item);
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What is known of a device as a whole, with what others have on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Whole {
    /// How close it is to the end of its memory.
    pub pressure: Option<Pressure>,
    /// What this process has of it, with what the driver and its libraries have for it.
    pub process_bytes: Option<u64>,
}

impl Manager {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last clean-ups, oldest first.
    pub fn clean_ups(&self) -> Vec<CleanUp> {
        self.log().clean_ups.iter().cloned().collect()
    }

    /// The last models that were not taken, oldest first.
    pub fn refusals(&self) -> Vec<Refused> {
        self.log().refusals.iter().cloned().collect()
    }

    /// Executes steps until that is `enough`, and writes down what they brought.
    pub(super) fn execute(&self, why: &str, steps: &[Step], mut enough: impl FnMut() -> bool) {
        let used_before_bytes = self.figures().used_bytes;
        let mut done = Vec::new();
        for step in steps {
            let freed_bytes = self.step(&step.action);
            done.push(as_done(step, freed_bytes));
            if enough() {
                break;
            }
        }
        if !done.is_empty() {
            self.remember(why, done, used_before_bytes, self.figures().used_bytes);
        }
    }

    fn remember(&self, why: &str, mut done: Vec<Done>, used_before_bytes: u64, used_after_bytes: u64) {
        let (at_unix_ms, mut log) = (unix_ms(), self.log());
        let same = |last: &&mut CleanUp| last.why == why && at_unix_ms.saturating_sub(last.at_unix_ms) < ONE_MS;
        if let Some(last) = log.clean_ups.back_mut().filter(same) {
            last.step_count += done.len();
            last.used_after_bytes = used_after_bytes;
            done.truncate(STEPS_SHOWN.saturating_sub(last.steps.len()));
            return last.steps.extend(done);
        }
        let (freed, count) = (used_before_bytes.saturating_sub(used_after_bytes), done.len());
        tracing::info!("GPU memory: {why}; {count} steps were taken, {freed} bytes less are used");
        let step_count = done.len();
        done.truncate(STEPS_SHOWN);
        let clean_up =
            CleanUp { at_unix_ms, why: why.to_owned(), steps: done, step_count, used_before_bytes, used_after_bytes };
        keep(&mut log.clean_ups, clean_up, REMEMBERED);
    }

    /// Does one thing; says how many bytes it brought.
    fn step(&self, action: &Action) -> u64 {
        let before = self.figures();
        match action {
            Action::Trim => return self.trim(),
            Action::DropPlan(plan) => {
                // Whoever uses it meanwhile keeps it.
                self.of(&plan.model).iter().any(|occupant| occupant.drop_plan(plan));
            }
            Action::ShrinkBatch { model, to, .. } => {
                self.of(model).iter().for_each(|occupant| occupant.limit_batch(*to));
            }
            Action::MoveToHost { model } => {
                self.of(model).iter().for_each(|occupant| leave(occupant.as_ref()));
            }
        }
        before.used_bytes.saturating_sub(self.figures().used_bytes)
    }

    /// The occupants of a name; versions of a model have the same.
    fn of(&self, model: &str) -> Vec<Arc<dyn Occupant>> {
        self.occupants().into_iter().filter(|occupant| &**occupant.model() == model).collect()
    }

    /// Makes room for a model that is to be loaded.
    ///
    /// # Errors
    /// When all that can be given back is not enough; that is remembered.
    pub fn admit(&self, model: &str, batch: u32, need: Need, otherwise: &Alternatives) -> Result<(), Box<TooLarge>> {
        let situation = self.situation(Instant::now());
        let room = self.room(model, &situation);
        let lacking = admit(batch, need, &room, otherwise).inspect_err(|error| {
            let (why, lacking_bytes) = (error.to_string(), error.lacking_bytes());
            let refused = Refused { at_unix_ms: unix_ms(), model: model.to_owned(), why, lacking_bytes };
            keep(&mut self.log().refusals, refused, REFUSALS);
        })?;
        // What it replaces goes by itself.
        let lacking = lacking.saturating_sub(self.held_by(model));
        if lacking > 0 {
            let limit = situation.used_bytes.saturating_sub(lacking);
            let why = format!("model '{model}' is to be loaded and takes {} bytes", need.bytes());
            let others = Situation {
                tenants: situation.tenants.iter().filter(|tenant| &*tenant.model != model).cloned().collect(),
                ..situation
            };
            self.execute(&why, &everything(&others), || self.figures().used_bytes <= limit);
        }
        Ok(())
    }

    /// What is known of the memory that is managed, by itself.
    pub fn outlook(&self) -> Option<Profile> {
        Profile::of(self.limit_bytes(), 1.0, &self.points())
    }

    /// Looks at `now` whether memory is tight or will be soon, and does what that takes. `device` is what is known of the
    /// device as a whole.
    pub fn look(&self, now: Instant, device: Whole) {
        device.process_bytes.into_iter().for_each(|bytes| self.seen(bytes));
        self.note(now);
        let Some(outlook) = self.outlook() else { return };
        let wanted = goal(outlook.pressure, &outlook.growth, outlook.budget_bytes, outlook.used_bytes);
        let tight = device.pressure.is_some_and(|pressure| pressure >= Pressure::High)
            || self.figures().reserved_bytes > self.limit_bytes();
        // Others need what lies here unused.
        let wanted = wanted.or(tight.then_some(Goal { bytes: 0, reach: Reach::Cold }));
        if let Some(goal) = wanted {
            let why = self.why(&outlook, tight, goal);
            return self.execute(&why, &towards(goal, &self.situation(now)), || false);
        }
        if outlook.pressure == Pressure::Low {
            for (model, elements) in restored(&self.situation(now).tenants) {
                self.of(&model).iter().for_each(|occupant| occupant.limit_batch(elements));
            }
        }
    }

    fn why(&self, outlook: &Profile, device_tight: bool, goal: Goal) -> String {
        match (goal.bytes, device_tight) {
            (0, true) => "the device is nearly full, with what the driver and others have on it".to_owned(),
            (bytes, _) if goal.reach == Reach::Cold => {
                format!("memory grows and will soon be used up; {bytes} bytes should go")
            }
            (bytes, _) => {
                format!("{} of {} bytes are used; {bytes} should go", outlook.used_bytes, outlook.budget_bytes)
            }
        }
    }
}

/// A model leaves the device, unless it computes.
fn leave(occupant: &dyn Occupant) {
    let tenant = occupant.tenant(Instant::now());
    if tenant.running {
        return;
    }
    for (instance, facts) in tenant.warm {
        let plan = PlanId { model: Arc::clone(&tenant.model), instance, shapes: facts.shapes };
        occupant.drop_plan(&plan);
    }
    occupant.drop_weights();
}

fn as_done(step: &Step, freed_bytes: u64) -> Done {
    let detail = match &step.action {
        Action::Trim | Action::MoveToHost { .. } => None,
        Action::DropPlan(plan) => Some(format!("instance {}, shapes {:?}", plan.instance, plan.shapes)),
        Action::ShrinkBatch { from, to, .. } => Some(format!("from {from} to {to}")),
    };
    Done {
        action: step.action.as_str(),
        model: step.action.model().map(ToString::to_string),
        detail,
        expected_bytes: step.bytes,
        freed_bytes,
        reason: step.reason.clone(),
    }
}

/// The thread that looks. Its end is that of what it is dropped with.
pub struct Cleaner {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Cleaner {
    /// Begins to look; `device` says what is known of the device as a whole.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(manager: Arc<Manager>, device: impl Fn(Instant) -> Whole + Send + 'static) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || {
            while !stopped.load(Ordering::Acquire) {
                let now = Instant::now();
                manager.look(now, device(now));
                std::thread::park_timeout(PERIOD);
            }
        };
        let thread = std::thread::Builder::new().name("gpu-memory".to_owned()).spawn(run)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It catches nothing and holds nothing: there is nothing to learn from how it ended.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
