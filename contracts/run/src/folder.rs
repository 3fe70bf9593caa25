//! Where things are in a run folder, and how one is made and opened.

use std::fs;
use std::path::{Path, PathBuf};

use crate::manifest::Manifest;
use crate::{FORMAT_VERSION, RunError};

/// A run folder. Holds paths only; opens nothing until asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes a new, empty run folder with its manifest.
    ///
    /// # Errors
    /// When the folder already holds a run, or cannot be written.
    pub fn create(path: &Path, manifest: &Manifest) -> Result<Self, RunError> {
        fs::create_dir_all(path).map_err(|source| RunError::io(path, source))?;
        let folder = Self { path: path.to_owned() };
        if folder.manifest_path().exists() {
            return Err(RunError::malformed(path, "already holds a run; choose another folder with --out"));
        }
        folder.write_manifest(manifest)?;
        Ok(folder)
    }

    /// Opens an existing run folder.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let folder = Self { path: path.to_owned() };
        if folder.manifest_path().is_file() { Ok(folder) } else { Err(RunError::NotARun { path: path.to_owned() }) }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces `run.json` in one step, so that a reader sees the old or the new one, never half of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), RunError> {
        let mut text =
            serde_json::to_string_pretty(manifest).map_err(|e| RunError::malformed(&self.manifest_path(), e))?;
        text.push('\n');
        write_whole(&self.manifest_path(), text.as_bytes())
    }

    /// Reads `run.json`.
    ///
    /// # Errors
    /// When it cannot be read, is malformed, or comes from a newer version.
    pub fn read_manifest(&self) -> Result<Manifest, RunError> {
        let path = self.manifest_path();
        let text = fs::read_to_string(&path).map_err(|source| RunError::io(&path, source))?;
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| RunError::malformed(&path, e))?;
        let version = value.get("format_version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if version > u64::from(FORMAT_VERSION) {
            return Err(RunError::TooNew { path, found: u32::try_from(version).unwrap_or(u32::MAX) });
        }
        serde_json::from_value(value).map_err(|e| RunError::malformed(&path, e))
    }

    /// `run.json`.
    pub fn manifest_path(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// The journal of a shard's samples.
    pub fn sample_journal(&self, shard: u16) -> PathBuf {
        self.path.join(format!("samples-{shard:05}.journal"))
    }

    /// The Parquet file of a shard's samples.
    pub fn sample_table(&self, shard: u16) -> PathBuf {
        self.path.join(format!("samples-{shard:05}.parquet"))
    }

    /// The lines of a shard's series.
    pub fn series_lines(&self, shard: u16) -> PathBuf {
        self.path.join(format!("series-{shard:05}.jsonl"))
    }

    /// The Parquet file of a shard's series.
    pub fn series_table(&self, shard: u16) -> PathBuf {
        self.path.join(format!("series-{shard:05}.parquet"))
    }

    /// The lines of a shard's histograms of latency.
    pub fn histogram_lines(&self, shard: u16) -> PathBuf {
        self.path.join(format!("histograms-{shard:05}.jsonl"))
    }

    /// The events.
    pub fn events(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    /// The findings.
    pub fn findings(&self) -> PathBuf {
        self.path.join("findings.json")
    }

    /// The shards that have a file of this form, ascending.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn shards(&self, prefix: &str, suffix: &str) -> Result<Vec<u16>, RunError> {
        let entries = fs::read_dir(&self.path).map_err(|source| RunError::io(&self.path, source))?;
        let mut shards: Vec<u16> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let name = entry.file_name();
                name.to_str()?.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok()
            })
            .collect();
        shards.sort_unstable();
        Ok(shards)
    }
}

/// Writes a file in one step: beside it first, then renamed over it.
///
/// # Errors
/// When it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    fs::write(&beside, bytes).map_err(|source| RunError::io(&beside, source))?;
    fs::rename(&beside, path).map_err(|source| RunError::io(path, source))
}
