//! A simulated server for capacity searches: the daemon's own queue and batcher in front of instances whose service time is
//! a law, slower while they are cold, and drifting, as machines do. No sockets and no threads; its clock is a number.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use proofload_daemon::sched::batch::{BatchPolicy, Decision, decide};
use proofload_daemon::sched::policy::QueueRules;
use proofload_daemon::sched::queue::{Entry, Limits, Queue};

use super::random::Random;

/// How often the drift moves.
const DRIFT_S: f64 = 0.1;

/// What a server is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Law {
    pub(crate) instances: usize,
    pub(crate) max_batch: u32,
    pub(crate) delay_s: f64,
    /// A batch of `n` takes `fixed + each n`.
    pub(crate) fixed_s: f64,
    pub(crate) each_s: f64,
    /// Log-normal spread of a batch's time.
    pub(crate) spread: f64,
    /// Drift of all batches together: standard deviation and correlation time (an autoregression).
    pub(crate) drift: f64,
    pub(crate) drift_s: f64,
    /// How much slower it is when cold, and how long that lasts.
    pub(crate) cold: f64,
    pub(crate) cold_s: f64,
}

impl Law {
    /// Requests per second when all batches are full.
    pub(crate) fn saturation_per_s(&self) -> f64 {
        let batch_s = self.fixed_s + self.each_s * f64::from(self.max_batch);
        self.instances as f64 * f64::from(self.max_batch) / batch_s
    }

    /// The longest a batch takes, but for its spread.
    pub(crate) fn full_batch_s(&self) -> f64 {
        self.fixed_s + self.each_s * f64::from(self.max_batch)
    }
}

/// A request that was answered: when it came, when its batch began and when that went, seconds on the server's clock, and how many
/// were in the batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) came_s: f64,
    pub(crate) began_s: f64,
    pub(crate) went_s: f64,
    pub(crate) batch: u32,
}

/// See the module.
pub(crate) struct Server {
    law: Law,
    policy: BatchPolicy,
    queue: Queue<f64>,
    random: Random,
    origin: Instant,
    now_s: f64,
    /// When each instance is free.
    free_s: Vec<f64>,
    drift: f64,
    drifted_s: f64,
}

impl Server {
    pub(crate) fn new(law: Law, seed: u64) -> Self {
        let mut random = Random(seed);
        let drift = law.drift * random.normal();
        let policy = BatchPolicy {
            max_elements: law.max_batch,
            preferred: Vec::new(),
            max_delay: Duration::from_secs_f64(law.delay_s),
        };
        let limits = Limits { requests: usize::MAX, bytes: usize::MAX };
        let queue = Queue::new(QueueRules::without_priorities(limits));
        let free_s = vec![0.0; law.instances];
        Self { law, policy, queue, random, origin: Instant::now(), now_s: 0.0, free_s, drift, drifted_s: 0.0 }
    }

    /// Its clock.
    pub(crate) fn now_s(&self) -> f64 {
        self.now_s
    }

    /// Nothing comes for so long.
    pub(crate) fn rest(&mut self, seconds: f64) {
        self.now_s += seconds;
    }

    /// Poisson arrivals for so long; then waits until all are answered. `enough` looks at what was answered so far, once a
    /// second, and may end the arrivals early.
    pub(crate) fn drive(
        &mut self,
        rate_per_s: f64,
        seconds: f64,
        mut enough: impl FnMut(f64, &[Answered]) -> bool,
    ) -> Vec<Answered> {
        let (begun_s, mut end_s) = (self.now_s, self.now_s + seconds);
        let mut looked_s = begun_s + 1.0;
        let mut next_s = begun_s + self.random.exponential(1.0 / rate_per_s);
        let mut answered = Vec::new();
        loop {
            let wake_s = self.begin_batches(&mut answered);
            if next_s < end_s && next_s <= wake_s {
                self.now_s = self.now_s.max(next_s);
                self.push(next_s);
                next_s += self.random.exponential(1.0 / rate_per_s);
            } else if wake_s.is_finite() {
                self.now_s = wake_s;
            } else {
                break;
            }
            if self.now_s >= looked_s && self.now_s < end_s {
                looked_s += 1.0;
                if enough(self.now_s - begun_s, &answered) {
                    end_s = self.now_s;
                }
            }
        }
        let last_s = answered.iter().map(|request| request.went_s).fold(end_s, f64::max);
        self.now_s = last_s;
        answered.retain(|request| request.came_s < end_s);
        answered
    }

