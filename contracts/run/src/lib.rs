//! What a run folder holds, and how it is read and written: the contract between the load generator, which
//! writes it, and the analyzer, which reads it.
//!
//! A run folder is enough to rebuild every report on a machine that has never seen the target:
//!
//! | file | what | written |
//! |---|---|---|
//! | `run.json` | [`manifest::Manifest`]: scenario, seed, host, target, clocks, planned steps, how the run ended | at the start, replaced at the end |
//! | `samples-NNNNN.journal` | one fixed-size [`sample::Sample`] per request, in checksummed chunks | while the run goes on |
//! | `samples-NNNNN.parquet` | the same samples, columnar | when the run ends, or by `proofload report` if it never did |
//! | `series-NNNNN.jsonl`, `.parquet` | [`series::SeriesPoint`]: what was scraped, once a second | likewise |
//! | `histograms-NNNNN.jsonl` | [`histogram::Line`]: latency of each second and entry, to three digits, mergeable | while the run goes on |
//! | `events.jsonl` | [`events::Event`]: steps, aborts, warnings, error examples | while the run goes on |
//! | `findings.json` | [`findings::Findings`]: what the analysis found | by the analyzer |
//!
//! `NNNNN` is the shard: nothing here assumes a single writer.
//!
//! This crate holds no analysis, opens no socket and reads no clock. It depends on no sibling.

pub mod capacity;
pub mod criteria;
pub mod events;
pub mod export;
pub mod findings;
pub mod folder;
pub mod histogram;
pub mod journal;
pub mod jsonl;
pub mod manifest;
pub mod sample;
pub mod series;
pub mod table;
pub mod units;
pub mod verdict;
mod whole;

/// Version of the folder's format. It changes whenever an older reader would misread a newer folder.
pub const FORMAT_VERSION: u32 = 2;

/// Anything that can go wrong with a run folder.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: std::path::PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A file of the folder does not hold what it should.
    #[error("{path}: {what}")]
    Malformed {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// The folder was written by a newer version.
    #[error("{path} has format version {found}, this proofload reads up to {FORMAT_VERSION}; use a newer proofload")]
    TooNew {
        /// The manifest.
        path: std::path::PathBuf,
        /// The version it states.
        found: u32,
    },
    /// The folder holds no run.
    #[error("{path} is not a run folder: it has no run.json (a run folder is what `proofload run` prints at its end)")]
    NotARun {
        /// The folder.
        path: std::path::PathBuf,
    },
}

impl RunError {
    /// An I/O error with the path it is about.
    pub fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// A malformed file.
    pub fn malformed(path: &std::path::Path, what: impl std::fmt::Display) -> Self {
        Self::Malformed { path: path.to_owned(), what: what.to_string() }
    }
}
