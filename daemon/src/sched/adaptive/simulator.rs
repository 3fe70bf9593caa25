//! Adaptive batching against models whose costs are known by arithmetic: what it must reach, and what it must not do.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::batch::{BatchPolicy, Decision, decide};
use super::super::policy::QueueRules;
use super::super::queue::{Entry, Limits, Queue};
use super::{Adaptive, View};

/// What a batch takes: a fixed part, and a part for each round of `lanes` elements; above `cliff` elements, memory does
/// not suffice, and each of them takes longer than a round.
#[derive(Debug, Clone, Copy)]
struct Law {
    fixed_us: u64,
    round_us: u64,
    lanes: u32,
    cliff: u32,
}

impl Law {
    fn time(&self, elements: u32) -> Duration {
        let rounds = if elements > self.cliff { elements * 2 } else { elements.div_ceil(self.lanes) };
        Duration::from_micros(self.fixed_us + self.round_us * u64::from(rounds))
    }

    /// Elements a second in batches of this size.
    fn rate(&self, elements: u32) -> f64 {
        f64::from(elements) / self.time(elements).as_secs_f64()
    }

    fn best_rate(&self, max: u32) -> f64 {
        (1..=max).map(|size| self.rate(size)).fold(0.0, f64::max)
    }
}

fn adaptive(max_elements: u32) -> Adaptive {
    Adaptive::new(&BatchPolicy { max_elements, ..BatchPolicy::alone() })
}

/// Elements a second over so many batches, with a queue that is never empty. Times are off by up to 2 %.
fn saturated(adaptive: &mut Adaptive, law: Law, batches: u32) -> f64 {
    let now = Instant::now();
    let view = View { waiting: 10_000, waiting_bytes: 0, oldest: now, idle_since: now, instances: 1, free_bytes: None };
    let (mut elements, mut busy) = (0, Duration::ZERO);
    for batch in 0..batches {
        let plan = adaptive.plan(&view);
        let size = plan.policy.max_elements;
        let took = law.time(size).mul_f64(0.98 + 0.04 * f64::from(batch * 7 % 11) / 10.0);
        adaptive.dispatched(size);
        adaptive.observe(&plan, size, view.waiting, took);
        elements += u64::from(size);
        busy += took;
    }
    elements as f64 / busy.as_secs_f64()
}

/// What came of clients that each wait for their answer before they ask again.
struct Closed {
    /// Requests a second.
    rate: f64,
    /// The time for which an idle instance kept requests waiting.
    waited: Duration,
}

fn closed_loop(adaptive: &mut Adaptive, law: Law, clients: u64, batches: u32) -> Closed {
    let start = Instant::now();
    let rules = QueueRules::without_priorities(Limits { requests: 10_000, bytes: 10_000 });
    let mut queue = Queue::new(rules);
    // They come back one after the other.
    let back = |at: Instant, client| (at + Duration::from_micros(60 + 15 * client), client);
    let mut coming: BTreeSet<(Instant, u64)> = (0..clients).map(|client| back(start, client)).collect();
    let (mut now, mut idle_since, mut served, mut waited, mut ran) = (start, start, 0, Duration::ZERO, 0);
    while ran < batches {
        while let Some(&(at, client)) = coming.first().filter(|(at, _)| *at <= now) {
            coming.pop_first();
            let shape = Vec::new();
            let entry = Entry { level: 0, elements: 1, bytes: 0, shape, enqueued: at, timeout: None, deadline: None };
            queue.push(entry, client).expect("there is room");
        }
        let next = coming.first().map(|(at, _)| *at);
        let oldest = queue.iter().next().map_or(now, |waiting| waiting.entry.enqueued);
        let waiting = queue.len() as u64;
        let view = View { waiting, waiting_bytes: 0, oldest, idle_since, instances: 1, free_bytes: None };
        let plan = adaptive.plan(&view);
        match decide(&plan.policy, queue.iter(), now) {
            Decision::Idle => now = next.expect("all clients are on their way"),
            Decision::WaitUntil(until) => {
                adaptive.waits(&plan.policy);
                let then = next.map_or(until, |next| next.min(until));
                waited += then - now;
                now = then;
            }
            Decision::Run(count) => {
                let elements = count as u32;
                adaptive.dispatched(elements);
                let took = law.time(elements);
                now += took;
                let came = coming.range(..=(now, u64::MAX)).count() as u64;
                adaptive.observe(&plan, elements, waiting + came, took);
                coming.extend(queue.take(count).into_iter().map(|waiting| back(now, waiting.job)));
                (served, ran, idle_since) = (served + count, ran + 1, now);
            }
        }
    }
    Closed { rate: served as f64 / (now - start).as_secs_f64(), waited }
}

