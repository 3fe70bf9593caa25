//! Reports: HTML for people, Markdown for a comment on a change, JUnit for a CI server, JSON for programs. All are
//! made from the findings alone, and the same findings give the same bytes.

mod anomaly_table;
mod attribution_section;
mod budget_table;
mod capacity;
mod chart;
mod charts;
mod cost_section;
mod endurance_section;
mod format;
mod incident_section;
mod junit;
mod markdown;
mod model_section;
mod page;
mod sections;
mod spike_table;
mod tables;
mod tiles;
mod token_tables;

use std::path::{Path, PathBuf};

pub use capacity::write_capacity;
pub use junit::junit_xml;
pub use markdown::summary_markdown;

use proofload_run::findings::Findings;
use proofload_run::folder::{RunFolder, write_whole};

use crate::AnalyzeError;

/// Where the reports are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reports {
    /// `findings.json`.
    pub findings: PathBuf,
    /// `report.html`: one file, no other is needed to show it.
    pub html: PathBuf,
    /// `summary.md`.
    pub summary: PathBuf,
    /// `junit.xml`.
    pub junit: PathBuf,
}

/// Writes every report into the run folder, replacing older ones.
///
/// # Errors
/// When a file cannot be written, or a figure is no number that JSON knows.
pub fn write_reports(folder: &Path, findings: &Findings) -> Result<Reports, AnalyzeError> {
    let reports = Reports {
        findings: RunFolder::open(folder)?.findings(),
        html: folder.join("report.html"),
        summary: folder.join("summary.md"),
        junit: folder.join("junit.xml"),
    };
    let mut json = serde_json::to_string_pretty(findings)?;
    json.push('\n');
    write_whole(&reports.findings, json.as_bytes())?;
    write_whole(&reports.html, page::html(findings)?.as_bytes())?;
    write_whole(&reports.summary, summary_markdown(findings).as_bytes())?;
    write_whole(&reports.junit, junit_xml(findings).as_bytes())?;
    Ok(reports)
}
