//! Kernels as PTX, compiled by NVRTC once and kept on disk under what decides the result: source, options and architecture.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use cudarc::nvrtc::{CompileError, CompileOptions, Ptx, compile_ptx_with_opts};
use sha2::{Digest, Sha256};

use super::error::CudaError;
use crate::gpu::kernels::Source;

/// See the module.
pub(super) struct Programs {
    arch: String,
    folder: Option<PathBuf>,
}

impl Programs {
    /// For an architecture, such as `compute_90`.
    pub(super) fn new(arch: String) -> Self {
        let folder = folder(|name| std::env::var_os(name));
        Self { arch, folder }
    }

    fn path(&self, source: Source) -> Option<PathBuf> {
        let mut hash = Sha256::new();
        // What separates the parts occurs in none of them.
        for part in [&source.text(), &self.arch, &source.fused_multiply_add().to_string()] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let name: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Some(self.folder.as_ref()?.join(format!("{name}.ptx")))
    }

    /// What was compiled before.
    pub(super) fn kept(&self, source: Source) -> Option<Ptx> {
        fs::read_to_string(self.path(source)?).ok().map(Ptx::from_src)
    }

    /// Compiles, and keeps what came of it where that is possible.
    pub(super) fn compiled(&self, source: Source) -> Result<Ptx, CudaError> {
        let options = CompileOptions {
            fmad: Some(source.fused_multiply_add()),
            options: vec![format!("--gpu-architecture={}", self.arch)],
            ..CompileOptions::default()
        };
        let failed = |error: CompileError| {
            let log = match &error {
                CompileError::CompileError { log, .. } => log.to_string_lossy().into_owned(),
                other => format!("{other:?}"),
            };
            CudaError::Kernel { source_name: format!("{source:?}"), arch: self.arch.clone(), log }
        };
        let ptx = compile_ptx_with_opts(source.text(), options).map_err(failed)?;
        if let Some(path) = self.path(source) {
            // Without it the next start takes longer, nothing else.
            if let Err(error) = keep(&path, &ptx.to_src()) {
                tracing::info!("compiled kernels are not kept at {}: {error}", path.display());
            }
        }
        Ok(ptx)
    }
}

/// The user's folder for what can be made again.
fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let caches = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(caches.join("proofload").join("kernels"))
}

/// Whole or not at all, whoever else writes it.
fn keep(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().ok_or_else(|| std::io::Error::other("it is in no folder"))?;
    fs::create_dir_all(folder)?;
    let aside = path.with_extension(format!("{}.part", std::process::id()));
    let mut file = fs::File::create(&aside)?;
    file.write_all(text.as_bytes())?;
    fs::rename(aside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_kept_in_the_users_cache() {
        let check = |variables: &[(&str, &str)], expected: Option<&str>| {
            let found = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            assert_eq!(folder(found), expected.map(PathBuf::from), "{variables:?}");
        };
        check(&[], None);
        check(&[("HOME", "/home/a")], Some("/home/a/.cache/proofload/kernels"));
        check(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "/c")], Some("/c/proofload/kernels"));
        check(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "")], Some("/home/a/.cache/proofload/kernels"));
    }

    #[test]
    fn each_program_has_a_file_of_its_own() {
        let of = |arch: &str| Programs { arch: arch.to_owned(), folder: Some(PathBuf::from("/c")) };
        let mut paths: Vec<_> = Source::ALL.iter().map(|source| of("compute_90").path(*source)).collect();
        paths.extend(Source::ALL.iter().map(|source| of("compute_80").path(*source)));
        let count = paths.len();
        paths.sort();
        paths.dedup();
        assert!(paths.len() == count && count > 4, "{paths:?}");
    }

    #[test]
    fn what_is_kept_is_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let programs = Programs { arch: "compute_90".to_owned(), folder: Some(folder.path().join("a").join("b")) };
        let source = Source::ALL[0];
        assert!(programs.kept(source).is_none());
        keep(&programs.path(source).expect("a path"), ".version 9.0").expect("kept");
        assert_eq!(programs.kept(source).map(|ptx| ptx.to_src()), Some(".version 9.0".to_owned()));
    }
}
