//! Where ONNX Runtime computes: on the CPU, or on a GPU by its CUDA provider, which is a library of its own beside it. Whether
//! that is there is looked up; whether it works, only it can say.

use std::path::{Path, PathBuf};

/// What a GPU needs beside ONNX Runtime's own library.
const FILES: [&str; 2] = ["libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"];

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Provider {
    /// On the CPU.
    #[default]
    Cpu,
    /// On a GPU, by its number.
    Cuda(i32),
}

/// The CUDA provider is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ONNX Runtime's CUDA provider is not there: {} has no {}; its GPU package has both", .folder.display(), .file)]
pub struct ProviderError {
    folder: PathBuf,
    file: &'static str,
}

/// Finds the CUDA provider of an ONNX Runtime: beside the file, or beside what that is a link to.
///
/// # Errors
/// When a library of it is missing.
pub(super) fn cuda_beside(library: &Path) -> Result<PathBuf, ProviderError> {
    let folder = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    let real = library.canonicalize().map(|real| folder(&real));
    let found = in_folder(&folder(library));
    found.or_else(|missing| real.map_or(Err(missing), |real| in_folder(&real)))
}

fn in_folder(folder: &Path) -> Result<PathBuf, ProviderError> {
    match FILES.into_iter().find(|file| !folder.join(file).is_file()) {
        Some(file) => Err(ProviderError { folder: folder.to_owned(), file }),
        None => Ok(folder.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_lies_beside_the_library() {
        let place = tempfile::tempdir().expect("a folder");
        let (real, link) = (place.path().join("real"), place.path().join("link"));
        for folder in [&real, &link] {
            std::fs::create_dir(folder).expect("a folder");
        }
        let library = real.join("libonnxruntime.so.1");
        std::fs::write(&library, "").expect("written");
        std::os::unix::fs::symlink(&library, link.join("libonnxruntime.so")).expect("a link");
        let check = |expected: Result<&Path, &str>| {
            for library in [library.clone(), link.join("libonnxruntime.so")] {
                match (cuda_beside(&library), expected) {
                    (Ok(found), Ok(folder)) => assert_eq!(found, folder),
                    (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                    (found, _) => panic!("{found:?}, expected {expected:?}"),
                }
            }
        };
        check(Err("has no libonnxruntime_providers_shared.so"));
        std::fs::write(real.join(FILES[0]), "").expect("written");
        check(Err("has no libonnxruntime_providers_cuda.so"));
        std::fs::write(real.join(FILES[1]), "").expect("written");
        check(Ok(&real));
        assert!(cuda_beside(Path::new("libonnxruntime.so")).is_err(), "a name without a folder");
    }
}