    fn push(&mut self, came_s: f64) {
        let entry = Entry {
            level: 0,
            elements: 1,
            bytes: 0,
            shape: Vec::new(),
            enqueued: self.at(came_s),
            timeout: None,
            deadline: None,
        };
        assert!(self.queue.push(entry, came_s).is_ok(), "the queue has no limit");
    }

    fn at(&self, seconds: f64) -> Instant {
        self.origin + Duration::from_secs_f64(seconds)
    }

    /// Gives idle instances what the batcher decides. Returns when there is something to do again; infinity is never.
    fn begin_batches(&mut self, answered: &mut Vec<Answered>) -> f64 {
        let idle = |free: &f64, now_s: f64| *free <= now_s;
        while let Some(at) = self.free_s.iter().position(|free| idle(free, self.now_s)) {
            match decide(&self.policy, self.queue.iter(), self.at(self.now_s)) {
                Decision::Run(count) => {
                    let went_s = self.now_s + self.batch_s(count);
                    self.free_s[at] = went_s;
                    let taken = self.queue.take(count).into_iter();
                    let (began_s, batch) = (self.now_s, count as u32);
                    answered.extend(taken.map(|waiting| Answered { came_s: waiting.job, began_s, went_s, batch }));
                }
                Decision::Idle => return f64::INFINITY,
                Decision::WaitUntil(until) => {
                    // A nanosecond later, so that the wait is over whatever was rounded.
                    return (until - self.origin).as_secs_f64() + 1e-9;
                }
            }
        }
        if self.queue.is_empty() { f64::INFINITY } else { self.free_s.iter().copied().fold(f64::INFINITY, f64::min) }
    }

    fn batch_s(&mut self, count: usize) -> f64 {
        while self.drifted_s < self.now_s {
            let keep = (-DRIFT_S / self.law.drift_s).exp();
            self.drift = keep * self.drift + self.law.drift * (1.0 - keep * keep).sqrt() * self.random.normal();
            self.drifted_s += DRIFT_S;
        }
        let Law { fixed_s, each_s, spread, cold, cold_s, .. } = self.law;
        let noise = (spread * self.random.normal() - spread * spread / 2.0).exp();
        let warmth = 1.0 + cold * (-self.now_s / cold_s).exp();
        (fixed_s + each_s * count as f64) * noise * self.drift.exp() * warmth
    }
}

/// The highest rate at which no more than `allowed` of the requests take longer than `latency_s`, over so many seconds: the
/// truth that a search is held against. Found by halving, with the same random numbers at every rate.
pub(crate) fn truth_per_s(law: Law, latency_s: f64, allowed: f64, seconds: f64) -> f64 {
    let warm = Law { cold: 0.0, ..law };
    let keeps = |rate: f64| {
        let answered = Server::new(warm, 999).drive(rate, seconds, |_, _| false);
        let late = answered.iter().filter(|request| request.went_s - request.came_s > latency_s).count();
        late as f64 <= allowed * answered.len() as f64
    };
    let (mut low, mut high) = (0.4 * law.saturation_per_s(), 1.02 * law.saturation_per_s());
    for _ in 0..8 {
        let middle = f64::midpoint(low, high);
        if keeps(middle) { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Of requests, how many came in each second from `from_s` on, and how many of those were late.
pub(crate) fn by_second(answered: &[Answered], from_s: f64, latency_s: f64) -> VecDeque<(u64, u64)> {
    let mut seconds = VecDeque::new();
    for request in answered.iter().filter(|request| request.came_s >= from_s) {
        let at = (request.came_s - from_s) as usize;
        if seconds.len() <= at {
            seconds.resize(at + 1, (0, 0));
        }
        seconds[at].0 += 1;
        seconds[at].1 += u64::from(request.went_s - request.came_s > latency_s);
    }
    seconds
}