fn laws() -> impl Strategy<Value = (Law, u32)> {
    (0u64..20_000, 100u64..20_000, 1u32..24, 2u32..200, 1u32..129)
        .prop_map(|(fixed_us, round_us, lanes, cliff, max)| (Law { fixed_us, round_us, lanes, cliff }, max))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Under saturation, once it has looked around, it serves at least 0.95 of what the best fixed size would, trials
    /// included; and what looking around costs is bounded.
    #[test]
    fn saturation_is_served_at_the_best_size((law, max) in laws()) {
        let mut adaptive = adaptive(max);
        let best = law.best_rate(max);
        let at_first = saturated(&mut adaptive, law, 4000);
        let then = saturated(&mut adaptive, law, 3000);
        prop_assert!(then >= 0.95 * best, "{} of the best; {:?}", then / best, adaptive);
        prop_assert!(at_first >= 0.5 * best, "{} of the best at first; {:?}", at_first / best, adaptive);
    }

    /// A single client is never kept waiting, whatever was before.
    #[test]
    fn a_single_client_never_waits((law, max) in laws(), before in 1u64..40) {
        let mut adaptive = adaptive(max);
        closed_loop(&mut adaptive, law, 1, 100);
        prop_assert_eq!(closed_loop(&mut adaptive, law, 1, 200).waited, Duration::ZERO);
        closed_loop(&mut adaptive, law, before, 300);
        closed_loop(&mut adaptive, law, 1, 100);
        prop_assert_eq!(closed_loop(&mut adaptive, law, 1, 200).waited, Duration::ZERO);
    }
}

#[test]
fn a_larger_size_that_stops_being_faster_is_left() {
    let batching_pays = Law { fixed_us: 10_000, round_us: 100, lanes: 1, cliff: u32::MAX };
    let it_does_not = Law { fixed_us: 0, round_us: 1_000, lanes: 1, cliff: 8 };
    let mut adaptive = adaptive(32);
    for law in [batching_pays, it_does_not, batching_pays] {
        saturated(&mut adaptive, law, 3000);
        let rate = saturated(&mut adaptive, law, 1000);
        assert!(rate >= 0.95 * law.best_rate(32), "{law:?}: {rate} of {}", law.best_rate(32));
    }
}

#[test]
fn clients_that_come_back_together_are_served_together() {
    for (clients, law) in [
        (8, Law { fixed_us: 10_000, round_us: 200, lanes: 1, cliff: u32::MAX }),
        (8, Law { fixed_us: 5_000, round_us: 1_000, lanes: 4, cliff: u32::MAX }),
        (2, Law { fixed_us: 8_000, round_us: 500, lanes: 1, cliff: u32::MAX }),
        (24, Law { fixed_us: 10_000, round_us: 200, lanes: 1, cliff: 16 }),
    ] {
        let mut adaptive = adaptive(32);
        closed_loop(&mut adaptive, law, clients, 500);
        let Closed { rate, .. } = closed_loop(&mut adaptive, law, clients, 500);
        // Everybody in one batch, and the way back of the last.
        let together = law.time(clients.min(16) as u32) + Duration::from_micros(60 + 15 * clients);
        let possible = clients.min(16) as f64 / together.as_secs_f64();
        assert!(rate >= 0.9 * possible, "{clients} clients, {law:?}: {rate} of {possible}");
    }
}

#[test]
fn where_batching_saves_nothing_nobody_waits() {
    let law = Law { fixed_us: 0, round_us: 2_000, lanes: 1, cliff: u32::MAX };
    let mut adaptive = adaptive(32);
    closed_loop(&mut adaptive, law, 8, 300);
    let Closed { rate, waited } = closed_loop(&mut adaptive, law, 8, 500);
    assert!(rate >= 0.98 * law.rate(1) && waited < Duration::from_millis(20), "{rate} of {}, {waited:?}", law.rate(1));
}
