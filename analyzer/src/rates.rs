//! Totals by outcome, and rates. Arrivals count in the window they were intended in; answers in the window they
//! came in, or an overloaded target that works off its queue after the step would seem to keep up with it.

use std::collections::BTreeMap;

use proofload_run::findings::{Rates, Share, Totals};
use proofload_run::sample::Outcome;
use proofload_run::units::NS_PER_S;

use crate::scope::Seen;
use crate::stats::Hits;
use crate::window::Place;

/// Counts by outcome.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcomes([u64; Outcome::ALL.len()]);

impl Outcomes {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.0[usize::from(outcome.code())] += 1;
    }

    /// By the outcome's word; outcomes that did not occur are left out.
    pub(crate) fn by_word(&self) -> BTreeMap<String, u64> {
        let named = Outcome::ALL.iter().zip(self.0).filter(|(_, count)| *count > 0);
        named.map(|(outcome, count)| (outcome.as_str().to_owned(), count)).collect()
    }

    /// All together.
    pub(crate) fn n(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Where every sample of the run went.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Whereabouts {
    warm_up: u64,
    settling: u64,
    all: Outcomes,
    measured: Outcomes,
}

impl Whereabouts {
    pub(crate) fn add(&mut self, seen: &Seen<'_>) {
        self.all.add(seen.row.outcome);
        match seen.place {
            Place::WarmUp => self.warm_up += 1,
            Place::Settling => self.settling += 1,
            Place::Measured(_) => self.measured.add(seen.row.outcome),
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            samples: self.all.n(),
            warm_up: self.warm_up,
            settling: self.settling,
            measured: self.measured.n(),
            outcomes: self.all.by_word(),
            measured_outcomes: self.measured.by_word(),
        }
    }
}

/// What rates are made of: counts of some measured arrivals, and of the answers that came meanwhile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flow {
    pub(crate) arrivals: u64,
    sent: u64,
    errors: Hits,
    sheds: Hits,
    /// Neither in flight nor never sent: whether it was not served.
    failed: Hits,
    retries: u64,
    answers: u64,
    good: u64,
}

impl Flow {
    pub(crate) fn add_arrival(&mut self, seen: &Seen<'_>) {
        let row = seen.row;
        self.arrivals += 1;
        self.retries += u64::from(row.retry);
        if row.outcome != Outcome::Dropped && row.sent_ns > 0 {
            self.sent += 1;
            self.sheds.add(seen.block, row.outcome == Outcome::Shed);
        }
        if !matches!(row.outcome, Outcome::InFlight | Outcome::Dropped) {
            self.failed.add(seen.block, row.outcome != Outcome::Ok);
        }
        if row.outcome == Outcome::Ok || row.outcome.is_error() {
            self.errors.add(seen.block, row.outcome.is_error());
        }
    }

    pub(crate) fn add_answer(&mut self, is_in_time: bool) {
        self.answers += 1;
        self.good += u64::from(is_in_time);
    }

    /// Requests that were not served: failed, or refused.
    pub(crate) fn failed(&self) -> Share {
        self.failed.share()
    }

    /// Over the time that was measured.
    pub(crate) fn rates(&self, measured_ns: u64) -> Rates {
        let per_s =
            |count: u64| if measured_ns == 0 { 0.0 } else { count as f64 * NS_PER_S as f64 / measured_ns as f64 };
        Rates {
            measured_ns,
            intended_per_s: per_s(self.arrivals),
            sent_per_s: per_s(self.sent),
            throughput_per_s: per_s(self.answers),
            throughput_n: self.answers,
            goodput_per_s: per_s(self.good),
            goodput_n: self.good,
            errors: self.errors.share(),
            sheds: self.sheds.share(),
            retries: self.retries,
        }
    }
}
