//! A baseline: the metrics of earlier healthy runs of a service, that later runs are compared with.
//!
//! It is a folder. `baseline.json` is a [`Baseline`]; beside it lies a CSV file for each run, in the form that
//! `proofload anomalies` reads: `t,offered_rps,METRIC,…`, a line a second, empty where nothing was measured. What was
//! compared with lies in the run's folder as well (`baseline/`), so that its report can be made again from it alone.

use std::fs;
use std::path::{Path, PathBuf};

use proofload_anomaly::Recording;
use proofload_anomaly::csv;
use proofload_run::folder::{RunFolder, write_whole};
use proofload_run::manifest::EndReason;
use proofload_run::table;
use proofload_run::verdict::Verdict;
use serde::{Deserialize, Serialize};

use super::AnomaliesError;
use super::files::read;
use crate::{assemble, load};

/// Version of the folder's form; another one is refused.
pub const BASELINE_VERSION: u32 = 1;
/// Of a longer run the beginning is kept: what is usual for two hours is usual.
const LONGEST_S: usize = 7200;
/// A shorter run says too little.
const SHORTEST_S: usize = 180;

/// `baseline.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// [`BASELINE_VERSION`] at the time of writing.
    pub format_version: u32,
    /// The runs, in the order in which they were added.
    pub runs: Vec<BaselineRun>,
}

/// A run of a baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineRun {
    /// Unique name of the run.
    pub run_id: String,
    /// Its scenario.
    pub scenario: String,
    /// The file beside `baseline.json`.
    pub file: String,
    /// Seconds in that file.
    pub seconds: u64,
    /// Mean load in it, requests per second.
    pub offered_per_s: f64,
    /// Its metrics.
    pub metrics: Vec<String>,
}

/// Why a run cannot be part of a baseline.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The run is not healthy.
    #[error("{run} is not healthy ({why}); a baseline is made of runs that passed")]
    NotHealthy {
        /// The run.
        run: String,
        /// What is wrong with it.
        why: String,
    },
    /// The run is too short.
    #[error("{run} has {seconds} s; a baseline's runs need {SHORTEST_S} s, better half an hour")]
    TooShort {
        /// The run.
        run: String,
        /// Its length.
        seconds: usize,
    },
    /// It is there.
    #[error("{run} is in this baseline already")]
    There {
        /// The run.
        run: String,
    },
    /// Written by another version.
    #[error("{path} has format version {found}, this proofload reads {BASELINE_VERSION}; make the baseline anew")]
    Version {
        /// `baseline.json`.
        path: PathBuf,
        /// The version it states.
        found: u32,
    },
    /// No baseline.
    #[error("{path}: not a baseline: {source}")]
    Malformed {
        /// `baseline.json`.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Baseline {
    /// Opens a baseline; one that does not exist is empty.
    ///
    /// # Errors
    /// When it cannot be read, or has another version.
    pub fn open(folder: &Path) -> Result<Self, AnomaliesError> {
        let path = folder.join("baseline.json");
        if !path.is_file() {
            return Ok(Self { format_version: BASELINE_VERSION, runs: Vec::new() });
        }
        let text = fs::read_to_string(&path).map_err(|source| AnomaliesError::Io { path: path.clone(), source })?;
        let found: Self =
            serde_json::from_str(&text).map_err(|source| BaselineError::Malformed { path: path.clone(), source })?;
        if found.format_version != BASELINE_VERSION {
            return Err(BaselineError::Version { path, found: found.format_version }.into());
        }
        Ok(found)
    }

    /// Adds a healthy run to the baseline in a folder, which is made if need be.
    ///
    /// # Errors
    /// When the run is not healthy, too short or there already, or a file cannot be read or written.
    pub fn add(run: &Path, folder: &Path) -> Result<Self, AnomaliesError> {
        let mut baseline = Self::open(folder)?;
        let (added, recording) = healthy(run)?;
        if baseline.runs.iter().any(|known| known.run_id == added.run_id) {
            return Err(BaselineError::There { run: added.run_id }.into());
        }
        fs::create_dir_all(folder).map_err(|source| AnomaliesError::Io { path: folder.to_owned(), source })?;
        write_whole(&folder.join(&added.file), csv::write(&recording).as_bytes())?;
        baseline.runs.push(added);
        let mut text = serde_json::to_string_pretty(&baseline)
            .map_err(|source| BaselineError::Malformed { path: folder.to_owned(), source })?;
        text.push('\n');
        write_whole(&folder.join("baseline.json"), text.as_bytes())?;
        Ok(baseline)
    }

    /// Puts the baseline of a folder into that of a run, in place of one that may be there.
    ///
    /// # Errors
    /// When the baseline has no run, or a file cannot be read or written.
    pub fn lay_beside(folder: &Path, run: &Path) -> Result<(), AnomaliesError> {
        let baseline = Self::open(folder)?;
        if baseline.runs.is_empty() {
            return Err(AnomaliesError::NoBaseline(folder.to_owned()));
        }
        let place = place_in(run);
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| AnomaliesError::Io { path, source }
        };
        if place.exists() {
            fs::remove_dir_all(&place).map_err(io(&place))?;
        }
        fs::create_dir_all(&place).map_err(io(&place))?;
        let files = baseline.runs.iter().map(|run| run.file.as_str()).chain(["baseline.json"]);
        for file in files {
            fs::copy(folder.join(file), place.join(file)).map_err(io(&folder.join(file)))?;
        }
        Ok(())
    }
}

/// Where a run's folder has what it was compared with.
fn place_in(run: &Path) -> PathBuf {
    run.join("baseline")
}

/// The healthy runs that lie in a run's folder.
pub(crate) fn beside(folder: &RunFolder) -> Result<Vec<Recording>, AnomaliesError> {
    let place = place_in(folder.path());
    let baseline = Baseline::open(&place)?;
    baseline.runs.iter().map(|run| read(&place.join(&run.file))).collect()
}

/// A run and its metrics, if it is healthy.
fn healthy(folder: &Path) -> Result<(BaselineRun, Recording), AnomaliesError> {
    let folder = RunFolder::open(folder)?;
    table::seal(&folder)?;
    let (findings, recording) = assemble::analysed(&load::load(&folder).map_err(Box::new)?).map_err(Box::new)?;
    let run = findings.run.run_id.clone();
    let reason = || findings.reasons.first().map_or_else(String::new, |reason| reason.sentence.clone());
    let why = match (findings.verdict, findings.run.end) {
        (Verdict::Fail | Verdict::Invalid, _) => Some(format!("{}: {}", findings.verdict, reason())),
        (_, Some(EndReason::Completed)) => None,
        (_, _) => Some("it did not come to its end".to_owned()),
    };
    if let Some(why) = why {
        return Err(BaselineError::NotHealthy { run, why }.into());
    }
    if recording.len() < SHORTEST_S {
        return Err(BaselineError::TooShort { run, seconds: recording.len() }.into());
    }
    let recording = recording.first(LONGEST_S);
    let added = BaselineRun {
        file: format!("{run}.csv"),
        run_id: run,
        scenario: findings.run.scenario,
        seconds: recording.len() as u64,
        offered_per_s: recording.offered().iter().sum::<f64>() / recording.len() as f64,
        metrics: recording.metrics().iter().map(|metric| metric.name.clone()).collect(),
    };
    Ok((added, recording))
}
