//! The ledger: who is sending what, and the samples that wait to be written. Every intended arrival leaves exactly
//! one sample here, and memory is bounded by its capacity.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use proofload_run::sample::{Outcome, Sample};

use crate::dispatch::SlotId;
use crate::plan::Arrival;

/// Samples that may wait for the writer, which comes ten times a second: at 128 bytes each this is 17 MB, enough
/// for a million requests a second.
const CAPACITY: usize = 1 << 17;

#[derive(Debug, Default)]
struct State {
    /// By slot: the sample of the request that it is sending, as far as it is known.
    sending: Vec<Option<Sample>>,
    finished: Vec<Sample>,
    lost: u64,
    closed: bool,
}

/// See the module. Locked for a few instructions at a time.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
    intended: AtomicU64,
}

impl Ledger {
    /// Counts an intended arrival.
    pub fn intend(&self) {
        self.intended.fetch_add(1, Ordering::Relaxed);
    }

    /// Intended arrivals so far.
    pub fn intended(&self) -> u64 {
        self.intended.load(Ordering::Relaxed)
    }

    /// A slot takes up a request. Called again when the request is on the wire, with `sent_ns` set.
    pub fn sending(&self, slot: SlotId, sample: &Sample) {
        let mut state = self.lock();
        let slot = slot as usize;
        if state.sending.len() <= slot {
            state.sending.resize(slot + 1, None);
        }
        state.sending[slot] = Some(*sample);
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

    /// How many requests are being sent.
    pub fn in_flight(&self) -> usize {
        self.lock().sending.iter().flatten().count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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
