//! How long a job that waits will wait, from what jobs of each kind have taken. An estimate, never a promise; nothing is
//! said while nothing has been measured. Pure.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::Kind;
use crate::sched::backlog::ServiceTime;

/// What jobs have taken, by kind.
#[derive(Debug, Default)]
pub(super) struct Taken {
    of_kind: [ServiceTime; Kind::ALL.len()],
    of_any: ServiceTime,
}

impl Taken {
    /// Takes note of a job that was done.
    pub(super) fn observe(&mut self, kind: Kind, took: Duration) {
        self.of_kind[kind as usize].observe(took, 1);
        self.of_any.observe(took, 1);
    }

    /// What a job of this kind takes; what any takes, where none of the kind was done yet.
    pub(super) fn mean(&self, kind: Kind) -> Option<Duration> {
        self.of_kind[kind as usize].mean().or_else(|| self.of_any.mean())
    }
}

/// When a worker will be free for who comes behind those that run, which need so long still, and those that wait, which
/// take so long. Each is begun by the worker that is free first.
pub(super) fn wait(
    workers: usize,
    running: impl IntoIterator<Item = Duration>,
    ahead: impl IntoIterator<Item = Duration>,
) -> Duration {
    let mut free: BinaryHeap<_> = running.into_iter().map(Reverse).collect();
    free.extend((free.len()..workers.max(1)).map(|_| Reverse(Duration::ZERO)));
    for takes in ahead {
        if let Some(mut first) = free.peek_mut() {
            first.0 = first.0.saturating_add(takes);
        }
    }
    free.peek().map_or(Duration::ZERO, |first| first.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_begun_by_the_worker_that_is_free_first() {
        let check = |workers, running: &[u64], ahead: &[u64], expected| {
            let seconds = |list: &[u64]| list.iter().copied().map(Duration::from_secs).collect::<Vec<_>>();
            assert_eq!(wait(workers, seconds(running), seconds(ahead)), Duration::from_secs(expected), "{running:?}");
        };
        check(1, &[], &[], 0);
        check(1, &[3], &[], 3);
        check(1, &[3], &[2, 2], 7);
        check(2, &[3], &[], 0);
        check(2, &[3, 1], &[], 1);
        check(2, &[3, 1], &[5], 3);
        check(2, &[3, 1], &[5, 1, 1], 5);
    }

    #[test]
    fn a_kind_without_measurements_takes_what_any_does() {
        let mut taken = Taken::default();
        assert_eq!(taken.mean(Kind::Relief), None);
        taken.observe(Kind::Relief, Duration::from_secs(2));
        let two = Some(Duration::from_secs(2));
        assert_eq!((taken.mean(Kind::Relief), taken.mean(Kind::Inference)), (two, two));
    }
}
