//! What a page and a summary say first, after the reason for the verdict: what was asked and answered, and how far the
//! figures can be believed. Sentences; the figures are in the findings.

use proofload_run::findings::{Findings, Standing};

use super::format::{count, duration, number, percent, seconds};

/// Two sentences, or fewer where there is nothing to say.
pub(super) fn lead(findings: &Findings) -> Vec<String> {
    [load(findings), belief(findings)].into_iter().flatten().collect()
}

/// What was asked of the target, and what came of it: where the limit is sought, at the last step that was borne.
fn load(findings: &Findings) -> Option<String> {
    let borne = findings.breaking_point.as_ref().and_then(|found| found.last_met_step.as_ref());
    let borne = borne.and_then(|name| findings.steps.iter().find(|step| step.name == *name));
    let (rates, latency) =
        borne.map_or((&findings.rates, findings.latency.as_ref()), |step| (&step.rates, step.latency.as_ref()));
    if findings.totals.measured == 0 {
        return None;
    }
    let which = if borne.is_some() { " in the last step that met the service level" } else { "" };
    let asked = format!("Of {}/s intended over {}{which}", number(rates.intended_per_s), seconds(rates.measured_ns));
    let answered = format!("{}/s were answered", number(rates.throughput_per_s));
    let good = match findings.run.slo {
        Some(slo) => format!(", {}/s of them within {}", number(rates.goodput_per_s), duration(slo.latency_ns as f64)),
        None => String::new(),
    };
    let p95 = latency.and_then(|latency| Some((latency.n, latency.percentile(95.0)?)));
    let latency = p95.map_or_else(String::new, |(n, p95)| {
        let low = duration(p95.low_ns as f64);
        let interval =
            p95.high_ns.map_or(format!("{low} or more"), |high| format!("{low} to {}", duration(high as f64)));
        format!("; 95 % came within {} ({interval}, n = {})", duration(p95.latency_ns as f64), count(n))
    });
    let failed = format!("{} failed and {} were refused", part(&rates.errors), part(&rates.sheds));
    Some(format!("{asked}, {answered}{good}{latency}; {failed}."))
}

fn part(share: &proofload_run::findings::Share) -> String {
    if share.count == 0 { "none".to_owned() } else { percent(share.share) }
}

/// How far the figures can be believed.
fn belief(findings: &Findings) -> Option<String> {
    let audit = &findings.audit;
    if audit.n == 0 {
        return None;
    }
    let late = format!(
        "half of its arrivals were sent within {} and 99 % within {}",
        duration(audit.late_p50_ns as f64),
        duration(audit.late_p99_ns as f64)
    );
    Some(match audit.standing() {
        Standing::Valid => format!("The generator kept to its plan: {late} of when they were due."),
        Standing::Suspect => {
            format!("The generator had trouble, which may show in some figures: {late} of when they were due.")
        }
        Standing::Invalid => format!("The generator was not good enough to be believed: {late} of when they were due."),
    })
}
