//! The samples of a run, as often as they are wanted: kept in memory where they are few, and read again from the tables
//! a few row groups at a time where they are not. Only the columns that some analysis needs. Judges nothing and leaves
//! nothing out.

use std::fs::File;
use std::path::{Path, PathBuf};

use polars::prelude::{Column, DataFrame, FileMetadataRef, ParallelStrategy, ParquetReader, PolarsError, SerReader};
use proofload_run::RunError;
use proofload_run::folder::RunFolder;
use proofload_run::sample::{Outcome, mean_gap_ns};

use crate::AnalyzeError;

/// So many samples are kept: about 260 MB.
pub(crate) const MOST_KEPT: usize = 2_097_152;
/// Row groups that are read at a time, each by a thread of its own.
const GROUPS_AT_A_TIME: usize = 2;

/// What the analyses need of a sample. Fields are those of [`proofload_run::sample::Sample`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) intended_ns: u64,
    pub(crate) sent_ns: u64,
    pub(crate) first_byte_ns: u64,
    pub(crate) done_ns: u64,
    pub(crate) late_ns: u64,
    /// Queue, copy-in, compute, copy-out.
    pub(crate) phases_ns: [u64; 4],
    pub(crate) first_token_ns: u64,
    pub(crate) last_token_ns: u64,
    pub(crate) longest_gap_ns: u64,
    pub(crate) bytes_out: u32,
    pub(crate) bytes_in: u32,
    pub(crate) tokens_in: u32,
    pub(crate) tokens_out: u32,
    pub(crate) status: u16,
    pub(crate) step: u16,
    pub(crate) entry: u16,
    pub(crate) batch_size: u16,
    pub(crate) flags: u16,
    pub(crate) retry: u8,
    pub(crate) outcome: Outcome,
}

impl Row {
    /// A row before its columns are read.
    pub(crate) const EMPTY: Self = Self {
        intended_ns: 0,
        sent_ns: 0,
        first_byte_ns: 0,
        done_ns: 0,
        late_ns: 0,
        phases_ns: [0; 4],
        first_token_ns: 0,
        last_token_ns: 0,
        longest_gap_ns: 0,
        bytes_out: 0,
        bytes_in: 0,
        tokens_in: 0,
        tokens_out: 0,
        status: 0,
        step: 0,
        entry: 0,
        batch_size: 0,
        flags: 0,
        retry: 0,
        outcome: Outcome::Dropped,
    };

    /// Latency from the intended arrival.
    pub(crate) fn latency_ns(&self) -> u64 {
        self.done_ns.saturating_sub(self.intended_ns)
    }

    /// From the intended arrival to the first token of a streamed answer.
    pub(crate) fn ttft_ns(&self) -> Option<u64> {
        (self.first_token_ns > 0).then(|| self.first_token_ns.saturating_sub(self.intended_ns))
    }

    /// Mean time between the tokens of a streamed answer.
    pub(crate) fn itl_ns(&self) -> Option<f64> {
        mean_gap_ns(self.first_token_ns, self.last_token_ns, self.tokens_out)
    }

    /// What of `sent − intended` is not the generator's own lateness: waiting for a free connection.
    pub(crate) fn connection_wait_ns(&self) -> u64 {
        self.sent_ns.saturating_sub(self.intended_ns).saturating_sub(self.late_ns)
    }
}

/// What is known of the samples before any analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extent {
    /// The last time at which one of them ended; 0 where none did.
    pub(crate) last_done_ns: u64,
    /// The last time at which one of them was intended or ended.
    pub(crate) last_seen_ns: u64,
}

