//! A run's samples, series or timeline as one table for other tools: CSV, or Parquet. Columns carry their unit in their
//! name; of a sample the words of its step, entry and outcome stand in place of their numbers, and all shards are together.
//! A part is in memory at a time, however long the run was. Nothing is analysed.

mod column;
mod csv;
mod rows;

use std::path::Path;

pub use column::{Column, Values};

use crate::RunError;
use crate::findings::Findings;
use crate::folder::RunFolder;
use crate::table::{ColumnsWriter, read_samples, read_series, seal};

/// The form of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A line of names, then a line a row; what is missing is empty.
    Csv,
    /// What is missing is null.
    Parquet,
}

/// What goes into the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Every intended arrival, a row each.
    Samples,
    /// Everything that was scraped, a row a point.
    Series,
    /// The timeline of `findings.json`, a row a bucket.
    Timeline,
}

/// Points of series in a part.
const POINTS_AT_A_TIME: usize = 131_072;

/// Writes the file, replacing an older one in one step; gives its number of rows.
///
/// # Errors
/// When the folder is no run, one of its files cannot be read, or the file cannot be written.
pub fn export(folder: &Path, what: What, form: Form, file: &Path) -> Result<u64, RunError> {
    let folder = RunFolder::open(folder)?;
    let mut beside = file.as_os_str().to_owned();
    beside.push(".part");
    let beside = Path::new(&beside);
    let mut sink = Sink::create(form, beside)?;
    match what {
        What::Samples => samples(&folder, &mut sink)?,
        What::Series => series(&folder, &mut sink)?,
        What::Timeline => timeline(&folder, &mut sink)?,
    }
    let rows = sink.finish()?;
    std::fs::rename(beside, file).map_err(|source| RunError::io(file, source))?;
    Ok(rows)
}

/// A file that takes parts of a table, all with the same columns.
enum Sink {
    Csv(csv::Writer),
    Parquet(Box<ColumnsWriter>),
}

impl Sink {
    fn create(form: Form, path: &Path) -> Result<Self, RunError> {
        Ok(match form {
            Form::Csv => Self::Csv(csv::Writer::create(path)?),
            Form::Parquet => Self::Parquet(Box::new(ColumnsWriter::create(path))),
        })
    }

    fn append(&mut self, part: Vec<Column>) -> Result<(), RunError> {
        match self {
            Self::Csv(writer) => writer.append(&part),
            Self::Parquet(writer) => writer.append(part),
        }
    }

    fn finish(self) -> Result<u64, RunError> {
        match self {
            Self::Csv(writer) => writer.finish(),
            Self::Parquet(writer) => writer.finish(),
        }
    }
}

fn samples(folder: &RunFolder, sink: &mut Sink) -> Result<(), RunError> {
    seal(folder)?;
    let manifest = folder.read_manifest()?;
    sink.append(rows::samples(&[], &manifest))?;
    for shard in folder.shards("samples-", ".parquet")? {
        let mut written = Ok(());
        read_samples(&folder.sample_table(shard), |part| {
            if written.is_ok() {
                written = sink.append(rows::samples(part, &manifest));
            }
        })?;
        written?;
    }
    Ok(())
}

fn series(folder: &RunFolder, sink: &mut Sink) -> Result<(), RunError> {
    seal(folder)?;
    sink.append(rows::series(&[]))?;
    for shard in folder.shards("series-", ".parquet")? {
        let (mut part, mut written) = (Vec::new(), Ok(()));
        read_series(&folder.series_table(shard), |point| {
            part.push(point);
            if part.len() >= POINTS_AT_A_TIME && written.is_ok() {
                written = sink.append(rows::series(&part));
                part.clear();
            }
        })?;
        written?;
        sink.append(rows::series(&part))?;
    }
    Ok(())
}

fn timeline(folder: &RunFolder, sink: &mut Sink) -> Result<(), RunError> {
    let path = folder.findings();
    let text = std::fs::read_to_string(&path).map_err(|source| RunError::io(&path, source))?;
    let findings: Findings = serde_json::from_str(&text).map_err(|error| RunError::malformed(&path, error))?;
    sink.append(rows::timeline(&findings.timeline))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Outcome;
    use crate::table::read_columns;

    fn part() -> Vec<Column> {
        vec![
            Column::new("n", Values::U64(vec![1, 2])),
            Column::new("t_ns", Values::OptionalU64(vec![Some(5), None])),
            Column::new("share", Values::F64(vec![0.5, f64::NAN])),
            Column::new("said", Values::Text(vec!["a,b".to_owned(), "say \"it\"\n".to_owned()])),
        ]
    }

    #[test]
    fn what_is_missing_is_empty_and_what_would_end_a_cell_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let mut sink = Sink::create(Form::Csv, &path).unwrap();
        sink.append(part()).unwrap();
        sink.append(part()).unwrap();
        assert_eq!(sink.finish().unwrap(), 4);
        let rows = "1,5,0.5,\"a,b\"\n2,,,\"say \"\"it\"\"\n\"\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("n,t_ns,share,said\n{rows}{rows}"));
    }

    #[test]
    fn a_table_of_any_columns_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let mut sink = Sink::create(Form::Parquet, &path).unwrap();
        sink.append(part()).unwrap();
        sink.append(part()).unwrap();
        assert_eq!(sink.finish().unwrap(), 4);
        let read = read_columns(&path).unwrap();
        let names: Vec<&str> = read.iter().map(|column| column.0.as_str()).collect();
        assert_eq!(names, ["n", "t_ns", "share", "said"]);
        assert_eq!(read[1].1, ["5", "", "5", ""]);
        assert_eq!(read[3].1[1], "say \"it\"\n");
    }

    #[test]
    fn samples_say_their_step_entry_and_outcome_in_words() {
        let sample = crate::sample::Sample {
            intended_ns: 5,
            done_ns: 9,
            step: 0,
            entry: 7,
            outcome: Outcome::Ok.code(),
            ..Default::default()
        };
        let words = rows::Words { steps: vec!["hold".to_owned()], entries: Vec::new() };
        let columns = rows::samples_in_words(&[sample], &words);
        let of = |name: &str| columns.iter().find(|column| column.name == name).unwrap().text(0);
        assert_eq!([of("step"), of("entry"), of("outcome")], ["hold", "7", "ok"]);
        assert_eq!([of("latency_ns"), of("sent_ns"), of("batch_size")], ["4", "", ""]);
    }
}
