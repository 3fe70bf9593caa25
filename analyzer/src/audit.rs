//! The generator's own fitness: whether its lateness or its losses changed the figures so much that they say more
//! about it than about the target. Waiting for a free connection is not its lateness: that is the target's doing.

use proofload_run::criteria::Metric;
use proofload_run::findings::{Audit, LateEffect, Share};
use proofload_run::manifest::{End, EndReason, LoadModel, Manifest};
use proofload_run::sample::Outcome;
use proofload_run::series::Source;
use proofload_run::units::{NS_PER_S, format_duration_ns};

use crate::load::Row;
use crate::scope::Scope;
use crate::stats::{Population, block, enough, share};

/// A figure that the generator's lateness changed by more than this share of it …
const NOTED_SHARE: f64 = 0.10;
/// … and by more than this is noted. Below a millisecond no service level of inference is stated, and the timers of
/// a shared machine are no better.
const NOTED_NS: u64 = 1_000_000;
/// It is not to be believed when most of it is the generator's own time …
const MOST: f64 = 0.50;
/// … or when the change is more than this share of the tightest bound on latency, so that it may turn the judgement.
/// Without a bound every noted change is too much: then the figures themselves are all there is.
const SHARE_OF_BOUND: f64 = 0.05;
/// The generator must send at least 99 % of what the plan intends.
const MAX_DROPPED_SHARE: f64 = 0.01;
/// The percentiles that are always compared with and without the generator's lateness, besides those that a bound
/// asks for.
const COMPARED: [f64; 2] = [50.0, 95.0];

/// Audits the generator.
pub(crate) fn audit(scope: &Scope<'_>) -> Audit {
    let sent: Vec<&Row> = scope.measured().map(|(_, row)| row).filter(|row| row.sent_ns > 0).collect();
    let late: Population = sent.iter().map(|row| (row.late_ns, 0)).collect();
    let waits: Population = sent.iter().map(|row| (row.connection_wait_ns(), 0)).collect();
    let bounds = Bounds::of(scope.manifest());
    let mut audit = Audit {
        trustworthy: false,
        n: late.n(),
        late_p50_ns: late.value(50.0).unwrap_or(0),
        late_p99_ns: late.value(99.0).unwrap_or(0),
        late_max_ns: late.max_ns().unwrap_or(0),
        connection_wait_p99_ns: waits.value(99.0).unwrap_or(0),
        effects: effects(&sent, &bounds.percentiles),
        dropped: dropped(scope),
        lost_samples: scope.manifest().end.as_ref().map_or(0, |end| end.lost_samples),
        cpu_cores: cpu_cores(scope),
        faults: Vec::new(),
    };
    let lost = scope.manifest().end.as_ref().is_some_and(|end| end.reason == EndReason::TargetLost);
    // A target that has died is dead, however late the generator was.
    let late = if lost { None } else { lateness_fault(&audit, bounds.tightest_ns) };
    audit.faults = late.into_iter().chain(losses(&audit)).chain(accounting_faults(scope)).collect();
    audit.trustworthy = audit.faults.is_empty();
    audit
}

/// What the run's latency is judged by.
struct Bounds {
    percentiles: Vec<f64>,
    tightest_ns: Option<f64>,
}

impl Bounds {
    fn of(manifest: &Manifest) -> Self {
        let (mut percentiles, mut bounds) = (COMPARED.to_vec(), Vec::new());
        for slo in manifest.entries.iter().filter_map(|entry| entry.slo).chain(manifest.slo) {
            percentiles.push(slo.percentile);
            bounds.push(slo.latency_ns as f64);
        }
        for threshold in &manifest.thresholds {
            match threshold.metric {
                Metric::Percentile(percentile) => percentiles.push(percentile),
                Metric::Mean | Metric::Max => {}
                _ => continue,
            }
            bounds.push(threshold.bound);
        }
        percentiles.sort_by(f64::total_cmp);
        percentiles.dedup();
        Self { percentiles, tightest_ns: bounds.into_iter().reduce(f64::min) }
    }
}

/// What the latency percentiles would be had the generator been on time. A percentile with too few samples beyond
/// it is left out: one late request would decide it.
fn effects(sent: &[&Row], percentiles: &[f64]) -> Vec<LateEffect> {
    let successes = || sent.iter().filter(|row| row.outcome == Outcome::Ok);
    let measured: Population = successes().map(|row| (row.latency_ns(), 0)).collect();
    let without: Population = successes().map(|row| (row.latency_ns().saturating_sub(row.late_ns), 0)).collect();
    let pair = |&percentile: &f64| {
        Some(LateEffect {
            percentile,
            measured_ns: measured.value(percentile)?,
            without_ns: without.value(percentile)?,
        })
    };
    percentiles.iter().filter(|&&percentile| enough(measured.n(), percentile)).filter_map(pair).collect()
}

/// Whether the generator's lateness changed a figure so much that a reader should know.
pub(crate) fn is_noted(effect: &LateEffect) -> bool {
    let by_ns = effect.measured_ns.saturating_sub(effect.without_ns);
    by_ns > NOTED_NS && by_ns as f64 > NOTED_SHARE * effect.measured_ns as f64
}

