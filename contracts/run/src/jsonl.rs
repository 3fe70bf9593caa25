//! Lines of JSON, appended while a run goes on. A line is either whole or it is the torn last one, which a reader
//! leaves out. What a failed write left of a line is cut off again, so that no other follows it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::RunError;
use crate::whole::WholeRecords;

/// Appends values, one a line.
#[derive(Debug)]
pub struct LineWriter<T> {
    path: PathBuf,
    file: WholeRecords,
    buffer: Vec<u8>,
    values: PhantomData<fn(T)>,
}

impl<T: Serialize> LineWriter<T> {
    /// Creates the file; an existing one is an error.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(path: &Path) -> Result<Self, RunError> {
        Ok(Self::over(path, WholeRecords::create(path)?))
    }

    fn over(path: &Path, file: WholeRecords) -> Self {
        Self { path: path.to_owned(), file, buffer: Vec::new(), values: PhantomData }
    }

    /// Writes the values with one system call, so that a kill falls between lines, not into one.
    ///
    /// # Errors
    /// When the file cannot be written. Then none of these values is in it, and what was there before is.
    pub fn append(&mut self, values: &[T]) -> Result<(), RunError> {
        self.buffer.clear();
        for value in values {
            serde_json::to_writer(&mut self.buffer, value).map_err(|e| RunError::malformed(&self.path, e))?;
            self.buffer.push(b'\n');
        }
        self.file.append(&self.buffer).map_err(|source| RunError::io(&self.path, source))
    }
}

/// Reads values one by one. A torn last line is skipped; a broken line before the last is an error.
#[derive(Debug)]
pub struct LineReader<T> {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
    number: usize,
    values: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> LineReader<T> {
    /// Opens the file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let file = File::open(path).map_err(|source| RunError::io(path, source))?;
        Ok(Self { path: path.to_owned(), file: BufReader::new(file), line: Vec::new(), number: 0, values: PhantomData })
    }

    fn next_value(&mut self) -> Result<Option<T>, RunError> {
        self.line.clear();
        self.number += 1;
        // Bytes and not text: a torn line may end in the middle of a character.
        self.file.read_until(b'\n', &mut self.line).map_err(|source| RunError::io(&self.path, source))?;
        if !self.line.ends_with(b"\n") {
            return Ok(None);
        }
        serde_json::from_slice(&self.line)
            .map(Some)
            .map_err(|e| RunError::malformed(&self.path, format!("line {}: {e}", self.number)))
    }
}

impl<T: DeserializeOwned> Iterator for LineReader<T> {
    type Item = Result<T, RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_value().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whole::tests::SmallDisk;

    #[test]
    fn a_full_disk_leaves_no_half_line_in_the_way_of_the_next() {
        let disk = SmallDisk::new(7);
        let mut lines = LineWriter::over(Path::new("a.jsonl"), WholeRecords::over(Box::new(disk.clone())));
        lines.append(&[11_u32, 22]).unwrap();
        assert!(lines.append(&[33, 44]).is_err());
        disk.make_room(100);
        lines.append(&[55]).unwrap();
        assert_eq!(disk.bytes(), b"11\n22\n55\n");
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_a_broken_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        LineWriter::create(&path).unwrap().append(&[1_u32, 2, 3]).unwrap();
        let read = |path: &Path| LineReader::<u32>::open(path).unwrap().collect::<Result<Vec<_>, _>>();
        assert_eq!(read(&path).unwrap(), [1, 2, 3]);

        std::fs::write(&path, "1\n2\n3").unwrap();
        assert_eq!(read(&path).unwrap(), [1, 2]);

        std::fs::write(&path, b"1\n2\n\"caf\xc3").unwrap();
        assert_eq!(read(&path).unwrap(), [1, 2], "torn in the middle of a character");

        std::fs::write(&path, "1\nx\n3\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 2"));
    }
}
