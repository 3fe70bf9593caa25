//! One request of each entry, sent as a run sends it and judged as a run judges it, but recorded nowhere: what a run
//! would come to, before there is one.

use std::time::Duration;

use proofload_run::sample::Outcome;

use super::{LoadError, Resolved, ResolvedTarget};
use crate::clock::RunClock;
use crate::discover::{Kserve, mismatches};
use crate::judge::{Judgement, judge};
use crate::payload::{PrepareError, Values, capture, prepare};
use crate::plan::Arrival;
use crate::scenario::{RequestSpec, Scenario};
use crate::transport::Links;

/// Tells the contents of these requests from those of a run.
const UNIQUE: u64 = u64::MAX - 1000;

/// What came of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The entry of the mix.
    pub entry: String,
    /// What it came to.
    pub judgement: Judgement,
    /// From sending it to its last byte; the connection is made before.
    pub latency_ns: u64,
    /// Length of its body.
    pub bytes_out: u64,
}

/// A KServe entry beside what its model states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// The entry of the mix.
    pub entry: String,
    /// The model.
    pub model: String,
    /// In what they differ, and what would be right.
    pub mismatches: Vec<String>,
}

/// Compares the tensors of each KServe entry with what its model states. Entries of which the target states nothing are
/// left out.
///
/// # Errors
/// When the target's URLs are none.
pub async fn fit_each(scenario: &Scenario, target: &ResolvedTarget) -> Result<Vec<Fit>, LoadError> {
    let target = Resolved::of(target).await?;
    let mut fits = Vec::new();
    for entry in &scenario.mix {
        let RequestSpec::Kserve(spec) = &entry.request else { continue };
        let grpc = spec.protocol.is_grpc();
        let side = if grpc { target.grpc.clone().map(Kserve::Grpc) } else { target.http.clone().map(Kserve::Http) };
        let Some(side) = side else { continue };
        if let Ok(model) = side.metadata(&spec.model, spec.version.as_deref()).await {
            let (entry, mismatches) = (entry.name.clone(), mismatches(spec, &model));
            fits.push(Fit { entry, model: spec.model.clone(), mismatches });
        }
    }
    Ok(fits)
}

/// Sends one request of each entry, in the order of the mix, with the values that earlier answers left.
///
/// # Errors
/// When an entry cannot be made ready; that the target refuses one is no error here.
pub async fn try_each(scenario: &Scenario, target: &ResolvedTarget) -> Result<Vec<Trial>, LoadError> {
    let target = Resolved::of(target).await?;
    let mut values = Values::default();
    let mut trials = Vec::new();
    for (index, entry) in scenario.mix.iter().enumerate() {
        let ready = prepare(scenario, "trial", entry, target.http.as_ref(), target.grpc.as_ref())?;
        let unique = UNIQUE + index as u64;
        let arrival = Arrival { entry: index as u16, unique, content: unique, ..Arrival::default() };
        let prepared = match ready.request(&arrival, &values) {
            Ok(prepared) => prepared,
            Err(e) => return Err(PrepareError::Request { entry: entry.name.clone(), what: e.to_string() }.into()),
        };
        let clock = RunClock::default();
        clock.start_in(Duration::ZERO);
        let mut links = Links::new(target.http.clone(), target.grpc.clone(), scenario.load.connections);
        let limit = Duration::from_nanos(scenario.load.request_timeout_ns);
        let attempt = links.exchange(ready.via, &prepared.request, &clock, limit, ready.reception(), |_| {}).await;
        let mut judgement = judge(&ready.expect, &attempt.result, attempt.seen.as_deref());
        if let (Ok(answer), Outcome::Ok) = (&attempt.result, judgement.outcome) {
            match capture(&ready.captures, &answer.body) {
                Ok(found) => found.into_iter().for_each(|(index, value)| values.set(index, value)),
                Err(why) if !ready.captures.is_empty() => {
                    (judgement.outcome, judgement.message) = (Outcome::BadBody, Some(why));
                }
                Err(_) => {}
            }
        }
        let latency_ns = attempt.times.done_ns.saturating_sub(attempt.times.sent_ns);
        trials.push(Trial { entry: entry.name.clone(), judgement, latency_ns, bytes_out: prepared.body_bytes });
    }
    Ok(trials)
}
