//! What had no more to give near the limit, from what was watched while the steps there were driven. Pure; only what the
//! findings of steps hold is evidence, so a resource that nobody exports is never named.

use proofload_run::capacity::{Capacity, Limit, Resource, Saturated, Seen, StepKind};
use proofload_run::findings::{Findings, SeriesFindings};
use proofload_run::manifest::Target;
use proofload_run::units::significant;

/// Steps within this of the estimate are near the limit.
const NEAR: [f64; 2] = [0.93, 1.25];
/// A processor that is busy for so much of the time has no more to give.
const BUSY: f64 = 0.90;
/// Memory that is used so far.
const FULL: f64 = 0.95;
/// Requests that spend so much of their time in the queue, when there is no other explanation.
const QUEUED: f64 = 0.5;

/// What was saturated, the surest first.
pub fn saturation(steps: &[Seen], findings: &[Findings], found: &Capacity) -> Vec<Saturated> {
    let Some(estimate) = found.estimate_per_s.or(found.sustainable_per_s) else { return Vec::new() };
    let near: Vec<&Findings> = steps
        .iter()
        .zip(findings)
        .filter(|(seen, _)| seen.planned.kind != StepKind::WarmUp)
        .filter(|(seen, _)| (NEAR[0]..NEAR[1]).contains(&(seen.planned.rate_per_s / estimate)))
        .map(|(_, findings)| findings)
        .collect();
    let resources = [gpu(&near), gpu_memory(&near), cpu(&near), generator(steps, found)];
    let mut saturated: Vec<Saturated> = resources.into_iter().flatten().collect();
    // A queue grows in front of whatever is saturated: it says something where nothing else does.
    if saturated.is_empty() {
        saturated.extend(queue(&near));
    }
    saturated
}

/// The largest mean of such a series over the steps, with the unit that it is in.
fn largest<'a>(near: &[&'a Findings], wanted: impl Fn(&SeriesFindings) -> bool) -> Option<&'a SeriesFindings> {
    let all = near.iter().flat_map(|findings| &findings.series).filter(|series| wanted(series));
    all.max_by(|a, b| a.mean.total_cmp(&b.mean))
}

fn gpu(near: &[&Findings]) -> Option<Saturated> {
    let series = largest(near, |series| series.chart == "GPU utilisation")?;
    let evidence = format!("{} of its time in use near the limit, by {}", percent(series.mean / 100.0), series.name);
    (series.mean >= BUSY * 100.0).then_some(Saturated { what: Resource::Gpu, evidence })
}

/// Of the target's GPU where it is the only one of this machine: how much others have is not known.
fn gpu_memory(near: &[&Findings]) -> Option<Saturated> {
    let all = near.iter().filter(|findings| is_local(&findings.run.target)).flat_map(|findings| &findings.series);
    let most = all.filter(|series| series.chart == "GPU memory").map(|series| series.max).reduce(f64::max)?;
    let [gpu] = &near.first()?.run.host.gpus[..] else { return None };
    let used = most * 1_048_576.0 / gpu.memory_bytes as f64;
    let evidence = format!("{} of {} MiB used at most", percent(used), gpu.memory_bytes / 1_048_576);
    (used >= FULL).then_some(Saturated { what: Resource::GpuMemory, evidence })
}

/// Of the machine that generates, where the target is on it, too.
fn cpu(near: &[&Findings]) -> Option<Saturated> {
    let local = near.first().is_some_and(|findings| is_local(&findings.run.target));
    let series = largest(near, |series| series.chart == "Processor use" && series.label.contains("whole machine"))?;
    let cores = f64::from(near.first()?.run.host.cores);
    let evidence = format!("{} of {cores} processors in use near the limit", significant(series.mean));
    (local && series.mean >= BUSY * cores).then_some(Saturated { what: Resource::Cpu, evidence })
}

/// Whether a target is on the machine that generates the load.
pub(crate) fn is_local(target: &Target) -> bool {
    let local = |url: &String| ["://127.", "://localhost", "://[::1]", "unix:"].iter().any(|part| url.contains(part));
    [&target.http_url, &target.grpc_url].into_iter().any(local)
}

/// Where it set the limit; what it missed once and then did is none.
fn generator(steps: &[Seen], found: &Capacity) -> Option<Saturated> {
    let missed = steps.iter().filter(|seen| !seen.sound).map(|seen| seen.planned.rate_per_s).reduce(f64::min);
    let slowest = missed.filter(|_| found.limit == Limit::Generator)?;
    let evidence = format!("from {}/s on it did not keep up with its plan", significant(slowest));
    Some(Saturated { what: Resource::Generator, evidence })
}

fn queue(near: &[&Findings]) -> Option<Saturated> {
    let shares = near.iter().flat_map(|findings| &findings.phases).filter_map(|breakdown| {
        let queue = breakdown.parts.iter().find(|part| part.name == "queue")?;
        Some((queue.share, breakdown.entry.as_str()))
    });
    let (share, entry) = shares.max_by(|a, b| a.0.total_cmp(&b.0))?;
    let evidence = format!(
        "{} of the latency of `{entry}` is waiting for an instance, while nothing else that is watched is used up",
        percent(share)
    );
    (share >= QUEUED).then_some(Saturated { what: Resource::Queue, evidence })
}

fn percent(share: f64) -> String {
    format!("{} %", significant(share * 100.0))
}
