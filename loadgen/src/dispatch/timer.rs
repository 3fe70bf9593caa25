//! The timer: one thread that sleeps until the next thing is due and wakes whoever it is for. It exists because the
//! async runtime's timers have a granularity of a millisecond. It never spins.
//!
//! Nobody waits for ever on it:
//! - It parks in one place, and never for longer than `LONGEST_SLEEP`; then it looks at everything again. A lost
//!   wake-up would cost so much lateness and nothing else.
//! - None is lost: an alarm is pushed and the time of the next one is read under one lock. One that comes earlier than
//!   what the timer has read unparks it afterwards, and an unpark before the park makes that return at once.
//! - An alarm set after the last ring, by a user whose answer outlasted the run, rings at once ([`Alarms::set`]): the
//!   last ring closes the heap under the same lock.
//! - Whoever waits for all to be released is told so even when this thread panics (`Released`), and a run whose timer
//!   has died ends with an error.
//! - Locks are taken in one order only, the hub's before the ledger's, and nobody waits while holding one.

use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use rustix::thread::set_current_timer_slack;
use tokio::sync::Notify;

use super::hub::Hub;
use crate::clock::RunClock;
use crate::plan::Arrivals;

/// The longest sleep, so that a stop is noticed.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// When the run stops taking new arrivals, and when it is over. Set by the conductor, read by everyone.
#[derive(Debug)]
pub struct Curtain {
    stop_ns: AtomicU64,
    over: AtomicBool,
}

impl Default for Curtain {
    fn default() -> Self {
        Self { stop_ns: AtomicU64::new(u64::MAX), over: AtomicBool::new(false) }
    }
}

impl Curtain {
    /// No arrival intended at or after `t_ns` is sent any more.
    pub fn stop_at(&self, t_ns: u64) {
        self.stop_ns.fetch_min(t_ns, Ordering::AcqRel);
    }

    /// When arrivals stop; `u64::MAX` while nobody has said.
    pub fn stop_ns(&self) -> u64 {
        self.stop_ns.load(Ordering::Acquire)
    }

    /// The drain has ended too.
    pub fn fall(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Whether the drain has ended.
    pub fn is_down(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// A wake-up that somebody asked for. Ordered by time, earliest on top of the heap.
#[derive(Debug)]
struct Alarm {
    at_ns: u64,
    notify: Arc<Notify>,
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.at_ns == other.at_ns
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.at_ns.cmp(&self.at_ns)
    }
}

#[derive(Debug, Default)]
struct Heap {
    alarms: BinaryHeap<Alarm>,
    /// After the last ring nobody would wake who is set later.
    closed: bool,
}

/// The wake-ups that simulated users wait for. One per user at most, so it is as large as their number.
#[derive(Debug, Default)]
pub struct Alarms {
    heap: Mutex<Heap>,
    thread: OnceLock<Thread>,
}

impl Alarms {
    /// Wakes `notify` at `at_ns`, and at once when the run is over.
    pub fn set(&self, at_ns: u64, notify: Arc<Notify>) {
        let mut heap = self.lock();
        if heap.closed {
            return notify.notify_one();
        }
        let earliest = heap.alarms.peek().is_none_or(|alarm| at_ns < alarm.at_ns);
        heap.alarms.push(Alarm { at_ns, notify });
        drop(heap);
        if let (true, Some(thread)) = (earliest, self.thread.get()) {
            thread.unpark();
        }
    }

    /// Wakes what is due and says when the next one is.
    fn ring(&self, now_ns: u64) -> Option<u64> {
        let mut heap = self.lock();
        while let Some(alarm) = heap.alarms.peek() {
            if alarm.at_ns > now_ns {
                return Some(alarm.at_ns);
            }
            if let Some(alarm) = heap.alarms.pop() {
                alarm.notify.notify_one();
            }
        }
        None
    }

    /// Wakes everybody, and from now on whoever asks.
    fn ring_out(&self) {
        let mut heap = self.lock();
        heap.closed = true;
        heap.alarms.drain().for_each(|alarm| alarm.notify.notify_one());
    }

    fn lock(&self) -> MutexGuard<'_, Heap> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the timer has to do: the arrivals of an open model, the alarms of a closed one.
#[derive(Debug)]
pub enum Duty {
    /// Release arrivals.
    Open {
        /// When which arrival is due.
        arrivals: Box<Arrivals>,
        /// Where they go.
        hub: Arc<Hub>,
    },
    /// Wake users.
    Closed(Arc<Alarms>),
}

/// Starts the timer thread. It ends when the curtain is down.
///
/// # Errors
/// When the system gives no more threads.
pub fn start(duty: Duty, clock: RunClock, curtain: Arc<Curtain>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("load-timer".to_owned()).spawn(move || {
        // The default slack would let the kernel wake us up to 50 µs late. A refusal costs only precision.
        let _ = set_current_timer_slack(std::num::NonZeroU64::new(1));
        prefer_this_thread(-10);
        await_zero(&clock, &curtain);
        match duty {
            Duty::Open { arrivals, hub } => release_arrivals(*arrivals, &hub, &clock, &curtain),
            Duty::Closed(alarms) => ring_alarms(&alarms, &clock, &curtain),
        }
    })
}

/// Sleeps until the run begins. Before that the clock reads 0, and what is due at 0 would be early.
fn await_zero(clock: &RunClock, curtain: &Curtain) {
    while !clock.until(0).is_zero() && !curtain.is_down() {
        sleep_until(Some(0), clock);
    }
}

/// Lets the scheduler prefer the calling thread, so that what else runs on the machine does not make the load late.
/// It needs a privilege; without it everything works, and the audit shows the lateness.
pub fn prefer_this_thread(nice: i32) {
    // On Linux a priority belongs to a thread, and "no process" means the calling one.
    let _ = rustix::process::setpriority_process(None, nice);
}

/// Says that all is released when it goes, whether the timer has ended or panicked: nothing more will come.
struct Released<'a>(&'a Hub);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.0.released_all();
    }
}

