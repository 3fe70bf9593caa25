//! A folder for one input at a time, for what reads files and not bytes.

use std::fs;
use std::path::{Path, PathBuf};

/// See the module. Emptied by every [`Scratch::fresh`], and left behind by a crash for whoever looks into it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// The folder of this process, empty.
    pub fn fresh(target: &str) -> Self {
        let path = std::env::temp_dir().join(format!("proofload-fuzz-{target}-{}", std::process::id()));
        if path.exists() {
            fs::remove_dir_all(&path).expect("the scratch folder can be emptied");
        }
        fs::create_dir_all(&path).expect("the scratch folder can be made");
        Self { path }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it, and gives its path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, bytes).expect("the scratch folder can be written");
        path
    }
}
