//! Benches: a bounded number of jobs side by side, and who waits for one. What is urgent comes first, what nobody waits for last,
//! and otherwise first come, first served.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How soon a job should begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// Before all that is not urgent: a first look that somebody waits for. A request has one, so that the others wait for
    /// as many as there are places in the house at most.
    Urgent,
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
    urgent: VecDeque<oneshot::Sender<Bench>>,
    usual: VecDeque<oneshot::Sender<Bench>>,
    spare: VecDeque<oneshot::Sender<Bench>>,
}

/// A bench that is taken; the next who waits has it when this is dropped.
#[derive(Debug)]
pub(super) struct Bench(Option<Arc<Benches>>);

impl Benches {
    /// So many free benches.
    pub(super) fn new(count: usize) -> Arc<Self> {
        let state = State { free: count, urgent: VecDeque::new(), usual: VecDeque::new(), spare: VecDeque::new() };
        Arc::new(Self { state: Mutex::new(state) })
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
            match haste {
                Haste::Urgent => state.urgent.push_back(sender),
                Haste::Usual => state.usual.push_back(sender),
                Haste::Spare => state.spare.push_back(sender),
            }
            waiting
        };
        waiting.await.ok()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        let state = self.state();
        state.urgent.len() + state.usual.len() + state.spare.len()
    }

    /// The next who waits; without one the bench is free.
    fn next(&self) -> Option<oneshot::Sender<Bench>> {
        let mut state = self.state();
        let next = state.urgent.pop_front().or_else(|| state.usual.pop_front()).or_else(|| state.spare.pop_front());
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
        let mut spare = Box::pin(benches.take(Haste::Spare));
        assert!(spare.as_mut().now_or_never().is_none());
        let mut usual = Box::pin(benches.take(Haste::Usual));
        let mut gone = Box::pin(benches.take(Haste::Urgent));
        let mut urgent = Box::pin(benches.take(Haste::Urgent));
        assert!(usual.as_mut().now_or_never().is_none() && gone.as_mut().now_or_never().is_none());
        assert!(urgent.as_mut().now_or_never().is_none());
        drop(gone);
        drop(taken);
        assert!(usual.as_mut().now_or_never().is_none());
        let second = urgent.now_or_never().flatten().unwrap();
        drop(second);
        assert!(spare.as_mut().now_or_never().is_none(), "what nobody waits for comes last");
        drop(usual);
        drop(spare.now_or_never().flatten().unwrap());
        assert!(benches.take(Haste::Usual).now_or_never().flatten().is_some(), "who was given it went away");
        assert_eq!(benches.state().free, 1);
    }
}
