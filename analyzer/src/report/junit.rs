//! `junit.xml`: a test case per threshold, one per service level, one for the run's validity, one per model for
//! conservation, and one for the verdict as a whole. How far the figures can be trusted (VALID, SUSPECT, INVALID) and why
//! stands in the suite's properties and in the output of the case about it, since a test cannot pass with a caution.

use std::fmt::Write;

use proofload_run::findings::{Balance, Fault, Findings, Kept, Reason};
use proofload_run::units::NS_PER_S;
use proofload_run::verdict::Verdict;

use super::format::xml;

/// One test case. What is not a pass is a failure, or an error where the run itself is at fault.
struct Case {
    class: &'static str,
    name: String,
    verdict: Verdict,
    message: String,
    /// Lines that are said whatever the verdict.
    output: Vec<String>,
}

/// `junit.xml` as text.
pub fn junit_xml(findings: &Findings) -> String {
    let cases = cases(findings);
    let failures = cases.iter().filter(|case| element(case.verdict) == Some("failure")).count();
    let errors = cases.iter().filter(|case| element(case.verdict) == Some("error")).count();
    let time = findings.run.driven_ns as f64 / NS_PER_S as f64;
    let (tests, name) = (cases.len(), xml(&findings.run.scenario));
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"proofload\" tests=\"{tests}\" \
         failures=\"{failures}\" errors=\"{errors}\" time=\"{time:.3}\">\n  <testsuite name=\"{name}\" \
         tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{time:.3}\">\n"
    );
    write_properties(&mut text, findings);
    cases.iter().for_each(|case| write_case(&mut text, case));
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

fn element(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Pass => None,
        Verdict::Fail | Verdict::Inconclusive => Some("failure"),
        Verdict::Invalid => Some("error"),
    }
}

fn write_properties(text: &mut String, findings: &Findings) {
    let verdict = [("proofload.verdict", findings.verdict.to_string())];
    let standing = [("proofload.validity", findings.audit.standing().as_str().to_owned())];
    let reasons = doubts(findings).map(|doubt| ("proofload.validity.reason", said(doubt)));
    text.push_str("    <properties>\n");
    for (name, value) in verdict.into_iter().chain(standing).chain(reasons) {
        line(text, &format!("      <property name=\"{name}\" value=\"{}\"/>", xml(&value)));
    }
    text.push_str("    </properties>\n");
}

fn write_case(text: &mut String, case: &Case) {
    let (verdict, class, name, message) = (case.verdict, case.class, xml(&case.name), xml(&case.message));
    let failure = element(verdict).map(|element| format!("<{element} type=\"{verdict}\" message=\"{message}\"/>"));
    let output: Vec<String> = case.output.iter().map(|line| xml(line)).collect();
    let output = (!output.is_empty()).then(|| format!("<system-out>{}</system-out>", output.join("\n")));
    let inner: Vec<String> = failure.into_iter().chain(output).collect();
    let opening = format!("    <testcase classname=\"proofload.{class}\" name=\"{name}\"");
    if inner.is_empty() {
        return line(text, &format!("{opening}/>"));
    }
    line(text, &format!("{opening}>"));
    inner.iter().for_each(|element| line(text, &format!("      {element}")));
    line(text, "    </testcase>");
}

fn line(text: &mut String, line: &str) {
    // Writing into a string cannot fail.
    let _ = writeln!(text, "{line}");
}

fn cases(findings: &Findings) -> Vec<Case> {
    let mut cases = vec![verdict(findings), validity(findings)];
    cases.extend(findings.thresholds.iter().map(|result| Case {
        class: "threshold",
        name: result.text.clone(),
        verdict: result.verdict,
        message: if result.note.is_empty() {
            format!("measured {} (n = {})", result.value_text, result.n)
        } else {
            format!("measured {} (n = {}): {}", result.value_text, result.n, result.note)
        },
        output: Vec::new(),
    }));
    cases.extend(findings.conservation.iter().map(|found| Case {
        class: "conservation",
        name: found.model.clone(),
        verdict: match (found.balance, findings.run.target.embedded) {
            (Balance::Deficit, true) => Verdict::Invalid,
            (Balance::Deficit, false) => Verdict::Fail,
            _ => Verdict::Pass,
        },
        message: found.sentence.clone(),
        output: Vec::new(),
    }));
    if !findings.run.kind.overloads() {
        cases.extend(findings.slos.iter().map(service_level));
    }
    cases
}

fn service_level(found: &proofload_run::findings::SloResult) -> Case {
    Case {
        class: "service_level",
        name: found.entry.clone().unwrap_or_else(|| "run".to_owned()),
        verdict: match found.kept {
            Kept::Met => Verdict::Pass,
            Kept::Inconclusive => Verdict::Inconclusive,
            Kept::Missed => Verdict::Fail,
        },
        message: format!(
            "{:.4} of {} arrivals were bad, {:.4} are allowed",
            found.bad.share, found.bad.n, found.allowed_share
        ),
        output: Vec::new(),
    }
}

/// All reasons that no other case states are in this one.
fn verdict(findings: &Findings) -> Case {
    let all: Vec<&str> = findings.reasons.iter().map(|Reason { sentence, .. }| sentence.as_str()).collect();
    let (name, message) = ("verdict".to_owned(), all.join("; "));
    Case { class: "run", name, verdict: findings.verdict, message, output: Vec::new() }
}

/// What is wrong with the generator's figures, then what is to be known of them.
fn doubts(findings: &Findings) -> impl Iterator<Item = &Fault> {
    findings.audit.faults.iter().chain(&findings.audit.cautions)
}

fn said(doubt: &Fault) -> String {
    format!("{}; {}", doubt.sentence, doubt.remedy)
}

fn validity(findings: &Findings) -> Case {
    let standing = findings.audit.standing().as_str().to_owned();
    Case {
        class: "run",
        name: "validity of the generator".to_owned(),
        verdict: if findings.audit.trustworthy { Verdict::Pass } else { Verdict::Invalid },
        message: findings.audit.faults.iter().map(|f| f.sentence.as_str()).collect::<Vec<_>>().join("; "),
        output: [standing].into_iter().chain(doubts(findings).map(said)).collect(),
    }
}
