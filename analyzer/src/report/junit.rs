//! `junit.xml`: a test case per threshold, one per service level, one for the run's validity, one per model for
//! conservation, and one for the verdict as a whole.

use std::fmt::Write;

use proofload_run::findings::{Balance, Findings, Kept, Reason};
use proofload_run::units::NS_PER_S;
use proofload_run::verdict::Verdict;

use super::format::xml;

/// One test case. What is not a pass is a failure, or an error where the run itself is at fault.
struct Case {
    class: &'static str,
    name: String,
    verdict: Verdict,
    message: String,
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

fn write_case(text: &mut String, case: &Case) {
    let (class, name, message) = (case.class, xml(&case.name), xml(&case.message));
    let verdict = case.verdict;
    // Writing into a string cannot fail.
    let _ = match element(verdict) {
        None => writeln!(text, "    <testcase classname=\"proofload.{class}\" name=\"{name}\"/>"),
        Some(element) => writeln!(
            text,
            "    <testcase classname=\"proofload.{class}\" name=\"{name}\">\n      <{element} type=\"{verdict}\" \
             message=\"{message}\"/>\n    </testcase>"
        ),
    };
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
    }
}

/// All reasons that no other case states are in this one.
fn verdict(findings: &Findings) -> Case {
    let all: Vec<&str> = findings.reasons.iter().map(|Reason { sentence, .. }| sentence.as_str()).collect();
    Case { class: "run", name: "verdict".to_owned(), verdict: findings.verdict, message: all.join("; ") }
}

fn validity(findings: &Findings) -> Case {
    Case {
        class: "run",
        name: "validity of the generator".to_owned(),
        verdict: if findings.audit.trustworthy { Verdict::Pass } else { Verdict::Invalid },
        message: findings.audit.faults.iter().map(|f| f.sentence.as_str()).collect::<Vec<_>>().join("; "),
    }
}
