//! `proofload calibrate`: shows beside each other what the generator measured on this machine and what is true.

use anyhow::Context as _;
use proofload_loadgen::calibrate::processors::set_one_aside;
use proofload_loadgen::calibrate::truth::Figures;
use proofload_loadgen::calibrate::{Case, Finding, SLACK_NS, TOLERANCE, cases, measure};
use proofload_loadgen::stop::StopHandle;
use proofload_run::units::{format_duration_ns, significant};
use proofload_run::verdict::Verdict;

use crate::args::CalibrateArgs;
use crate::console::{note, print};

/// Columns of the table.
const HEADER: &str =
    "  case                             p50        p95        p99       mean     slow   error  late p99";

/// Runs every case and says whether the machine is good enough.
pub(crate) fn calibrate_command(args: &CalibrateArgs) -> anyhow::Result<Verdict> {
    let cases = cases(args.rate, args.seconds);
    let stop = StopHandle::default();
    let server_on = set_one_aside();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let folder = Scratch::new().context("no folder for the calibration's runs")?;
    print(&format!(
        "calibrating at {}/s, {} cases of {} s each; below each measurement what the server did, by its own log, and what it should have done\n\n{HEADER}",
        significant(args.rate),
        cases.len(),
        args.seconds
    ));
    let mut findings = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let run = folder.0.join(number.to_string());
        let finding = runtime.block_on(measure(case, args.rate, args.seconds, server_on, run, stop.clone()))?;
        print(&rows(case, &finding));
        if stop.count() > 0 {
            note("stopped early: the cases so far are what there is");
            return Ok(Verdict::Inconclusive);
        }
        findings.push(finding);
    }
    let verdict = if findings.iter().all(Finding::is_right) { Verdict::Pass } else { Verdict::Invalid };
    print(&conclusion(verdict, args.rate, &findings));
    Ok(verdict)
}

/// A case's measurement, what was served and what should have been, one row each.
fn rows(case: &Case, finding: &Finding) -> String {
    let late = format_duration_ns(finding.late_p99_ns as f64);
    let [measured, served, truth] =
        [(case.name.as_str(), &finding.measured), ("  served", &finding.served), ("  by law", &finding.truth)]
            .map(|(name, figures)| row(name, figures));
    let (error, by_law) = (percent(finding.error), percent(finding.error_by_law));
    format!("{measured}           {late:>8}  {}\n{served}  {error:>7}\n{truth}  {by_law:>7}", remark(finding))
}

fn row(name: &str, figures: &Figures) -> String {
    let time = |ns: f64| format_duration_ns(ns);
    format!(
        "  {name:<26}{:>10} {:>10} {:>10} {:>10}  {:>7}",
        time(figures.p50_ns),
        time(figures.p95_ns),
        time(figures.p99_ns),
        time(figures.mean_ns),
        percent(figures.slow)
    )
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn remark(finding: &Finding) -> String {
    let (answered, intended) = finding.answered;
    if answered < intended {
        return format!("WRONG: only {answered} of {intended} were answered");
    }
    if finding.is_right() {
        return "right".to_owned();
    }
    "WRONG".to_owned()
}

fn conclusion(verdict: Verdict, rate: f64, findings: &[Finding]) -> String {
    let late_ns = findings.iter().map(|finding| finding.late_p99_ns).max().unwrap_or(0);
    let worst = |error: fn(&Finding) -> f64| findings.iter().map(error).fold(0.0, f64::max);
    let rate = significant(rate);
    let figures = format!(
        "it is at most {} off what was served ({} beyond {} are allowed), and up to {} late at p99",
        percent(worst(|finding| finding.error)),
        percent(TOLERANCE),
        format_duration_ns(SLACK_NS as f64),
        format_duration_ns(late_ns as f64)
    );
    let by_law = worst(|finding| finding.error_by_law);
    let server = if by_law > TOLERANCE {
        "\nThe built-in servers themselves could not keep their law here: the machine was busy with both, or with \
         something else."
    } else {
        ""
    };
    match verdict {
        Verdict::Pass => {
            format!("\nThe generator measures what is true at {rate}/s on this machine: {figures}.{server}")
        }
        _ => format!(
            "\nThe generator does NOT measure what is true at {rate}/s on this machine now: {figures}.{server}\n\
             -> stop what else runs here, try a lower --rate, or use a machine with more cores"
        ),
    }
}

/// A folder of our own that goes when it is dropped.
pub(crate) struct Scratch(pub(crate) std::path::PathBuf);

impl Scratch {
    pub(crate) fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("proofload-calibrate-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_measurement_says_so() {
        let truth = Figures { p50_ns: 1e6, p95_ns: 2e6, p99_ns: 3e6, mean_ns: 1e6, slow: 0.0 };
        let finding = Finding {
            measured: Figures { p95_ns: 9e6, ..truth },
            served: truth,
            truth,
            error: 3.5,
            error_by_law: 3.5,
            late_p99_ns: 20_000,
            answered: (10, 10),
            connections: 5,
        };
        let case = &cases(100.0, 10)[0];
        let text = rows(case, &finding);
        assert!(text.contains("fixed 5ms") && text.contains("350.0 %") && text.contains("WRONG"), "{text}");
        let right = Finding { error: 0.01, ..finding.clone() };
        assert!(rows(case, &right).contains("right"));
        let lost = Finding { answered: (9, 10), ..finding.clone() };
        assert!(rows(case, &lost).contains("only 9 of 10"));
        assert!(conclusion(Verdict::Invalid, 100.0, &[finding]).contains("does NOT measure what is true at 100/s"));
        assert!(conclusion(Verdict::Pass, 100.0, &[right]).contains("at most 1.0 % off what was served"));
    }
}
