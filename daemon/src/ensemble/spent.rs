//! Where the time of an ensemble's request went, told from what its steps spent. Steps run side by side, so their phases
//! cannot simply be added: each moment counts once, as what the furthest of the steps did in it. So the phases of the whole
//! sum to its total.

use std::time::{Duration, Instant};

use proofload_wire::phases::Phases;

use crate::backend::Timeline;

/// What a moment counts as; the later goes before the earlier where several steps do different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Queue,
    CopyOut,
    CopyIn,
    Compute,
}

/// What the steps of a request spent.
#[derive(Debug, Clone, Default)]
pub struct Spent {
    parts: Vec<(Phase, Instant, Instant)>,
}

impl Spent {
    /// Adds a step that was asked for at `from`.
    pub fn add(&mut self, from: Instant, phases: &Phases) {
        let mut at = from;
        let each = [
            (Phase::Queue, phases.queue_ns),
            (Phase::CopyIn, phases.copy_in_ns),
            (Phase::Compute, phases.compute_ns),
            (Phase::CopyOut, phases.copy_out_ns),
        ];
        for (phase, ns) in each {
            // Never beyond the end of time: a step does not last for centuries.
            let to = at.checked_add(Duration::from_nanos(ns)).unwrap_or(at);
            self.parts.push((phase, at, to));
            at = to;
        }
    }

    /// The phases of a request that was received and answered at these times. What no step covers is waiting, and after
    /// the last of them making the answer ready.
    pub fn phases(&self, received: Instant, answered: Instant, elements: u32) -> Phases {
        let mut phases = Phases { batch_size: elements, ..Phases::default() };
        let last = self.parts.iter().map(|part| part.2).max().unwrap_or(answered).min(answered);
        let ends = self.parts.iter().flat_map(|part| [part.1, part.2]).filter(|at| (received..answered).contains(at));
        let mut bounds: Vec<Instant> = ends.chain([received, last.max(received), answered]).collect();
        bounds.sort_unstable();
        for (from, to) in bounds.iter().zip(bounds.iter().skip(1)) {
            let ns = u64::try_from(to.saturating_duration_since(*from).as_nanos()).unwrap_or(u64::MAX);
            *match self.at(*from, *to) {
                Some(Phase::Compute) => &mut phases.compute_ns,
                Some(Phase::CopyIn) => &mut phases.copy_in_ns,
                Some(Phase::CopyOut) => &mut phases.copy_out_ns,
                None if *from >= last => &mut phases.copy_out_ns,
                Some(Phase::Queue) | None => &mut phases.queue_ns,
            } += ns;
        }
        phases
    }

    fn at(&self, from: Instant, to: Instant) -> Option<Phase> {
        let covers = self.parts.iter().filter(|part| part.1 <= from && to <= part.2 && part.1 < part.2);
        covers.map(|part| part.0).max()
    }
}

/// The phases of a whole, one after the other, as if it had been one execution.
pub fn timeline(received: Instant, phases: &Phases) -> Timeline {
    let after = |at: Instant, ns: u64| at.checked_add(Duration::from_nanos(ns)).unwrap_or(at);
    let started = after(received, phases.queue_ns);
    let computing = after(started, phases.copy_in_ns);
    let computed = after(computing, phases.compute_ns);
    Timeline { started, computing, computed, finished: after(computed, phases.copy_out_ns) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Steps as when they were asked for, and their phases, in milliseconds; then the phases of the whole of 100 ms.
    fn check(steps: &[(u64, [u64; 4])], expected: [u64; 4]) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let ns = |ms: u64| ms * 1_000_000;
        let mut spent = Spent::default();
        for (from, [queue, copy_in, compute, copy_out]) in steps {
            let [queue_ns, copy_in_ns, compute_ns, copy_out_ns] = [*queue, *copy_in, *compute, *copy_out].map(ns);
            spent.add(at(*from), &Phases { queue_ns, copy_in_ns, compute_ns, copy_out_ns, ..Phases::default() });
        }
        let phases = spent.phases(start, at(100), 1);
        let found = [phases.queue_ns, phases.copy_in_ns, phases.compute_ns, phases.copy_out_ns];
        assert_eq!(found, expected.map(ns), "{steps:?}");
        let whole = timeline(start, &phases);
        assert_eq!((whole.finished, whole.computed - whole.computing), (at(100), Duration::from_nanos(found[2])));
    }

    #[test]
    fn every_moment_counts_once() {
        check(&[], [100, 0, 0, 0]);
        check(&[(0, [10, 20, 30, 40])], [10, 20, 30, 40]);
        check(&[(5, [10, 20, 30, 10])], [15, 20, 30, 35]);
        check(&[(0, [10, 0, 40, 0]), (60, [0, 10, 20, 0])], [20, 10, 60, 10]);
        check(&[(0, [10, 0, 40, 0]), (0, [30, 0, 40, 0])], [10, 0, 60, 30]);
        check(&[(0, [50, 0, 0, 0]), (0, [0, 50, 0, 0])], [0, 50, 0, 50]);
        check(&[(0, [0, 0, 500, 0])], [0, 0, 100, 0]);
    }

    proptest! {
        #[test]
        fn phases_sum_to_the_whole(
            steps in proptest::collection::vec((0u64..5_000, proptest::array::uniform4(0u64..3_000)), 0..6),
            total in 0u64..10_000,
        ) {
            let start = Instant::now();
            let mut spent = Spent::default();
            for (from, [queue_ns, copy_in_ns, compute_ns, copy_out_ns]) in steps {
                let phases = Phases { queue_ns, copy_in_ns, compute_ns, copy_out_ns, ..Phases::default() };
                spent.add(start + Duration::from_nanos(from), &phases);
            }
            let phases = spent.phases(start, start + Duration::from_nanos(total), 1);
            prop_assert_eq!(phases.total_ns(), total);
        }
    }
}
