//! Which of the waiting requests run together, and when: Triton's dynamic batching as a pure function of the queue
//! and the time. It takes nothing out of the queue itself.

use std::time::{Duration, Instant};

use super::queue::{Entry, Waiting};

/// How requests are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPolicy {
    /// The most batch elements that run together, at least 1.
    pub max_elements: u32,
    /// Sizes at which a batch runs although it could still grow, ascending.
    pub preferred: Vec<u32>,
    /// How long the oldest request may wait for company while an instance is idle.
    pub max_delay: Duration,
}

impl BatchPolicy {
    /// Every request runs alone and at once.
    pub fn alone() -> Self {
        Self { max_elements: 1, preferred: Vec::new(), max_delay: Duration::ZERO }
    }

    /// The same with batches of at most so many elements, if that is less. A request that is larger runs alone.
    pub fn bounded(&self, most: u32) -> Option<Self> {
        let bound = |_| Self {
            max_elements: most.max(1),
            preferred: self.preferred.iter().copied().filter(|size| *size <= most).collect(),
            max_delay: self.max_delay,
        };
        (most < self.max_elements).then_some(()).map(bound)
    }

    fn prefers(&self, elements: u32) -> bool {
        self.preferred.binary_search(&elements).is_ok()
    }

    /// Whether a batch of so many elements runs without waiting for more.
    fn is_enough(&self, elements: u32) -> bool {
        elements >= self.preferred.last().copied().unwrap_or(self.max_elements).min(self.max_elements)
    }
}

/// What an idle instance does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nobody waits.
    Idle,
    /// Take the first so many requests and run them.
    Run(usize),
    /// Wait for company until then, or until somebody comes.
    WaitUntil(Instant),
}

/// The longest run of requests from the front that can share a batch.
struct Prefix {
    requests: usize,
    elements: u32,
    /// When the oldest of them came.
    oldest: Instant,
    /// The longest prefix whose size is a preferred one; else the last before they were exceeded.
    preferred: Option<usize>,
    /// Waiting cannot make it a better one: somebody behind it cannot join, or it is larger than all preferred sizes.
    closed: bool,
}

impl Prefix {
    fn of(policy: &BatchPolicy, first: &Entry) -> Self {
        let preferred = policy.prefers(first.elements).then_some(1);
        let closed = policy.is_enough(first.elements);
        Self { requests: 1, elements: first.elements, oldest: first.enqueued, preferred, closed }
    }

    fn add(&mut self, policy: &BatchPolicy, entry: &Entry, elements: u32) {
        if policy.preferred.last().is_some_and(|&largest| elements > largest) {
            self.preferred.get_or_insert(self.requests);
        }
        self.requests += 1;
        self.elements = elements;
        self.oldest = self.oldest.min(entry.enqueued);
        if policy.prefers(elements) {
            self.preferred = Some(self.requests);
        }
        self.closed = policy.is_enough(elements);
    }
}

fn longest_prefix<'a, J: 'a>(
    policy: &BatchPolicy,
    mut waiting: impl Iterator<Item = &'a Waiting<J>>,
) -> Option<Prefix> {
    let first = &waiting.next()?.entry;
    let mut prefix = Prefix::of(policy, first);
    for Waiting { entry, .. } in waiting {
        let elements = prefix.elements.saturating_add(entry.elements);
        if entry.shape != first.shape || elements > policy.max_elements {
            prefix.closed = true;
            break;
        }
        prefix.add(policy, entry, elements);
    }
    Some(prefix)
}

/// What an instance that is idle at `now` does with the `waiting` requests, in the order in which they are served.
/// Preferred sizes are taken while the delay lasts; when it is over, everything goes that fits into one batch.
pub fn decide<'a, J: 'a>(
    policy: &BatchPolicy,
    waiting: impl Iterator<Item = &'a Waiting<J>>,
    now: Instant,
) -> Decision {
    let Some(prefix) = longest_prefix(policy, waiting) else { return Decision::Idle };
    let until = prefix.oldest + policy.max_delay;
    let delay_is_over = until <= now;
    match prefix.preferred {
        Some(preferred) if !delay_is_over || policy.max_delay.is_zero() => Decision::Run(preferred),
        _ if prefix.closed || delay_is_over => Decision::Run(prefix.requests),
        _ => Decision::WaitUntil(until),
    }
}

