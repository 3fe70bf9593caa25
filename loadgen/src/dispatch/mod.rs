//! Who sends which arrival: a state machine over connection slots and a bounded backlog.
//!
//! Pure: no clock, no socket, no thread. The timer releases arrivals into it, slots report that they are free, and
//! it answers with what to do. It knows nothing of protocols.

pub mod hub;
pub mod retry;
pub mod slot;
mod spare;
pub mod timer;

use std::collections::VecDeque;

use crate::plan::Arrival;
use spare::Spare;

/// A slot: one place in which one request at a time is sent, on a connection of its own.
pub type SlotId = u32;

/// What becomes of an arrival that was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// This idle slot sends it.
    Assign(SlotId),
    /// A new slot is opened for it.
    Open(SlotId),
    /// Every slot is busy and no more may be opened: it waits.
    Queued,
    /// The backlog is full: it will never be sent.
    Dropped,
}

/// What a slot does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send the oldest arrival that waits.
    Send(Arrival),
    /// Wait to be assigned one.
    Idle,
}

/// Limits of a dispatcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most slots, 1 or more.
    pub slots: u32,
    /// The most arrivals that may wait.
    pub backlog: usize,
    /// Slots that nothing has needed for this long are closed; `None` for never.
    pub idle_timeout_ns: Option<u64>,
}

/// The state. Idle slots are taken last in, first out, so that few connections carry the load and stay warm; the
/// backlog is first in, first out.
#[derive(Debug)]
pub struct Dispatcher {
    limits: Limits,
    /// How many numbers were given to slots.
    numbered: u32,
    /// Numbers of slots that were closed.
    vacant: Vec<SlotId>,
    spare: Option<Spare>,
    closed: u64,
    idle: Vec<SlotId>,
    backlog: VecDeque<Arrival>,
}

