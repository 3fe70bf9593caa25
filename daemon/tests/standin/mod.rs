//! The stand-in for CUDA's libraries, built when its sources are new, and tests that run with it, each in a process of its
//! own: what is loaded, broken and left over stays there. It is no GPU: `README.md` says what it proves. Shared by the tests
//! within the crate and those beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

/// Marks the process in which a test's body runs.
const WITHIN: &str = "STANDIN_WITHIN";

/// What the stand-in says at the end of a process.
#[derive(Debug, Default)]
pub(crate) struct Report(BTreeMap<String, u64>);

impl Report {
    /// A count; 0 if nothing was said of it.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Panics if anything was used as it must not be, or is left.
    #[track_caller]
    pub(crate) fn must_be_clean(&self) {
        assert_eq!(self.count("misuses"), 0, "{self:?}");
        // Functions go with their programs.
        let left =
            |(name, count): &(&String, &u64)| name.starts_with("left ") && **count > 0 && !name.ends_with("function");
        let left: Vec<_> = self.0.iter().filter(left).collect();
        assert!(left.is_empty() && self.count("used_bytes") == 0, "{left:?} {self:?}");
    }

    /// Reads what a process left at a path.
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let number = |line: &str| line.split_once('=').map(|(name, count)| (name.to_owned(), count.parse().unwrap()));
        let counts: BTreeMap<String, u64> = text.lines().filter_map(number).collect();
        assert!(counts.contains_key("process"), "the stand-in was not used: {text}");
        Self(counts)
    }
}

/// Runs a test's body with the stand-in on the loader's path: in a process of its own, which runs this one test again, there
/// really. `test` is its whole name without the crate's. `None` in that process.
#[track_caller]
pub(crate) fn within(test: &str, settings: &[(&str, &str)], body: impl FnOnce()) -> Option<Report> {
    if env::var_os(WITHIN).is_some() {
        body();
        return None;
    }
    let scratch = tempfile::tempdir().unwrap();
    let report = scratch.path().join("report");
    let output = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .envs(environment(&folder(), scratch.path(), &report))
        .envs(settings.iter().copied())
        .env(WITHIN, "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{test}: {:?}\n{said}", output.status);
    Some(Report::read(&report))
}

/// What a process needs to find the libraries in a folder, to keep its kernels elsewhere, and to leave its report.
pub(crate) fn environment(libraries: &Path, cache: &Path, report: &Path) -> Vec<(&'static str, PathBuf)> {
    vec![
        ("LD_LIBRARY_PATH", libraries.to_owned()),
        ("XDG_CACHE_HOME", cache.to_owned()),
        ("STANDIN_REPORT", report.to_owned()),
    ]
}

/// The folder with the four libraries.
pub(crate) fn folder() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(built).clone()
}

fn built() -> PathBuf {
    let daemon = Path::new(env!("CARGO_MANIFEST_DIR"));
    let here = daemon.join("tests/standin");
    let sources = [here.clone(), daemon.join("tests/kernels/host"), daemon.join("src/gpu/kernels")];
    // Beside the tests' programs, so that those of the crate and those beside it share it.
    let programs = env::current_exe().unwrap();
    let folder = programs.parent().unwrap().join(format!("standin-{:016x}", hash(&sources)));
    if !folder.exists() {
        let unfinished = folder.with_extension(std::process::id().to_string());
        let output =
            Command::new(here.join("build")).arg(&unfinished).output().expect("bash and g++ build the stand-in");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Tests of several processes may build at once: the first leaves the whole, the others use that.
        if fs::rename(&unfinished, &folder).is_err() {
            fs::remove_dir_all(&unfinished).unwrap();
        }
    }
    folder
}

/// Of every source that is compiled into it, and of how.
fn hash(folders: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for folder in folders {
        let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| {
            file.is_file() && file.extension().is_none_or(|extension| extension != "rs" && extension != "md")
        });
        files.sort();
        files.iter().for_each(|file| fs::read(file).unwrap().hash(&mut hasher));
    }
    hasher.finish()
}
