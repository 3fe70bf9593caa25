//! A table of any columns, for other tools. Knows nothing of what they hold.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::errors::Result;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::column::Values;
use super::{failed, properties};
use crate::RunError;
use crate::export::{Column, Values as Exported};

/// Writes parts of a table into a Parquet file, a row group each. The columns are those of the first part.
pub struct ColumnsWriter {
    path: PathBuf,
    writer: Option<SerializedFileWriter<File>>,
    rows: u64,
}

impl ColumnsWriter {
    /// For a file that is made with the first part.
    pub fn create(path: &Path) -> Self {
        Self { path: path.to_owned(), writer: None, rows: 0 }
    }

    /// Adds a part.
    ///
    /// # Errors
    /// When the file cannot be written, or the part has other columns than the first.
    pub fn append(&mut self, part: Vec<Column>) -> std::result::Result<(), RunError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.writer.insert(begin(&self.path, &part)?),
        };
        let rows = part.first().map_or(0, Column::len);
        if rows > 0 {
            write(writer, part).map_err(failed(&self.path))?;
            self.rows += rows as u64;
        }
        Ok(())
    }

    /// Writes the footer; gives the number of rows.
    ///
    /// # Errors
    /// When the file cannot be written, or nothing was appended.
    pub fn finish(self) -> std::result::Result<u64, RunError> {
        let writer = self.writer.ok_or_else(|| RunError::malformed(&self.path, "a table without columns"))?;
        writer.into_inner().map_err(failed(&self.path))?;
        Ok(self.rows)
    }
}

fn begin(path: &Path, part: &[Column]) -> std::result::Result<SerializedFileWriter<File>, RunError> {
    let file = File::create(path).map_err(|source| RunError::io(path, source))?;
    let kind = |values: &Exported| match values {
        Exported::U64(_) => ("required int64", "(integer(64, false))"),
        Exported::OptionalU64(_) => ("optional int64", "(integer(64, false))"),
        Exported::F64(_) => ("required double", ""),
        Exported::Text(_) => ("required binary", "(string)"),
    };
    let column = |column: &Column| {
        let (kind, annotation) = kind(&column.values);
        format!("  {kind} {} {annotation};\n", column.name)
    };
    let text = format!("message exported {{\n{}}}", part.iter().map(column).collect::<String>());
    let schema = parse_message_type(&text).map_err(failed(path))?;
    let growing = ["sequence", "intended_ns", "sent_ns", "first_byte_ns", "done_ns", "t_ns"];
    let growing = growing.into_iter().filter(|name| part.iter().any(|column| column.name == *name));
    SerializedFileWriter::new(file, Arc::new(schema), properties(growing)).map_err(failed(path))
}

fn write(writer: &mut SerializedFileWriter<File>, part: Vec<Column>) -> Result<()> {
    let mut group = writer.next_row_group()?;
    for column in part {
        let values = match column.values {
            Exported::U64(values) => Values::U64(values),
            Exported::OptionalU64(values) => Values::OptionalU64(values),
            Exported::F64(values) => Values::F64(values),
            Exported::Text(values) => Values::Text(values),
        };
        values.write(&mut group)?;
    }
    group.close()?;
    Ok(())
}

/// Names and values as text, for tests.
#[cfg(test)]
pub(crate) fn read_columns(path: &Path) -> Result<Vec<(String, Vec<String>)>> {
    use parquet::file::reader::FileReader as _;
    use parquet::file::serialized_reader::SerializedFileReader;
    use parquet::record::Field;
    let reader = SerializedFileReader::new(File::open(path)?)?;
    let mut columns: Vec<(String, Vec<String>)> = Vec::new();
    for row in reader.get_row_iter(None)? {
        for (index, (name, field)) in row?.get_column_iter().enumerate() {
            if columns.len() <= index {
                columns.push((name.clone(), Vec::new()));
            }
            let text = match field {
                Field::Null => String::new(),
                Field::Str(text) => text.clone(),
                other => other.to_string(),
            };
            columns[index].1.push(text);
        }
    }
    Ok(columns)
}
