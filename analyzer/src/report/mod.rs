//! Reports: HTML for people, Markdown for a comment on a change, JUnit for a CI server, JSON for programs. All are
//! made from the findings alone, and the same findings give the same bytes.

mod anomaly_table;
mod attribution_section;
mod budget_table;
mod capacity;
mod chart;
mod charts;
mod cost_section;
mod data;
mod endurance_section;
mod forecast_section;
mod format;
mod happening_table;
mod incident_section;
mod index_page;
mod junit;
mod lead;
mod markdown;
mod model_section;
mod page;
mod sections;
mod shape_charts;
mod spike_table;
mod tables;
#[cfg(test)]
mod theme;
mod tiles;
mod token_tables;

use std::path::{Path, PathBuf};

pub use capacity::write_capacity;
pub(crate) use index_page::write_index_page;
pub use junit::junit_xml;
pub use markdown::{report_markdown, summary_markdown};

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
    /// `summary.md`: for a comment on a change.
    pub summary: PathBuf,
    /// `report.md`: every table of the page.
    pub markdown: PathBuf,
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
        markdown: folder.join("report.md"),
        junit: folder.join("junit.xml"),
    };
    let mut json = serde_json::to_string_pretty(findings)?;
    json.push('\n');
    write_whole(&reports.findings, json.as_bytes())?;
    write_whole(&reports.html, page::html(findings)?.as_bytes())?;
    write_whole(&reports.summary, summary_markdown(findings).as_bytes())?;
    write_whole(&reports.markdown, report_markdown(findings).as_bytes())?;
    write_whole(&reports.junit, junit_xml(findings).as_bytes())?;
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::theme::{Eyes, distance, inks};

    const THEME: &str = include_str!("../../../reports/theme/report.css");

    /// Of the theme's inks any two can be told apart by everybody, in light and dark: by people who lack red, green or
    /// blue cones too. The thresholds are distances in Oklab, in which 0.02 is just noticeable side by side.
    #[test]
    fn the_inks_are_told_apart_by_all_eyes() {
        for (theme, at) in [("light", 0), ("dark", 1), ("print", 2)] {
            let inks = inks(THEME, at);
            assert_eq!(inks.len(), 6, "{theme}");
            for eyes in Eyes::ALL {
                let least = if eyes == Eyes::Tritan { 0.07 } else { 0.085 };
                for (index, (a, of_a)) in inks.iter().enumerate() {
                    for (b, of_b) in &inks[index + 1..] {
                        let apart = distance(*of_a, *of_b, eyes);
                        assert!(apart >= least, "{theme}: {a} and {b} are {apart:.3} apart to {eyes:?}");
                    }
                }
            }
        }
    }
}