/// When the first `count` of the `waiting` requests became a batch that may run: with its last request when that
/// filled it, else at the end of the delay or when somebody came who cannot join it. The time at which an instance
/// gets to it may be later.
pub fn ready_at<'a, J: 'a>(
    policy: &BatchPolicy,
    mut waiting: impl Iterator<Item = &'a Waiting<J>>,
    count: usize,
) -> Option<Instant> {
    let batch: Vec<_> = waiting.by_ref().take(count).map(|waiting| &waiting.entry).collect();
    let elements = batch.iter().fold(0u32, |sum, entry| sum.saturating_add(entry.elements));
    let newest = batch.iter().map(|entry| entry.enqueued).max()?;
    if policy.is_enough(elements) || policy.prefers(elements) {
        return Some(newest);
    }
    let delay_ends = batch.iter().map(|entry| entry.enqueued).min()? + policy.max_delay;
    let behind = waiting.next().map(|waiting| waiting.entry.enqueued);
    Some(newest.max(behind.map_or(delay_ends, |behind| behind.min(delay_ends))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::policy::QueueRules;
    use super::super::queue::{Limits, Queue};
    use super::*;

    const DELAY: Duration = Duration::from_millis(5);

    fn entry(elements: u32, shape: i64, enqueued: Instant) -> Entry {
        Entry { level: 0, elements, bytes: 0, shape: vec![shape], enqueued, timeout: None, deadline: None }
    }

    fn queue(start: Instant, requests: &[(u32, i64, u64)]) -> Queue<usize> {
        let mut queue = Queue::new(QueueRules::without_priorities(Limits { requests: 1000, bytes: usize::MAX }));
        for (index, &(elements, shape, at_ms)) in requests.iter().enumerate() {
            let enqueued = start + Duration::from_millis(at_ms);
            queue.push(entry(elements, shape, enqueued), index).expect("there is room");
        }
        queue
    }

    fn policy(max_elements: u32, preferred: &[u32], max_delay: Duration) -> BatchPolicy {
        BatchPolicy { max_elements, preferred: preferred.to_vec(), max_delay }
    }

    fn check(policy: &BatchPolicy, requests: &[(u32, i64, u64)], now_ms: u64, expected: impl Fn(Instant) -> Decision) {
        let start = Instant::now();
        let waiting = queue(start, requests);
        let now = start + Duration::from_millis(now_ms);
        let decision = decide(policy, waiting.iter(), now);
        assert_eq!(decision, expected(start), "{policy:?} {requests:?} at {now_ms} ms");
    }

    #[test]
    fn rules_of_dynamic_batching() {
        let run = |count| move |_| Decision::Run(count);
        let wait = |ms| move |start| Decision::WaitUntil(start + Duration::from_millis(ms));
        let (eager, patient) = (policy(4, &[], Duration::ZERO), policy(4, &[], DELAY));
        check(&eager, &[], 0, |_| Decision::Idle);
        check(&eager, &[(1, 0, 0)], 0, run(1));
        check(&eager, &[(1, 0, 0); 9], 0, run(4));
        check(&eager, &[(3, 0, 0), (2, 0, 0)], 0, run(1));
        check(&eager, &[(1, 0, 0), (1, 7, 0), (1, 0, 0)], 0, run(1));
        check(&patient, &[(1, 0, 0), (1, 0, 3)], 3, wait(5));
        check(&patient, &[(1, 0, 0), (1, 0, 3)], 5, run(2));
        check(&patient, &[(2, 0, 0), (2, 0, 1)], 1, run(2));
        check(&patient, &[(1, 0, 0), (1, 7, 1)], 1, run(1));
        let preferred = policy(8, &[2, 4], DELAY);
        check(&preferred, &[(1, 0, 0)], 0, wait(5));
        check(&preferred, &[(1, 0, 0); 3], 0, run(2));
        check(&preferred, &[(1, 0, 0); 9], 0, run(4));
        check(&preferred, &[(1, 0, 0); 9], 5, run(8));
        check(&preferred, &[(3, 0, 0)], 0, wait(5));
        check(&preferred, &[(3, 0, 0), (3, 0, 0)], 0, run(1));
        check(&preferred, &[(5, 0, 0)], 0, run(1));
        check(&preferred, &[(2, 0, 0), (1, 7, 0)], 0, run(1));
        check(&policy(8, &[2, 4], Duration::ZERO), &[(1, 0, 0); 3], 9, run(2));
        check(&policy(8, &[4], Duration::ZERO), &[(1, 0, 0); 3], 0, run(3));
        check(&BatchPolicy::alone(), &[(1, 0, 0), (1, 0, 0)], 0, run(1));
    }

    #[test]
    fn a_bound_from_outside_only_makes_batches_smaller() {
        let rules = policy(8, &[2, 6], DELAY);
        assert_eq!((rules.bounded(8), rules.bounded(9)), (None, None));
        assert_eq!(rules.bounded(5), Some(policy(5, &[2], DELAY)));
        let one = rules.bounded(0).expect("less");
        check(&one, &[(1, 0, 0), (1, 0, 0)], 0, |_| Decision::Run(1));
        check(&one, &[(3, 0, 0), (1, 0, 0)], 0, |_| Decision::Run(1));
    }

    /// Batches go across levels, and the oldest of a batch is not always its first.
    #[test]
    fn the_oldest_decides_how_long_to_wait() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let rules = QueueRules::without_priorities(Limits { requests: 9, bytes: 9 });
        let mut waiting = Queue::new(QueueRules { levels: 2, default_level: 2, ..rules });
        for (level, ms) in [(2, 0), (1, 3)] {
            waiting.push(Entry { level, ..entry(1, 0, at(ms)) }, ()).expect("there is room");
        }
        let patient = policy(4, &[], DELAY);
        assert_eq!(decide(&patient, waiting.iter(), at(4)), Decision::WaitUntil(at(5)));
        assert_eq!(decide(&patient, waiting.iter(), at(5)), Decision::Run(2));
        assert_eq!(ready_at(&patient, waiting.iter(), 2), Some(at(5)));
    }

    #[test]
    fn a_batch_is_ready_when_nothing_more_can_or_may_join_it() {
        let check = |policy: &BatchPolicy, requests: &[(u32, i64, u64)], count, expected_ms| {
            let start = Instant::now();
            let ready = ready_at(policy, queue(start, requests).iter(), count);
            assert_eq!(ready, Some(start + Duration::from_millis(expected_ms)), "{policy:?} {requests:?}");
        };
        let patient = policy(4, &[], DELAY);
        check(&patient, &[(1, 0, 0), (1, 0, 3)], 2, 5);
        check(&patient, &[(1, 0, 0), (1, 0, 9)], 2, 9);
        check(&patient, &[(2, 0, 0), (2, 0, 1)], 2, 1);
        check(&patient, &[(1, 0, 0), (1, 7, 2)], 1, 2);
        check(&patient, &[(1, 0, 0), (1, 7, 8)], 1, 5);
        check(&policy(8, &[2], DELAY), &[(1, 0, 0), (1, 0, 1), (1, 0, 2)], 2, 1);
        check(&BatchPolicy::alone(), &[(1, 0, 3), (1, 0, 4)], 1, 3);
    }

    prop_compose! {
        fn requests()(gaps in proptest::collection::vec((1u32..5, 0i64..2, 0u64..4), 1..40)) -> Vec<(u32, i64, u64)> {
            gaps.into_iter().scan(0, |at, (elements, shape, gap)| { *at += gap; Some((elements, shape, *at)) }).collect()
        }
    }

    prop_compose! {
        fn policies()(max in 4u32..12, preferred in proptest::collection::btree_set(1u32..12, 0..3), delay_ms in 0u64..6)
        -> BatchPolicy {
            policy(max, &preferred.into_iter().filter(|size| *size <= max).collect::<Vec<_>>(), Duration::from_millis(delay_ms))
        }
    }

    proptest! {
        /// With an instance that is always idle: no batch exceeds its maximum or mixes shapes, requests leave in the
        /// order they came, each exactly once, and nobody waits longer than the maximum delay.
        #[test]
        fn an_idle_instance_serves_all_in_order_and_in_time(policy in policies(), requests in requests()) {
            let start = Instant::now();
            let mut waiting = queue(start, &[]);
            let (mut served, mut arrivals) = (Vec::new(), requests.iter().enumerate().peekable());
            for now_ms in 0..200u64 {
                let now = start + Duration::from_millis(now_ms);
                while let Some((index, &(elements, shape, _))) = arrivals.next_if(|(_, request)| request.2 == now_ms) {
                    waiting.push(entry(elements, shape, now), index).expect("there is room");
                }
                while let Decision::Run(count) = decide(&policy, waiting.iter(), now) {
                    let batch = waiting.take(count);
                    prop_assert_eq!(batch.len(), count);
                    prop_assert!(batch.iter().map(|w| w.entry.elements).sum::<u32>() <= policy.max_elements);
                    prop_assert!(batch.iter().all(|w| w.entry.shape == batch[0].entry.shape));
                    prop_assert!(batch.iter().all(|w| now - w.entry.enqueued <= policy.max_delay));
                    served.extend(batch.into_iter().map(|w| w.job));
                }
            }
            prop_assert_eq!(served, (0..requests.len()).collect::<Vec<_>>());
        }
    }
}