impl Dispatcher {
    /// A dispatcher with no slot open yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            numbered: 0,
            vacant: Vec::new(),
            spare: limits.idle_timeout_ns.map(Spare::new),
            closed: 0,
            idle: Vec::new(),
            backlog: VecDeque::new(),
        }
    }

    /// An arrival is due.
    pub fn release(&mut self, arrival: Arrival) -> Released {
        if let Some(slot) = self.idle.pop() {
            if let Some(spare) = &mut self.spare {
                spare.taken(self.idle.len());
            }
            return Released::Assign(slot);
        }
        if let Some(slot) = self.vacant.pop() {
            return Released::Open(slot);
        }
        if self.numbered < self.limits.slots {
            self.numbered += 1;
            return Released::Open(self.numbered - 1);
        }
        if self.backlog.len() >= self.limits.backlog {
            return Released::Dropped;
        }
        self.backlog.push_back(arrival);
        Released::Queued
    }

    /// A slot has finished its request.
    pub fn finished(&mut self, slot: SlotId) -> Next {
        if let Some(arrival) = self.backlog.pop_front() {
            return Next::Send(arrival);
        }
        self.idle.push(slot);
        Next::Idle
    }

    /// Takes out the oldest waiting arrival if it has waited since before `cutoff_ns`. Its time is up: no slot
    /// will send it.
    pub fn expire(&mut self, cutoff_ns: u64) -> Option<Arrival> {
        if self.backlog.front()?.intended_ns > cutoff_ns { None } else { self.backlog.pop_front() }
    }

    /// Closes slots that nothing has needed for long, those first that have been idle for longest. Gives their numbers,
    /// which new slots may have again.
    pub fn let_go(&mut self, now_ns: u64) -> Vec<SlotId> {
        let (idle, open) = (self.idle.len(), self.open() as usize);
        let leaving = self.spare.as_mut().map_or(0, |spare| spare.leaving(now_ns, idle, open));
        let gone: Vec<SlotId> = self.idle.drain(..leaving).collect();
        self.vacant.extend(&gone);
        self.closed += gone.len() as u64;
        gone
    }

    /// The intended time of the oldest arrival that waits.
    pub fn oldest_waiting_ns(&self) -> Option<u64> {
        self.backlog.front().map(|arrival| arrival.intended_ns)
    }

    /// Everything that waits, the oldest first.
    pub fn waiting_arrivals(&self) -> impl Iterator<Item = &Arrival> {
        self.backlog.iter()
    }

    /// Takes out everything that waits, at the end of a run.
    pub fn take_backlog(&mut self) -> VecDeque<Arrival> {
        std::mem::take(&mut self.backlog)
    }

    /// How many arrivals wait.
    pub fn waiting(&self) -> usize {
        self.backlog.len()
    }

    /// How many slots are open.
    pub fn open(&self) -> u32 {
        self.numbered - self.vacant.len() as u32
    }

    /// How many were closed because nothing needed them.
    pub fn closed(&self) -> u64 {
        self.closed
    }

    /// How many slots are sending.
    pub fn busy(&self) -> usize {
        self.open() as usize - self.idle.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arrival(sequence: u64) -> Arrival {
        Arrival { sequence, intended_ns: sequence * 10, ..Arrival::default() }
    }

    #[test]
    fn the_last_idle_slot_is_used_first() {
        let mut dispatcher = Dispatcher::new(Limits { slots: 3, backlog: 1, idle_timeout_ns: None });
        let released: Vec<_> = (0..5).map(|n| dispatcher.release(arrival(n))).collect();
        assert_eq!(
            released,
            [Released::Open(0), Released::Open(1), Released::Open(2), Released::Queued, Released::Dropped]
        );
        assert_eq!(dispatcher.finished(1), Next::Send(arrival(3)));
        assert_eq!(dispatcher.finished(0), Next::Idle);
        assert_eq!(dispatcher.finished(1), Next::Idle);
        assert_eq!(dispatcher.release(arrival(5)), Released::Assign(1));
    }

    #[test]
    fn what_a_stall_opened_is_closed_once_it_is_idle_for_long() {
        let mut dispatcher = Dispatcher::new(Limits { slots: 500, backlog: 1, idle_timeout_ns: Some(1_000_000_000) });
        let opened: Vec<_> = (0..400).map(|n| dispatcher.release(arrival(n))).collect();
        assert_eq!(opened, (0..400).map(Released::Open).collect::<Vec<_>>());
        (0..400).for_each(|slot| assert_eq!(dispatcher.finished(slot), Next::Idle));
        let mut gone = Vec::new();
        for now_ms in (0..5000).step_by(10) {
            // The load needs one slot at a time, always the same.
            assert_eq!(dispatcher.release(arrival(now_ms)), Released::Assign(399));
            assert_eq!(dispatcher.finished(399), Next::Idle);
            gone.extend(dispatcher.let_go(now_ms * 1_000_000));
        }
        assert_eq!(gone, (0..383).collect::<Vec<SlotId>>());
        assert_eq!((dispatcher.open(), dispatcher.closed()), (17, 383));
        // Another stall: first those that are open, then new ones with the old numbers, then as ever.
        let released: Vec<_> = (0..402).map(|n| dispatcher.release(arrival(n))).collect();
        assert_eq!(released[16], Released::Assign(383));
        assert_eq!(released[17], Released::Open(382));
        assert_eq!(released[400], Released::Open(400));
        assert_eq!(dispatcher.open(), 402);
    }

    #[test]
    fn only_what_is_too_old_expires() {
        let mut dispatcher = Dispatcher::new(Limits { slots: 1, backlog: 9, idle_timeout_ns: None });
        for n in 0..4 {
            dispatcher.release(arrival(n));
        }
        assert_eq!(dispatcher.oldest_waiting_ns(), Some(10));
        assert_eq!(dispatcher.expire(20), Some(arrival(1)));
        assert_eq!(dispatcher.expire(20), Some(arrival(2)));
        assert_eq!(dispatcher.expire(20), None);
        assert_eq!(dispatcher.waiting(), 1);
    }

    proptest! {
        /// Whatever comes in whatever order: every arrival is started, waiting, expired or dropped, exactly once;
        /// waiting arrivals start in their order; no slot has two at a time and no more slots open than allowed;
        /// nothing waits while a slot is idle; no slot is closed while it sends, and closing changes nothing else.
        #[test]
        fn nothing_is_lost_and_nothing_sent_twice(
            slots in 1u32..40,
            backlog in 0usize..6,
            idle_timeout_ns in proptest::option::of(1u64..100),
            steps in proptest::collection::vec((0u8..5, any::<u8>()), 0..400),
        ) {
            let mut dispatcher = Dispatcher::new(Limits { slots, backlog, idle_timeout_ns });
            let mut busy: Vec<SlotId> = Vec::new();
            let (mut now_ns, mut closed, mut known) = (0, Vec::new(), Vec::new());
            let (mut next, mut started, mut expired, mut dropped) = (0u64, Vec::new(), Vec::new(), 0u64);
            let mut last_from_backlog = None;
            for (action, pick) in steps {
                if action < 2 {
                    match dispatcher.release(arrival(next)) {
                        Released::Assign(slot) | Released::Open(slot) => {
                            prop_assert!(slot < slots && !busy.contains(&slot));
                            known.push(slot);
                            closed.retain(|gone| *gone != slot);
                            busy.push(slot);
                            started.push(next);
                        }
                        Released::Queued => prop_assert_eq!(busy.len(), slots as usize),
                        Released::Dropped => dropped += 1,
                    }
                    next += 1;
                } else if action == 2 && !busy.is_empty() {
                    let slot = busy[usize::from(pick) % busy.len()];
                    match dispatcher.finished(slot) {
                        Next::Send(a) => {
                            prop_assert!(last_from_backlog.is_none_or(|last| last < a.sequence));
                            last_from_backlog = Some(a.sequence);
                            started.push(a.sequence);
                        }
                        Next::Idle => busy.retain(|s| *s != slot),
                    }
                } else if action == 4 {
                    now_ns += u64::from(pick) * 1_000_000;
                    for slot in dispatcher.let_go(now_ns) {
                        prop_assert!(!busy.contains(&slot) && known.contains(&slot) && !closed.contains(&slot));
                        closed.push(slot);
                    }
                    prop_assert!(idle_timeout_ns.is_some() || closed.is_empty());
                } else if action == 3 {
                    expired.extend(dispatcher.expire(u64::from(pick)).map(|a| a.sequence));
                }
                prop_assert_eq!(dispatcher.busy(), busy.len());
                prop_assert!(dispatcher.open() <= slots && dispatcher.closed() >= closed.len() as u64);
                prop_assert!(dispatcher.waiting() <= backlog);
                prop_assert!(dispatcher.waiting() == 0 || busy.len() == slots as usize);
            }
            let waiting = dispatcher.take_backlog().into_iter().map(|a| a.sequence);
            let mut all: Vec<u64> = started.into_iter().chain(expired).chain(waiting).collect();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(all.len() as u64 + dropped, next);
        }
    }
}
