//! How many requests a model may have at a time, found while it serves. Pure.
//!
//! After Netflix's concurrency-limits (<https://github.com/Netflix/concurrency-limits>, `Gradient2Limit`): the limit grows
//! while it is used up and nothing queues for long, and shrinks by the ratio of the delay that is accepted to the one that
//! was found. Three things differ, because here the queue is ours and need not be guessed from round trips:
//!
//! - The delay is the measured wait for an instance, so there is no baseline that could be learnt wrong.
//! - Of a window's waits the shortest counts, as in `CoDel` (RFC 8289, section 4.2): a burst that drains is no overload, a
//!   queue that never empties is. With priority levels each has its own shortest, and the longest of these counts, or the
//!   urgent would hide the others' queue.
//! - A wait of as long as one execution is accepted, because batches form while the previous one runs: with less, the
//!   limit would keep batches small and take that for the capacity. So is the delay that batching adds by itself.
//!
//! So k instances with batches of b settle near 2·k·b, or at [`ACCEPTED`] of waiting where executions are shorter.

#[cfg(test)]
mod simulator;

use std::time::{Duration, Instant};

/// The limit changes at most so often.
const WINDOW: Duration = Duration::from_millis(100);
/// And not before so many answers were seen that were let in under it.
const ENOUGH: u32 = 10;
/// A wait that is no overload however short executions are: the target of `CoDel` (RFC 8289, section 4.4).
pub const ACCEPTED: Duration = Duration::from_millis(5);
/// A window takes away this much at most: one odd second must not close the door.
const MOST_SHRINKING: f64 = 0.7;
/// What a used-up limit grows by, at least by one.
const GROWTH: f64 = 0.1;
/// Levels beyond are counted as the last one.
const LEVELS: usize = 8;

/// How the limit is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It stays as it is.
    Fixed(u32),
    /// It follows the queue's delay.
    Adaptive {
        /// It never falls below this.
        min: u32,
        /// Or rises above this.
        max: u32,
    },
}

/// What a model's configuration says of its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// It has none.
    Off,
    /// It has an adaptive one, within the daemon's bounds.
    Adaptive,
    /// It has this one.
    Fixed(u32),
}

impl Setting {
    /// Reads `off`, `adaptive` or a number above 0.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "off" => Some(Self::Off),
            "adaptive" => Some(Self::Adaptive),
            number => number.parse().ok().filter(|limit| *limit > 0).map(Self::Fixed),
        }
    }
}

/// What the daemon's configuration says of all models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// Whether models that say nothing have a limit.
    pub adaptive: bool,
    /// The bounds of every adaptive limit.
    pub min: u32,
    /// See `min`.
    pub max: u32,
}

impl Defaults {
    /// The rule of a model, if it has a limit.
    pub fn rule(&self, of_model: Option<Setting>) -> Option<Rule> {
        let adaptive = Rule::Adaptive { min: self.min, max: self.max };
        match of_model {
            None => self.adaptive.then_some(adaptive),
            Some(Setting::Off) => None,
            Some(Setting::Adaptive) => Some(adaptive),
            Some(Setting::Fixed(limit)) => Some(Rule::Fixed(limit)),
        }
    }
}

/// The limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// The limit.
    pub limit: usize,
    /// How long it lately took from being let in to being computed: by then those that are in will have left.
    pub retry_after: Duration,
}

/// Belongs to a request that was let in; it is handed back when the request leaves.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    window: u64,
}

/// What became known of the queue by a request.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Its priority level.
    pub level: u32,
    /// How long it waited for an instance.
    pub wait: Duration,
    /// How long its batch ran; `None` when it gave up while it waited.
    pub service: Option<Duration>,
}

/// What happened since the limit last changed, to requests that came since.
#[derive(Debug)]
struct Window {
    number: u64,
    since: Instant,
    /// The shortest wait of each level.
    waits: [Option<Duration>; LEVELS],
    seen: u32,
    /// The sum of `served` executions.
    service: Duration,
    served: u32,
    /// Most requests at a time.
    peak: usize,
    /// Whether somebody found the limit reached.
    used_up: bool,
}

impl Window {
    fn new(number: u64, since: Instant, peak: usize) -> Self {
        let (waits, service) = ([None; LEVELS], Duration::ZERO);
        Self { number, since, waits, seen: 0, service, served: 0, peak, used_up: false }
    }

