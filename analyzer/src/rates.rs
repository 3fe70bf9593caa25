//! Totals by outcome, and rates. Arrivals count in the window they were intended in; answers in the window they
//! came in, or an overloaded target that works off its queue after the step would seem to keep up with it.

use std::collections::BTreeMap;

use proofload_run::findings::{Rates, Totals};
use proofload_run::sample::Outcome;
use proofload_run::units::NS_PER_S;

use crate::load::Row;
use crate::scope::Scope;
use crate::slo::Levels;
use crate::stats::{block, share};
use crate::window::Place;

/// Counts by outcome; outcomes that did not occur are left out.
pub(crate) fn outcomes<'a>(rows: impl Iterator<Item = &'a Row>) -> BTreeMap<String, u64> {
    let mut counts = [0; Outcome::ALL.len()];
    for row in rows {
        counts[usize::from(row.outcome.code())] += 1;
    }
    let named = Outcome::ALL.iter().zip(counts).filter(|(_, count)| *count > 0);
    named.map(|(outcome, count)| (outcome.as_str().to_owned(), count)).collect()
}

/// Where every sample of the run went.
pub(crate) fn totals(scope: &Scope<'_>) -> Totals {
    let placed = |wanted: fn(&Place) -> bool| scope.places.iter().filter(|place| wanted(place)).count() as u64;
    Totals {
        samples: scope.run.rows.len() as u64,
        warm_up: placed(|place| matches!(place, Place::WarmUp)),
        settling: placed(|place| matches!(place, Place::Settling)),
        measured: placed(|place| matches!(place, Place::Measured(_))),
        outcomes: outcomes(scope.run.rows.iter()),
        measured_outcomes: outcomes(scope.measured().map(|(_, row)| row)),
    }
}

/// Rates of some measured arrivals and some answers over the time that was measured.
pub(crate) fn rates(arrivals: &[&Row], answers: &[&Row], measured_ns: u64, levels: &Levels) -> Rates {
    let per_s = |count: usize| if measured_ns == 0 { 0.0 } else { count as f64 * NS_PER_S as f64 / measured_ns as f64 };
    let sent = |row: &&&Row| row.outcome != Outcome::Dropped && row.sent_ns > 0;
    let good = answers.iter().filter(|row| levels.in_time(row)).count();
    let settled = arrivals.iter().filter(|row| row.outcome == Outcome::Ok || row.outcome.is_error());
    Rates {
        measured_ns,
        intended_per_s: per_s(arrivals.len()),
        sent_per_s: per_s(arrivals.iter().filter(sent).count()),
        throughput_per_s: per_s(answers.len()),
        throughput_n: answers.len() as u64,
        goodput_per_s: per_s(good),
        goodput_n: good as u64,
        errors: share(settled.map(|row| (block(row.intended_ns), row.outcome.is_error()))),
        sheds: share(arrivals.iter().filter(sent).map(|row| (block(row.intended_ns), row.outcome == Outcome::Shed))),
        retries: arrivals.iter().map(|row| u64::from(row.retry)).sum(),
    }
}
