//! The limiter before servers whose capacity is known: k slots, a queue, batches that wait to fill, and a law of what an
//! execution takes. Time is simulated in steps of a tenth of a millisecond, arrivals are Poisson from a seed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{Limiter, Rule, Seen, Ticket};

const STEP_S: f64 = 0.0001;

/// A server, and who comes.
struct World {
    slots: usize,
    batch: usize,
    /// How long an instance waits for a batch to fill.
    delay_s: f64,
    /// What an execution takes, by the time at which it begins.
    service_s: fn(f64) -> f64,
    /// Whether service times vary as an exponential does.
    varies: bool,
    /// Arrivals a second, by time; a burst of so many comes each second besides.
    rate: fn(f64) -> f64,
    burst: usize,
}

const STEADY: World =
    World { slots: 4, batch: 1, delay_s: 0.0, service_s: |_| 0.01, varies: false, rate: |_| 0.0, burst: 0 };

/// What happened in a span of time.
#[derive(Debug, Default, Clone, Copy)]
struct Figures {
    served: usize,
    shed: usize,
    /// The sums of limits and waits.
    limits: f64,
    steps: usize,
    waits_s: f64,
}

impl Figures {
    fn limit(&self) -> f64 {
        self.limits / self.steps as f64
    }

    fn rate(&self) -> f64 {
        self.served as f64 / (self.steps as f64 * STEP_S)
    }

    fn wait_s(&self) -> f64 {
        self.waits_s / self.served.max(1) as f64
    }

    fn shed_share(&self) -> f64 {
        self.shed as f64 / (self.shed + self.served).max(1) as f64
    }
}

type Waiting = (f64, Ticket);

struct Run<'a> {
    world: &'a World,
    start: Instant,
    limiter: Limiter,
    random: Pcg64Mcg,
    queue: VecDeque<Waiting>,
    /// Of each slot, what it computes, since when and until when.
    running: Vec<Option<(f64, f64, Vec<Waiting>)>>,
    figures: Figures,
}

impl World {
    /// The figures of each span, given by its end in seconds.
    fn run<const N: usize>(&self, ends_s: [f64; N]) -> [Figures; N] {
        let start = Instant::now();
        let rule = Rule::Adaptive { min: 1, max: 1000 };
        let delay = Duration::from_secs_f64(self.delay_s);
        let limiter = Limiter::new(rule, 1, 1, delay, start);
        let (queue, running) = (VecDeque::new(), (0..self.slots).map(|_| None).collect());
        let random = Pcg64Mcg::seed_from_u64(7);
        let mut run = Run { world: self, start, limiter, random, queue, running, figures: Figures::default() };
        let mut step = 0;
        ends_s.map(|end_s| {
            run.figures = Figures::default();
            while (step as f64) * STEP_S < end_s {
                run.step(step);
                step += 1;
            }
            run.figures
        })
    }
}

impl Run<'_> {
    fn step(&mut self, step: usize) {
        let now_s = step as f64 * STEP_S;
        let burst = if step % 10_000 == 5_000 { self.world.burst } else { 0 };
        // At most one of the Poisson arrivals comes in a step, which is short beside the time between two.
        let poisson = usize::from(self.uniform() < (self.world.rate)(now_s) * STEP_S);
        self.finish(now_s);
        (0..burst + poisson).for_each(|_| match self.limiter.enter() {
            Ok(ticket) => self.queue.push_back((now_s, ticket)),
            Err(_) => self.figures.shed += 1,
        });
        self.begin(now_s);
        self.figures.limits += self.limiter.limit() as f64;
        self.figures.steps += 1;
    }

    fn uniform(&mut self) -> f64 {
        self.random.next_u32() as f64 / f64::from(u32::MAX)
    }

    fn finish(&mut self, now_s: f64) {
        for slot in &mut self.running {
            let Some((since_s, _, batch)) = slot.take_if(|(_, until_s, _)| *until_s <= now_s) else { continue };
            for (came_s, ticket) in batch {
                let duration = |seconds: f64| Duration::from_secs_f64(seconds);
                let service = Some(duration(now_s - since_s));
                let seen = Seen { level: 0, wait: duration(since_s - came_s), service };
                self.limiter.leave(ticket, self.start + duration(now_s), Some(seen));
                self.figures.served += 1;
                self.figures.waits_s += since_s - came_s;
            }
        }
    }

    fn begin(&mut self, now_s: f64) {
        let World { batch, delay_s, .. } = *self.world;
        for at in 0..self.running.len() {
            let waited = self.queue.front().map(|(came_s, _)| now_s - came_s);
            let ready = self.queue.len() >= batch || waited.is_some_and(|waited| waited >= delay_s);
            if self.running[at].is_none() && ready && !self.queue.is_empty() {
                let taken = self.queue.len().min(batch);
                let varied = if self.world.varies { -(1.0 - self.uniform()).max(1e-9).ln() } else { 1.0 };
                let until_s = now_s + (self.world.service_s)(now_s) * varied;
                self.running[at] = Some((now_s, until_s, self.queue.drain(..taken).collect()));
            }
        }
    }
}

