//! What is wrong with a scenario, and where. All of it at once: whoever mends a file should have to mend it once.

use std::fmt;
use std::path::PathBuf;

/// Where in a scenario something stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Place {
    /// The scenario as a whole.
    #[default]
    Whole,
    /// A place in the file, both from 1.
    File {
        /// Line.
        line: usize,
        /// Column, in characters.
        column: usize,
    },
    /// An override given with `--set`.
    Override(String),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// Dotted path of the key, empty for the whole.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Everything that is wrong with one scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioErrors {
    /// The scenario's file.
    pub path: PathBuf,
    /// At least one.
    pub problems: Vec<Problem>,
}

impl std::error::Error for ScenarioErrors {}

impl fmt::Display for ScenarioErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            let path = self.path.display();
            match &problem.place {
                Place::Whole => write!(f, "{path}: ")?,
                Place::File { line, column } => write!(f, "{path}:{line}:{column}: ")?,
                Place::Override(text) => write!(f, "--set {text}: ")?,
            }
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            f.write_str(&problem.message)?;
        }
        Ok(())
    }
}