    fn add(&mut self, seen: Seen) {
        let level = usize::try_from(seen.level).unwrap_or(LEVELS).min(LEVELS - 1);
        let shortest = &mut self.waits[level];
        *shortest = Some(shortest.map_or(seen.wait, |shortest| shortest.min(seen.wait)));
        self.seen += 1;
        if let Some(service) = seen.service {
            self.service = self.service.saturating_add(service);
            self.served += 1;
        }
    }

    /// The wait that nobody of some level was spared.
    fn standing_wait(&self) -> Duration {
        self.waits.iter().flatten().max().copied().unwrap_or_default()
    }

    fn mean_service(&self) -> Option<Duration> {
        (self.served > 0).then(|| self.service / self.served)
    }
}

/// The limit of one model.
#[derive(Debug)]
pub struct Limiter {
    rule: Rule,
    /// The wait that the model's own batching adds.
    batching_delay: Duration,
    limit: f64,
    in_flight: usize,
    window: Window,
    /// The mean time of an execution.
    service: Duration,
    /// The last standing wait and execution together.
    turnaround: Duration,
    shed: u64,
}

impl Limiter {
    /// A limit that begins at twice what `instances` compute at a time in batches of so many. A request may wait for
    /// `batching_delay` without being late.
    pub fn new(rule: Rule, instances: usize, batch: u32, batching_delay: Duration, now: Instant) -> Self {
        let guess = 2.0 * instances as f64 * f64::from(batch.max(1));
        let limit = match rule {
            Rule::Fixed(limit) => f64::from(limit),
            Rule::Adaptive { min, max } => guess.clamp(f64::from(min), f64::from(max)),
        };
        let (service, turnaround) = (Duration::ZERO, Duration::ZERO);
        let window = Window::new(0, now, 0);
        Self { rule, batching_delay, limit, in_flight: 0, window, service, turnaround, shed: 0 }
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// When as many are in as there may be.
    pub fn enter(&mut self) -> Result<Ticket, Over> {
        if self.in_flight >= self.limit() {
            self.window.used_up = true;
            self.shed += 1;
            return Err(Over { limit: self.limit(), retry_after: self.turnaround });
        }
        self.in_flight += 1;
        self.window.peak = self.window.peak.max(self.in_flight);
        Ok(Ticket { window: self.window.number })
    }

    /// Lets a request out, and learns from what it has seen. Who came in under an earlier limit says nothing of this one.
    pub fn leave(&mut self, ticket: Ticket, now: Instant, seen: Option<Seen>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(seen) = seen.filter(|_| ticket.window == self.window.number) else { return };
        self.window.add(seen);
        let long_enough = WINDOW.max(2 * self.window.mean_service().unwrap_or(self.service));
        if self.window.seen >= ENOUGH && now.saturating_duration_since(self.window.since) >= long_enough {
            self.adapt(now);
        }
    }

    fn adapt(&mut self, now: Instant) {
        let next = Window::new(self.window.number + 1, now, self.in_flight);
        let window = std::mem::replace(&mut self.window, next);
        self.service = window.mean_service().unwrap_or(self.service);
        let standing = window.standing_wait();
        self.turnaround = standing.saturating_add(self.service);
        let Rule::Adaptive { min, max } = self.rule else { return };
        let accepted = self.batching_delay.saturating_add(self.service.max(ACCEPTED));
        if standing > accepted {
            let ratio = (self.service + accepted).as_secs_f64() / (self.service + standing).as_secs_f64();
            self.limit = self.limit.min(window.peak as f64) * ratio.max(MOST_SHRINKING);
        } else if window.used_up {
            self.limit += (self.limit * GROWTH).max(1.0);
        }
        self.limit = self.limit.clamp(f64::from(min), f64::from(max));
    }

    /// How many requests may be in.
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// How many are.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many were turned away.
    pub fn shed(&self) -> u64 {
        self.shed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule::Adaptive { min: 1, max: 1000 };

    /// A limiter that begins at 20.
    fn limiter(rule: Rule, batching_delay: Duration, now: Instant) -> Limiter {
        Limiter::new(rule, 10, 1, batching_delay, now)
    }

    fn seen(level: u32, wait_ms: u64, service_ms: Option<u64>) -> Seen {
        Seen { level, wait: Duration::from_millis(wait_ms), service: service_ms.map(Duration::from_millis) }
    }

    /// The limit after one window in which `many` were in at a time and saw this, in turn.
    fn after(limiter: &mut Limiter, now: Instant, many: usize, waits: &[Seen]) -> usize {
        let tickets: Vec<_> = (0..many).filter_map(|_| limiter.enter().ok()).collect();
        for (ticket, seen) in tickets.into_iter().zip(waits.iter().cycle()) {
            limiter.leave(ticket, now + Duration::from_secs(1), Some(*seen));
        }
        limiter.limit()
    }

    #[test]
    fn one_window_moves_the_limit() {
        let check = |many, delay_ms, waits: &[Seen], expected| {
            let now = Instant::now();
            let mut limiter = limiter(RULE, Duration::from_millis(delay_ms), now);
            assert_eq!(after(&mut limiter, now, many, waits), expected, "{many} {waits:?}");
        };
        // Nobody was turned away, so there is no reason for more; whoever was is one.
        check(20, 0, &[seen(0, 0, Some(10))], 20);
        check(21, 0, &[seen(0, 0, Some(10))], 22);
        // As long as an execution is accepted, and so is one wait of none.
        check(21, 0, &[seen(0, 10, Some(10))], 22);
        check(21, 0, &[seen(0, 500, Some(10)), seen(0, 0, Some(10))], 22);
        check(21, 0, &[seen(0, 12, Some(10))], 18);
        check(21, 0, &[seen(0, 500, Some(10))], 14);
        // What was not used is no guide.
        check(12, 0, &[seen(0, 500, Some(10))], 8);
        // Short executions, and batching's own delay.
        check(21, 0, &[seen(0, 5, Some(1))], 22);
        check(21, 50, &[seen(0, 60, Some(10))], 22);
        check(21, 50, &[seen(0, 100, Some(10))], 14);
        // The urgent never wait; the others' queue shows all the same, also by those who give up.
        check(21, 0, &[seen(1, 0, Some(10)), seen(2, 500, Some(10))], 14);
        check(21, 0, &[seen(1, 0, Some(10)), seen(9, 500, None)], 14);
        // Too few to tell.
        check(9, 0, &[seen(0, 500, Some(10))], 20);
    }

    #[test]
    fn who_came_in_under_an_earlier_limit_says_nothing_of_this_one() {
        let now = Instant::now();
        let mut limiter = limiter(RULE, Duration::ZERO, now);
        let early: Vec<_> = (0..8).map(|_| limiter.enter().expect("room")).collect();
        assert_eq!(after(&mut limiter, now, 13, &[seen(0, 0, Some(10))]), 22);
        for ticket in early {
            limiter.leave(ticket, now + Duration::from_secs(9), Some(seen(0, 900, Some(10))));
        }
        assert_eq!((limiter.limit(), limiter.in_flight(), limiter.window.seen), (22, 0, 0));
    }

    #[test]
    fn who_is_turned_away_learns_when_those_inside_will_have_left() {
        let now = Instant::now();
        let mut limiter = limiter(Rule::Fixed(20), Duration::ZERO, now);
        assert_eq!(after(&mut limiter, now, 30, &[seen(0, 2990, Some(10))]), 20, "a fixed limit stays");
        let tickets: Vec<_> = (0..20).map(|_| limiter.enter().expect("room")).collect();
        assert_eq!(limiter.enter().err(), Some(Over { limit: 20, retry_after: Duration::from_secs(3) }));
        assert_eq!((limiter.shed(), limiter.in_flight()), (11, 20));
        limiter.leave(tickets[0], now, None);
        assert!(limiter.enter().is_ok());
    }

    #[test]
    fn settings() {
        let check = |text, expected: Option<Option<Rule>>| {
            let defaults = Defaults { adaptive: true, min: 2, max: 9 };
            assert_eq!(Setting::parse(text).map(|setting| defaults.rule(Some(setting))), expected, "{text}");
        };
        check("off", Some(None));
        check("adaptive", Some(Some(Rule::Adaptive { min: 2, max: 9 })));
        check("7", Some(Some(Rule::Fixed(7))));
        check("0", None);
        check("-1", None);
        check("on", None);
        assert_eq!(Defaults { adaptive: false, min: 2, max: 9 }.rule(None), None);
    }
}
