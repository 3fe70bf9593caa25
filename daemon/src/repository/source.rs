//! Where models are read from: a folder in Triton's layout, or the models that the binary carries. Reading only;
//! what the files mean is `resolve`'s affair.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::embedded::{self, EmbeddedModel};

/// A place with models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A model repository on disk.
    Folder(PathBuf),
    /// The models in the binary.
    Embedded,
}

/// The name of a model's configuration.
const CONFIG: &str = "config.pbtxt";

impl Source {
    /// The names of its models, in order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn models(&self) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = match self {
            Self::Folder(root) => folders(root)?,
            Self::Embedded => embedded::MODELS.iter().map(|model| model.name.to_owned()).collect(),
        };
        names.sort();
        Ok(names)
    }

    /// A model's configuration; `None` when it has none.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub fn config(&self, model: &str) -> io::Result<Option<String>> {
        match self {
            Self::Folder(root) => match fs::read_to_string(root.join(model).join(CONFIG)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                read => read.map(Some),
            },
            Self::Embedded => Ok(find(model).map(|model| model.config.to_owned())),
        }
    }

    /// The content of a text file in a model's folder, and of none outside it.
    ///
    /// # Errors
    /// When it cannot be read, or is no UTF-8.
    pub fn text(&self, model: &str, file: &str) -> io::Result<String> {
        String::from_utf8(self.bytes(model, file)?).map_err(|_| io::Error::other("it is not UTF-8"))
    }

    /// The content of a file in a model's folder, and of none outside it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn bytes(&self, model: &str, file: &str) -> io::Result<Vec<u8>> {
        let plain = Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
        match self {
            Self::Folder(root) if plain => fs::read(root.join(model).join(file)),
            Self::Folder(_) => Err(io::Error::other("it must be a file in the model's folder")),
            Self::Embedded => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The numbers of a model's versions, ascending.
    ///
    /// # Errors
    /// When the model's folder cannot be read.
    pub fn versions(&self, model: &str) -> io::Result<Vec<i64>> {
        let names = match self {
            Self::Folder(root) => folders(&root.join(model))?,
            Self::Embedded => vec!["1".to_owned()],
        };
        let mut versions: Vec<i64> = names.iter().filter_map(|name| name.parse().ok()).filter(|&n| n > 0).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// The content of a version's model file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn file(&self, model: &str, version: i64, file: &str) -> io::Result<Vec<u8>> {
        match self {
            Self::Folder(root) => fs::read(root.join(model).join(version.to_string()).join(file)),
            Self::Embedded => {
                find(model).map(|model| model.onnx.to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
            }
        }
    }

    /// How a message names the model's configuration.
    pub fn config_place(&self, model: &str) -> String {
        self.place(&Path::new(model).join(CONFIG))
    }

    /// How a message names a version's model file.
    pub fn file_place(&self, model: &str, version: i64, file: &str) -> String {
        self.place(&Path::new(model).join(version.to_string()).join(file))
    }

    /// How a message names a file of this place.
    fn place(&self, path: &Path) -> String {
        match self {
            Self::Folder(root) => root.join(path).display().to_string(),
            Self::Embedded => format!("built-in {}", path.display()),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(root) => root.display().fmt(f),
            Self::Embedded => f.write_str("the built-in models"),
        }
    }
}

fn find(model: &str) -> Option<&'static EmbeddedModel> {
    embedded::MODELS.iter().find(|embedded| embedded.name == model)
}

/// The names of the folders in a folder. Hidden ones belong to tools, not to the repository.
fn folders(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        // Through links too: repositories are often put together from them.
        if fs::metadata(entry.path())?.is_dir() {
            names.extend(entry.file_name().to_str().filter(|name| !name.starts_with('.')).map(str::to_owned));
        }
    }
    Ok(names)
}
