//! Comma-separated values as RFC 4180 has them, but for line feeds alone at the end of a line.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::Column;
use crate::RunError;

/// Writes parts of a table, the names of its columns before the first.
pub(super) struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    began: bool,
    rows: u64,
}

impl Writer {
    pub(super) fn create(path: &Path) -> Result<Self, RunError> {
        let file = File::create(path).map_err(|source| RunError::io(path, source))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), began: false, rows: 0 })
    }

    pub(super) fn append(&mut self, part: &[Column]) -> Result<(), RunError> {
        let mut text = String::new();
        if !self.began {
            line(&mut text, part.iter().map(|column| column.name.to_owned()));
            self.began = true;
        }
        let rows = part.first().map_or(0, Column::len);
        for row in 0..rows {
            line(&mut text, part.iter().map(|column| column.text(row)));
        }
        self.rows += rows as u64;
        self.file.write_all(text.as_bytes()).map_err(|source| RunError::io(&self.path, source))
    }

    pub(super) fn finish(mut self) -> Result<u64, RunError> {
        self.file.flush().map_err(|source| RunError::io(&self.path, source))?;
        Ok(self.rows)
    }
}

fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            text.push(',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            text.push('"');
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(&cell);
        }
    }
    text.push('\n');
}