/// Whether it changed a figure so much that the run says nothing about the target.
fn is_too_much(effect: &LateEffect, tightest_ns: Option<f64>) -> bool {
    let by_ns = effect.measured_ns.saturating_sub(effect.without_ns) as f64;
    let may_turn = tightest_ns.is_none_or(|bound_ns| by_ns > SHARE_OF_BOUND * bound_ns);
    is_noted(effect) && (may_turn || by_ns > MOST * effect.measured_ns as f64)
}

/// A sentence on such a figure.
pub(crate) fn describe(effect: &LateEffect) -> String {
    format!(
        "the generator's own lateness makes p{} {} instead of {}",
        effect.percentile,
        format_duration_ns(effect.measured_ns as f64),
        format_duration_ns(effect.without_ns as f64),
    )
}

/// Arrivals that the generator never sent through its own fault. What a stopped run left behind is nobody's fault:
/// those of its last moments do not count.
fn dropped(scope: &Scope<'_>) -> Share {
    let cut = match &scope.manifest().end {
        Some(end) if end.reason == EndReason::Completed => u64::MAX,
        _ => scope.driven_ns.saturating_sub(scope.manifest().load.request_timeout_ns),
    };
    let rows = scope.run.rows.iter().filter(|row| row.intended_ns < cut);
    share(rows.map(|row| (block(row.intended_ns), row.outcome == Outcome::Dropped)))
}

/// Average use of processors by the generator, from its process's CPU time.
fn cpu_cores(scope: &Scope<'_>) -> Option<f64> {
    let is_cpu = |name: &str| name.trim_end_matches("_total") == "process_cpu_seconds";
    let points = scope.run.series.iter().filter(|p| p.source == Source::Generator && is_cpu(&p.name));
    let points: Vec<(u64, f64)> = points.map(|p| (p.t_ns, p.value)).collect();
    let (first, last) = (points.first()?, points.last()?);
    let seconds = last.0.saturating_sub(first.0) as f64 / NS_PER_S as f64;
    (seconds > 0.0).then(|| (last.1 - first.1) / seconds)
}

fn lateness_fault(audit: &Audit, tightest_ns: Option<f64>) -> Option<String> {
    audit.effects.iter().find(|effect| is_too_much(effect, tightest_ns)).map(describe)
}

fn losses(audit: &Audit) -> impl Iterator<Item = String> {
    let dropped = (audit.dropped.share > MAX_DROPPED_SHARE).then(|| {
        format!("the generator did not send {} of {} intended arrivals", audit.dropped.count, audit.dropped.n)
    });
    let lost = (audit.lost_samples > 0).then(|| format!("{} samples could not be written", audit.lost_samples));
    [dropped, lost].into_iter().flatten()
}

/// Every intended arrival must be accounted for: the samples, the generator's own counts and the plan must agree.
fn accounting_faults(scope: &Scope<'_>) -> impl Iterator<Item = String> {
    let end = scope.manifest().end.as_ref();
    let samples = scope.run.rows.len() as u64;
    let failed = end.filter(|end| end.reason == EndReason::GeneratorFailed).map(|end| {
        format!("the generator itself failed: {}", if end.detail.is_empty() { "no reason given" } else { &end.detail })
    });
    let found = crate::rates::outcomes(scope.run.rows.iter());
    let agrees = |end: &&End| end.outcomes.iter().filter(|(_, count)| **count > 0).eq(found.iter());
    let uncounted = end.filter(|end| !agrees(end)).map(|end| {
        let counted: u64 = end.outcomes.values().sum();
        format!("the generator counted {counted} requests by outcome, but the folder's {samples} samples do not agree")
    });
    let unaccounted = end
        .filter(|end| end.intended != samples + end.lost_samples)
        .map(|end| format!("of {} intended arrivals, {samples} are accounted for", end.intended));
    let load = &scope.manifest().load;
    let completed = end.is_some_and(|end| end.reason == EndReason::Completed) && load.model == LoadModel::Open;
    let unplanned = load
        .planned_arrivals
        .filter(|&planned| completed && planned != samples)
        .map(|planned| format!("the plan had {planned} arrivals, {samples} are accounted for"));
    [failed, uncounted, unaccounted.or(unplanned)].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_matters_by_what_it_changes() {
        const MS: f64 = 1e6;
        let check = |measured: f64, without: f64, bound: Option<f64>, expected: (bool, bool)| {
            let (measured_ns, without_ns) = ((measured * MS) as u64, (without * MS) as u64);
            let effect = LateEffect { percentile: 95.0, measured_ns, without_ns };
            let found = (is_noted(&effect), is_too_much(&effect, bound.map(|ms| ms * MS)));
            assert_eq!(found, expected, "{measured} ms instead of {without} ms, bound {bound:?}");
        };
        check(0.9, 0.1, None, (false, false));
        check(100.0, 92.0, None, (false, false));
        check(100.0, 85.0, None, (true, true));
        check(100.0, 85.0, Some(200.0), (true, true));
        check(100.0, 85.0, Some(500.0), (true, false));
        check(100.0, 40.0, Some(10_000.0), (true, true));
    }
}
