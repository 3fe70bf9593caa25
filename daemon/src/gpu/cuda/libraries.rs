//! Where CUDA's libraries are: in folders that the configuration names, on the loader's path, or inside Python's packages,
//! where the wheels of `PyPI` put them. What is found in a folder is loaded by its whole path, after which the loader knows it by its
//! name, and so does whoever asks for that name later: the bindings, and the libraries themselves among each other. The
//! driver is always the loader's. No Python is started.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use libloading::Library;

/// A library by its file names, the best first, and what it loads by itself and may not find.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) files: &'static [&'static str],
    /// Beginnings of the names of files beside it that are loaded before it.
    before: &'static [&'static str],
}

pub(super) const NVRTC: Wanted =
    Wanted { files: &["libnvrtc.so.13", "libnvrtc.so.12"], before: &["libnvrtc-builtins.so."] };
pub(super) const CUBLASLT: Wanted = Wanted { files: &["libcublasLt.so.13", "libcublasLt.so.12"], before: &[] };
/// cuDNN asks for it.
pub(super) const CUBLAS: Wanted = Wanted { files: &["libcublas.so.13", "libcublas.so.12"], before: &[] };
pub(super) const CUDNN: Wanted = Wanted { files: &["libcudnn.so.9"], before: &[] };

/// Folders in which libraries are looked for.
#[derive(Debug, Default)]
pub(super) struct Folders {
    named: Vec<PathBuf>,
    python: Vec<PathBuf>,
}

impl Folders {
    /// Those that the configuration names, and those of this machine's Python.
    pub(super) fn new(named: &[PathBuf]) -> Self {
        Self { named: named.to_vec(), python: python_folders(|name| std::env::var_os(name)) }
    }

    /// Loads a library for the rest of the process's life, if it is somewhere.
    pub(super) fn load(&self, wanted: Wanted) {
        if !load_from(&self.named, wanted) && !wanted.files.iter().any(|file| load(Path::new(file))) {
            load_from(&self.python, wanted);
        }
    }

    /// For messages.
    pub(super) fn looked(&self) -> String {
        let shown = |folders: &[PathBuf]| {
            let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
            if folders.is_empty() { String::new() } else { format!(" ({})", folders.join(", ")) }
        };
        let (named, python) = (shown(&self.named), shown(&self.python));
        format!("in gpu.library_path{named}, on the loader's path, or in Python's packages{python}")
    }
}

fn load_from(folders: &[PathBuf], wanted: Wanted) -> bool {
    // The version matters more than the folder.
    let places = wanted.files.iter().flat_map(|file| folders.iter().map(move |folder| folder.join(file)));
    places.into_iter().any(|path| {
        let folder = path.parent().filter(|_| path.is_file());
        folder.is_some_and(|folder| {
            beside(folder, wanted.before).iter().for_each(|path| _ = load(path));
            load(&path)
        })
    })
}

/// Files of a folder that begin so, in order.
fn beside(folder: &Path, beginnings: &[&str]) -> BTreeSet<PathBuf> {
    let begins = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        beginnings.iter().any(|beginning| name.starts_with(beginning))
    };
    entries(folder).into_iter().filter(begins).collect()
}

fn load(path: &Path) -> bool {
    // SAFETY: what a library does when it is loaded is its own affair; it is as trusted as the folder, which whoever runs the
    // daemon chose, or as the machine's Python.
    let loaded = unsafe { Library::new(path) };
    match loaded {
        // It stays, so that the loader goes on knowing its name.
        Ok(library) => std::mem::forget(library),
        Err(error) if path.is_absolute() => {
            tracing::warn!("{} is there and cannot be loaded: {error}", path.display());
            return false;
        }
        Err(_) => return false,
    }
    true
}

/// The file of a loaded library, by the beginning of its name.
pub(super) fn loaded(beginning: &str) -> Option<String> {
    file_in(&fs::read_to_string("/proc/self/maps").ok()?, beginning)
}

fn file_in(maps: &str, beginning: &str) -> Option<String> {
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
    let named = |path: &&str| path.rsplit('/').next().is_some_and(|name| name.starts_with(beginning));
    paths.into_iter().find(named).map(str::to_owned)
}

/// Folders with NVIDIA's libraries in Python's packages: of the environment that is active, of the `python3` on the path,
/// of the user and of the machine, in this order.
fn python_folders(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let path = |name: &str| set(name).map(PathBuf::from);
    let mut prefixes: Vec<PathBuf> = path("VIRTUAL_ENV").into_iter().chain(path("CONDA_PREFIX")).collect();
    prefixes.extend(set("PATH").and_then(|path| std::env::split_paths(&path).find_map(|folder| prefix_of(&folder))));
    prefixes.extend(path("HOME").map(|home| home.join(".local")));
    prefixes.extend(["/usr/local", "/usr"].map(PathBuf::from));
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in prefixes.iter().flat_map(|prefix| packages(prefix)).flat_map(|packages| libraries(&packages)) {
        if !found.contains(&folder) {
            found.push(folder);
        }
    }
    found
}

