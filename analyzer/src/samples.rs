//! The samples of a run, as often as they are wanted: kept in memory where they are few, and read again from the tables
//! a few row groups at a time where they are not. Only the columns that some analysis needs. Judges nothing and leaves
//! nothing out.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use polars::prelude::{DataFrame, FileMetadataRef, ParallelStrategy, ParquetReader, PolarsError, SerReader};
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
    /// A row of nothing, to make others of.
    #[cfg(test)]
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
            table.each_row(|row| rows.push(*row))?;
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
                    table.each_row(&mut look)?;
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

    /// Reads some columns a few row groups at a time, on a thread of its own: the next ones while these are looked at.
    fn each_frame(
        &self,
        columns: &[&str],
        mut look: impl FnMut(&DataFrame) -> Result<(), PolarsError>,
    ) -> Result<(), AnalyzeError> {
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        let (sender, frames) = sync_channel(1);
        thread::scope(|scope| {
            scope.spawn(move || self.read_frames(&columns, &sender));
            for frame in frames {
                look(&frame?).map_err(failed(&self.path))?;
            }
            Ok(())
        })
    }

    /// Sends them until the receiver has left, which it does with the first that fails.
    fn read_frames(&self, columns: &[String], sender: &SyncSender<Result<DataFrame, AnalyzeError>>) {
        let mut start = 0;
        for groups in self.metadata.row_groups.chunks(GROUPS_AT_A_TIME) {
            let rows = groups.iter().fold(0, |rows, group| rows + group.num_rows());
            if sender.send(self.read_frame(columns, (start, rows))).is_err() {
                return;
            }
            start += rows;
        }
    }

    fn read_frame(&self, columns: &[String], slice: (usize, usize)) -> Result<DataFrame, AnalyzeError> {
        // One thread a row group: those that are not asked for are then passed over.
        let reader = ParquetReader::new(clone(&self.file, &self.path)?).read_parallel(ParallelStrategy::RowGroups);
        let mut reader = reader.with_columns(Some(columns.to_vec())).with_slice(Some(slice));
        reader.set_metadata(self.metadata.clone());
        let mut frame = reader.finish().map_err(failed(&self.path))?;
        frame.rechunk_mut();
        Ok(frame)
    }

    fn each_row(&self, mut look: impl FnMut(&Row)) -> Result<(), AnalyzeError> {
        self.each_frame(&self.columns, |frame| {
            let columns = Columns::of(frame)?;
            (0..frame.height()).for_each(|index| look(&columns.row(index)));
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
            let (intended, done) = (u64s(frame, TIME_COLUMNS[0])?, u64s(frame, TIME_COLUMNS[1])?);
            intended.iter().zip(done).for_each(|(intended, done)| look(*intended, *done));
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

/// The columns of a few row groups. A row is put together when it is looked at: rows beside one another in memory would be
/// written and read once a column.
struct Columns<'a> {
    times_ns: [&'a [u64]; 5],
    phases_ns: [&'a [u64]; 4],
    bytes: [&'a [u32]; 2],
    places: [&'a [u16]; 5],
    retry: &'a [u8],
    outcome: &'a [u8],
    tokens: Option<([&'a [u64]; 3], [&'a [u32]; 2])>,
}

impl<'a> Columns<'a> {
    fn of(frame: &'a DataFrame) -> Result<Self, PolarsError> {
        let [
            intended,
            sent,
            first_byte,
            done,
            late,
            queue,
            copy_in,
            compute,
            copy_out,
            out,
            into,
            status,
            step,
            entry,
            batch,
            flags,
            retry,
            outcome,
        ] = COLUMNS;
        let tokens = || -> Result<_, PolarsError> {
            let [first, last, gap, prompt, answer] = TOKEN_COLUMNS;
            let times = [u64s(frame, first)?, u64s(frame, last)?, u64s(frame, gap)?];
            Ok((times, [u32s(frame, prompt)?, u32s(frame, answer)?]))
        };
        Ok(Self {
            times_ns: [
                u64s(frame, intended)?,
                u64s(frame, sent)?,
                u64s(frame, first_byte)?,
                u64s(frame, done)?,
                u64s(frame, late)?,
            ],
            phases_ns: [u64s(frame, queue)?, u64s(frame, copy_in)?, u64s(frame, compute)?, u64s(frame, copy_out)?],
            bytes: [u32s(frame, out)?, u32s(frame, into)?],
            places: [
                u16s(frame, status)?,
                u16s(frame, step)?,
                u16s(frame, entry)?,
                u16s(frame, batch)?,
                u16s(frame, flags)?,
            ],
            retry: u8s(frame, retry)?,
            outcome: u8s(frame, outcome)?,
            tokens: if frame.column(TOKEN_COLUMNS[0]).is_ok() { Some(tokens()?) } else { None },
        })
    }

    fn row(&self, index: usize) -> Row {
        let [intended_ns, sent_ns, first_byte_ns, done_ns, late_ns] = self.times_ns.map(|column| column[index]);
        let [bytes_out, bytes_in] = self.bytes.map(|column| column[index]);
        let [status, step, entry, batch_size, flags] = self.places.map(|column| column[index]);
        let (times, counts) = self.tokens.unwrap_or_default();
        let [first_token_ns, last_token_ns, longest_gap_ns] =
            times.map(|column| column.get(index).copied().unwrap_or(0));
        let [tokens_in, tokens_out] = counts.map(|column| column.get(index).copied().unwrap_or(0));
        Row {
            intended_ns,
            sent_ns,
            first_byte_ns,
            done_ns,
            late_ns,
            phases_ns: self.phases_ns.map(|column| column[index]),
            first_token_ns,
            last_token_ns,
            longest_gap_ns,
            bytes_out,
            bytes_in,
            tokens_in,
            tokens_out,
            status,
            step,
            entry,
            batch_size,
            flags,
            retry: self.retry[index],
            // An unknown code, from a newer writer, is taken for an error and never for a success.
            outcome: Outcome::from_code(self.outcome[index]).unwrap_or(Outcome::TransportError),
        }
    }
}

// The values of a column in one piece: the tables' columns have no gaps, and frames are put together when they are read.

fn u64s<'a>(frame: &'a DataFrame, column: &str) -> Result<&'a [u64], PolarsError> {
    frame.column(column)?.as_materialized_series().u64()?.cont_slice()
}

fn u32s<'a>(frame: &'a DataFrame, column: &str) -> Result<&'a [u32], PolarsError> {
    frame.column(column)?.as_materialized_series().u32()?.cont_slice()
}

fn u16s<'a>(frame: &'a DataFrame, column: &str) -> Result<&'a [u16], PolarsError> {
    frame.column(column)?.as_materialized_series().u16()?.cont_slice()
}

fn u8s<'a>(frame: &'a DataFrame, column: &str) -> Result<&'a [u8], PolarsError> {
    frame.column(column)?.as_materialized_series().u8()?.cont_slice()
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
