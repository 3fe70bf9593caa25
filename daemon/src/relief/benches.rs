//! Benches: a bounded number of jobs side by side, and who waits for one. What is urgent comes first, then what has begun,
//! what nobody waits for last, and otherwise first come, first served.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How soon a job should begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// Before all that is not urgent: a first look that somebody waits for. A request has one, so that the others wait for
    /// as many as there are places in the house at most.
    Urgent,
    /// Before what has not begun: under more load than there are benches for, begun work would pile up, with all that it
    /// holds, and most of it would be finished too late.
    Begun,
    /// In its turn.
    Usual,
    /// When nobody else waits: for who does not wait for it.
    Spare,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Benches {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Free ones. There are none while somebody waits.
    free: usize,
    /// A line for each [`Haste`], in their order.
    lines: [VecDeque<oneshot::Sender<Bench>>; 4],
}

/// A bench that is taken; the next who waits has it when this is dropped.
#[derive(Debug)]
pub(super) struct Bench(Option<Arc<Benches>>);

impl Benches {
    /// So many free benches.
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { free: count, lines: Default::default() }) })
    }

    /// Waits for a bench. Dropping the future gives up the place in the line. `None` cannot happen while the benches are
    /// there.
    pub(super) async fn take(self: &Arc<Self>, haste: Haste) -> Option<Bench> {
        let waiting = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Some(Bench(Some(Arc::clone(self))));
            }
            let (sender, waiting) = oneshot::channel();
            state.lines[haste as usize].push_back(sender);
            waiting
        };
        waiting.await.ok()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        // Whoever went away stays in the line until its turn.
        self.state().lines.iter().flatten().filter(|waiting| !waiting.is_closed()).count()
    }

    /// The next who waits; without one the bench is free.
    fn next(&self) -> Option<oneshot::Sender<Bench>> {
        let mut state = self.state();
        let next = state.lines.iter_mut().find_map(VecDeque::pop_front);
        state.free += usize::from(next.is_none());
        next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let Some(benches) = self.0.take() else { return };
        while let Some(next) = benches.next() {
            match next.send(Self(Some(Arc::clone(&benches)))) {
                Ok(()) => return,
                // Whoever it was has gone away.
                Err(mut returned) => drop(returned.0.take()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn what_is_urgent_comes_first() {
        let benches = Benches::new(1);
        let taken = benches.take(Haste::Usual).await.unwrap();
        let lines = [Haste::Spare, Haste::Usual, Haste::Usual, Haste::Begun, Haste::Urgent, Haste::Urgent];
        let mut waiting = lines.map(|haste| Some(Box::pin(benches.take(haste))));
        assert!(waiting.iter_mut().flatten().all(|wait| wait.as_mut().now_or_never().is_none()));
        assert_eq!(benches.waiting(), 6);
        // The first of the urgent ones goes away before its turn.
        waiting[4] = None;
        let mut bench = taken;
        for place in [5, 3, 1, 2, 0] {
            drop(bench);
            let others = waiting.iter_mut().enumerate().filter(|(other, _)| *other != place);
            assert!(others.filter_map(|(_, wait)| wait.as_mut()).all(|wait| wait.as_mut().now_or_never().is_none()));
            bench = waiting[place].take().unwrap().now_or_never().flatten().unwrap();
        }
        let last = Box::pin(benches.take(Haste::Usual));
        drop(bench);
        drop(last);
        assert_eq!(benches.waiting(), 0);
        assert_eq!(benches.state().free, 1, "who was given it went away");
    }
}
