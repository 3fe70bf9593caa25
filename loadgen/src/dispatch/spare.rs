//! Which idle slots nothing needs any more. A target that stalls makes the generator open connections by the thousand;
//! once it has recovered they would stay for the rest of the run, at several KB each. Pure.
//!
//! Idle slots are taken last in, first out. So as many as were idle at the worst moment of the last while have not been
//! touched in all of it, and they lie at the bottom. They may go, except for as many as were needed meanwhile: a load
//! that swings finds its connections open.

use std::collections::VecDeque;

/// The while is watched in this many parts; the fewest idle slots are known of each.
const PARTS: usize = 10;
/// So many idle slots stay in any case.
const KEPT: usize = 16;
/// Closing a connection takes the thread that sends about 20 µs: so many at a time, and so long between them.
const AT_ONCE: usize = 4;
const PACE_NS: u64 = 10_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Spare {
    part_ns: u64,
    part_ends_ns: u64,
    /// The fewest idle slots of the current part.
    fewest: usize,
    /// The same of the parts before it.
    past: VecDeque<usize>,
    /// No slot goes before.
    next_ns: u64,
}

impl Spare {
    /// Slots may go that nothing has needed for this long.
    pub(super) fn new(idle_timeout_ns: u64) -> Self {
        let part_ns = (idle_timeout_ns / PARTS as u64).max(1);
        Self { part_ns, part_ends_ns: part_ns, fewest: 0, past: VecDeque::with_capacity(PARTS), next_ns: 0 }
    }

    /// An idle slot was taken, and so many are left.
    pub(super) fn taken(&mut self, idle: usize) {
        self.fewest = self.fewest.min(idle);
    }

    /// How many of the slots that have been idle for longest go now.
    pub(super) fn leaving(&mut self, now_ns: u64, idle: usize, open: usize) -> usize {
        if now_ns < self.next_ns {
            return 0;
        }
        self.next_ns = now_ns + PACE_NS;
        if now_ns >= self.part_ends_ns {
            self.turn(now_ns, idle);
        }
        let untouched = self.past.iter().copied().min().filter(|_| self.past.len() == PARTS);
        let untouched = untouched.map_or(0, |past| past.min(self.fewest));
        let needed = open - untouched;
        let leaving = untouched.saturating_sub(needed.max(KEPT)).min(AT_ONCE);
        self.fewest -= leaving.min(self.fewest);
        self.past.iter_mut().for_each(|fewest| *fewest -= leaving.min(*fewest));
        leaving
    }

    fn turn(&mut self, now_ns: u64, idle: usize) {
        if self.past.len() == PARTS {
            self.past.pop_front();
        }
        self.past.push_back(std::mem::replace(&mut self.fewest, idle));
        self.part_ends_ns = now_ns + self.part_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Opens `open` slots that all fall idle, and takes `busy` of them at a time, until `ms` have passed; all idle slots
    /// are taken once at each of `peaks`. Gives how many are open at the end.
    fn left(open: usize, busy: usize, ms: u64, peaks: &[u64]) -> usize {
        let mut spare = Spare::new(1000 * MS);
        let mut open = open;
        for now_ms in (0..ms).step_by(10) {
            spare.taken(if peaks.contains(&now_ms) { 0 } else { open - busy });
            open -= spare.leaving(now_ms * MS, open, open);
        }
        open
    }

    #[test]
    fn what_nothing_has_needed_for_long_goes_and_as_much_as_was_needed_stays() {
        let check = |open, busy, ms, peaks: &[u64], expected: usize| {
            assert_eq!(left(open, busy, ms, peaks), expected, "{open} {busy} {ms} {peaks:?}");
        };
        check(3000, 100, 900, &[], 3000);
        check(3000, 100, 20_000, &[], 200);
        check(3000, 3, 20_000, &[], 19);
        check(10, 3, 20_000, &[], 10);
        check(200, 100, 20_000, &[], 200);
        // Whatever is needed now and then stays: here all of it, every 0.9 s.
        let peaks: Vec<u64> = (0..20).map(|n| n * 900).collect();
        check(3000, 100, 18_000, &peaks, 3000);
        check(3000, 100, 40_000, &peaks, 200);
    }

    #[test]
    fn few_go_at_a_time() {
        let mut spare = Spare::new(1000 * MS);
        let mut open = 3000;
        let mut times = Vec::new();
        for now_ms in 0..3000 {
            let leaving = spare.leaving(now_ms * MS, open, open);
            open -= leaving;
            assert!(leaving <= AT_ONCE);
            times.extend((leaving > 0).then_some(now_ms));
        }
        assert!(times.windows(2).all(|two| two[1] - two[0] >= 10), "{times:?}");
        assert!(times[0] >= 1000, "{times:?}");
    }
}
