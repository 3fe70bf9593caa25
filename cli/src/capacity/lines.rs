//! What a search says while it goes on, and at its end: text only.

use proofload_run::capacity::{Capacity, Rules, Seen, StepKind};
use proofload_run::findings::Findings;
use proofload_run::units::{format_duration_ns, significant};
use proofload_run::verdict::Verdict;

/// What is searched.
pub(super) fn head(rules: &Rules, steps: usize) -> String {
    let begun = if steps == 0 { String::new() } else { format!(", going on after {steps} steps") };
    let slo = &rules.slo;
    format!(
        "searching the highest rate with p{} within {} and errors within {} %, for {} at most{begun}",
        slo.percentile,
        format_duration_ns(slo.latency_ns as f64),
        significant(slo.error_rate * 100.0),
        format_duration_ns(rules.budget_ns as f64),
    )
}

/// One step.
pub(super) fn step(number: usize, seen: &Seen, findings: &Findings) -> String {
    let what = match seen.planned.kind {
        StepKind::WarmUp => "warm-up",
        StepKind::Bracket => "bracket",
        StepKind::Search => "search",
        StepKind::Soak => "soak",
    };
    let bad =
        seen.bad_share().map_or_else(|| "nothing measured".to_owned(), |share| format!("{:.1} % bad", share * 100.0));
    let p95 = findings
        .latency
        .as_ref()
        .and_then(|latency| latency.percentiles.iter().find(|p| (p.percentile - 95.0).abs() < 1e-9));
    let p95 = p95.map_or(String::new(), |p95| format!(", p95 {}", format_duration_ns(p95.latency_ns as f64)));
    let unsound = if seen.sound { "" } else { "  (the generator did not keep up: not counted)" };
    format!("{number:>4}  {what:<8}{:>10}/s  {bad}{p95}{unsound}", significant(seen.planned.rate_per_s))
}

/// What was found.
pub(super) fn found(found: &Capacity, verdict: Verdict, why: &str) -> String {
    let mut text = format!("{verdict}  {why}\n{}", found.sentence);
    for saturated in &found.saturated {
        text.push_str(&format!("\nsaturated: {} ({})", saturated.what.as_str(), saturated.evidence));
    }
    text
}
