//! The pulse: a thread that wants to wake up a hundred times a second and notes when it could not, or when the system's
//! clocks moved apart meanwhile. What stops it (no processor, a stopped process, a paused virtual machine, a machine that
//! slept) stops the load as well. Nothing is judged here.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use proofload_run::events::EventKind;
use rustix::time::{ClockId, clock_gettime};

use crate::clock::RunClock;
use crate::dispatch::timer::prefer_this_thread;
use crate::record::Log;

const PERIOD_NS: u64 = 10_000_000;
/// What is noted. Shorter delays are in every sample's lateness, and are usual on a machine that is shared.
const NOTED_NS: u64 = 100_000_000;
/// Clocks that moved apart by less are being adjusted; the readings themselves take less than this.
const STEP_NS: i64 = 10_000_000;

/// The clocks at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    /// The run's clock, which is monotonic and stands still while the machine sleeps.
    run_ns: u64,
    /// The calendar.
    calendar_ns: i64,
    /// As the run's clock, but goes on while the machine sleeps.
    boot_ns: i64,
}

impl Reading {
    fn take(clock: &RunClock) -> Self {
        let ns = |id| {
            let now = clock_gettime(id);
            now.tv_sec * 1_000_000_000 + now.tv_nsec
        };
        Self { calendar_ns: ns(ClockId::Realtime), boot_ns: ns(ClockId::Boottime), run_ns: clock.now_ns() }
    }
}

/// What lies between two readings, each with its time on the run's clock.
fn irregularities(before: Reading, now: Reading) -> Vec<(u64, EventKind)> {
    let elapsed_ns = now.run_ns.saturating_sub(before.run_ns);
    let stalled_ns = elapsed_ns.saturating_sub(PERIOD_NS);
    let ran_ns = elapsed_ns as i64;
    let slept_ns = now.boot_ns - before.boot_ns - ran_ns;
    // While the machine sleeps the calendar goes on, and that is no step.
    let stepped_ns = now.calendar_ns - before.calendar_ns - ran_ns - if slept_ns >= STEP_NS { slept_ns } else { 0 };
    let mut found = Vec::new();
    if slept_ns >= STEP_NS {
        found.push((before.run_ns, EventKind::Suspended { for_ns: slept_ns.unsigned_abs() }));
    }
    if stalled_ns >= NOTED_NS {
        found.push((before.run_ns + PERIOD_NS, EventKind::Stalled { for_ns: stalled_ns }));
    } else if stepped_ns.abs() >= STEP_NS && stalled_ns < STEP_NS.unsigned_abs() {
        // Between readings that were held up a step cannot be told from the delay; the next one shows it.
        found.push((now.run_ns, EventKind::ClockStepped { by_ns: stepped_ns }));
    }
    found
}

/// A running pulse. Ends when it is dropped.
#[derive(Debug)]
pub struct Pulse {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(clock: RunClock, log: Arc<Log>) -> std::io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let beat = move || {
            prefer_this_thread(-5);
            let mut before: Option<Reading> = None;
            while stopped.recv_timeout(Duration::from_nanos(PERIOD_NS)) == Err(RecvTimeoutError::Timeout) {
                let now = Reading::take(&clock);
                if let Some(before) = before.filter(|before| before.run_ns > 0) {
                    irregularities(before, now).into_iter().for_each(|(t_ns, kind)| log.event(t_ns, kind));
                }
                before = Some(now);
            }
        };
        let thread = Builder::new().name("load-pulse".to_owned()).spawn(beat)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.take();
        // A thread that has panicked has nothing more to say.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_steps_and_sleep_are_told_apart() {
        const MS: i64 = 1_000_000;
        let reading = |run_ms: i64, calendar_ms: i64, boot_ms: i64| Reading {
            run_ns: (run_ms * MS) as u64,
            calendar_ns: calendar_ms * MS,
            boot_ns: boot_ms * MS,
        };
        let check = |(run, calendar, boot): (i64, i64, i64), expected: &[(u64, EventKind)]| {
            let found =
                irregularities(reading(1000, 90_000, 5000), reading(1000 + run, 90_000 + calendar, 5000 + boot));
            assert_eq!(found, expected, "{run} {calendar} {boot}");
        };
        let ns = |ms: u64| ms * 1_000_000;
        check((10, 10, 10), &[]);
        check((100, 100, 100), &[]);
        check((310, 310, 310), &[(ns(1010), EventKind::Stalled { for_ns: ns(300) })]);
        check((10, 1510, 10), &[(ns(1010), EventKind::ClockStepped { by_ns: 1500 * MS })]);
        check((10, -990, 10), &[(ns(1010), EventKind::ClockStepped { by_ns: -1000 * MS })]);
        check((10, 15, 10), &[]);
        check((10, 5010, 5010), &[(ns(1000), EventKind::Suspended { for_ns: ns(5000) })]);
    }
}
