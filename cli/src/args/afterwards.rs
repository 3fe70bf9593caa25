//! What is asked of a run that is over: machines for a load, and its tables. Decides nothing.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use proofload_run::units::{parse_rate_per_s, parse_share};

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Folder of a capacity search, of a run that climbed in steps, or of one that kept its service level.
    #[arg(value_name = "RUN_DIR")]
    pub(crate) folder: PathBuf,
    /// The load at its peak; may be repeated. [default: a ladder around what one replica bears]
    #[arg(long = "for", value_name = "RATE", value_parser = rate)]
    pub(crate) rates: Vec<f64>,
    /// The share of what a replica bears that is left free at the peak.
    #[arg(long, value_name = "SHARE", default_value = "30%", value_parser = parse_share)]
    pub(crate) headroom: f64,
    /// Replicas that may fail at the peak: 1 is N+1.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) spare: u32,
    /// A profile of the model (`proofload daemon profile MODEL`), from which is taken what batches cost, instead of the answers.
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    /// Which engine of the profile. [default: its first]
    #[arg(long, value_name = "NAME", requires = "profile")]
    pub(crate) engine: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A rate above 0.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = parse_rate_per_s(text).map_err(|error| error.to_string())?;
    if rate > 0.0 { Ok(rate) } else { Err("a rate has to be above 0".to_owned()) }
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The run folder.
    #[arg(value_name = "RUN_DIR")]
    pub(crate) run: PathBuf,
    /// What to write.
    #[arg(long, value_enum, default_value_t = ExportWhat::Samples)]
    pub(crate) what: ExportWhat,
    /// The form of the file.
    #[arg(long, value_enum, default_value_t = ExportForm::Csv)]
    pub(crate) format: ExportForm,
    /// The file; an older one is replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportWhat {
    /// Every intended arrival, a row each.
    Samples,
    /// Everything that was scraped, a row a point.
    Series,
    /// The run over time as the report shows it, a row a bucket.
    Timeline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportForm {
    /// Comma-separated values with a line of names.
    Csv,
    /// For tools that read columns.
    Parquet,
}
