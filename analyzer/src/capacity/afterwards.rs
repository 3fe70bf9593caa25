//! The capacity out of a run that climbed in steps, after the fact. Weaker than a search: steps are where the scenario put them, and
//! nothing was waited for between them. Pure.

use proofload_run::capacity::Capacity;
use proofload_run::criteria::Slo;
use proofload_run::findings::StepFindings;
use proofload_run::units::NS_PER_S;

use super::belief::{Allowed, Belief, Counts};
use super::found::{Bounds, describe};
use super::search::{MOST_ALLOWED, TOO_MUCH};

/// Fewer steps say nothing beyond which of them broke.
const FEWEST: usize = 4;

/// The capacity by the steps of a run, in the order in which they were driven, for its one service level; `None` where there are
/// too few, or none that was clearly borne or none that clearly was not. What follows the first step that was clearly not borne is
/// left out: it began with what that one left behind.
pub(crate) fn from_steps(steps: &[StepFindings], slo: &Slo) -> Option<Capacity> {
    let judged: Vec<Counts> = steps.iter().filter_map(counts).collect();
    let too_much = |step: &Counts| step.bad as f64 > TOO_MUCH * step.n as f64;
    let broken = judged.iter().position(too_much)?;
    let used = &judged[..=broken];
    let low = used[..broken].iter().map(|step| step.rate_per_s).reduce(f64::max)?;
    let high = used[broken].rate_per_s;
    if used.len() < FEWEST || low >= high || slo.bad_fraction() > MOST_ALLOWED {
        return None;
    }
    let allowed = Allowed { bad_share: slo.bad_fraction(), error_share: slo.error_rate };
    let lowest = used.iter().map(|step| step.rate_per_s).fold(high, f64::min);
    let mut belief = Belief::new([lowest * 0.7, high * 1.25], allowed);
    used.iter().for_each(|step| belief.add(*step));
    let bounds = Bounds { low: Some(low), high: Some(high), borne: None, is_least: false, generator: None };
    Some(describe(slo, &bounds, Some(&belief), None))
}

/// What a step counted; `None` of one that was not run or not judged.
fn counts(step: &StepFindings) -> Option<Counts> {
    let slo = step.slos.first().filter(|_| !step.warm_up && step.slos.len() == 1)?;
    let seconds = step.end_ns.saturating_sub(step.measured_from_ns) as f64 / NS_PER_S as f64;
    let (n, bad, errors) = (slo.bad.n, slo.bad.count, slo.errors.count);
    (n > 0).then_some(Counts { rate_per_s: step.level, seconds, n, bad, errors })
}
