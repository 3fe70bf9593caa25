//! What one model is read from: its place in a repository, or what a client handed over instead of it. A client may
//! give another configuration, and with it all files of the model; then nothing of the repository is read.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;

use super::source::Source;

/// What a client gives in place of what the repository has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// The configuration, in the JSON form of `ModelConfig`.
    pub config: Option<String>,
    /// All files of the model, by version and name. Empty: those of the repository.
    pub files: BTreeMap<(i64, String), Bytes>,
}

/// The text of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// A `config.pbtxt`; empty for a model without one.
    Pbtxt(String),
    /// What a client gave.
    Json(String),
}

/// What a model is read from. Without a source, everything must be given.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Its place in a repository.
    pub source: Option<&'a Source>,
    /// What goes before it.
    pub given: Option<&'a Given>,
}

impl<'a> Origin<'a> {
    /// A model in a repository, as it is there.
    pub fn of(source: &'a Source) -> Self {
        Self { source: Some(source), given: None }
    }

    /// The files that were given, if any were.
    fn files(&self) -> Option<&'a BTreeMap<(i64, String), Bytes>> {
        self.given.map(|given| &given.files).filter(|files| !files.is_empty())
    }

    fn source(&self) -> io::Result<&'a Source> {
        self.source.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The model's configuration.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub(super) fn config(&self, model: &str) -> io::Result<Text> {
        if let Some(json) = self.given.and_then(|given| given.config.clone()) {
            return Ok(Text::Json(json));
        }
        Ok(Text::Pbtxt(self.source()?.config(model)?.unwrap_or_default()))
    }

    /// The numbers of the model's versions, ascending.
    ///
    /// # Errors
    /// When the model's folder cannot be read.
    pub(super) fn versions(&self, model: &str) -> io::Result<Vec<i64>> {
        let Some(files) = self.files() else { return self.source()?.versions(model) };
        let mut versions: Vec<i64> = files.keys().map(|(version, _)| *version).collect();
        versions.dedup();
        Ok(versions)
    }

    /// The content of a version's model file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn file(&self, model: &str, version: i64, file: &str) -> io::Result<Vec<u8>> {
        let Some(files) = self.files() else { return self.source()?.file(model, version, file) };
        let found = files.get(&(version, file.to_owned()));
        found.map(|bytes| bytes.to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A text beside the model's configuration.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn text(&self, model: &str, file: &str) -> io::Result<String> {
        self.source()?.text(model, file)
    }

    /// A file beside the model's configuration.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn bytes(&self, model: &str, file: &str) -> io::Result<Vec<u8>> {
        self.source()?.bytes(model, file)
    }

    /// How a message names the model's configuration.
    pub(super) fn config_place(&self, model: &str) -> String {
        match (self.given, self.source) {
            (Some(Given { config: Some(_), .. }), _) | (_, None) => format!("the given configuration of '{model}'"),
            (_, Some(source)) => source.config_place(model),
        }
    }

    /// How a message names a version's model file.
    pub(super) fn file_place(&self, model: &str, version: i64, file: &str) -> String {
        match (self.files(), self.source) {
            (Some(_), _) | (_, None) => format!("the given file {version}/{file} of '{model}'"),
            (None, Some(source)) => source.file_place(model, version, file),
        }
    }
}
