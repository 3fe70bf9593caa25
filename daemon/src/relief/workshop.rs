//! Where the heavy work is done: a bounded number of jobs side by side, a bounded number of requests in the house,
//! and never on the threads that serve connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use super::benches::{Benches, Haste};
use super::laps::Laps;
use crate::sched::backlog::{Course, ServiceTime, admit};

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

/// Why nobody else is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// The house is full.
    Full {
        /// Requests in it.
        requests: usize,
        /// When a place will be free, from the measured work of a request.
        retry_after: Duration,
    },
    /// It would be served after its deadline.
    TooLate {
        /// How long it would have to wait, from the measured work of a request.
        retry_after: Duration,
    },
}

/// Why work ended without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The process is stopping, or the job panicked.
    Lost,
    /// Its turn did not come before its deadline.
    TooLate,
}

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
    /// From a request's first step to its answer.
    course: Mutex<Course>,
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
            course: Mutex::default(),
        }
    }

    /// A place, if there is one, for who comes at `now` and waits `until` then, if not for ever.
    ///
    /// # Errors
    /// When the house is full, or those in it take longer.
    pub fn enter(&self, now: Instant, until: Option<Instant>) -> Result<Place, Turned> {
        let retry_after = self.until_served(self.occupied());
        if !admit(now, retry_after, self.begin_by(until)) {
            return Err(Turned::TooLate { retry_after });
        }
        let permit = Arc::clone(&self.places).try_acquire_owned();
        permit.map(|permit| Place { _permit: permit }).map_err(|_| {
            let requests = self.limits.requests;
            Turned::Full { requests, retry_after: self.until_served(requests) }
        })
    }

    /// A place, as soon as there is one. `None` cannot happen while the house stands.
    pub async fn wait(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(Place { _permit: permit })
    }

    fn until_served(&self, requests: usize) -> Duration {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).until_served(requests, self.limits.jobs)
    }

    /// When work that is given up at `until` has to begin to be done by then, as work lately took. In a queue that is as
    /// long as its requests wait, whoever comes to its turn is about to be given up: begun, it would only take the time of one
    /// that can still be served.
    pub fn begin_by(&self, until: Option<Instant>) -> Option<Instant> {
        let course = self.course.lock().unwrap_or_else(PoisonError::into_inner).all_but_few();
        until.map(|until| until.checked_sub(course).unwrap_or(until))
    }

    /// Requests in the house.
    pub fn occupied(&self) -> usize {
        self.limits.requests - self.places.available_permits()
    }

    /// Jobs that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.benches.waiting()
    }

    /// Runs a job when its turn comes, which has to be before `until`, if that is said. A job whose caller goes away before
    /// its turn is never run; one that has begun keeps its bench until it is done.
    ///
    /// # Errors
    /// When it gave no result.
    pub async fn run<T: Send + 'static>(
        &self,
        haste: Haste,
        until: Option<Instant>,
        job: impl FnOnce(&mut Laps) -> T + Send + 'static,
    ) -> Result<Done<T>, Ended> {
        let turn = self.benches.take(haste);
        let bench = match until {
            None => turn.await,
            Some(until) => timeout_at(until.into(), turn).await.map_err(|_| Ended::TooLate)?,
        };
        let bench = bench.ok_or(Ended::Lost)?;
        let timed = move || {
            let _bench = bench;
            let mut laps = Laps::default();
            let result = job(&mut laps);
            Done { result, laps }
        };
        tokio::task::spawn_blocking(timed).await.map_err(|_| Ended::Lost)
    }

    /// Takes note of the work of a request that was served.
    pub fn observe(&self, work: Duration) {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).observe(work, 1);
    }

    /// Takes note of how long a request took from its first step to its answer.
    pub fn observe_course(&self, course: Duration) {
        self.course.lock().unwrap_or_else(PoisonError::into_inner).observe(course);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_full_house_says_when_to_come_back() {
        let shop = Workshop::new(Limits { jobs: 2, requests: 4 });
        let enter = || shop.enter(Instant::now(), None);
        shop.observe(Duration::from_secs(3));
        let mut places: Vec<_> = (0..4).map(|_| enter().ok().unwrap()).collect();
        assert_eq!(enter().err(), Some(Turned::Full { requests: 4, retry_after: Duration::from_secs(6) }));
        places.pop();
        assert_eq!(shop.occupied(), 3);
        assert!(enter().is_ok());
    }

    #[tokio::test]
    async fn who_would_be_served_too_late_is_turned_away_at_the_door() {
        let shop = Workshop::new(Limits { jobs: 2, requests: 100 });
        let now = Instant::now();
        let enter = |within_ms: Option<u64>| shop.enter(now, within_ms.map(|ms| now + Duration::from_millis(ms)));
        assert!(enter(Some(0)).is_ok(), "as long as nothing is known of the work");
        shop.observe(Duration::from_millis(100));
        let _places: Vec<_> = (0..20).map(|_| enter(None).ok().unwrap()).collect();
        let retry_after = Duration::from_secs(1);
        assert_eq!(enter(Some(500)).err(), Some(Turned::TooLate { retry_after }));
        assert!(enter(Some(1000)).is_ok() && enter(None).is_ok());
    }

    #[tokio::test]
    async fn who_waits_for_too_long_gives_up_its_turn() {
        let shop = Workshop::new(Limits { jobs: 1, requests: 1 });
        let bench = shop.benches.take(Haste::Usual).await;
        let until = Instant::now() + Duration::from_millis(30);
        let late = shop.run(Haste::Usual, Some(until), |_| 7).await;
        assert_eq!((late.err(), Instant::now() >= until), (Some(Ended::TooLate), true));
        assert_eq!(shop.waiting(), 0);
        drop(bench);
        let later = Some(Instant::now() + Duration::from_secs(60));
        assert_eq!(shop.run(Haste::Usual, later, |_| 7).await.map(|done| done.result), Ok(7));
    }

    #[tokio::test]
    async fn who_could_not_be_served_in_time_does_not_begin() {
        let shop = Workshop::new(Limits { jobs: 1, requests: 100 });
        let until = Instant::now() + Duration::from_secs(60);
        assert_eq!(shop.begin_by(Some(until)), Some(until), "as long as nothing is known");
        (0..50).for_each(|_| shop.observe_course(Duration::from_millis(40)));
        assert!(shop.begin_by(Some(until)) <= Some(until - Duration::from_millis(40)));
        assert!(shop.begin_by(Some(until)) > Some(until - Duration::from_millis(60)), "it hardly varied");
        assert_eq!(shop.begin_by(None), None);
        // A free bench is taken even so: how long it takes now nobody knows otherwise.
        let late = shop.begin_by(Some(Instant::now()));
        assert_eq!(shop.run(Haste::Usual, late, |_| 7).await.map(|done| done.result), Ok(7));
        let bench = shop.benches.take(Haste::Usual).await;
        assert_eq!(shop.run(Haste::Usual, late, |_| 7).await.err(), Some(Ended::TooLate));
        drop(bench);
    }

    #[tokio::test]
    async fn no_more_jobs_run_than_allowed() {
        let shop = Workshop::new(Limits { jobs: 2, requests: 100 });
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs = (0..20).map(|number| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            shop.run(Haste::Usual, None, move |_| {
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
        let lost = shop.run(Haste::Usual, None, |_| assert_eq!(1, 2, "on purpose")).await;
        assert_eq!(lost.err(), Some(Ended::Lost));
        assert_eq!(shop.run(Haste::Usual, None, |_| 7).await.map(|done| done.result), Ok(7));
    }
}
