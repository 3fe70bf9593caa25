//! Samples as a Parquet table: one column a field of [`Sample`], plus `trace_id` as 32 hexadecimal digits or null.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::errors::Result;
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::column::{Values, read_text, read_u32, read_u64};
use super::{ROWS_PER_GROUP, failed, properties};
use crate::RunError;
use crate::sample::Sample;

/// How a column gets at its field.
enum Field {
    U64(fn(&Sample) -> u64, fn(&mut Sample, u64)),
    U32(fn(&Sample) -> u32, fn(&mut Sample, u32)),
    U16(fn(&Sample) -> u16, fn(&mut Sample, u16)),
    U8(fn(&Sample) -> u8, fn(&mut Sample, u8)),
    TraceId,
}

macro_rules! columns {
    ($($kind:ident $name:ident),* $(,)?) => {
        [$((stringify!($name), Field::$kind(|s| s.$name, |s, v| s.$name = v)),)* ("trace_id", Field::TraceId)]
    };
}

/// The columns, in their order in the file.
const COLUMNS: [(&str, Field); 29] = columns! {
    U64 sequence, U64 intended_ns, U64 sent_ns, U64 first_byte_ns, U64 done_ns, U64 generator_late_ns,
    U64 queue_ns, U64 copy_in_ns, U64 compute_ns, U64 copy_out_ns,
    U64 first_token_ns, U64 last_token_ns, U64 longest_gap_ns,
    U32 bytes_out, U32 bytes_in, U32 connection, U32 payload, U32 tokens_in, U32 tokens_out,
    U16 status, U16 step, U16 entry, U16 batch_size, U16 shard, U16 flags, U16 pieces,
    U8 retry, U8 outcome,
};

impl Field {
    fn parquet_type(&self) -> (&'static str, &'static str) {
        match self {
            Self::U64(..) => ("required int64", "(integer(64, false))"),
            Self::U32(..) => ("required int32", "(integer(32, false))"),
            Self::U16(..) => ("required int32", "(integer(16, false))"),
            Self::U8(..) => ("required int32", "(integer(8, false))"),
            Self::TraceId => ("optional binary", "(string)"),
        }
    }

    fn gather(&self, samples: &[Sample]) -> Values {
        match self {
            Self::U64(get, _) => Values::U64(samples.iter().map(get).collect()),
            Self::U32(get, _) => Values::U32(samples.iter().map(get).collect()),
            Self::U16(get, _) => Values::U32(samples.iter().map(|s| u32::from(get(s))).collect()),
            Self::U8(get, _) => Values::U32(samples.iter().map(|s| u32::from(get(s))).collect()),
            Self::TraceId => Values::OptionalText(samples.iter().map(trace_text).collect()),
        }
    }

    /// Fills the field of every sample from the column.
    fn scatter(&self, group: &dyn RowGroupReader, index: usize, samples: &mut [Sample]) -> Result<()> {
        match self {
            Self::U64(_, set) => spread(samples, read_u64(group, index)?, set),
            Self::U32(_, set) => spread(samples, read_u32(group, index)?, set),
            Self::U16(_, set) => spread(samples, read_u32(group, index)?, |s, v| set(s, v as u16)),
            Self::U8(_, set) => spread(samples, read_u32(group, index)?, |s, v| set(s, v as u8)),
            Self::TraceId => spread(samples, read_text(group, index)?, |s, v| {
                s.trace_id = trace_number(v.as_deref());
            }),
        }
        Ok(())
    }
}

fn spread<T>(samples: &mut [Sample], values: Vec<T>, set: impl Fn(&mut Sample, T)) {
    for (sample, value) in samples.iter_mut().zip(values) {
        set(sample, value);
    }
}

fn trace_text(sample: &Sample) -> Option<String> {
    (sample.trace_id != 0).then(|| format!("{:032x}", sample.trace_id))
}

fn trace_number(text: Option<&str>) -> u128 {
    text.and_then(|text| u128::from_str_radix(text, 16).ok()).unwrap_or(0)
}

