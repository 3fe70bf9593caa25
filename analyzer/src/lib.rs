//! From a run folder to figures, a verdict and a report.
//!
//! `load` and `samples` are the only readers. The analyses (`rates`, `slo`, `breaking`, `audit` …) are pure: they know
//! statistics and the run, not each other; `assemble` puts them together and `gate` turns them into a verdict. They look
//! at one sample after another and keep none, so that a day's run takes no more memory than an hour's but for a table of
//! its seconds. The report is made from the findings alone. Nothing here opens a socket or reads a clock: the same folder
//! gives the same bytes.

pub mod anomalies;
mod assemble;
mod attribution;
mod audit;
mod breaking;
mod budget;
mod calendar;
pub mod capacity;
mod conservation;
pub mod cost;
mod counters;
mod endurance;
mod errors;
pub mod forecast;
mod gate;
mod happenings;
pub mod histograms;
mod incidents;
mod index;
mod interval;
mod lines;
mod load;
pub mod model;
mod part;
mod phases;
mod rates;
mod report;
mod samples;
mod scope;
mod series;
mod server_phases;
mod shape;
mod sliding;
mod slo;
mod spike;
mod stats;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;
mod thresholds;
mod timeline;
mod tokens;
mod vitals;
mod warnings;
mod window;

use std::path::{Path, PathBuf};

use proofload_run::RunError;
use proofload_run::findings::Findings;
use proofload_run::folder::RunFolder;
use proofload_run::table;

pub use index::write_index;
pub use report::{Reports, junit_xml, report_markdown, summary_markdown, write_reports};

/// Why a run folder could not be analysed or its reports not be written.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// The folder itself.
    #[error(transparent)]
    Run(#[from] RunError),
    /// One of its tables.
    #[error("{path}: not a table of this version: {source}")]
    Table {
        /// The file.
        path: PathBuf,
        /// The reader's own words.
        source: Box<polars::prelude::PolarsError>,
    },
    /// A figure that JSON cannot state.
    #[error("findings.json: {0}")]
    Json(#[from] serde_json::Error),
    /// The HTML page.
    #[error("report.html: {0}")]
    Html(#[from] askama::Error),
    /// A chart of it.
    #[error("report.html: a chart could not be drawn: {0}")]
    Chart(Box<dyn std::error::Error + Send + Sync>),
    /// What the run is compared with.
    #[error(transparent)]
    Baseline(Box<anomalies::AnomaliesError>),
    /// Prices, or what is said of the machine.
    #[error(transparent)]
    Cost(#[from] cost::TermsError),
    /// Findings that do not come from [`analyze`].
    #[error("the findings state no reason for their verdict; analyse the run folder again")]
    NoReason,
}

/// Analyses a run folder. Of a run that was killed the journals are read as far as they go.
///
/// # Errors
/// When the folder is no run, or one of its files cannot be read.
pub fn analyze(folder: &Path) -> Result<Findings, AnalyzeError> {
    let folder = RunFolder::open(folder)?;
    table::seal(&folder)?;
    assemble::findings(&load::load(&folder)?)
}
