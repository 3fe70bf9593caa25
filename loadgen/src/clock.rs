//! The run's clock: nanoseconds since the run's zero on the system's monotonic clock. Only the shell holds one;
//! everything that computes takes a time as an argument.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// A clock whose zero is set once, when the first step begins. Clones share the zero.
#[derive(Debug, Clone)]
pub struct RunClock {
    zero_ns: Arc<AtomicU64>,
}

impl Default for RunClock {
    fn default() -> Self {
        Self { zero_ns: Arc::new(AtomicU64::new(u64::MAX)) }
    }
}

/// When a clock's zero was, on the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// Nanoseconds since 1970-01-01 UTC.
    pub zero_unix_ns: u64,
    /// How far the calendar reading may be off, from having been taken between two monotonic readings.
    pub error_bound_ns: u64,
}

impl RunClock {
    /// Makes now plus `lead` the run's zero and says when that is on the calendar. Until then the clock reads 0.
    pub fn start_in(&self, lead: Duration) -> Anchor {
        let lead_ns = duration_ns(lead);
        let before = monotonic_ns();
        let unix_ns = duration_ns(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let after = monotonic_ns();
        self.zero_ns.store(before + lead_ns, Ordering::Release);
        Anchor { zero_unix_ns: unix_ns + lead_ns, error_bound_ns: (after - before).max(1) }
    }

    /// Nanoseconds since the run's zero; 0 before it.
    pub fn now_ns(&self) -> u64 {
        monotonic_ns().saturating_sub(self.zero_ns.load(Ordering::Acquire))
    }

    /// How long until `t_ns`; zero when it has passed. Before the run's zero it counts the time until that too.
    pub fn until(&self, t_ns: u64) -> Duration {
        let at = self.zero_ns.load(Ordering::Acquire).saturating_add(t_ns);
        Duration::from_nanos(at.saturating_sub(monotonic_ns()))
    }
}

/// A duration in whole nanoseconds, saturating after 584 years.
pub fn duration_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_starts_at_zero_and_goes_on() {
        let clock = RunClock::default();
        assert_eq!(clock.now_ns(), 0, "before it is started");
        clock.start_in(Duration::from_secs(5));
        assert_eq!(clock.now_ns(), 0);
        assert!(clock.until(1_000) > Duration::from_secs(4));
        clock.start_in(Duration::ZERO);
        let first = clock.now_ns();
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.now_ns() >= first + 2_000_000);
        assert_eq!(clock.until(0), Duration::ZERO);
    }
}