fn release_arrivals(arrivals: Arrivals, hub: &Hub, clock: &RunClock, curtain: &Curtain) {
    let _released = Released(hub);
    let mut arrivals = arrivals.peekable();
    while !curtain.is_down() {
        let now_ns = clock.now_ns();
        let stop_ns = curtain.stop_ns();
        while let Some(arrival) = arrivals.next_if(|a| a.intended_ns <= now_ns && a.intended_ns < stop_ns) {
            hub.release(arrival);
        }
        let expiry = hub.tend(now_ns);
        let next = arrivals.peek().map(|a| a.intended_ns).filter(|t| *t < stop_ns);
        if next.is_none() {
            hub.released_all();
        }
        sleep_until(next.into_iter().chain(expiry).min(), clock);
    }
}

fn ring_alarms(alarms: &Alarms, clock: &RunClock, curtain: &Curtain) {
    let _ = alarms.thread.set(std::thread::current());
    while !curtain.is_down() {
        let now_ns = if curtain.stop_ns() <= clock.now_ns() { u64::MAX } else { clock.now_ns() };
        sleep_until(alarms.ring(now_ns), clock);
    }
    alarms.ring_out();
}

/// Sleeps until `t_ns`, or shorter: whoever calls looks again.
fn sleep_until(t_ns: Option<u64>, clock: &RunClock) {
    let sleep = t_ns.map_or(LONGEST_SLEEP, |t_ns| clock.until(t_ns).min(LONGEST_SLEEP));
    if !sleep.is_zero() {
        std::thread::park_timeout(sleep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Limits;
    use crate::plan::{Mix, Process, Profile};
    use crate::record::Ledger;
    use proofload_run::manifest::Step;

    #[tokio::test]
    async fn a_user_is_woken_in_time_and_even_after_the_last_ring() {
        let (clock, curtain, alarms) = (RunClock::default(), Arc::new(Curtain::default()), Arc::new(Alarms::default()));
        let timer = start(Duty::Closed(Arc::clone(&alarms)), clock.clone(), Arc::clone(&curtain)).unwrap();
        clock.start_in(Duration::ZERO);
        let woken = async |at_ns| {
            let bell = Arc::new(Notify::new());
            alarms.set(at_ns, Arc::clone(&bell));
            let patience = Duration::from_secs(5);
            tokio::time::timeout(patience, bell.notified()).await.expect("nobody wakes this user");
            clock.now_ns()
        };
        // Far ahead first, so that the second one has to wake the timer out of a longer sleep.
        let far = Arc::new(Notify::new());
        alarms.set(3_600_000_000_000, Arc::clone(&far));
        let soon_ns = clock.now_ns() + 5_000_000;
        assert!(woken(soon_ns).await >= soon_ns);
        curtain.fall();
        timer.join().unwrap();
        tokio::time::timeout(Duration::from_secs(5), far.notified()).await.expect("the last ring wakes everybody");
        woken(u64::MAX).await;
    }

    #[test]
    fn a_timer_that_dies_leaves_nobody_waiting_for_it() {
        let (hub, _opener) =
            Hub::new(Limits { slots: 1, backlog: 1, idle_timeout_ns: None }, Arc::new(Ledger::default()), 1);
        let inner = Arc::clone(&hub);
        let died = std::thread::spawn(move || {
            let _released = Released(&inner);
            std::panic::resume_unwind(Box::new("as a panic would"));
        });
        assert!(died.join().is_err());
        assert!(!hub.state().releasing);
    }

    #[test]
    fn the_timer_says_when_all_that_is_due_before_the_stop_is_released() {
        let step = Step {
            name: String::new(),
            start_ns: 0,
            end_ns: 10_000_000_000,
            level_start: 1000.0,
            level_end: 1000.0,
            settle_ns: 0,
            warm_up: false,
        };
        let arrivals = Arrivals::new(Profile::new(vec![step]), Mix::new([(1.0, 1)]), Process::Constant, 1);
        let ledger = Arc::new(Ledger::default());
        let (hub, _opener) =
            Hub::new(Limits { slots: 1, backlog: 10_000, idle_timeout_ns: None }, Arc::clone(&ledger), 60_000_000_000);
        let (clock, curtain) = (RunClock::default(), Arc::new(Curtain::default()));
        let duty = Duty::Open { arrivals: Box::new(arrivals), hub: Arc::clone(&hub) };
        let timer = start(duty, clock.clone(), Arc::clone(&curtain)).unwrap();
        clock.start_in(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(30));
        assert!(hub.state().releasing, "nobody has said when to stop");
        // A stop that lies behind, as the conductor's does when the timer is late.
        let stop_ns = clock.now_ns();
        curtain.stop_at(stop_ns);
        let patience = std::time::Instant::now() + Duration::from_secs(5);
        while hub.state().releasing {
            assert!(std::time::Instant::now() < patience && !timer.is_finished(), "the timer never says so");
            std::thread::sleep(Duration::from_millis(1));
        }
        let intended = ledger.intended();
        assert!(intended >= stop_ns / 1_000_000, "{intended} released of those due before {stop_ns} ns");
        curtain.fall();
        timer.join().unwrap();
        hub.release(crate::plan::Arrival::default());
        hub.close(clock.now_ns());
        hub.release(crate::plan::Arrival::default());
        assert_eq!(ledger.intended(), intended + 1, "after the close nothing is intended");
    }
}
