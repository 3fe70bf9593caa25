//! A request's place under its model's concurrency limit, where it has one. It is given back when this is dropped, with
//! what the request has seen of the queue.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::admit::concurrency::{Limiter, Over, Seen, Ticket};
use crate::sched::driver::{NotServed, Served};

pub(super) struct Place<'a> {
    limiter: &'a Mutex<Limiter>,
    ticket: Ticket,
    level: u32,
    received: Instant,
    seen: Option<Seen>,
}

impl<'a> Place<'a> {
    /// Takes a place for a request of this level; `None` where there is no limit.
    pub(super) fn take(
        limiter: Option<&'a Mutex<Limiter>>,
        level: u32,
        received: Instant,
    ) -> Result<Option<Self>, Over> {
        let Some(limiter) = limiter else { return Ok(None) };
        let ticket = lock(limiter).enter()?;
        Ok(Some(Self { limiter, ticket, level, received, seen: None }))
    }

    /// Learns from how the request fared. What was computed in vain says as much of the queue as what was not.
    pub(super) fn learn(&mut self, outcome: &Result<Served, NotServed>) {
        let (wait, service) = match outcome {
            Ok(Served { timeline, .. }) => self.times(timeline.started, timeline.finished),
            Err(NotServed::Backend(broken)) => self.times(broken.timeline.started, broken.timeline.finished),
            Err(NotServed::Expired { .. }) => (self.received.elapsed(), None),
            Err(NotServed::Stopped) => return,
        };
        self.seen = Some(Seen { level: self.level, wait, service });
    }

    fn times(&self, started: Instant, finished: Instant) -> (Duration, Option<Duration>) {
        (started.saturating_duration_since(self.received), Some(finished.saturating_duration_since(started)))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(self.limiter).leave(self.ticket, Instant::now(), self.seen);
    }
}

/// A panic while the lock is held is impossible by construction; should one happen all the same, serving on is better.
fn lock(limiter: &Mutex<Limiter>) -> MutexGuard<'_, Limiter> {
    limiter.lock().unwrap_or_else(PoisonError::into_inner)
}
