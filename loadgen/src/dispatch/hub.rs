//! The dispatcher between its threads: the timer releases arrivals into it, slots take them out. The decisions are
//! [`super::Dispatcher`]'s; this only locks, wakes and keeps the ledger.

use std::sync::{Arc, Mutex, PoisonError};

use proofload_run::sample::{Outcome, Sample};
use tokio::sync::mpsc;

use super::{Dispatcher, Limits, Next, Released, SlotId};
use crate::plan::Arrival;
use crate::record::Ledger;

/// A slot that is to be opened, with its first arrival already in its mailbox.
#[derive(Debug)]
pub struct OpenSlot {
    /// Its number.
    pub slot: SlotId,
    /// Where its arrivals come in while it is idle.
    pub mailbox: mpsc::Receiver<Arrival>,
}

/// What the hub is doing, for the audit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HubState {
    /// Arrivals that wait for a slot.
    pub waiting: usize,
    /// Slots that are sending.
    pub busy: usize,
    /// Slots that are open.
    pub open: u32,
    /// Slots that were closed because nothing needed them for long.
    pub closed: u64,
    /// Whether the timer may still have arrivals to release that are due before the stop.
    pub releasing: bool,
}

#[derive(Debug)]
struct State {
    dispatcher: Dispatcher,
    /// By slot; `None` of one that was closed.
    mailboxes: Vec<Option<mpsc::Sender<Arrival>>>,
    /// `None` once the run is over.
    opener: Option<mpsc::UnboundedSender<OpenSlot>>,
    releasing: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    ledger: Arc<Ledger>,
    timeout_ns: u64,
}

impl Hub {
    /// A hub, and where the slots come out that it wants opened. The channel is unbounded in type only: at most
    /// `limits.slots` are in it at a time.
    pub fn new(limits: Limits, ledger: Arc<Ledger>, timeout_ns: u64) -> (Arc<Self>, mpsc::UnboundedReceiver<OpenSlot>) {
        let (opener, slots) = mpsc::unbounded_channel();
        let dispatcher = Dispatcher::new(limits);
        let state = State { dispatcher, mailboxes: Vec::new(), opener: Some(opener), releasing: true };
        (Arc::new(Self { state: Mutex::new(state), ledger, timeout_ns }), slots)
    }

    /// An arrival is due. After [`Hub::close`] it comes too late to be intended.
    pub fn release(&self, arrival: Arrival) {
        let mut state = self.lock();
        if state.opener.is_none() {
            return;
        }
        self.ledger.intend();
        match state.dispatcher.release(arrival) {
            Released::Assign(slot) => {
                self.ledger.assign(slot, &arrival);
                // An idle slot's mailbox is empty, and its receiver lives as long as the run.
                if let Some(mailbox) = &state.mailboxes[slot as usize] {
                    let _ = mailbox.try_send(arrival);
                }
            }
            Released::Open(slot) => {
                self.ledger.assign(slot, &arrival);
                state.open(slot, arrival);
            }
            Released::Queued => {}
            Released::Dropped => self.ledger.record(&never_sent(&arrival, arrival.intended_ns, Outcome::Dropped)),
        }
    }

    /// Everything that is due before the stop has been released.
    pub fn released_all(&self) {
        self.lock().releasing = false;
    }

    /// A slot has finished its request: what it does next.
    pub fn finished(&self, slot: SlotId) -> Next {
        let mut state = self.lock();
        let next = state.dispatcher.finished(slot);
        if let Next::Send(arrival) = &next {
            self.ledger.assign(slot, arrival);
        }
        next
    }

    /// Lets slots go that nothing needs any more, records as timed out what has waited longer than a request may take,
    /// and says when that has to be looked at again.
    pub fn tend(&self, now_ns: u64) -> Option<u64> {
        let mut state = self.lock();
        state.let_go(now_ns);
        if let Some(cutoff_ns) = now_ns.checked_sub(self.timeout_ns) {
            while let Some(arrival) = state.dispatcher.expire(cutoff_ns) {
                let given_up_ns = arrival.intended_ns.saturating_add(self.timeout_ns);
                self.ledger.record(&never_sent(&arrival, given_up_ns, Outcome::Timeout));
            }
        }
        state.dispatcher.oldest_waiting_ns().map(|oldest_ns| oldest_ns.saturating_add(self.timeout_ns))
    }

