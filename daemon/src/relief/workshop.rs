//! Where the heavy work is done: a bounded number of jobs side by side, a bounded number of requests in the house,
//! and never on the threads that serve connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::benches::{Benches, Haste};
use super::laps::Laps;
use crate::sched::backlog::ServiceTime;

/// How much work is taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Jobs that run side by side, at least 1.
    pub jobs: usize,
    /// Requests in the house, at least 1: each holds its picture until it is decoded. Further ones are refused.
    pub requests: usize,
}

/// Requests in the house when nothing else is said: more users than a few cores serve in a second or two, and even
/// if each brought the largest picture, 2.5 GiB.
const REQUESTS: usize = 256;

impl Limits {
    /// Limits for a daemon that computes on so many threads.
    pub fn for_threads(threads: usize) -> Self {
        Self { jobs: threads, requests: REQUESTS }
    }
}

/// The house is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Requests in it.
    pub requests: usize,
    /// When a place will be free, from the measured work of a request.
    pub retry_after: Duration,
}

/// The work ended without a result: the process is stopping, or the job panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

/// A job's result, and the steps that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done<T> {
    /// What it gave.
    pub result: T,
    /// Its steps, without the wait for its turn.
    pub laps: Laps,
}

/// See the module.
pub struct Workshop {
    limits: Limits,
    places: Arc<Semaphore>,
    benches: Arc<Benches>,
    work: Mutex<ServiceTime>,
}

/// A request's place in the house; it is free again when this is dropped.
#[must_use]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Workshop {
    /// An empty house.
    pub fn new(limits: Limits) -> Self {
        let Limits { jobs, requests } = limits;
        let limits =
            Limits { jobs: jobs.clamp(1, Semaphore::MAX_PERMITS), requests: requests.clamp(1, Semaphore::MAX_PERMITS) };
        Self {
            limits,
            places: Arc::new(Semaphore::new(limits.requests)),
            benches: Benches::new(limits.jobs),
            work: Mutex::default(),
        }
    }

    /// A place, if there is one.
    ///
    /// # Errors
    /// When the house is full.
    pub fn enter(&self) -> Result<Place, Full> {
        let permit = Arc::clone(&self.places).try_acquire_owned();
        permit.map(|permit| Place { _permit: permit }).map_err(|_| self.full())
    }

    /// A place, as soon as there is one. `None` cannot happen while the house stands.
    pub async fn wait(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(Place { _permit: permit })
    }

    fn full(&self) -> Full {
        let Limits { jobs, requests } = self.limits;
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        Full { requests, retry_after: work.until_served(requests, jobs) }
    }

    /// Requests in the house.
    pub fn occupied(&self) -> usize {
        self.limits.requests - self.places.available_permits()
    }

    /// Jobs that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.benches.waiting()
    }

    /// Runs a job when its turn comes. A job whose caller goes away before its turn is
    /// never run; one that has begun keeps its bench until it is done.
    ///
    /// # Errors
    /// When it gave no result.
    pub async fn run<T: Send + 'static>(
        &self,
        haste: Haste,
        job: impl FnOnce(&mut Laps) -> T + Send + 'static,
    ) -> Result<Done<T>, Lost> {
        let bench = self.benches.take(haste).await.ok_or(Lost)?;
        let timed = move || {
            let _bench = bench;
            let mut laps = Laps::default();
            let result = job(&mut laps);
            Done { result, laps }
        };
        tokio::task::spawn_blocking(timed).await.map_err(|_| Lost)
    }

    /// Takes note of the work of a request that was served.
    pub fn observe(&self, work: Duration) {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).observe(work, 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_full_house_says_when_to_come_back() {
        let shop = Workshop::new(Limits { jobs: 2, requests: 4 });
        shop.observe(Duration::from_secs(3));
        let mut places: Vec<_> = (0..4).map(|_| shop.enter().ok().unwrap()).collect();
        assert_eq!(shop.enter().err(), Some(Full { requests: 4, retry_after: Duration::from_secs(6) }));
        places.pop();
        assert_eq!(shop.occupied(), 3);
        assert!(shop.enter().is_ok());
    }

    #[tokio::test]
    async fn no_more_jobs_run_than_allowed() {
        let shop = Workshop::new(Limits { jobs: 2, requests: 100 });
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs = (0..20).map(|number| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            shop.run(Haste::Usual, move |_| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
                now.fetch_sub(1, Ordering::SeqCst);
                number
            })
        });
        let done = futures::future::join_all(jobs).await;
        let numbers: Vec<_> = done.into_iter().map(|done| done.unwrap().result).collect();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_job_that_panics_frees_its_bench() {
        let shop = Workshop::new(Limits { jobs: 1, requests: 1 });
        let lost = shop.run(Haste::Usual, |_| assert_eq!(1, 2, "on purpose")).await;
        assert_eq!(lost.err(), Some(Lost));
        assert_eq!(shop.run(Haste::Usual, |_| 7).await.map(|done| done.result), Ok(7));
    }
}
