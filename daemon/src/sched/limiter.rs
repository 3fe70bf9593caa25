//! Lets instances of all models wait for the resources that they share. Who may go is decided in `shares`; here are the
//! lock and the sleepers. There is one for a process, and none where models are not limited.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::shares::{Member, Rate, RateError, Shares};

/// What instances of all models share.
#[derive(Debug)]
pub struct RateLimiter {
    shared: Mutex<Shared>,
}

#[derive(Debug)]
struct Shared {
    shares: Shares,
    /// Wakes each instance alone.
    bells: BTreeMap<Member, Arc<Condvar>>,
}

impl Shared {
    fn let_go(&mut self) {
        for member in self.shares.grant() {
            self.bells.get(&member).into_iter().for_each(|bell| bell.notify_all());
        }
    }
}

impl RateLimiter {
    /// Resources in declared numbers; without any, there is of each what the neediest instance takes.
    pub fn new(declared: BTreeMap<String, u64>) -> Arc<Self> {
        let shared = Shared { shares: Shares::new(declared), bells: BTreeMap::new() };
        Arc::new(Self { shared: Mutex::new(shared) })
    }

    /// Lets an instance take part until its seat is dropped.
    ///
    /// # Errors
    /// When it could never execute.
    pub fn join(self: &Arc<Self>, rate: Rate) -> Result<Seat, RateError> {
        let mut shared = self.lock();
        let member = shared.shares.join(rate)?;
        let bell = Arc::new(Condvar::new());
        shared.bells.insert(member, Arc::clone(&bell));
        Ok(Seat { limiter: Arc::clone(self), member, bell })
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of an instance among those that share resources.
#[derive(Debug)]
pub struct Seat {
    limiter: Arc<RateLimiter>,
    member: Member,
    bell: Arc<Condvar>,
}

impl Seat {
    /// Waits until the instance may execute; `None` once it is closed.
    pub fn acquire(&self) -> Option<Permit<'_>> {
        let mut shared = self.limiter.lock();
        if shared.bells.contains_key(&self.member) {
            shared.shares.want(self.member);
            shared.let_go();
        }
        loop {
            if shared.shares.is_running(self.member) {
                return Some(Permit { seat: self, since: Instant::now(), executed: false });
            }
            if !shared.bells.contains_key(&self.member) {
                return None;
            }
            shared = self.bell.wait(shared).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// From now on it waits for nothing. What it executes, it executes to the end.
    pub fn close(&self) {
        let mut shared = self.limiter.lock();
        shared.shares.withdraw(self.member);
        shared.bells.remove(&self.member);
        shared.let_go();
        self.bell.notify_all();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut shared = self.limiter.lock();
        shared.shares.leave(self.member);
        shared.bells.remove(&self.member);
        shared.let_go();
    }
}

/// The resources of one execution, given back when it is dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    seat: &'a Seat,
    since: Instant,
    executed: bool,
}

impl Permit<'_> {
    /// Since when it has been held.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// It was used: this was a turn.
    pub fn spend(mut self) {
        self.executed = true;
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut shared = self.seat.limiter.lock();
        shared.shares.release(self.seat.member, self.executed);
        shared.let_go();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::super::shares::Resource;
    use super::*;

    fn one_of(name: &str) -> Rate {
        Rate { needs: BTreeMap::from([(Resource { name: name.to_owned(), global: true }, 1)]), priority: 1 }
    }

    #[test]
    fn those_who_need_the_same_take_turns() {
        let limiter = RateLimiter::new(BTreeMap::new());
        let (running, turns) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let seat = limiter.join(one_of("a")).expect("possible");
                let (running, turns) = (&running, &turns);
                scope.spawn(move || {
                    for _ in 0..50 {
                        let permit = seat.acquire().expect("open");
                        assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "alone");
                        std::thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                        turns.fetch_add(1, Ordering::SeqCst);
                        permit.spend();
                    }
                });
            }
        });
        assert_eq!(turns.into_inner(), 200);
    }

    #[test]
    fn a_closed_seat_waits_no_longer_and_leaves_nothing_taken() {
        let limiter = RateLimiter::new(BTreeMap::new());
        let [first, second, third] = [(); 3].map(|()| limiter.join(one_of("a")).expect("possible"));
        let held = first.acquire().expect("free");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| second.acquire().is_none());
            std::thread::sleep(Duration::from_millis(20));
            second.close();
            assert!(waiting.join().expect("no panic"));
        });
        assert!(second.acquire().is_none(), "it stays closed");
        drop(held);
        assert!(third.acquire().is_some(), "the closed one left nothing behind");
    }
}