    /// Ends the run; the ledger is closed after it. What still waits is recorded as in flight at its age (it was due, and the target or the limit
    /// on connections kept it waiting), and idle slots are let go.
    pub fn close(&self, now_ns: u64) {
        let mut state = self.lock();
        for arrival in state.dispatcher.take_backlog() {
            self.ledger.record(&never_sent(&arrival, now_ns, Outcome::InFlight));
        }
        state.mailboxes.clear();
        state.opener = None;
    }

    /// Entry and intended time of every arrival that waits for a slot.
    pub fn under_way(&self) -> Vec<(u16, u64)> {
        let state = self.lock();
        state.dispatcher.waiting_arrivals().map(|arrival| (arrival.entry, arrival.intended_ns)).collect()
    }

    /// What it is doing.
    pub fn state(&self) -> HubState {
        let state = self.lock();
        let dispatcher = &state.dispatcher;
        HubState {
            waiting: dispatcher.waiting(),
            busy: dispatcher.busy(),
            open: dispatcher.open(),
            closed: dispatcher.closed(),
            releasing: state.releasing,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open(&mut self, slot: SlotId, arrival: Arrival) {
        let (sender, mailbox) = mpsc::channel(1);
        let _ = sender.try_send(arrival);
        match self.mailboxes.get_mut(slot as usize) {
            Some(vacant) => *vacant = Some(sender),
            None => self.mailboxes.push(Some(sender)),
        }
        if let Some(opener) = &self.opener {
            let _ = opener.send(OpenSlot { slot, mailbox });
        }
    }

    /// A slot whose mailbox is gone ends, and closes its connections.
    fn let_go(&mut self, now_ns: u64) {
        for slot in self.dispatcher.let_go(now_ns) {
            self.mailboxes[slot as usize] = None;
        }
    }
}

/// The sample of an arrival that no connection ever carried.
fn never_sent(arrival: &Arrival, done_ns: u64, outcome: Outcome) -> Sample {
    Sample { done_ns, outcome: outcome.code(), ..crate::record::blank(arrival) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Takes what comes into its mailbox as a slot does, without a network.
    fn work(hub: &Hub, OpenSlot { slot, mut mailbox }: OpenSlot) {
        while let Some(mut arrival) = mailbox.blocking_recv() {
            loop {
                hub.ledger.sending(slot, &crate::record::blank(&arrival));
                hub.ledger.finish(slot, &crate::record::blank(&arrival));
                match hub.finished(slot) {
                    Next::Send(next) => arrival = next,
                    Next::Idle => break,
                }
            }
        }
    }

    /// Ends a run in the middle of its arrivals, after about `until` of them. Gives those intended and recorded.
    fn cut_short(until: u64) -> (u64, Vec<u64>) {
        let ledger = Arc::new(Ledger::default());
        let (hub, mut opener) =
            Hub::new(Limits { slots: 4, backlog: 3, idle_timeout_ns: None }, Arc::clone(&ledger), u64::MAX);
        let released = AtomicU64::new(0);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for sequence in 0..2 * until {
                    hub.release(Arrival { sequence, ..Arrival::default() });
                    released.store(sequence + 1, Ordering::Release);
                }
            });
            threads.spawn(|| {
                while let Some(opened) = opener.blocking_recv() {
                    threads.spawn(|| work(&hub, opened));
                }
            });
            while released.load(Ordering::Acquire) < until {
                std::thread::yield_now();
            }
            hub.close(1);
            ledger.close(1);
        });
        let mut samples = Vec::new();
        assert_eq!(ledger.take(&mut samples), 0);
        let mut recorded: Vec<u64> = samples.iter().map(|sample| sample.sequence).collect();
        recorded.sort_unstable();
        (ledger.intended(), recorded)
    }

    #[test]
    fn an_end_at_any_moment_leaves_one_sample_of_each_intended_arrival() {
        for round in 0..300 {
            let (intended, recorded) = cut_short(1 + round % 50);
            assert!(recorded.iter().copied().eq(0..intended), "round {round}: {intended} intended, {recorded:?}");
        }
    }
}