fn schema_text() -> String {
    let column = |(name, field): &(&str, Field)| {
        let (kind, annotation) = field.parquet_type();
        format!("  {kind} {name} {annotation};\n")
    };
    format!("message sample {{\n{}}}", COLUMNS.iter().map(column).collect::<String>())
}

/// Writes samples into a Parquet file, in bounded memory.
pub struct SampleTableWriter {
    path: PathBuf,
    writer: SerializedFileWriter<File>,
    pending: Vec<Sample>,
}

impl SampleTableWriter {
    /// Creates or replaces the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path) -> std::result::Result<Self, RunError> {
        let file = File::create(path).map_err(|source| RunError::io(path, source))?;
        let schema = parse_message_type(&schema_text()).map_err(failed(path))?;
        let growing = ["sequence", "intended_ns", "sent_ns", "first_byte_ns", "done_ns"];
        let writer = SerializedFileWriter::new(file, Arc::new(schema), properties(growing.into_iter()));
        let writer = writer.map_err(failed(path))?;
        Ok(Self { path: path.to_owned(), writer, pending: Vec::with_capacity(ROWS_PER_GROUP) })
    }

    /// Adds samples.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&mut self, samples: &[Sample]) -> std::result::Result<(), RunError> {
        for part in samples.chunks(ROWS_PER_GROUP) {
            self.pending.extend_from_slice(part);
            if self.pending.len() >= ROWS_PER_GROUP {
                self.write_group().map_err(failed(&self.path))?;
            }
        }
        Ok(())
    }

    /// Writes what is pending and the footer, and makes the file durable.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self) -> std::result::Result<(), RunError> {
        self.write_group().map_err(failed(&self.path))?;
        let file = self.writer.into_inner().map_err(failed(&self.path))?;
        file.sync_all().map_err(|source| RunError::io(&self.path, source))
    }

    fn write_group(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for (_, field) in &COLUMNS {
            field.gather(&self.pending).write(&mut group)?;
        }
        group.close()?;
        self.pending.clear();
        Ok(())
    }
}

/// Reads a table of samples, a row group at a time.
///
/// # Errors
/// When the file cannot be read or is no table of samples.
pub fn read_samples(path: &Path, mut visit: impl FnMut(&[Sample])) -> std::result::Result<(), RunError> {
    let file = File::open(path).map_err(|source| RunError::io(path, source))?;
    let reader = SerializedFileReader::new(file).map_err(failed(path))?;
    for index in 0..reader.num_row_groups() {
        let samples = read_group(&reader, index).map_err(failed(path))?;
        visit(&samples);
    }
    Ok(())
}

fn read_group(reader: &SerializedFileReader<File>, index: usize) -> Result<Vec<Sample>> {
    let group = reader.get_row_group(index)?;
    let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
    let mut samples = vec![Sample::default(); rows];
    let schema = group.metadata().schema_descr();
    for (name, field) in &COLUMNS {
        // Tables of an earlier format version lack some.
        if let Some(column) = schema.columns().iter().position(|column| column.name() == *name) {
            field.scatter(group.as_ref(), column, &mut samples)?;
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_in_every_field() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let mut bytes = [0; Sample::SIZE];
        let samples: Vec<Sample> = (0..ROWS_PER_GROUP as u64 + 10)
            .map(|row| {
                for (place, byte) in bytes.iter_mut().enumerate() {
                    *byte = (row.wrapping_mul(31).wrapping_add(place as u64 * 7) >> (place % 5)) as u8;
                }
                Sample::decode(&bytes)
            })
            .collect();
        let mut writer = SampleTableWriter::create(&path).unwrap();
        for part in samples.chunks(1000) {
            writer.append(part).unwrap();
        }
        writer.finish().unwrap();

        let mut read = Vec::new();
        read_samples(&path, |part| read.extend_from_slice(part)).unwrap();
        assert_eq!(read.len(), samples.len());
        assert!(read == samples, "a field changed on its way");
    }

    #[test]
    fn a_file_that_is_no_table_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        std::fs::write(&path, "not parquet at all").unwrap();
        let message = read_samples(&path, |_| ()).unwrap_err().to_string();
        assert!(message.contains("a.parquet"), "{message}");
    }
}
