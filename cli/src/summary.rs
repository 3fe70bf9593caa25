//! The short table that a run ends with. Says what the findings say; judges nothing.

use std::fmt::Write as _;

use proofload_run::findings::{Findings, Latency, Rates, StepFindings};
use proofload_run::units::{format_duration_ns, significant};
use proofload_run::verdict::Verdict;

/// The verdict with its reasons, the key figures, and a row a step where there are several.
pub(crate) fn summary(findings: &Findings) -> String {
    let mut text = verdict_line(findings);
    text.push_str(&figures(findings));
    let judged: Vec<&StepFindings> = findings.steps.iter().filter(|step| !step.warm_up).collect();
    if judged.len() > 1 {
        text.push_str(&step_table(&judged));
    }
    if !findings.thresholds.is_empty() {
        text.push_str(&threshold_table(findings));
    }
    for warning in &findings.warnings {
        let _ = writeln!(text, "  note  {}", warning.message);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn verdict_line(findings: &Findings) -> String {
    let mut text = format!("\n{}  {}\n", findings.verdict, findings.run.scenario);
    for reason in findings.reasons.iter().filter(|reason| reason.verdict == findings.verdict) {
        let _ = writeln!(text, "  {}", reason.sentence);
        if !reason.remedy.is_empty() {
            let _ = writeln!(text, "  -> {}", reason.remedy);
        }
    }
    for caution in &findings.audit.cautions {
        let _ = writeln!(text, "  SUSPECT  {}\n  -> {}", caution.sentence, caution.remedy);
    }
    let said = |sentence: &str| findings.reasons.iter().any(|reason| reason.sentence == sentence);
    if let Some(breaking) = findings.breaking_point.as_ref().filter(|breaking| !said(&breaking.sentence)) {
        let _ = writeln!(text, "  {}", breaking.sentence);
    }
    let capacity = findings.capacity.as_ref().map(|found| &found.sentence);
    let spike = findings.spike.as_ref().map(|found| &found.sentence);
    let budget = findings.error_budget.as_ref().map(|found| &found.sentence);
    for sentence in [capacity, spike, budget].into_iter().flatten() {
        let _ = writeln!(text, "  {sentence}");
    }
    text.push('\n');
    text
}

fn figures(findings: &Findings) -> String {
    let rates = &findings.rates;
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<12}{value}");
    };
    row(
        "throughput",
        format!("{} /s of {} /s intended", significant(rates.throughput_per_s), significant(rates.intended_per_s)),
    );
    row("goodput", format!("{} /s", significant(rates.goodput_per_s)));
    row("latency", latency(findings.latency.as_ref()));
    if let Some(tokens) = &findings.tokens {
        for (name, times) in [("first token", &tokens.ttft), ("inter-token", &tokens.itl)] {
            times.iter().for_each(|times| row(name, latency(Some(times))));
        }
        row("tokens", format!("{} /s, {} an answer", significant(tokens.out_per_s), significant(tokens.mean_out)));
    }
    let retries = if rates.retries == 0 { String::new() } else { format!(", after {} retries", rates.retries) };
    row("errors", share(rates.errors.count, rates.errors.share) + &retries);
    row("sheds", share(rates.sheds.count, rates.sheds.share));
    text.push('\n');
    text
}

fn latency(latency: Option<&Latency>) -> String {
    let Some(latency) = latency else {
        return "no success to measure".to_owned();
    };
    let mut text = String::new();
    for percentile in latency.percentiles.iter().filter(|p| p.enough) {
        let _ = write!(text, "p{} {}  ", percentile.percentile, format_duration_ns(percentile.latency_ns as f64));
    }
    let _ = write!(text, "max {}  (n = {})", format_duration_ns(latency.max_ns as f64), latency.n);
    text
}

fn share(count: u64, share: f64) -> String {
    format!("{count} ({} %)", significant(share * 100.0))
}

fn step_table(steps: &[&StepFindings]) -> String {
    let mut text = format!(
        "  {:<16}{:>10}{:>12}{:>12}{:>11}{:>9}{:>9}  SLO\n",
        "step", "level", "throughput", "goodput", "p95", "errors", "sheds"
    );
    for step in steps {
        let Rates { throughput_per_s, goodput_per_s, errors, sheds, .. } = &step.rates;
        let p95 = step.latency.as_ref().and_then(|latency| latency.percentile(95.0));
        let p95 = p95.map_or_else(|| "–".to_owned(), |p95| format_duration_ns(p95.latency_ns as f64));
        let left_out = match (step.cut_short, &step.latency) {
            (true, None) => "not run",
            (true, Some(_)) => "cut short",
            (false, _) => "",
        };
        let kept = step.kept.map_or(left_out, |kept| match kept {
            proofload_run::findings::Kept::Met => "met",
            proofload_run::findings::Kept::Inconclusive => "too few samples",
            proofload_run::findings::Kept::Missed => "missed",
        });
        let _ = writeln!(
            text,
            "  {:<16}{:>10}{:>12}{:>12}{p95:>11}{:>9}{:>9}  {kept}",
            step.name,
            significant(step.level),
            significant(*throughput_per_s),
            significant(*goodput_per_s),
            errors.count,
            sheds.count,
        );
    }
    text.push('\n');
    text
}

fn threshold_table(findings: &Findings) -> String {
    let width = findings.thresholds.iter().map(|threshold| threshold.text.len() + 2).fold(28, usize::max);
    let rows = findings.thresholds.iter().map(|threshold| {
        let mark = match threshold.verdict {
            Verdict::Pass => "ok",
            Verdict::Inconclusive => "??",
            Verdict::Fail | Verdict::Invalid => "NO",
        };
        let origin = if threshold.default { "  (default)" } else { "" };
        let note = if threshold.note.is_empty() { String::new() } else { format!("  {}", threshold.note) };
        format!("  {mark}    {:<width$}{}{origin}{note}\n", threshold.text, threshold.value_text)
    });
    rows.collect::<String>() + "\n"
}
