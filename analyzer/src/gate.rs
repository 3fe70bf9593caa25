//! From what was found to a verdict: the strongest of the reasons, each with one sentence and what to do about it.
//! INVALID over FAIL over INCONCLUSIVE over PASS.

use proofload_run::criteria::{Comparison, Metric, Threshold};
use proofload_run::events::EventKind;
use proofload_run::findings::{Balance, BreakingKind, Findings, Kept, Reason, SloResult, ThresholdResult};
use proofload_run::manifest::{EndReason, Manifest, ScenarioKind};
use proofload_run::units::{NS_PER_S, format_duration_ns, significant};
use proofload_run::verdict::Verdict;

use crate::load::Run;

/// The largest share of errors, and of sheds, that a run may have when its scenario does not say.
const DEFAULT_SHARE: f64 = 0.01;

/// What a run is judged by besides what its scenario states: at most 1 % errors where neither a service level nor a
/// threshold bounds them, and at most 1 % sheds where overload is not the plan. Where the limit is sought, what comes
/// of crossing it is the result.
pub(crate) fn default_thresholds(manifest: &Manifest) -> Vec<Threshold> {
    let kind = manifest.scenario.kind;
    let stated =
        |metric| manifest.thresholds.iter().any(|t| t.entry.is_none() && t.metric == metric && t.window_ns.is_none());
    let levelled = manifest.slo.is_some() || manifest.entries.iter().all(|entry| entry.slo.is_some());
    let errors = !kind.seeks_the_limit() && !levelled && !stated(Metric::ErrorRate);
    let sheds = !kind.overloads() && !stated(Metric::ShedRate);
    let wanted = [(errors, Metric::ErrorRate), (sheds, Metric::ShedRate)];
    let bound = |metric| Threshold {
        entry: None,
        metric,
        comparison: Comparison::AtMost,
        bound: DEFAULT_SHARE,
        window_ns: None,
        short_window_ns: None,
        abort_after_ns: None,
    };
    wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, metric)| bound(metric)).collect()
}

/// All reasons, the strongest first. Never empty.
pub(crate) fn reasons(findings: &Findings, run: &Run) -> Vec<Reason> {
    let mut reasons = Vec::new();
    reasons.extend(generator(findings));
    reasons.extend(counts(findings));
    reasons.extend(end(findings, run));
    reasons.extend(nothing_succeeded(findings));
    reasons.extend(findings.thresholds.iter().filter_map(threshold));
    reasons.extend(service_levels(findings));
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.verdict));
    if reasons.is_empty() {
        reasons.push(passed(findings));
    }
    reasons
}

fn reason(verdict: Verdict, sentence: impl Into<String>, remedy: impl Into<String>) -> Reason {
    Reason { verdict, sentence: sentence.into(), remedy: remedy.into() }
}

fn generator(findings: &Findings) -> impl Iterator<Item = Reason> {
    let faults = findings.audit.faults.iter();
    faults.map(|fault| {
        let remedy = format!("{}; this run says nothing about the target", fault.remedy);
        reason(Verdict::Invalid, fault.sentence.as_str(), remedy)
    })
}

/// On a server that proofload started itself nobody else sends and nothing balances load: its counts must agree.
fn counts(findings: &Findings) -> impl Iterator<Item = Reason> {
    let embedded = findings.run.target.embedded;
    let wrong = findings.conservation.iter().filter(move |c| embedded && c.balance == Balance::Deficit);
    wrong.map(|c| reason(Verdict::Invalid, c.sentence.as_str(), "report this as a bug, with the run folder"))
}

fn end(findings: &Findings, run: &Run) -> Option<Reason> {
    match findings.run.end {
        Some(EndReason::TargetLost) => Some(target_lost(findings, run)),
        None => Some(reason(
            Verdict::Inconclusive,
            format!("the run never ended, its process was killed: {}", driven(findings)),
            "run it again to its end",
        )),
        Some(EndReason::Aborted) => Some(reason(
            Verdict::Fail,
            format!("the run was cut short: {} ({})", findings.run.end_detail, driven(findings)),
            "look at that time in the report and in the target's log",
        )),
        Some(EndReason::Interrupted) => Some(reason(
            Verdict::Inconclusive,
            format!("the run was ended early: {}", driven(findings)),
            "run it to its end",
        )),
        Some(EndReason::Completed | EndReason::LimitFound | EndReason::GeneratorFailed) => None,
    }
}

/// How much of the plan was driven.
fn driven(findings: &Findings) -> String {
    let seconds = |ns: u64| significant(ns as f64 / NS_PER_S as f64);
    format!("{} s of {} s are there", seconds(findings.run.driven_ns), seconds(findings.run.planned_ns))
}

fn target_lost(findings: &Findings, run: &Run) -> Reason {
    let lost = run.events.iter().find_map(|event| match &event.kind {
        EventKind::TargetLost { last_answer_ns, message } => Some((*last_answer_ns, message.as_str())),
        _ => None,
    });
    let (at_ns, message) = lost.unwrap_or((findings.run.driven_ns, findings.run.end_detail.as_str()));
    let because = if message.is_empty() { String::new() } else { format!(": {message}") };
    let sentence = match at_ns {
        0 => format!("the target never answered{because}"),
        _ => format!("the target stopped answering at {} s{because}", significant(at_ns as f64 / NS_PER_S as f64)),
    };
    reason(Verdict::Fail, sentence, "look into the target's log around that time")
}

