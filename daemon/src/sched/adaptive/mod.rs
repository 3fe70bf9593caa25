//! Adaptive batching: the size of batches, and how long an idle instance waits for company, from what batches have taken
//! and how many requests are in the system at a time. Pure: a time is an argument.
//!
//! Under saturation it finds the size that serves most (`curve`). A single client is never kept waiting. Where several
//! clients come back together after each batch, an instance that would run half a batch waits for the others, for at
//! most half the time that running together saves; where they do not come, it stops waiting.

mod curve;
#[cfg(test)]
mod simulator;

use std::time::{Duration, Instant};

use self::curve::Curve;
use super::batch::BatchPolicy;

/// Of the time that running together saves, what may be spent on waiting for it.
const STAKE: f64 = 0.5;
/// Waiting goes on while so many of the last waits paid.
const WORTH_WAITING: f64 = 0.3;
/// The weight of the newest wait.
const NEWEST_WAIT: f64 = 0.2;
/// Where waits do not pay, one batch in so many tries again.
const TRY_AGAIN: u64 = 32;
/// A batch may keep one in so many of the bytes that are free.
const SHARE_OF_MEMORY: u64 = 4;
/// What computing takes in memory beside the bytes of requests: their joined copy, results and what is between, roughly.
const BYTES_A_BYTE: u64 = 4;
/// Executions after which a size that failed is approached again.
const FORGIVE: u64 = 256;

/// What there is when an instance is idle.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Batch elements that wait.
    pub waiting: u64,
    /// What they keep in memory.
    pub waiting_bytes: usize,
    /// When the oldest of them came.
    pub oldest: Instant,
    /// Since when this instance has been idle.
    pub idle_since: Instant,
    /// How many instances serve side by side.
    pub instances: usize,
    /// Memory that is free, where the system says so.
    pub free_bytes: Option<u64>,
}

/// How the next batch is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The rules.
    pub policy: BatchPolicy,
    /// Whether its size is tried, and may not be the best.
    pub trial: bool,
}

/// The state of a model's adaptive batching.
#[derive(Debug, Clone)]
pub struct Adaptive {
    max_elements: u32,
    /// The longest that anybody waits for company, where there is such a limit.
    max_delay: Option<Duration>,
    curve: Curve,
    /// Larger batches failed.
    cap: u32,
    /// Elements in the system at a time, lately.
    crowd: u64,
    /// The share of waits that were worth it, lately.
    worth: f64,
    /// The size that somebody waits for.
    goal: Option<u32>,
    dispatches: u64,
}

impl Adaptive {
    /// For a model whose rules, beside the sizes that it prefers, are these. A delay of zero is no limit.
    pub fn new(rules: &BatchPolicy) -> Self {
        Self {
            max_elements: rules.max_elements,
            max_delay: Some(rules.max_delay).filter(|delay| !delay.is_zero()),
            curve: Curve::default(),
            cap: rules.max_elements,
            crowd: 0,
            worth: 1.0,
            goal: None,
            dispatches: 0,
        }
    }

    /// Takes in what batches of these sizes took when the model was measured.
    pub fn known_before(&mut self, timed: &[(u32, Duration)]) {
        for (size, took) in timed.iter().filter(|(size, _)| *size <= self.max_elements) {
            self.curve.known_before(*size, *took);
        }
    }

    /// How an instance that is idle makes the next batch.
    pub fn plan(&self, view: &View) -> Plan {
        let limit = self.limit(view);
        let best = self.curve.best(limit);
        let larger = self.curve.climb(limit).unwrap_or(best);
        let wait = self.goal(view, larger).and_then(|goal| Some((goal, self.patience(view, goal)?)));
        if let Some((goal, patience)) = wait {
            let until = view.oldest.max(view.idle_since) + patience;
            let max_delay = until.saturating_duration_since(view.oldest);
            return Plan {
                policy: BatchPolicy { max_elements: larger, preferred: vec![goal], max_delay },
                trial: false,
            };
        }
        let trial = self.curve.trial(limit, view.waiting);
        let max_elements = trial.unwrap_or(best);
        Plan { policy: BatchPolicy { max_elements, ..BatchPolicy::alone() }, trial: trial.is_some() }
    }

    /// The size that serves most.
    pub fn size(&self) -> u32 {
        self.curve.best(self.cap)
    }

    /// An instance waits for company under these rules.
    pub fn waits(&mut self, policy: &BatchPolicy) {
        self.goal = policy.preferred.first().copied();
    }

    /// A batch of `elements` begins.
    pub fn dispatched(&mut self, elements: u32) {
        self.dispatches += 1;
        if let Some(goal) = self.goal.take() {
            let paid = f64::from(u8::from(elements >= goal));
            self.worth += NEWEST_WAIT * (paid - self.worth);
        }
        if self.dispatches.is_multiple_of(FORGIVE) {
            self.cap = self.cap.saturating_add(self.cap.div_ceil(4)).min(self.max_elements);
        }
    }

    /// A batch that was made by `plan` and held `elements` took so long. At its end `in_system` elements wait or run,
    /// those included: at its begin, who was answered before may still have been on the way back.
    pub fn observe(&mut self, plan: &Plan, elements: u32, in_system: u64, took: Duration) {
        let fall = self.crowd.saturating_sub(in_system).div_ceil(4);
        self.crowd = in_system.max(self.crowd - fall);
        self.curve.observe(plan.policy.max_elements, elements, took, plan.trial);
    }

