//! `proofload scenario new`: asks a target, writes a starting file, and never over an existing one unasked.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use proofload_loadgen::discover::{Access, AccessError, Question, survey};
use proofload_loadgen::scenario::Scenario;
use proofload_loadgen::starter::{Shape, Starter};
use proofload_loadgen::transport::{Identity, TlsOptions};

use crate::args::{AccessArgs, NewArgs, StarterKind};
use crate::console::{note, print};

/// Writes the file, or says why not.
pub(crate) fn new_command(args: &NewArgs) -> ExitCode {
    match new(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("proofload: {error:#}"));
            ExitCode::from(crate::EXIT_CANNOT_RUN)
        }
    }
}

fn new(args: &NewArgs) -> anyhow::Result<()> {
    let path = args.output.as_deref();
    if let Some(path) = path.filter(|path| path.exists() && !args.force) {
        bail!(exists(path));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let question = Question {
        url: args.target.clone(),
        grpc_url: args.grpc_target.clone(),
        model: args.model.clone(),
        protocol: args.protocol,
        access: access(&args.access)?,
    };
    let survey = runtime.block_on(survey(&question))?;
    let folder = path.and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (name, schema, access) = (name(path, args.kind), schema(folder), question.access.seen_from(folder));
    let starter = Starter { name: &name, shape: shape(args.kind), survey: &survey, access: &access, schema: &schema };
    let text = starter.text();
    let place = path.map_or_else(|| PathBuf::from(format!("{name}.toml")), Path::to_owned);
    Scenario::parse(&place, &text, &[])
        .context("what is known of the target makes no scenario; mend what is named, or write this file by hand")?;
    match path {
        None => print(text.trim_end()),
        Some(path) => {
            write(path, &text, args.force)?;
            note(&format!("{}: written; next: proofload doctor {}", path.display(), path.display()));
        }
    }
    Ok(())
}

/// Headers and TLS as the command line has them.
fn access(args: &AccessArgs) -> Result<Access, AccessError> {
    let identity = args.client_cert.as_ref().zip(args.client_key.as_ref());
    let identity = identity.map(|(cert, key)| Identity { cert: cert.clone(), key: key.clone() });
    let (ca, server_name) = (args.ca.clone(), args.server_name.clone());
    let tls = TlsOptions { ca, identity, server_name, insecure: args.insecure };
    let mut access = Access { tls, ..Access::default() };
    args.headers.iter().try_for_each(|text| access.add_header(text))?;
    Ok(access)
}

fn exists(path: &Path) -> String {
    format!("{} exists; choose another name, or replace it with --force", path.display())
}

fn write(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(force).create_new(!force);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow::anyhow!(exists(path)),
        _ => anyhow::anyhow!("{} cannot be written: {error}", path.display()),
    })
}

/// The file's name as a scenario's: letters, digits, `-`, `_` and `.`.
fn name(path: Option<&Path>, kind: StarterKind) -> String {
    let stem = path.and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned());
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let stem: String = stem.unwrap_or_default().chars().map(allowed).collect();
    let stem = stem.trim_matches('.').to_owned();
    if stem.is_empty() { format!("{kind:?}").to_lowercase() } else { stem }
}

/// Where a schema lies beside the file or above it, as seen from the file; beside it where there is none yet.
fn schema(folder: &Path) -> String {
    let places = ["./schema.json", "../schema.json", "./scenarios/schema.json", "../scenarios/schema.json"];
    places.into_iter().find(|place| folder.join(place).is_file()).unwrap_or(places[0]).to_owned()
}

fn shape(kind: StarterKind) -> Shape {
    match kind {
        StarterKind::Constant => Shape::Constant,
        StarterKind::Sustained => Shape::Sustained,
        StarterKind::Stress => Shape::Stress,
        StarterKind::Ramp => Shape::Ramp,
        StarterKind::Spike => Shape::Spike,
        StarterKind::Sine => Shape::Sine,
        StarterKind::Endurance => Shape::Endurance,
        StarterKind::Users => Shape::Users,
        StarterKind::Mixed => Shape::Mixed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_name_their_scenario() {
        let check = |path: Option<&str>, expected: &str| {
            assert_eq!(name(path.map(Path::new), StarterKind::Stress), expected, "{path:?}");
        };
        check(None, "stress");
        check(Some("load/my release.toml"), "my-release");
        check(Some("a.b.toml"), "a.b");
        check(Some(".toml"), "toml");
    }

    #[test]
    fn a_schema_nearby_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let load = folder.path().join("load");
        std::fs::create_dir(&load).unwrap();
        assert_eq!(schema(&load), "./schema.json");
        std::fs::write(folder.path().join("schema.json"), "{}").unwrap();
        assert_eq!(schema(&load), "../schema.json");
        assert_eq!(schema(folder.path()), "./schema.json");
    }
}