/// Refusing everybody is not surviving, and an empty run proves nothing.
fn nothing_succeeded(findings: &Findings) -> Option<Reason> {
    let measured = findings.totals.measured;
    match (measured, findings.totals.measured_outcomes.get("ok")) {
        (0, _) => Some(reason(
            Verdict::Fail,
            "no request was measured, and no data is never a pass",
            "make the load longer than its warm-up and settling time",
        )),
        (_, None) => Some(reason(
            Verdict::Fail,
            format!("none of {measured} measured requests succeeded"),
            "check the address, the model name and the payload against the report's error classes",
        )),
        _ => None,
    }
}

fn threshold(found: &ThresholdResult) -> Option<Reason> {
    let text = if found.default { format!("{} (default)", found.text) } else { found.text.clone() };
    match found.verdict {
        Verdict::Pass => None,
        Verdict::Inconclusive => Some(reason(
            Verdict::Inconclusive,
            format!("{text} cannot be decided: {}", found.note),
            "run longer or at a higher rate, or ask for a lower percentile",
        )),
        _ if found.value.is_none() => {
            Some(reason(found.verdict, format!("{text} has no data"), "no data is never a pass: see what was answered"))
        }
        _ => Some(reason(
            found.verdict,
            format!("{text} was missed: it was {} (n = {})", found.value_text, found.n),
            "find where the time or the errors come from in the report: phases and error classes",
        )),
    }
}

/// Where the limit is sought, crossing it is the result. A spike's peak may cross it too: what counts there is
/// what comes before and after.
fn service_levels(findings: &Findings) -> Vec<Reason> {
    let kind = findings.run.kind;
    if kind.seeks_the_limit() {
        let unknown = findings.breaking_point.as_ref().filter(|found| found.kind == BreakingKind::Unknown);
        return unknown.map(|found| service_level(Kept::Inconclusive, found.sentence.clone())).into_iter().collect();
    }
    let judged: Vec<(&str, &SloResult)> = if kind == ScenarioKind::Spike {
        let peak = findings.steps.iter().map(|step| step.level).fold(f64::MIN, f64::max);
        let calm = findings.steps.iter().filter(|step| step.level < peak);
        calm.flat_map(|step| step.slos.iter().map(|slo| (step.name.as_str(), slo))).collect()
    } else {
        findings.slos.iter().map(|slo| ("", slo)).collect()
    };
    let kept = judged.into_iter().filter(|(_, slo)| slo.kept != Kept::Met);
    kept.map(|(step, slo)| service_level(slo.kept, missed_sentence(step, slo))).collect()
}

fn service_level(kept: Kept, sentence: String) -> Reason {
    match kept {
        Kept::Missed => reason(Verdict::Fail, sentence, "lower the load or give the target more capacity"),
        Kept::Inconclusive | Kept::Met => {
            reason(Verdict::Inconclusive, sentence, "run longer or at a higher rate, so that there are enough samples")
        }
    }
}

fn missed_sentence(step: &str, slo: &SloResult) -> String {
    let place = if step.is_empty() { String::new() } else { format!(" in {step}") };
    let entry = slo.entry.as_ref().map_or_else(String::new, |entry| format!("{entry}: "));
    let level = format!("p{} within {}", slo.slo.percentile, format_duration_ns(slo.slo.latency_ns as f64));
    let percent = |share: f64| format!("{} %", significant(share * 100.0));
    if slo.kept == Kept::Inconclusive {
        return format!("{entry}the service level ({level}) cannot be decided{place}: only {} samples", slo.bad.n);
    }
    if slo.bad.share > slo.allowed_share {
        return format!(
            "{entry}the service level ({level}) was missed{place}: {} of {} arrivals were bad, {} are allowed",
            percent(slo.bad.share),
            slo.bad.n,
            percent(slo.allowed_share),
        );
    }
    format!(
        "{entry}the service level was missed{place}: {} errors of {}, {} are allowed",
        percent(slo.errors.share),
        slo.errors.n,
        percent(slo.slo.error_rate),
    )
}

fn passed(findings: &Findings) -> Reason {
    let thresholds = findings.thresholds.len();
    let kept = match findings.run.kind {
        ScenarioKind::Spike => "the service level was kept before the peak and again after it",
        _ => "the service level was kept",
    };
    let sentence = match (&findings.breaking_point, thresholds) {
        (Some(found), _) => found.sentence.clone(),
        (None, 0) => kept.to_owned(),
        (None, 1) => "the threshold was met".to_owned(),
        (None, n) => format!("all {n} thresholds were met"),
    };
    let with_level = findings.breaking_point.is_none() && !findings.slos.is_empty() && thresholds > 0;
    reason(Verdict::Pass, if with_level { format!("{sentence}, and {kept}") } else { sentence }, "")
}
