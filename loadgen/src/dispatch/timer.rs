//! The timer: one thread that sleeps until the next thing is due and wakes whoever it is for. It exists because the
//! async runtime's timers have a granularity of a millisecond. It never spins.

use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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

/// The wake-ups that simulated users wait for. One per user at most, so it is as large as their number.
#[derive(Debug, Default)]
pub struct Alarms {
    heap: Mutex<BinaryHeap<Alarm>>,
    thread: OnceLock<Thread>,
}

impl Alarms {
    /// Wakes `notify` at `at_ns`.
    pub fn set(&self, at_ns: u64, notify: Arc<Notify>) {
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = heap.peek().is_none_or(|alarm| at_ns < alarm.at_ns);
        heap.push(Alarm { at_ns, notify });
        drop(heap);
        if let (true, Some(thread)) = (earliest, self.thread.get()) {
            thread.unpark();
        }
    }

    /// Wakes what is due and says when the next one is.
    fn ring(&self, now_ns: u64) -> Option<u64> {
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(alarm) = heap.peek() {
            if alarm.at_ns > now_ns {
                return Some(alarm.at_ns);
            }
            if let Some(alarm) = heap.pop() {
                alarm.notify.notify_one();
            }
        }
        None
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

fn release_arrivals(arrivals: Arrivals, hub: &Hub, clock: &RunClock, curtain: &Curtain) {
    let mut arrivals = arrivals.peekable();
    while !curtain.is_down() {
        let now_ns = clock.now_ns();
        let stop_ns = curtain.stop_ns();
        while let Some(arrival) = arrivals.next_if(|a| a.intended_ns <= now_ns && a.intended_ns < stop_ns) {
            hub.release(arrival);
        }
        let expiry = hub.expire(now_ns);
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
    alarms.ring(u64::MAX);
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
        let (hub, _opener) = Hub::new(Limits { slots: 1, backlog: 10_000 }, Arc::clone(&ledger), 60_000_000_000);
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
