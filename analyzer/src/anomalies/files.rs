//! Recorded metrics in CSV files, compared with those of healthy runs in a folder. Reads files; judges nothing itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proofload_anomaly::Recording;
use proofload_anomaly::csv::{self, CsvError};
use proofload_anomaly::model::{Model, ModelError, Options};
use proofload_anomaly::watch::{Alert, Watch, alerts};
use proofload_run::RunError;

use super::baseline::BaselineError;
use crate::AnalyzeError;

/// Why files could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum AnomaliesError {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// No recording.
    #[error("{path}: {source}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CsvError,
    },
    /// No model could be made.
    #[error("{of}: {source}")]
    Model {
        /// For what.
        of: String,
        /// Why.
        source: ModelError,
    },
    /// Nothing to compare with.
    #[error(
        "{train} has no CSV file of a healthy run for {name}; name some {system}_train_0.csv, …, or leave --train out"
    )]
    NoTraining {
        /// The folder.
        train: PathBuf,
        /// The file to be looked at.
        name: String,
        /// The first part of its name.
        system: String,
    },
    /// A baseline without runs.
    #[error("{0} holds no baseline; begin one with `proofload baseline add RUN_DIR --into {0}`")]
    NoBaseline(PathBuf),
    /// A run that cannot be part of a baseline.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// The run's folder itself.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The run could not be analysed.
    #[error(transparent)]
    Analyze(#[from] Box<AnalyzeError>),
    /// A run without some metrics of its healthy runs.
    #[error("{name} has not all metrics of its healthy runs; missing: {missing}")]
    Missing {
        /// The file.
        name: String,
        /// What it lacks.
        missing: String,
    },
    /// Alerts are told by the files' names.
    #[error("two files are called {0}; look at them one after the other")]
    Twice(String),
}

/// How to look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted<'a> {
    /// The folder with the healthy runs; none to compare each file with itself.
    pub train: Option<&'a Path>,
    /// Share of healthy windows that count as odd.
    pub alpha: f64,
    /// Seconds that are left out at the beginning of each file.
    pub warm_up_s: usize,
}

/// What was found in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its name, without its folder.
    pub name: String,
    /// Its metrics.
    pub metrics: Vec<String>,
    /// How many windows it has,
    pub windows: usize,
    /// and how many of them were not judged, because healthy runs never had such a load.
    pub unjudged: usize,
    /// With how many healthy runs it was compared; 0 where with itself.
    pub runs: usize,
    /// The alerts in order of time.
    pub alerts: Vec<Alert>,
}

/// Looks at files, each in the light of the healthy runs of its system.
///
/// # Errors
/// When a file is no recording, or there is nothing to compare it with.
pub fn in_files(paths: &[PathBuf], wanted: &Wanted<'_>) -> Result<Vec<Found>, AnomaliesError> {
    let mut names = BTreeMap::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if names.insert(name.clone(), path).is_some() {
            return Err(AnomaliesError::Twice(name));
        }
    }
    let mut found = Vec::new();
    let mut known: Option<(Vec<PathBuf>, Model)> = None;
    for (name, path) in names {
        let run = read(path)?;
        let Some(train) = wanted.train else {
            let model = Model::of_itself(&run, options(wanted)).map_err(|source| of(&name, source))?;
            found.push(watched(name, &run, &model, wanted));
            continue;
        };
        let healthy = training(train, &name)?;
        // Files of one system come one after the other, so one model at a time is enough.
        let model = match known.take().filter(|(learned, _)| *learned == healthy) {
            Some((_, model)) => model,
            None => learned(&healthy, wanted)?,
        };
        let missing: Vec<&str> =
            model.metrics().iter().filter(|own| !run.metrics().contains(own)).map(|own| own.name.as_str()).collect();
        if !missing.is_empty() {
            return Err(AnomaliesError::Missing { name, missing: missing.join(", ") });
        }
        found.push(watched(name, &run, &model, wanted));
        known = Some((healthy, model));
    }
    Ok(found)
}

fn options(wanted: &Wanted<'_>) -> Options {
    Options { warm_up_s: wanted.warm_up_s, ..Options::default() }
}

fn of(name: &str, source: ModelError) -> AnomaliesError {
    AnomaliesError::Model { of: name.to_owned(), source }
}

fn watched(name: String, run: &Recording, model: &Model, wanted: &Wanted<'_>) -> Found {
    let windows = Watch::run(model, wanted.alpha, run);
    Found {
        name,
        metrics: model.metrics().iter().map(|metric| metric.name.clone()).collect(),
        windows: windows.len(),
        unjudged: windows.iter().filter(|window| !window.is_judged).count(),
        runs: model.runs(),
        alerts: alerts(&windows),
    }
}

pub(super) fn read(path: &Path) -> Result<Recording, AnomaliesError> {
    let text = fs::read_to_string(path).map_err(|source| AnomaliesError::Io { path: path.to_owned(), source })?;
    csv::read(&text).map_err(|source| AnomaliesError::Csv { path: path.to_owned(), source })
}

fn learned(healthy: &[PathBuf], wanted: &Wanted<'_>) -> Result<Model, AnomaliesError> {
    let runs: Vec<Recording> = healthy.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
    let names = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let all = healthy.iter().map(names).collect::<Vec<_>>().join(", ");
    Model::fit(&runs, options(wanted)).map_err(|source| of(&all, source))
}

/// The healthy runs for a file: those of its system, or, where none is named so, all in the folder but itself.
fn training(train: &Path, name: &str) -> Result<Vec<PathBuf>, AnomaliesError> {
    let io = |source| AnomaliesError::Io { path: train.to_owned(), source };
    let mut all: Vec<(String, PathBuf)> = Vec::new();
    for entry in fs::read_dir(train).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            all.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path));
        }
    }
    all.sort();
    let system = name.split(['_', '.']).next().unwrap_or_default();
    let prefix = format!("{system}_train_");
    let own = || all.iter().filter(|(other, _)| other.starts_with(&prefix) && other != name);
    // Where files are named by their system, those of other systems must not be learned from.
    let are_named = all.iter().any(|(other, _)| other.contains("_train_"));
    let others = || all.iter().filter(|(other, _)| !are_named && other != name);
    let healthy: Vec<PathBuf> = if own().next().is_some() {
        own().map(|file| file.1.clone()).collect()
    } else {
        others().map(|file| file.1.clone()).collect()
    };
    if healthy.is_empty() {
        return Err(AnomaliesError::NoTraining {
            train: train.to_owned(),
            name: name.to_owned(),
            system: system.to_owned(),
        });
    }
    Ok(healthy)
}
