//! Scraped series as a Parquet table: long form, one row a point.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::errors::Result;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::column::{Values, read_f64, read_text, read_u32, read_u64};
use super::{ROWS_PER_GROUP, failed, properties};
use crate::RunError;
use crate::series::{SeriesPoint, Source};

const SCHEMA: &str = "message series {
  required int64 t_ns (integer(64, false));
  required int32 shard (integer(16, false));
  required binary source (string);
  required binary name (string);
  required binary labels (string);
  required double value;
}";

/// Writes points into a Parquet file, in bounded memory.
pub struct SeriesTableWriter {
    path: PathBuf,
    writer: SerializedFileWriter<File>,
    pending: Vec<SeriesPoint>,
}

impl SeriesTableWriter {
    /// Creates or replaces the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path) -> std::result::Result<Self, RunError> {
        let file = File::create(path).map_err(|source| RunError::io(path, source))?;
        let schema = parse_message_type(SCHEMA).map_err(failed(path))?;
        let writer = SerializedFileWriter::new(file, Arc::new(schema), properties(["t_ns"].into_iter()));
        Ok(Self { path: path.to_owned(), writer: writer.map_err(failed(path))?, pending: Vec::new() })
    }

    /// Adds one point.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&mut self, point: SeriesPoint) -> std::result::Result<(), RunError> {
        self.pending.push(point);
        if self.pending.len() >= ROWS_PER_GROUP { self.write_group().map_err(failed(&self.path)) } else { Ok(()) }
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
        let points = std::mem::take(&mut self.pending);
        let text = |of: fn(&SeriesPoint) -> String| Values::Text(points.iter().map(of).collect());
        let mut group = self.writer.next_row_group()?;
        Values::U64(points.iter().map(|p| p.t_ns).collect()).write(&mut group)?;
        Values::U32(points.iter().map(|p| u32::from(p.shard)).collect()).write(&mut group)?;
        text(|p| p.source.as_str().to_owned()).write(&mut group)?;
        text(|p| p.name.clone()).write(&mut group)?;
        text(|p| p.labels.clone()).write(&mut group)?;
        Values::F64(points.iter().map(|p| p.value).collect()).write(&mut group)?;
        group.close().map(drop)
    }
}

/// Reads a table of points, a row group at a time.
///
/// # Errors
/// When the file cannot be read or is no table of points.
pub fn read_series(path: &Path, mut visit: impl FnMut(SeriesPoint)) -> std::result::Result<(), RunError> {
    let file = File::open(path).map_err(|source| RunError::io(path, source))?;
    let reader = SerializedFileReader::new(file).map_err(failed(path))?;
    for index in 0..reader.num_row_groups() {
        let points = read_group(&reader, index).map_err(failed(path))?;
        points.into_iter().for_each(&mut visit);
    }
    Ok(())
}

fn read_group(reader: &SerializedFileReader<File>, index: usize) -> Result<Vec<SeriesPoint>> {
    let group = reader.get_row_group(index)?;
    let group = group.as_ref();
    let mut texts = [read_text(group, 2)?, read_text(group, 3)?, read_text(group, 4)?].map(Vec::into_iter);
    let mut points = Vec::new();
    for ((t_ns, shard), value) in read_u64(group, 0)?.into_iter().zip(read_u32(group, 1)?).zip(read_f64(group, 5)?) {
        let [source, name, labels] = texts.each_mut().map(|column| column.next().flatten().unwrap_or_default());
        let source = Source::from_word(&source).unwrap_or(Source::Target);
        points.push(SeriesPoint { t_ns, shard: shard as u16, source, name, labels, value });
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let point = |i: u64| SeriesPoint {
            t_ns: i * 1_000_000_000,
            shard: 2,
            source: [Source::Target, Source::Statistics, Source::Generator, Source::Gpu][(i % 4) as usize],
            name: format!("metric_{}", i % 7),
            labels: if i.is_multiple_of(2) { String::new() } else { "model=\"m\"".to_owned() },
            value: i as f64 / 3.0,
        };
        let points: Vec<SeriesPoint> = (0..500).map(point).collect();
        let mut writer = SeriesTableWriter::create(&path).unwrap();
        points.iter().cloned().for_each(|point| writer.append(point).unwrap());
        writer.finish().unwrap();
        let mut read = Vec::new();
        read_series(&path, |point| read.push(point)).unwrap();
        assert_eq!(read, points);
    }
}