impl Extent {
    fn add(&mut self, intended_ns: u64, done_ns: u64) {
        self.last_done_ns = self.last_done_ns.max(done_ns);
        self.last_seen_ns = self.last_seen_ns.max(done_ns).max(intended_ns);
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Samples {
    extent: Extent,
    tables: Vec<Table>,
    /// `None` where they are too many to be kept.
    kept: Option<Vec<Row>>,
}

impl Samples {
    /// Of all shards of a sealed folder; kept in memory if there are no more than so many.
    pub(crate) fn open(folder: &RunFolder, most_kept: usize) -> Result<Self, AnalyzeError> {
        let shards = folder.shards("samples-", ".parquet")?;
        let tables: Result<Vec<Table>, AnalyzeError> =
            shards.into_iter().map(|shard| Table::open(folder.sample_table(shard))).collect();
        Self::of_tables(tables?, most_kept)
    }

    fn of_tables(tables: Vec<Table>, most_kept: usize) -> Result<Self, AnalyzeError> {
        let n = tables.iter().map(Table::len).sum();
        if n > most_kept {
            let mut extent = Extent::default();
            for table in &tables {
                table.each_time(|intended_ns, done_ns| extent.add(intended_ns, done_ns))?;
            }
            return Ok(Self { extent, tables, kept: None });
        }
        let mut rows = Vec::with_capacity(n);
        for table in &tables {
            table.each_part(|part| rows.extend_from_slice(part))?;
        }
        let mut extent = Extent::default();
        rows.iter().for_each(|row: &Row| extent.add(row.intended_ns, row.done_ns));
        Ok(Self { extent, tables, kept: Some(rows) })
    }

    pub(crate) fn extent(&self) -> &Extent {
        &self.extent
    }

    /// Looks at every sample, in the same order each time.
    ///
    /// # Errors
    /// When a table cannot be read any more.
    pub(crate) fn each(&self, mut look: impl FnMut(&Row)) -> Result<(), AnalyzeError> {
        match &self.kept {
            Some(rows) => rows.iter().for_each(look),
            None => {
                for table in &self.tables {
                    table.each_part(|part| part.iter().for_each(&mut look))?;
                }
            }
        }
        Ok(())
    }

    /// The trace ids of a few samples, by their places in the order of [`Samples::each`]; `None` of those that have none.
    ///
    /// # Errors
    /// When a table cannot be read any more.
    pub(crate) fn trace_ids(&self, places: &[u64]) -> Result<Vec<Option<String>>, AnalyzeError> {
        places.iter().map(|place| self.trace_id(*place)).collect()
    }

    fn trace_id(&self, place: u64) -> Result<Option<String>, AnalyzeError> {
        let mut place = usize::try_from(place).unwrap_or(usize::MAX);
        for table in &self.tables {
            if place < table.len() {
                return table.trace_id(place);
            }
            place -= table.len();
        }
        Ok(None)
    }
}

const COLUMNS: [&str; 18] = [
    "intended_ns",
    "sent_ns",
    "first_byte_ns",
    "done_ns",
    "generator_late_ns",
    "queue_ns",
    "copy_in_ns",
    "compute_ns",
    "copy_out_ns",
    "bytes_out",
    "bytes_in",
    "status",
    "step",
    "entry",
    "batch_size",
    "flags",
    "retry",
    "outcome",
];

/// Columns that tables of format version 1 lack: their answers had no tokens.
const TOKEN_COLUMNS: [&str; 5] = ["first_token_ns", "last_token_ns", "longest_gap_ns", "tokens_in", "tokens_out"];

const TRACE_COLUMN: &str = "trace_id";

const TIME_COLUMNS: [&str; 2] = ["intended_ns", "done_ns"];

/// A table of one shard. The file stays open, so that every look is at the same samples.
#[derive(Debug)]
struct Table {
    path: PathBuf,
    file: File,
    metadata: FileMetadataRef,
    columns: Vec<&'static str>,
}

impl Table {
    fn open(path: PathBuf) -> Result<Self, AnalyzeError> {
        let file = File::open(&path).map_err(|source| RunError::io(&path, source))?;
        let mut reader = ParquetReader::new(clone(&file, &path)?);
        let known = reader.schema().map_err(failed(&path))?;
        let metadata = reader.get_metadata().map_err(failed(&path))?.clone();
        let mut columns = COLUMNS.to_vec();
        columns.extend(TOKEN_COLUMNS.iter().filter(|name| known.contains(name)));
        Ok(Self { path, file, metadata, columns })
    }

    fn len(&self) -> usize {
        self.metadata.num_rows
    }

    /// Reads some columns a few row groups at a time.
    fn each_frame(
        &self,
        columns: &[&str],
        mut look: impl FnMut(&DataFrame) -> Result<(), PolarsError>,
    ) -> Result<(), AnalyzeError> {
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        let mut start = 0;
        for groups in self.metadata.row_groups.chunks(GROUPS_AT_A_TIME) {
            let rows = groups.iter().fold(0, |rows, group| rows + group.num_rows());
            // One thread a row group: those that are not asked for are then passed over.
            let reader = ParquetReader::new(clone(&self.file, &self.path)?).read_parallel(ParallelStrategy::RowGroups);
            let mut reader = reader.with_columns(Some(columns.clone())).with_slice(Some((start, rows)));
            reader.set_metadata(self.metadata.clone());
            reader.finish().and_then(|frame| look(&frame)).map_err(failed(&self.path))?;
            start += rows;
        }
        Ok(())
    }

    fn each_part(&self, mut look: impl FnMut(&[Row])) -> Result<(), AnalyzeError> {
        let mut rows = Vec::new();
        self.each_frame(&self.columns, |frame| {
            rows.clear();
            rows.resize(frame.height(), Row::EMPTY);
            fill_rows(frame, &mut rows)?;
            look(&rows);
            Ok(())
        })
    }

    /// Of one sample.
    fn trace_id(&self, row: usize) -> Result<Option<String>, AnalyzeError> {
        let columns = vec![TRACE_COLUMN.to_owned()];
        let reader = ParquetReader::new(clone(&self.file, &self.path)?).read_parallel(ParallelStrategy::RowGroups);
        let mut reader = reader.with_columns(Some(columns)).with_slice(Some((row, 1)));
        reader.set_metadata(self.metadata.clone());
        let frame = reader.finish().map_err(failed(&self.path))?;
        let text =
            frame.column(TRACE_COLUMN).and_then(|column| column.str().map(|text| text.get(0).map(str::to_owned)));
        text.map_err(failed(&self.path))
    }

    /// Looks at when each was intended and when it ended.
    fn each_time(&self, mut look: impl FnMut(u64, u64)) -> Result<(), AnalyzeError> {
        self.each_frame(&TIME_COLUMNS, |frame| {
            let (intended, done) = (frame.column(TIME_COLUMNS[0])?.u64()?, frame.column(TIME_COLUMNS[1])?.u64()?);
            intended
                .iter()
                .zip(done.iter())
                .for_each(|(intended, done)| look(intended.unwrap_or(0), done.unwrap_or(0)));
            Ok(())
        })
    }
}

fn clone(file: &File, path: &Path) -> Result<File, RunError> {
    file.try_clone().map_err(|source| RunError::io(path, source))
}

/// A table that could not be read, with its path.
pub(crate) fn failed(path: &Path) -> impl Fn(PolarsError) -> AnalyzeError {
    let path: PathBuf = path.to_owned();
    move |source| AnalyzeError::Table { path: path.clone(), source: Box::new(source) }
}

fn fill_rows(table: &DataFrame, rows: &mut [Row]) -> Result<(), PolarsError> {
    fill_u64(table.column("intended_ns")?, rows, |row, v| row.intended_ns = v)?;
    fill_u64(table.column("sent_ns")?, rows, |row, v| row.sent_ns = v)?;
    fill_u64(table.column("first_byte_ns")?, rows, |row, v| row.first_byte_ns = v)?;
    fill_u64(table.column("done_ns")?, rows, |row, v| row.done_ns = v)?;
    fill_u64(table.column("generator_late_ns")?, rows, |row, v| row.late_ns = v)?;
    for (phase, name) in ["queue_ns", "copy_in_ns", "compute_ns", "copy_out_ns"].into_iter().enumerate() {
        fill_u64(table.column(name)?, rows, |row, v| row.phases_ns[phase] = v)?;
    }
    fill_u32(table.column("bytes_out")?, rows, |row, v| row.bytes_out = v)?;
    fill_u32(table.column("bytes_in")?, rows, |row, v| row.bytes_in = v)?;
    fill_u16(table.column("status")?, rows, |row, v| row.status = v)?;
    fill_u16(table.column("step")?, rows, |row, v| row.step = v)?;
    fill_u16(table.column("entry")?, rows, |row, v| row.entry = v)?;
    fill_u16(table.column("batch_size")?, rows, |row, v| row.batch_size = v)?;
    fill_u16(table.column("flags")?, rows, |row, v| row.flags = v)?;
    fill_u8(table.column("retry")?, rows, |row, v| row.retry = v)?;
    fill_tokens(table, rows)?;
    // An unknown code, from a newer writer, is taken for an error and never for a success.
    fill_u8(table.column("outcome")?, rows, |row, v| {
        row.outcome = Outcome::from_code(v).unwrap_or(Outcome::TransportError);
    })
}

fn fill_tokens(table: &DataFrame, rows: &mut [Row]) -> Result<(), PolarsError> {
    let Ok(first) = table.column("first_token_ns") else { return Ok(()) };
    fill_u64(first, rows, |row, v| row.first_token_ns = v)?;
    fill_u64(table.column("last_token_ns")?, rows, |row, v| row.last_token_ns = v)?;
    fill_u64(table.column("longest_gap_ns")?, rows, |row, v| row.longest_gap_ns = v)?;
    fill_u32(table.column("tokens_in")?, rows, |row, v| row.tokens_in = v)?;
    fill_u32(table.column("tokens_out")?, rows, |row, v| row.tokens_out = v)
}

fn fill_u64(column: &Column, rows: &mut [Row], set: impl Fn(&mut Row, u64)) -> Result<(), PolarsError> {
    rows.iter_mut().zip(column.u64()?.iter()).for_each(|(row, v)| set(row, v.unwrap_or(0)));
    Ok(())
}

fn fill_u32(column: &Column, rows: &mut [Row], set: impl Fn(&mut Row, u32)) -> Result<(), PolarsError> {
    rows.iter_mut().zip(column.u32()?.iter()).for_each(|(row, v)| set(row, v.unwrap_or(0)));
    Ok(())
}

fn fill_u16(column: &Column, rows: &mut [Row], set: impl Fn(&mut Row, u16)) -> Result<(), PolarsError> {
    rows.iter_mut().zip(column.u16()?.iter()).for_each(|(row, v)| set(row, v.unwrap_or(0)));
    Ok(())
}

fn fill_u8(column: &Column, rows: &mut [Row], set: impl Fn(&mut Row, u8)) -> Result<(), PolarsError> {
    rows.iter_mut().zip(column.u8()?.iter()).for_each(|(row, v)| set(row, v.unwrap_or(0)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofload_run::sample::Sample;
    use proofload_run::table::SampleTableWriter;

    /// Every third has none.
    fn trace(sequence: u64) -> u128 {
        if sequence.is_multiple_of(3) { 0 } else { u128::from(sequence) << 70 | 5 }
    }

    fn sample(sequence: u64) -> Sample {
        let intended_ns = sequence * 1000;
        let (sent_ns, done_ns) = (intended_ns + 10, intended_ns + 7000 - sequence % 5000);
        let outcome = (sequence % 10) as u8;
        Sample {
            sequence,
            intended_ns,
            sent_ns,
            done_ns,
            outcome,
            queue_ns: sequence % 97,
            trace_id: trace(sequence),
            ..Sample::default()
        }
    }

    /// More than a row group a table, so that parts have a seam within.
    fn tables(folder: &Path) -> Vec<PathBuf> {
        let paths = [folder.join("a.parquet"), folder.join("b.parquet"), folder.join("c.parquet")];
        for (path, range) in paths.iter().zip([0..400_000, 400_000..400_001, 400_001..600_000]) {
            let mut writer = SampleTableWriter::create(path).unwrap();
            let samples: Vec<Sample> = range.map(sample).collect();
            samples.chunks(70_000).for_each(|part| writer.append(part).unwrap());
            writer.finish().unwrap();
        }
        paths.to_vec()
    }

    #[test]
    fn samples_are_the_same_kept_or_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let open = |most_kept: usize| {
            let opened = tables(folder.path()).into_iter().map(|path| Table::open(path).unwrap()).collect();
            Samples::of_tables(opened, most_kept).unwrap()
        };
        let (kept, again) = (open(600_000), open(599_999));
        assert!(kept.kept.is_some() && again.kept.is_none());
        assert_eq!(kept.extent(), again.extent());
        assert_eq!(kept.extent().last_seen_ns, (400_000..600_000).map(|n| sample(n).done_ns).max().unwrap());
        for _ in 0..2 {
            let mut sequence = 0;
            again
                .each(|row| {
                    let expected = sample(sequence);
                    assert_eq!((row.intended_ns, row.done_ns), (expected.intended_ns, expected.done_ns));
                    assert_eq!((row.outcome, row.phases_ns[0]), (expected.outcome(), expected.queue_ns));
                    sequence += 1;
                })
                .unwrap();
            assert_eq!(sequence, 600_000);
        }
        let places = [1, 599_999, 400_000, 3, 299_998];
        let expected = places.map(|place| (trace(place) != 0).then(|| format!("{:032x}", trace(place))));
        assert_eq!(kept.trace_ids(&places).unwrap(), expected);
        assert_eq!(again.trace_ids(&places).unwrap(), expected);
        assert_eq!(kept.trace_ids(&[600_000]).unwrap(), [None]);
    }
}
