//! The generator's own fitness: whether its lateness or its losses changed the figures so much that they say more
//! about it than about the target. Waiting for a free connection is not its lateness: that is the target's doing.

use proofload_run::findings::{Audit, LateEffect, Share};
use proofload_run::manifest::{End, EndReason, LoadModel};
use proofload_run::sample::Outcome;
use proofload_run::series::Source;
use proofload_run::units::{NS_PER_S, format_duration_ns};

use crate::load::Row;
use crate::scope::Scope;
use crate::stats::{Population, block, share};

/// A figure that the generator's lateness changed by more than this share of it …
const MAX_EFFECT_SHARE: f64 = 0.10;
/// … and by more than this is not to be believed. Below a millisecond no service level of inference is stated, and
/// the timers of a shared machine are no better.
const MAX_EFFECT_NS: u64 = 1_000_000;
/// The generator must send at least 99 % of what the plan intends.
const MAX_DROPPED_SHARE: f64 = 0.01;
/// The figures that are compared with and without the generator's lateness.
const COMPARED: [f64; 3] = [50.0, 95.0, 99.0];

/// Audits the generator.
pub(crate) fn audit(scope: &Scope<'_>) -> Audit {
    let sent: Vec<&Row> = scope.measured().map(|(_, row)| row).filter(|row| row.sent_ns > 0).collect();
    let late: Population = sent.iter().map(|row| (row.late_ns, 0)).collect();
    let waits: Population = sent.iter().map(|row| (row.connection_wait_ns(), 0)).collect();
    let mut audit = Audit {
        trustworthy: false,
        n: late.n(),
        late_p50_ns: late.value(50.0).unwrap_or(0),
        late_p99_ns: late.value(99.0).unwrap_or(0),
        late_max_ns: late.max_ns().unwrap_or(0),
        connection_wait_p99_ns: waits.value(99.0).unwrap_or(0),
        effects: effects(&sent),
        dropped: dropped(scope),
        lost_samples: scope.manifest().end.as_ref().map_or(0, |end| end.lost_samples),
        cpu_cores: cpu_cores(scope),
        faults: Vec::new(),
    };
    let lost = scope.manifest().end.as_ref().is_some_and(|end| end.reason == EndReason::TargetLost);
    // A target that has died is dead, however late the generator was.
    let late = if lost { None } else { lateness_fault(&audit) };
    audit.faults = late.into_iter().chain(losses(&audit)).chain(accounting_faults(scope)).collect();
    audit.trustworthy = audit.faults.is_empty();
    audit
}

/// What the latency percentiles would be had the generator been on time.
fn effects(sent: &[&Row]) -> Vec<LateEffect> {
    let successes = || sent.iter().filter(|row| row.outcome == Outcome::Ok);
    let measured: Population = successes().map(|row| (row.latency_ns(), 0)).collect();
    let without: Population = successes().map(|row| (row.latency_ns().saturating_sub(row.late_ns), 0)).collect();
    let pair = |percentile| {
        Some(LateEffect {
            percentile,
            measured_ns: measured.value(percentile)?,
            without_ns: without.value(percentile)?,
        })
    };
    COMPARED.into_iter().filter_map(pair).collect()
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

fn lateness_fault(audit: &Audit) -> Option<String> {
    let off = |effect: &&LateEffect| {
        let by = effect.measured_ns.saturating_sub(effect.without_ns);
        by > MAX_EFFECT_NS && by as f64 > MAX_EFFECT_SHARE * effect.measured_ns as f64
    };
    audit.effects.iter().find(off).map(|effect| {
        format!(
            "the generator's own lateness makes p{} {} instead of {}",
            effect.percentile,
            format_duration_ns(effect.measured_ns as f64),
            format_duration_ns(effect.without_ns as f64),
        )
    })
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
