//! The ledger: who is sending what, and the samples that wait to be written. Every intended arrival leaves exactly
//! one sample here, and memory is bounded by its capacity.

use std::sync::{Mutex, MutexGuard, PoisonError};

use proofload_run::sample::{Outcome, Sample};

use crate::dispatch::SlotId;
use crate::plan::Arrival;

/// Samples that may wait for the writer, which comes ten times a second: at 160 bytes each this is 21 MB, enough
/// for a million requests a second.
const CAPACITY: usize = 1 << 17;

#[derive(Debug, Default)]
struct State {
    /// By slot: the sample of the request that it is sending, as far as it is known.
    sending: Vec<Option<Sample>>,
    finished: Vec<Sample>,
    intended: u64,
    lost: u64,
    closed: bool,
}

/// See the module. Locked for a few instructions at a time.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
}

impl Ledger {
    /// Counts an intended arrival.
    pub fn intend(&self) {
        self.lock().intended += 1;
    }

    /// Intended arrivals so far.
    pub fn intended(&self) -> u64 {
        self.lock().intended
    }

    /// Counts an arrival and gives it to this slot in one step, so that the run cannot end in between. `false` when
    /// it has ended: the arrival was never intended.
    pub fn intend_on(&self, slot: SlotId, arrival: &Arrival) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.intended += 1;
        state.hold(slot, Sample { connection: slot, ..blank(arrival) });
        true
    }

    /// An arrival was handed to a slot, which may not have woken up yet: from here on the ledger answers for it.
    pub fn assign(&self, slot: SlotId, arrival: &Arrival) {
        self.sending(slot, &Sample { connection: slot, ..blank(arrival) });
    }

    /// A slot takes up a request. Called again when the request is on the wire, with `sent_ns` set. After
    /// [`Ledger::close`] the request has been recorded already and this is ignored.
    pub fn sending(&self, slot: SlotId, sample: &Sample) {
        let mut state = self.lock();
        if !state.closed {
            state.hold(slot, *sample);
        }
    }

    /// A slot's request has ended. After [`Ledger::close`] it has been recorded already and this is ignored.
    pub fn finish(&self, slot: SlotId, sample: &Sample) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.sending[slot as usize] = None;
        state.push(sample);
    }

    /// Records an arrival that no slot carried.
    pub fn record(&self, sample: &Sample) {
        let mut state = self.lock();
        if !state.closed {
            state.push(sample);
        }
    }

    /// Ends the run: what is being sent is recorded as in flight, at its age.
    pub fn close(&self, now_ns: u64) {
        let mut state = self.lock();
        let sending = std::mem::take(&mut state.sending);
        for sample in sending.into_iter().flatten() {
            state.push(&Sample { done_ns: now_ns, outcome: Outcome::InFlight.code(), ..sample });
        }
        state.closed = true;
    }

    /// Exchanges the finished samples for an empty buffer, and says how many were lost so far because the writer
    /// did not come.
    pub fn take(&self, buffer: &mut Vec<Sample>) -> u64 {
        buffer.clear();
        let mut state = self.lock();
        std::mem::swap(&mut state.finished, buffer);
        state.lost
    }

    /// Entry and intended time of every request that is being sent.
    pub fn under_way(&self) -> Vec<(u16, u64)> {
        self.lock().sending.iter().flatten().map(|sample| (sample.entry, sample.intended_ns)).collect()
    }

    /// How many requests are being sent.
    pub fn in_flight(&self) -> usize {
        self.lock().sending.iter().flatten().count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn hold(&mut self, slot: SlotId, sample: Sample) {
        let slot = slot as usize;
        if self.sending.len() <= slot {
            self.sending.resize(slot + 1, None);
        }
        self.sending[slot] = Some(sample);
    }

    fn push(&mut self, sample: &Sample) {
        if self.finished.len() < CAPACITY {
            self.finished.push(*sample);
        } else {
            self.lost += 1;
        }
    }
}

/// The sample of an arrival of which nothing else is known yet.
pub fn blank(arrival: &Arrival) -> Sample {
    Sample {
        sequence: arrival.sequence,
        intended_ns: arrival.intended_ns,
        payload: arrival.payload,
        step: arrival.step,
        entry: arrival.entry,
        ..Sample::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_when_the_run_closes_is_in_flight_and_counted_once() {
        let ledger = Ledger::default();
        for slot in 0..3 {
            ledger.sending(slot, &Sample { sequence: u64::from(slot), sent_ns: 5, ..Sample::default() });
        }
        ledger.finish(1, &Sample { sequence: 1, done_ns: 9, ..Sample::default() });
        assert_eq!(ledger.in_flight(), 2);
        ledger.close(100);
        ledger.finish(2, &Sample { sequence: 2, ..Sample::default() });
        ledger.sending(3, &Sample { sequence: 3, ..Sample::default() });
        assert!(!ledger.intend_on(4, &Arrival::default()), "nothing is intended after the end");
        assert_eq!((ledger.in_flight(), ledger.intended()), (0, 0));
        let mut samples = Vec::new();
        assert_eq!(ledger.take(&mut samples), 0);
        let seen: Vec<_> = samples.iter().map(|s| (s.sequence, s.outcome(), s.done_ns)).collect();
        assert_eq!(seen, [(1, Outcome::Ok, 9), (0, Outcome::InFlight, 100), (2, Outcome::InFlight, 100)]);
    }

    #[test]
    fn samples_beyond_the_capacity_are_counted_as_lost() {
        let ledger = Ledger::default();
        for _ in 0..CAPACITY + 3 {
            ledger.record(&Sample::default());
        }
        let mut samples = Vec::new();
        assert_eq!(ledger.take(&mut samples), 3);
        assert_eq!(samples.len(), CAPACITY);
        assert_eq!(ledger.take(&mut samples), 3);
        assert!(samples.is_empty());
    }
}
