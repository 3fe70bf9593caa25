//! What each instance of a model has done: counters that its thread writes and anybody reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The counters of one instance.
#[derive(Debug, Default)]
pub struct Usage {
    executions: AtomicU64,
    elements: AtomicU64,
    busy_ns: AtomicU64,
}

impl Usage {
    /// Counts an execution, whether it succeeded or not: it took the instance's time.
    pub fn executed(&self, elements: u32, took: Duration) {
        self.executions.fetch_add(1, Ordering::Relaxed);
        self.elements.fetch_add(u64::from(elements), Ordering::Relaxed);
        self.busy_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Executions so far.
    pub fn executions(&self) -> u64 {
        self.executions.load(Ordering::Relaxed)
    }

    /// Batch elements in them.
    pub fn elements(&self) -> u64 {
        self.elements.load(Ordering::Relaxed)
    }

    /// The time they took.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_ns.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_add_up() {
        let usage = Usage::default();
        usage.executed(3, Duration::from_millis(5));
        usage.executed(1, Duration::from_millis(7));
        assert_eq!((usage.executions(), usage.elements(), usage.busy()), (2, 4, Duration::from_millis(12)));
    }
}
