//! The only reader of a run folder: its tables through polars, only the columns that some analysis needs, into
//! plain rows. Judges nothing and leaves nothing out.

use std::fs::File;
use std::path::{Path, PathBuf};

use polars::prelude::{Column, DataFrame, ParquetReader, PolarsError, SerReader};
use proofload_run::RunError;
use proofload_run::events::Event;
use proofload_run::folder::RunFolder;
use proofload_run::jsonl::LineReader;
use proofload_run::manifest::Manifest;
use proofload_run::sample::{Outcome, mean_gap_ns};
use proofload_run::series::Source;

use crate::AnalyzeError;
use crate::lines::{Gather, Line};

/// Points read at a time: as many as the writer puts into a row group, so that none is decoded twice.
const POINTS_AT_A_TIME: usize = 131_072;

/// What the analyses need of a sample. Fields are those of [`proofload_run::sample::Sample`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) intended_ns: u64,
    pub(crate) sent_ns: u64,
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

/// A run folder in memory.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) manifest: Manifest,
    pub(crate) rows: Vec<Row>,
    pub(crate) series: Vec<Line>,
    pub(crate) events: Vec<Event>,
}

/// Reads a sealed folder.
pub(crate) fn load(folder: &RunFolder) -> Result<Run, AnalyzeError> {
    let manifest = folder.read_manifest()?;
    let mut rows = Vec::new();
    for shard in folder.shards("samples-", ".parquet")? {
        read_rows(&folder.sample_table(shard), &mut rows)?;
    }
    let mut series = Gather::default();
    for shard in folder.shards("series-", ".parquet")? {
        read_series(&folder.series_table(shard), &mut series)?;
    }
    Ok(Run { manifest, rows, series: series.finish(), events: read_events(&folder.events())? })
}

fn read_events(path: &Path) -> Result<Vec<Event>, RunError> {
    if path.is_file() { LineReader::open(path)?.collect() } else { Ok(Vec::new()) }
}

/// A table that could not be read, with its path.
fn failed(path: &Path) -> impl Fn(PolarsError) -> AnalyzeError {
    let path: PathBuf = path.to_owned();
    move |source| AnalyzeError::Table { path: path.clone(), source: Box::new(source) }
}

fn read_table(path: &Path, columns: &[&str]) -> Result<DataFrame, AnalyzeError> {
    let file = File::open(path).map_err(|source| RunError::io(path, source))?;
    let columns = columns.iter().map(|&name| name.to_owned()).collect();
    ParquetReader::new(file).with_columns(Some(columns)).finish().map_err(failed(path))
}

const SAMPLE_COLUMNS: [&str; 17] = [
    "intended_ns",
    "sent_ns",
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

fn read_rows(path: &Path, rows: &mut Vec<Row>) -> Result<(), AnalyzeError> {
    let file = File::open(path).map_err(|source| RunError::io(path, source))?;
    let known = ParquetReader::new(file).schema().map_err(failed(path))?;
    let tokens = TOKEN_COLUMNS.iter().filter(|name| known.contains(name));
    let columns: Vec<&str> = SAMPLE_COLUMNS.iter().chain(tokens).copied().collect();
    let table = read_table(path, &columns)?;
    let start = rows.len();
    rows.resize(start + table.height(), Row::EMPTY);
    fill_rows(&table, &mut rows[start..]).map_err(failed(path))
}

impl Row {
    /// A row before its columns are read.
    pub(crate) const EMPTY: Self = Self {
        intended_ns: 0,
        sent_ns: 0,
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
}

fn fill_rows(table: &DataFrame, rows: &mut [Row]) -> Result<(), PolarsError> {
    fill_u64(table.column("intended_ns")?, rows, |row, v| row.intended_ns = v)?;
    fill_u64(table.column("sent_ns")?, rows, |row, v| row.sent_ns = v)?;
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

/// Reads a part of the points at a time: their names as text are many times what is kept of them.
fn read_series(path: &Path, series: &mut Gather) -> Result<(), AnalyzeError> {
    let open = || File::open(path).map(ParquetReader::new).map_err(|source| RunError::io(path, source));
    let rows = open()?.num_rows().map_err(failed(path))?;
    for start in (0..rows).step_by(POINTS_AT_A_TIME) {
        let columns = ["t_ns", "shard", "source", "name", "labels", "value"].map(str::to_owned).to_vec();
        let part = open()?.with_columns(Some(columns)).with_slice(Some((start, POINTS_AT_A_TIME)));
        part.finish().and_then(|table| collect_points(&table, series)).map_err(failed(path))?;
    }
    Ok(())
}

/// Points whose source this version does not know are left out.
fn collect_points(table: &DataFrame, series: &mut Gather) -> Result<(), PolarsError> {
    let (times, shards) = (table.column("t_ns")?.u64()?, table.column("shard")?.u16()?);
    let (sources, names) = (table.column("source")?.str()?, table.column("name")?.str()?);
    let (labels, values) = (table.column("labels")?.str()?, table.column("value")?.f64()?);
    for row in 0..table.height() {
        let Some(source) = sources.get(row).and_then(Source::from_word) else { continue };
        let (name, labels) = (names.get(row).unwrap_or_default(), labels.get(row).unwrap_or_default());
        let point = (times.get(row).unwrap_or(0), values.get(row).unwrap_or(f64::NAN));
        series.add((shards.get(row).unwrap_or(0), source, name, labels), point);
    }
    Ok(())
}
