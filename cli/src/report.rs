//! From a run folder to its report: shared by `run`, `report` and `gate`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use proofload_analyzer::anomalies::baseline::Baseline;
use proofload_run::findings::Findings;
use proofload_run::verdict::Verdict;

use crate::args::{GateArgs, GateFormat, ReportArgs};
use crate::capacity;
use crate::console::{note, print};
use crate::cost::Given;
use crate::summary::summary;

/// Lays a baseline beside it if one is given, analyses the folder, writes every report into it, prints the summary, and says the verdict.
pub(crate) fn report_on(folder: &Path, baseline: Option<&Path>, quiet: bool) -> anyhow::Result<Verdict> {
    if let Some(baseline) = baseline {
        Baseline::lay_beside(baseline, folder)?;
    }
    let findings =
        proofload_analyzer::analyze(folder).with_context(|| format!("cannot analyse {}", folder.display()))?;
    let reports = proofload_analyzer::write_reports(folder, &findings)
        .with_context(|| format!("cannot write the reports into {}", folder.display()))?;
    if !quiet {
        print(&summary(&findings));
        print(&format!("report  {}", absolute(&reports.html).display()));
    }
    Ok(findings.verdict)
}

/// `proofload report`: the worst verdict over the folders. A folder that cannot be read does not keep the others
/// from being reported.
pub(crate) fn report_command(args: &ReportArgs) -> anyhow::Result<Verdict> {
    if args.schema {
        print(&serde_json::to_string_pretty(&proofload_run::findings::schema())?);
        return Ok(Verdict::Pass);
    }
    let told = reports_on(args);
    if let Some(folder) = &args.index {
        let written = proofload_analyzer::write_index(folder);
        let (page, runs) = written.with_context(|| format!("cannot write an index of {}", folder.display()))?;
        if !args.output.quiet {
            print(&format!("index   {} ({runs} runs)", absolute(&page).display()));
        }
    }
    told
}

fn reports_on(args: &ReportArgs) -> anyhow::Result<Verdict> {
    let given = Given::read(&args.prices)?;
    let mut worst = Verdict::Pass;
    let mut failed = None;
    for folder in &args.runs {
        let told = capacity::told_again(folder).and_then(|told| {
            if let Some(verdict) = told {
                return Ok(verdict);
            }
            given.lay_beside(folder)?;
            report_on(folder, args.baseline.as_deref(), args.output.quiet)
        });
        match told {
            Ok(verdict) => worst = worst.max(verdict),
            Err(error) => {
                note(&format!("proofload: {error:#}"));
                failed = Some(folder);
            }
        }
    }
    match failed {
        Some(folder) => anyhow::bail!("not every folder could be reported ({} was the last)", folder.display()),
        None => Ok(worst),
    }
}

/// `proofload gate`: prints the verdict in the form asked for.
pub(crate) fn gate_command(args: &GateArgs) -> anyhow::Result<Verdict> {
    let findings =
        proofload_analyzer::analyze(&args.run).with_context(|| format!("cannot analyse {}", args.run.display()))?;
    print(rendered(&findings, args.format)?.trim_end());
    Ok(findings.verdict)
}

fn rendered(findings: &Findings, format: GateFormat) -> anyhow::Result<String> {
    Ok(match format {
        GateFormat::Text => summary(findings),
        GateFormat::Junit => proofload_analyzer::junit_xml(findings),
        GateFormat::Markdown => proofload_analyzer::summary_markdown(findings),
        GateFormat::Json => serde_json::to_string_pretty(findings)?,
    })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
