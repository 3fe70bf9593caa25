//! Recordings as text: a line a second, first `t` (seconds) and `offered_rps`, then any metrics by name. Reads a string
//! and opens no file.

use crate::metric::Metric;
use crate::recording::Recording;

/// A gap of so many seconds at most is filled with what was not measured.
const LONGEST_GAP_S: u64 = 600;

/// Why a text is no recording.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// The first line does not say what the columns are.
    #[error("line 1 must begin with `t,offered_rps` and name a metric for each further column, not {0:?}")]
    Head(String),
    /// A line with another number of columns.
    #[error("line {line} has {found} columns, and line 1 names {expected}")]
    Columns {
        /// From 1.
        line: usize,
        /// Its columns.
        found: usize,
        /// Those of the first line.
        expected: usize,
    },
    /// Something that is no number.
    #[error("line {line}, column {column}: {text:?} is no number; leave it empty where nothing was measured")]
    Number {
        /// From 1.
        line: usize,
        /// Its name.
        column: String,
        /// What stands there.
        text: String,
    },
    /// Seconds that do not follow one another.
    #[error("line {line}: second {found} does not come after second {before}, or leaves a gap of more than 600 s")]
    Order {
        /// From 1.
        line: usize,
        /// The second that it states.
        found: u64,
        /// That of the line before.
        before: u64,
    },
}

/// Reads a recording.
///
/// # Errors
/// When the text is none; the first mistake is named with its line.
pub fn read(text: &str) -> Result<Recording, CsvError> {
    let mut lines =
        text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_end())).filter(|l| !l.1.is_empty());
    let (_, head) = lines.next().unwrap_or((1, ""));
    let names: Vec<&str> = head.split(',').map(str::trim).collect();
    let [_, _, metrics @ ..] = names.as_slice() else { return Err(CsvError::Head(head.to_owned())) };
    if names[..2] != ["t", "offered_rps"] || metrics.is_empty() {
        return Err(CsvError::Head(head.to_owned()));
    }
    let mut recording = Recording::new(metrics.iter().map(|name| Metric::named(name)).collect());
    let mut before: Option<(u64, f64)> = None;
    for (line, text) in lines {
        let cells = cells(line, text, &names)?;
        let (found, offered) = (cells[0].max(0.0) as u64, cells[1]);
        if let Some((last, load)) = before {
            if found <= last || found - last > LONGEST_GAP_S {
                return Err(CsvError::Order { line, found, before: last });
            }
            (last + 1..found).for_each(|_| recording.push(load, &[]));
        }
        before = Some((found, offered));
        recording.push(if offered.is_finite() { offered } else { 0.0 }, &cells[2..]);
    }
    Ok(recording)
}

fn cells(line: usize, text: &str, names: &[&str]) -> Result<Vec<f64>, CsvError> {
    let cell = |(text, name): (&str, &&str)| match text.trim() {
        "" => Ok(f64::NAN),
        text => {
            let wrong = |_| CsvError::Number { line, column: (*name).to_owned(), text: text.to_owned() };
            text.parse().map_err(wrong)
        }
    };
    let found = text.split(',').count();
    if found != names.len() {
        return Err(CsvError::Columns { line, found, expected: names.len() });
    }
    text.split(',').zip(names).map(cell).collect()
}

/// Writes a recording, so that [`read`] gives it back.
pub fn write(recording: &Recording) -> String {
    let mut text = String::from("t,offered_rps");
    for metric in recording.metrics() {
        text.push(',');
        text.push_str(&metric.name);
    }
    text.push('\n');
    for (t_s, second) in recording.seconds().enumerate() {
        text.push_str(&format!("{t_s},{}", second.offered));
        for value in second.values {
            text.push(',');
            if value.is_finite() {
                text.push_str(&value.to_string());
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_mistakes_named() {
        let check = |text: &str, expected: &str| {
            let said = read(text).map_or_else(|error| error.to_string(), |found| write(&found));
            assert!(said.contains(expected), "{text:?}: {said}");
        };
        check("t,offered_rps,rps\n0,10,9.5\n1,11,\n", "t,offered_rps,rps\n0,10,9.5\n1,11,\n");
        check("t,offered_rps,rps\r\n5,10,9\r\n7,12,3\r\n", "0,10,9\n1,10,\n2,12,3\n");
        check("", "line 1 must begin");
        check("t,rps\n", "line 1 must begin");
        check("t,offered_rps\n", "line 1 must begin");
        check("t,offered_rps,rps\n0,1\n", "line 2 has 2 columns, and line 1 names 3");
        check("t,offered_rps,rps\n0,1,x\n", "line 2, column rps: \"x\" is no number");
        check("t,offered_rps,rps\n3,1,1\n3,1,1\n", "line 3: second 3 does not come after second 3");
        check("t,offered_rps,rps\n3,1,1\n9999,1,1\n", "gap of more than");
    }
}
