//! Turns the journals of a run into its tables. Safe to repeat, and safe to be killed in the middle of: a table
//! appears whole or not at all, and a journal goes only when all of it is in its table
//! and the run has ended.

use std::fs;
use std::path::{Path, PathBuf};

use super::{SampleTableWriter, SeriesTableWriter};
use crate::RunError;
use crate::folder::RunFolder;
use crate::journal::{JournalReader, Tail};
use crate::jsonl::LineReader;
use crate::series::SeriesPoint;

/// What sealing found in one shard's journal of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedShard {
    /// The shard.
    pub shard: u16,
    /// Samples in the table.
    pub samples: u64,
    /// How the journal ended.
    pub tail: Tail,
}

/// What sealing did. Shards that had been sealed before are not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sealed {
    /// One for each journal of samples that was found.
    pub shards: Vec<SealedShard>,
}

/// Makes a table of every journal in the folder. The journals of a run that never said how it ended are kept: it
/// may still be going on, and then this makes a snapshot of it. So are journals that hold more than could be read.
///
/// # Errors
/// When a journal cannot be read or a table cannot be written.
pub fn seal(folder: &RunFolder) -> Result<Sealed, RunError> {
    let ended = folder.read_manifest()?.end.is_some();
    let mut sealed = Sealed::default();
    for shard in folder.shards("samples-", ".journal")? {
        let shard = seal_samples(&folder.sample_journal(shard), &folder.sample_table(shard), shard)?;
        discard(&folder.sample_journal(shard.shard), ended && shard.tail == Tail::Whole)?;
        sealed.shards.push(shard);
    }
    for shard in folder.shards("series-", ".jsonl")? {
        seal_series(&folder.series_lines(shard), &folder.series_table(shard))?;
        discard(&folder.series_lines(shard), ended)?;
    }
    Ok(sealed)
}

fn seal_samples(journal: &Path, table: &Path, shard: u16) -> Result<SealedShard, RunError> {
    let mut reader = JournalReader::open(journal)?;
    let beside = part(table);
    let mut writer = SampleTableWriter::create(&beside)?;
    let (mut chunk, mut samples) = (Vec::new(), 0);
    while reader.next_chunk(&mut chunk)? {
        writer.append(&chunk)?;
        samples += chunk.len() as u64;
    }
    writer.finish()?;
    rename(&beside, table)?;
    Ok(SealedShard { shard, samples, tail: reader.tail().unwrap_or(Tail::Whole) })
}

fn seal_series(lines: &Path, table: &Path) -> Result<(), RunError> {
    let beside = part(table);
    let mut writer = SeriesTableWriter::create(&beside)?;
    for point in LineReader::<SeriesPoint>::open(lines)? {
        writer.append(point?)?;
    }
    writer.finish()?;
    rename(&beside, table)
}

fn part(path: &Path) -> PathBuf {
    path.with_extension("parquet.part")
}

fn rename(from: &Path, to: &Path) -> Result<(), RunError> {
    fs::rename(from, to).map_err(|source| RunError::io(to, source))
}

fn discard(journal: &Path, done: bool) -> Result<(), RunError> {
    if done { fs::remove_file(journal).map_err(|source| RunError::io(journal, source)) } else { Ok(()) }
}
