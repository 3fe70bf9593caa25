//! ONNX Runtime's shared library: where it may be, and having it. A process has one at most, for its whole life. Nothing is
//! executed to find it.

use std::collections::BTreeMap;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::logging::LogLevel;

use super::provider::{Provider, ProviderError, cuda_beside};
use super::sessions::Pool;

/// Where the library usually is, where it is installed for everybody.
const PLACES: [&str; 8] = [
    "/opt/onnxruntime/lib",
    "/opt/tritonserver/backends/onnxruntime",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
];
/// What its file is called, maybe followed by its version.
const FILE: &str = "libonnxruntime.so";

/// Why the library cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use ONNX Runtime at {}: {why}; it must be version 1.{} or newer", .path.display(), ort::MINOR_VERSION)]
pub struct LibraryError {
    path: PathBuf,
    why: String,
}

/// Which graph: SHA-256 of its file, the threads that it asks for, and where it is computed.
pub(super) type Key = ([u8; 32], Option<usize>, Provider);

/// The library, and the graphs that it has loaded.
pub struct Library {
    pub(super) environment: Environment,
    path: PathBuf,
    graphs: Mutex<BTreeMap<Key, Weak<Pool>>>,
}

/// The library of this process. While it is being loaded, others wait.
static LOADED: Mutex<Option<&'static Library>> = Mutex::new(None);

/// The library in one of the usual places, if it is in any.
pub fn find() -> Option<PathBuf> {
    PLACES.iter().find_map(|place| find_in(Path::new(place)))
}

fn find_in(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let name = |entry: &fs::DirEntry| entry.file_name().to_str().map(str::to_owned);
    let version = |name: &String| name.strip_prefix(FILE).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    // The shortest is the link that an administrator sets.
    entries.filter_map(|entry| name(&entry.ok()?).filter(version)).min_by_key(String::len).map(|name| folder.join(name))
}

impl Library {
    /// Loads the library, to compute an operator on so many threads, of which whoever asks is one. If the process has one already, that is it:
    /// there can be one only.
    ///
    /// # Errors
    /// When the file is none, or is too old.
    pub fn load(path: &Path, threads: usize) -> Result<&'static Self, LibraryError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = *loaded {
            return Ok(library);
        }
        let failed = |why: String| LibraryError { path: path.to_owned(), why };
        // What it does not check itself, it panics for.
        let opened = catch_unwind(|| open(path, threads));
        let opened = opened.unwrap_or_else(|_| Err("it does not do what it should when it is loaded".to_owned()));
        let environment = opened.map_err(failed)?;
        let library = Self { environment, path: path.to_owned(), graphs: Mutex::default() };
        Ok(*loaded.insert(Box::leak(Box::new(library))))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its CUDA provider, for a GPU of this number.
    ///
    /// # Errors
    /// When that is not beside it.
    pub fn cuda(&self, device: usize) -> Result<Provider, ProviderError> {
        cuda_beside(&self.path).map(|_| Provider::Cuda(i32::try_from(device).unwrap_or(i32::MAX)))
    }

    /// The sessions of a graph: those of a file that is in use, or none yet.
    pub(super) fn graph(&'static self, key: Key, onnx: Vec<u8>) -> Arc<Pool> {
        let mut graphs = self.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        graphs.retain(|_, graph| graph.strong_count() > 0);
        if let Some(pool) = graphs.get(&key).and_then(Weak::upgrade) {
            return pool;
        }
        let pool = Arc::new(Pool::new(self, key.1, key.2, onnx));
        graphs.insert(key, Arc::downgrade(&pool));
        pool
    }
}

fn open(path: &Path, threads: usize) -> Result<Environment, String> {
    let builder = ort::init_from(path).map_err(|error| error.to_string())?;
    let told = |error: ort::Error| error.to_string();
    let pool = GlobalThreadPoolOptions::default().with_intra_threads(threads).map_err(told)?;
    // Threads that spin take the cores from the connections and from other models.
    let pool = pool.with_spin_control(false).map_err(told)?;
    let builder = builder.with_name("proofload").with_telemetry(false).with_global_thread_pool(pool);
    let environment = builder.build().map_err(told)?;
    // What goes wrong is in the errors that it gives back.
    environment.set_log_level(LogLevel::Fatal);
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_by_its_name() {
        let check = |files: &[&str], expected: Option<&str>| {
            let folder = tempfile::tempdir().expect("a folder");
            files.iter().for_each(|file| fs::write(folder.path().join(file), "").expect("written"));
            assert_eq!(find_in(folder.path()), expected.map(|file| folder.path().join(file)), "{files:?}");
        };
        check(&[], None);
        check(&["libonnxruntime.so"], Some("libonnxruntime.so"));
        check(&["libonnxruntime.so.1.31.1"], Some("libonnxruntime.so.1.31.1"));
        check(&["libonnxruntime.so.1.31.1", "libonnxruntime.so.1"], Some("libonnxruntime.so.1"));
        check(&["libonnxruntime_providers_shared.so", "libonnxruntime.a", "libonnxruntime.sop"], None);
        assert_eq!(find_in(Path::new("/nowhere/at/all")), None);
    }

    #[test]
    fn what_is_no_library_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (text, other) = (folder.path().join("libonnxruntime.so"), Path::new("libm.so.6"));
        fs::write(&text, "this is no library").expect("written");
        for path in [text.as_path(), other, Path::new("/nowhere/libonnxruntime.so")] {
            let error = open(path, 1).expect_err("refused");
            assert!(!error.is_empty(), "{}: {error}", path.display());
        }
    }
}