/// What Python would call its prefix, if there is one in a folder of programs: where the environment's mark is, or else where
/// the program really is.
fn prefix_of(programs: &Path) -> Option<PathBuf> {
    let program = programs.join("python3");
    let real = program.canonicalize().ok()?;
    let above = |path: &Path| path.parent().and_then(Path::parent).map(Path::to_owned);
    above(&program).filter(|prefix| prefix.join("pyvenv.cfg").is_file()).or_else(|| above(&real))
}

/// Folders of packages under a prefix.
fn packages(prefix: &Path) -> Vec<PathBuf> {
    let library = prefix.join("lib");
    let is_version =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3"));
    let versions = entries(&library).into_iter().filter(is_version);
    let both = |version: PathBuf| [version.join("site-packages"), version.join("dist-packages")];
    versions.flat_map(both).filter(|packages| packages.is_dir()).collect()
}

/// Where NVIDIA's packages have their libraries.
fn libraries(packages: &Path) -> Vec<PathBuf> {
    let of = entries(&packages.join("nvidia")).into_iter().map(|package| package.join("lib"));
    of.filter(|folder| folder.is_dir()).collect()
}

/// What is in a folder, in order; nothing where there is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(folders: &[&str], files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        folders.iter().for_each(|folder| fs::create_dir_all(root.path().join(folder)).expect("made"));
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
            fs::write(path, "").expect("written");
        }
        root
    }

    #[test]
    fn packages_of_python_are_found() {
        let root = tree(
            &[
                "env/lib/python3.12/site-packages/nvidia/cu13/lib",
                "env/lib/python3.12/site-packages/nvidia/cudnn/lib",
                "env/lib/python3.12/site-packages/nvidia/empty",
                "system/lib/python3/dist-packages/nvidia/cublas/lib",
                "home/.local/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib",
            ],
            &["env/bin/python3", "env/pyvenv.cfg", "system/bin/python3.12", "plain/bin/python3"],
        );
        let at = |path: &str| root.path().join(path);
        std::os::unix::fs::symlink(at("system/bin/python3.12"), at("system/bin/python3")).expect("linked");
        fs::create_dir_all(at("linked")).expect("made");
        std::os::unix::fs::symlink(at("system/bin/python3.12"), at("linked/python3")).expect("linked");
        let check = |variables: &[(&str, &str)], expected: &[&str]| {
            let value = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| at(value).into());
            let found = python_folders(value);
            // The machine that this runs on may have some of its own.
            let found: Vec<_> = found.iter().filter_map(|path| path.strip_prefix(root.path()).ok()).collect();
            assert_eq!(found, expected.iter().map(Path::new).collect::<Vec<_>>(), "{variables:?}");
        };
        let environment =
            ["env/lib/python3.12/site-packages/nvidia/cu13/lib", "env/lib/python3.12/site-packages/nvidia/cudnn/lib"];
        let system = ["system/lib/python3/dist-packages/nvidia/cublas/lib"];
        check(&[], &[]);
        check(&[("VIRTUAL_ENV", "env")], &environment);
        check(&[("PATH", "env/bin")], &environment);
        check(&[("PATH", "system/bin")], &system);
        check(&[("PATH", "linked")], &system);
        check(&[("PATH", "plain/bin")], &[]);
        check(&[("HOME", "home")], &["home/.local/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib"]);
        check(&[("VIRTUAL_ENV", "env"), ("PATH", "env/bin")], &environment);
        check(&[("VIRTUAL_ENV", "env"), ("PATH", "system/bin")], &[environment[0], environment[1], system[0]]);
    }

    #[test]
    fn what_comes_with_a_library_is_beside_it() {
        let root = tree(&[], &["libnvrtc-builtins.so.13.0", "libnvrtc.so.13", "libnvrtc-builtins.alt.so.13.0"]);
        let found = beside(root.path(), NVRTC.before);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [root.path().join("libnvrtc-builtins.so.13.0")]);
    }

    #[test]
    fn what_is_loaded_is_known_by_its_file() {
        let maps = "7f00-7f01 r--p 0000 08:01 12 /usr/lib/libcudart.so\n\
                    7f02-7f03 r--p 0000 08:01 13                     /opt/a b/nvidia/cudnn/lib/libcudnn.so.9\n\
                    7f04-7f05 rw-p 0000 00:00 0 [heap]\n";
        let check = |beginning: &str, expected: Option<&str>| {
            assert_eq!(file_in(maps, beginning).as_deref(), expected, "{beginning}");
        };
        check("libcudnn.so", Some("/opt/a b/nvidia/cudnn/lib/libcudnn.so.9"));
        check("libcudart.so", Some("/usr/lib/libcudart.so"));
        check("libcuda.so", None);
    }

    #[test]
    fn places_are_said() {
        let folders = Folders { named: vec!["/a".into()], python: vec!["/p/nvidia/cu13/lib".into()] };
        let looked = folders.looked();
        assert!(
            looked.contains("gpu.library_path (/a)") && looked.contains("packages (/p/nvidia/cu13/lib)"),
            "{looked}"
        );
        assert!(Folders::default().looked().contains("gpu.library_path, on the loader's path"));
    }
}
