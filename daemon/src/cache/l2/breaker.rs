//! Whether a node is worth asking: after a few failures in a row it is left alone, for longer each time, until it has
//! answered a probe. Requests never probe; whoever keeps the node's connections does. Pure.

use std::time::{Duration, Instant};

/// Failures in a row that are no accident any more.
const ENOUGH: u32 = 3;
/// How long a node is left alone at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// What is known of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// When it may be probed, if it is left alone.
    open_until: Option<Instant>,
    /// How long it is left alone next time.
    pause: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 0, open_until: None, pause: FIRST_PAUSE }
    }
}

impl Breaker {
    /// A node that has to answer a probe first.
    pub fn open(now: Instant) -> Self {
        Self { open_until: Some(now), ..Self::default() }
    }

    /// Whether requests may ask it.
    pub fn is_closed(&self) -> bool {
        self.open_until.is_none()
    }

    /// When it is to be probed, if it is left alone.
    pub fn probe_at(&self) -> Option<Instant> {
        self.open_until
    }

    /// It answered.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It did not answer, or not in time.
    pub fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= ENOUGH || self.open_until.is_some() {
            self.break_off(now);
        }
    }

    /// It cannot be reached at all.
    pub fn break_off(&mut self, now: Instant) {
        // Those that were under way when it was left alone say nothing new.
        if self.open_until.is_some_and(|until| now < until) {
            return;
        }
        self.open_until = Some(now + self.pause);
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// `s` succeeds, `f` fails, `x` cannot be reached; each a millisecond after the other.
    #[test]
    fn a_few_failures_in_a_row_break_it() {
        let check = |events: &str, closed: bool| {
            let (start, mut breaker) = (Instant::now(), Breaker::default());
            for (index, event) in (0..).zip(events.chars()) {
                match event {
                    's' => breaker.succeeded(),
                    'f' => breaker.failed(start + index * MS),
                    _ => breaker.break_off(start + index * MS),
                }
            }
            assert_eq!(breaker.is_closed(), closed, "{events}");
        };
        check("", true);
        check("ff", true);
        check("ffsff", true);
        check("fff", false);
        check("x", false);
        check("ffffff", false);
        check("fffs", true);
        check("xsff", true);
    }

    #[test]
    fn pauses_grow_and_end() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            breaker.break_off(now);
            let until = breaker.probe_at().unwrap();
            pauses.push((until - now).as_millis());
            breaker.failed(now + MS);
            assert_eq!(breaker.probe_at(), Some(until), "what was under way changes nothing");
            now = until;
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
        breaker.succeeded();
        assert_eq!(breaker, Breaker::default());
        assert_eq!(Breaker::open(now).probe_at(), Some(now));
    }

    proptest! {
        /// Whatever happens, a node that is left alone is probed within the longest pause.
        #[test]
        fn no_node_is_forgotten(events in proptest::collection::vec((0..3_u8, 0..20_000_u64), 0..50)) {
            let (mut now, mut breaker) = (Instant::now(), Breaker::default());
            for (event, ms) in events {
                now += Duration::from_millis(ms);
                match event {
                    0 => breaker.succeeded(),
                    1 => breaker.failed(now),
                    _ => breaker.break_off(now),
                }
                prop_assert!(breaker.probe_at().is_none_or(|at| at <= now + LONGEST_PAUSE));
                prop_assert_eq!(breaker.is_closed(), breaker.probe_at().is_none());
            }
        }
    }
}