    /// A batch of `elements` failed whose requests succeeded alone: it was too large.
    pub fn too_large(&mut self, elements: u32) {
        self.cap = (elements - elements.div_ceil(4)).max(1);
    }

    fn limit(&self, view: &View) -> u32 {
        let by_memory = view.free_bytes.and_then(|free| {
            let each = (view.waiting_bytes as u64).checked_div(view.waiting)?.saturating_mul(BYTES_A_BYTE);
            (free / SHARE_OF_MEMORY).checked_div(each)
        });
        self.cap.min(by_memory.map_or(u32::MAX, |size| u32::try_from(size).unwrap_or(u32::MAX))).max(1)
    }

    /// How many should come together, if more than wait now.
    fn goal(&self, view: &View, size: u32) -> Option<u32> {
        let each = self.crowd.div_ceil(view.instances.max(1) as u64);
        let goal = u32::try_from(each).unwrap_or(u32::MAX).min(size);
        Some(goal).filter(|goal| u64::from(*goal) > view.waiting)
    }

    /// How long it pays to wait until `goal` elements are there; `None` where it does not.
    fn patience(&self, view: &View, goal: u32) -> Option<Duration> {
        if self.worth < WORTH_WAITING && !self.dispatches.is_multiple_of(TRY_AGAIN) {
            return None;
        }
        let waiting = u32::try_from(view.waiting).ok()?;
        let time_s = |elements| self.curve.time_s(elements);
        let saved_s = time_s(waiting)? + time_s(goal - waiting)? - time_s(goal)?;
        let patience = Duration::try_from_secs_f64(saved_s * STAKE).ok().filter(|patience| !patience.is_zero())?;
        Some(self.max_delay.map_or(patience, |longest| longest.min(patience)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(max_elements: u32, max_delay: Duration) -> BatchPolicy {
        BatchPolicy { max_elements, preferred: Vec::new(), max_delay }
    }

    fn view(now: Instant, waiting: u64) -> View {
        View { waiting, waiting_bytes: 0, oldest: now, idle_since: now, instances: 1, free_bytes: None }
    }

    /// A batch of n takes 10 ms and 1 ms for each element, known up to 16; eight clients come together.
    fn crowded(max_delay: Duration) -> Adaptive {
        let mut adaptive = Adaptive::new(&rules(16, max_delay));
        for size in [1, 2, 4, 8, 15, 16] {
            let plan = Plan { policy: rules(size, Duration::ZERO), trial: false };
            for _ in 0..2 {
                adaptive.observe(&plan, size, 8, Duration::from_millis(u64::from(10 + size)));
            }
        }
        adaptive
    }

    #[test]
    fn who_is_likely_to_have_company_waits_for_it() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let check = |adaptive: &Adaptive, waiting, expected: (&[u32], Duration)| {
            let policy = adaptive.plan(&view(now, waiting)).policy;
            let off = policy.max_delay.abs_diff(expected.1);
            assert_eq!(policy.preferred, expected.0, "{waiting} wait: {policy:?}");
            assert!(off < Duration::from_micros(1), "{waiting} wait: {policy:?}");
        };
        // 1 and 7 alone take 11 and 17 ms, together 18 ms: half of the 10 ms saved.
        check(&crowded(Duration::ZERO), 1, (&[8], ms(5)));
        check(&crowded(ms(2)), 1, (&[8], ms(2)));
        check(&crowded(Duration::ZERO), 8, (&[], Duration::ZERO));
        let mut alone = crowded(Duration::ZERO);
        let plan = Plan { policy: rules(1, Duration::ZERO), trial: false };
        for _ in 0..20 {
            alone.observe(&plan, 1, 1, ms(11));
        }
        check(&alone, 1, (&[], Duration::ZERO));
    }

    #[test]
    fn waiting_begins_when_the_instance_is_idle() {
        let now = Instant::now();
        let view = View { idle_since: now + Duration::from_millis(30), ..view(now, 1) };
        let delay = crowded(Duration::from_millis(2)).plan(&view).policy.max_delay;
        assert_eq!(delay, Duration::from_millis(32));
    }

    #[test]
    fn waits_in_vain_are_given_up() {
        let now = Instant::now();
        let mut adaptive = crowded(Duration::ZERO);
        for _ in 0..10 {
            let plan = adaptive.plan(&view(now, 1));
            adaptive.waits(&plan.policy);
            // The crowd is there, but not in time.
            adaptive.dispatched(1);
        }
        assert!(adaptive.plan(&view(now, 1)).policy.preferred.is_empty());
    }

    #[test]
    fn memory_and_failures_bound_the_size() {
        let now = Instant::now();
        let adaptive = crowded(Duration::ZERO);
        let size = |adaptive: &Adaptive, free_bytes, waiting_bytes| {
            adaptive.limit(&View { free_bytes, waiting_bytes, ..view(now, 100) })
        };
        assert_eq!(size(&adaptive, None, 100 << 20), 16);
        assert_eq!(size(&adaptive, Some(1 << 30), 100 << 20), 16);
        // A megabyte each, of which four are reckoned with; a quarter of 128 MiB is room for eight.
        assert_eq!(size(&adaptive, Some(128 << 20), 100 << 20), 8);
        assert_eq!(size(&adaptive, Some(0), 100 << 20), 1);
        let mut failed = adaptive;
        failed.too_large(16);
        assert_eq!(size(&failed, None, 0), 12);
        for _ in 0..FORGIVE * 2 {
            failed.dispatched(8);
        }
        assert_eq!(size(&failed, None, 0), 16, "it is tried again");
    }
}
