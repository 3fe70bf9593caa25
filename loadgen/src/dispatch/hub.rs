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
    /// Slots that were opened.
    pub opened: u32,
}

#[derive(Debug)]
struct State {
    dispatcher: Dispatcher,
    mailboxes: Vec<mpsc::Sender<Arrival>>,
    /// `None` once the run is over.
    opener: Option<mpsc::UnboundedSender<OpenSlot>>,
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
    /// `limits.slots` ever pass through it.
    pub fn new(limits: Limits, ledger: Arc<Ledger>, timeout_ns: u64) -> (Arc<Self>, mpsc::UnboundedReceiver<OpenSlot>) {
        let (opener, slots) = mpsc::unbounded_channel();
        let state = State { dispatcher: Dispatcher::new(limits), mailboxes: Vec::new(), opener: Some(opener) };
        (Arc::new(Self { state: Mutex::new(state), ledger, timeout_ns }), slots)
    }

    /// An arrival is due.
    pub fn release(&self, arrival: Arrival) {
        self.ledger.intend();
        let mut state = self.lock();
        match state.dispatcher.release(arrival) {
            Released::Assign(slot) => {
                // An idle slot's mailbox is empty, and its receiver lives as long as the run.
                let _ = state.mailboxes[slot as usize].try_send(arrival);
            }
            Released::Open(slot) => state.open(slot, arrival),
            Released::Queued => {}
            Released::Dropped => self.ledger.record(&never_sent(&arrival, arrival.intended_ns, Outcome::Dropped)),
        }
    }

    /// A slot has finished its request: what it does next.
    pub fn finished(&self, slot: SlotId) -> Next {
        self.lock().dispatcher.finished(slot)
    }

    /// Records as timed out what has waited longer than a request may take, and says when to look again.
    pub fn expire(&self, now_ns: u64) -> Option<u64> {
        let mut state = self.lock();
        if let Some(cutoff_ns) = now_ns.checked_sub(self.timeout_ns) {
            while let Some(arrival) = state.dispatcher.expire(cutoff_ns) {
                let given_up_ns = arrival.intended_ns + self.timeout_ns;
                self.ledger.record(&never_sent(&arrival, given_up_ns, Outcome::Timeout));
            }
        }
        state.dispatcher.oldest_waiting_ns().map(|oldest_ns| oldest_ns + self.timeout_ns)
    }

    /// Ends the run: what still waits is recorded as in flight at its age (it was due, and the target or the limit
    /// on connections kept it waiting), and idle slots are let go.
    pub fn close(&self, now_ns: u64) {
        let mut state = self.lock();
        for arrival in state.dispatcher.take_backlog() {
            self.ledger.record(&never_sent(&arrival, now_ns, Outcome::InFlight));
        }
        state.mailboxes.clear();
        state.opener = None;
    }

    /// What it is doing.
    pub fn state(&self) -> HubState {
        let state = self.lock();
        let dispatcher = &state.dispatcher;
        HubState { waiting: dispatcher.waiting(), busy: dispatcher.busy(), opened: dispatcher.opened() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open(&mut self, slot: SlotId, arrival: Arrival) {
        let (sender, mailbox) = mpsc::channel(1);
        let _ = sender.try_send(arrival);
        self.mailboxes.push(sender);
        if let Some(opener) = &self.opener {
            let _ = opener.send(OpenSlot { slot, mailbox });
        }
    }
}

/// The sample of an arrival that no connection ever carried.
fn never_sent(arrival: &Arrival, done_ns: u64, outcome: Outcome) -> Sample {
    Sample { done_ns, outcome: outcome.code(), ..crate::record::blank(arrival) }
}