/// Whether `value` is within `share` of `expected`.
#[track_caller]
fn near(value: f64, expected: f64, share: f64, figures: &Figures) {
    assert!((value - expected).abs() <= share * expected, "{value}, expected {expected}: {figures:?}");
}

/// Three times what it can do: the server has work all the time, and of the limit a half runs. What may wait is a whole
/// number that grows by one until it is too much, which shows where there are few slots.
#[test]
fn it_finds_the_capacity_of_a_parallel_server() {
    let check = |slots: usize, rate: fn(f64) -> f64, varies| {
        let [_, settled] = World { slots, rate, varies, ..STEADY }.run([5.0, 20.0]);
        near(settled.rate(), slots as f64 * 100.0, 0.05, &settled);
        let half = settled.limit() / 2.0;
        assert!((0.9 * slots as f64..=1.2 * slots as f64 + 0.5).contains(&half), "{half} for {slots}: {settled:?}");
    };
    check(1, |_| 300.0, false);
    check(4, |_| 1200.0, false);
    check(10, |_| 3000.0, false);
    check(25, |_| 7500.0, false);
    // The shortest of varying waits is shorter than their mean, so a little more is let in.
    let [_, settled] = World { slots: 10, rate: |_| 3000.0, varies: true, ..STEADY }.run([5.0, 20.0]);
    near(settled.rate(), 1000.0, 0.05, &settled);
    assert!(settled.limit() < 35.0, "{settled:?}");
}

#[test]
fn it_lets_everybody_in_at_low_load() {
    let half = World { rate: |_| 200.0, ..STEADY };
    let [_, settled] = half.run([5.0, 60.0]);
    assert!(settled.shed_share() < 0.001, "{settled:?}");
    // A burst of ten times the slots each second, which drains in a tenth of it.
    let bursts = World { rate: |_| 20.0, burst: 40, ..STEADY };
    let [_, settled] = bursts.run([20.0, 60.0]);
    assert!(settled.shed_share() < 0.02, "{settled:?}");
}

/// Ten times slower between 10 and 20 s.
#[test]
fn it_recovers_after_the_server_slowed_down_and_sped_up() {
    let rate = |_| 600.0;
    let service_s = |now_s: f64| if (10.0..20.0).contains(&now_s) { 0.1 } else { 0.01 };
    let [_, before, _, slow, _, after] = World { rate, service_s, ..STEADY }.run([5.0, 10.0, 13.0, 20.0, 22.0, 30.0]);
    near(before.rate(), 400.0, 0.05, &before);
    near(slow.rate(), 40.0, 0.2, &slow);
    assert!(slow.wait_s() < 0.25, "no more than about two executions: {slow:?}");
    near(after.rate(), 400.0, 0.05, &after);
    assert!((7.0..13.0).contains(&after.limit()), "{after:?}");
}

/// One instance whose batches of 16 take 20 ms, whatever their size: with small ones it serves a fraction.
#[test]
fn it_lets_batches_grow() {
    let world = World { slots: 1, batch: 16, service_s: |_| 0.02, rate: |_| 2400.0, ..STEADY };
    let [_, settled] = world.run([10.0, 30.0]);
    near(settled.rate(), 800.0, 0.05, &settled);
    assert!(settled.wait_s() < 0.06, "{settled:?}");
}

/// Batches wait 50 ms to fill, at a load that is far from filling them.
#[test]
fn a_batching_delay_is_no_overload() {
    let world = World { slots: 2, batch: 64, delay_s: 0.05, service_s: |_| 0.005, rate: |_| 400.0, ..STEADY };
    let [_, settled] = world.run([5.0, 30.0]);
    assert!(settled.shed_share() < 0.001, "{settled:?}");
    assert!(settled.wait_s() > 0.02, "they do wait: {settled:?}");
}
