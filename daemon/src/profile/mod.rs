//! `daemon profile MODEL`: how long batches of a model take on each engine, what they keep in memory and how far each
//! precision is off, measured on this machine and written beside the model, where the next load finds it. It serves nothing.

pub mod file;
mod inputs;
pub(crate) mod machine;
mod measure;
mod statistics;
mod table;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use proofload_wire::tensor::Tensor;

use self::file::{FILE, Host, LeftOut, Profile, VERSION};
use self::machine::Ticks;
use self::measure::{Executor, Wanted};
use crate::app::{self, DaemonError, cores};
use crate::cli::DaemonArgs;
use crate::config::Config;
use crate::model::Means;
use crate::process::environment;
use crate::repository::origin::Origin;
use crate::repository::source::Source;
use crate::repository::spec::{BackendSpec, ModelSpec, OnnxEngine, Placement};
use crate::repository::{self, Place};
use crate::telemetry::logs;

/// Above this share of the processors' time that others take, figures are not to be trusted.
const BUSY: f64 = 0.1;
/// Batch sizes where none are given go up to this one.
const LARGEST_BATCH: u32 = 64;

/// What is measured. Engines, threads and the GPU are those of the daemon's own flags and configuration.
#[derive(Debug, Clone, Args)]
pub struct ProfileArgs {
    /// Name of the model.
    model: String,
    /// Its repository, instead of those of the configuration.
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// Batch sizes [default: 1, 2, 4, … up to the model's largest, and 64].
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    batches: Vec<u32>,
    /// What a GPU computes in [default: fp32,fp16]. The CPU computes in what the model's file says.
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    precision: Vec<String>,
    /// How long each batch size is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// Sizes that the configuration leaves open, where it has no warm-up sample.
    #[arg(long, value_name = "SIZE", default_value_t = 128)]
    open_size: i64,
    /// Where the profile is written [default: profile.json in the model's folder].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl ProfileArgs {
    /// Measures and writes.
    ///
    /// # Errors
    /// When an argument is wrong, the model cannot be loaded, nothing could be measured, or the file cannot be written.
    pub(crate) fn run(&self, args: &DaemonArgs) -> Result<(), DaemonError> {
        self.check()?;
        let config = args.configuration(environment(), cores())?;
        logs::to_stderr();
        logs::choose(config.log_level);
        let sources =
            self.repository.clone().map_or_else(|| config.models.sources.clone(), |dir| vec![Source::Folder(dir)]);
        let (spec, source) = self.model(&sources, &config)?;
        let out = self.out.clone().unwrap_or_else(|| beside(&source, &self.model));
        let profile = self.measured(&spec, &config)?;
        for line in table::conclusions(&profile) {
            print(&line)?;
        }
        if profile.curves.is_empty() {
            return Err(DaemonError::Models(vec![format!("nothing could be measured of model '{}'", self.model)]));
        }
        write(&out, &profile).map_err(|source| DaemonError::System { what: "cannot write the profile", source })?;
        print(&format!("written to {}", out.display()))
    }

    fn check(&self) -> Result<(), DaemonError> {
        let mut errors = Vec::new();
        if !(0.01..=3600.0).contains(&self.seconds) {
            errors.push("--seconds must be between 0.01 and 3600".to_owned());
        }
        if self.batches.contains(&0) {
            errors.push("--batches must be 1 or more".to_owned());
        }
        if !(1..=1 << 16).contains(&self.open_size) {
            errors.push("--open-size must be between 1 and 65536".to_owned());
        }
        let unknown = |name: &&String| !["fp32", "fp16", "int8"].contains(&name.as_str());
        errors.extend(
            self.precision.iter().filter(unknown).map(|name| format!("--precision {name}: must be fp32, fp16 or int8")),
        );
        if errors.is_empty() { Ok(()) } else { Err(DaemonError::Config(errors)) }
    }

    /// The newest version that its policy wants, and where it is.
    fn model(&self, sources: &[Source], config: &Config) -> Result<(ModelSpec, Source), DaemonError> {
        let (places, mut errors) = repository::places(sources);
        let source = match places.get(&self.model) {
            Some(Place::In(source)) => *source,
            Some(Place::Twice(what)) => return Err(DaemonError::Models(vec![what.clone()])),
            None => {
                let known: Vec<&str> = places.keys().map(String::as_str).collect();
                errors.push(format!("there is no model '{}'; there are {}", self.model, known.join(", ")));
                return Err(DaemonError::Models(errors));
            }
        };
        let read = repository::read(&self.model, &Origin::of(source), config.models.queue);
        if !read.errors.is_empty() {
            return Err(DaemonError::Models(read.errors));
        }
        let newest = read.versions.into_iter().max_by_key(|spec| spec.version);
        match newest {
            Some(ModelSpec { backend: BackendSpec::Ensemble(_), .. }) | None => {
                let what = format!("model '{}' is an ensemble: profile the models of its steps", self.model);
                Err(DaemonError::Models(vec![what]))
            }
            Some(spec) => Ok((spec, source.clone())),
        }
    }

    fn measured(&self, spec: &ModelSpec, config: &Config) -> Result<Profile, DaemonError> {
        let means = app::means(config, app::gpu(config)?)?;
        let shapes = inputs::shapes(spec, self.open_size);
        let lasts = Duration::from_secs_f64(self.seconds);
        let wanted = Wanted { batches: self.batches(spec), lasts, shapes };
        let begun = Ticks::now();
        let mut profile = Profile {
            format: VERSION,
            model: spec.name.clone(),
            version: spec.version,
            sha256: spec.sha256(),
            measured_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            daemon: env!("CARGO_PKG_VERSION").to_owned(),
            host: Host::clone(&means.host),
            shapes: wanted.shapes.clone(),
            others_busy: None,
            curves: Vec::new(),
            left_out: Vec::new(),
        };
        let mut reference: Option<Vec<Tensor>> = None;
        print(table::HEAD)?;
        for (engine, means) in engines(spec, &means) {
            for precision in self.precisions(engine, &mut profile.left_out) {
                let executor = Executor { engine, precision: &precision, means: &means };
                let mut printed = Ok(());
                let mut found = measure::executor(spec, &executor, &wanted, |point| {
                    let row = print(&table::row(engine, &precision, point));
                    printed = std::mem::replace(&mut printed, Ok(())).and(row);
                });
                printed?;
                match &reference {
                    Some(reference) => match measure::error(&found, reference) {
                        Ok(error) => found.curve.error = error,
                        Err(why) => tracing::warn!("the answers of {engine} in {precision} cannot be compared: {why}"),
                    },
                    None => reference.clone_from(&found.answer),
                }
                profile.left_out.extend(found.left_out);
                profile.curves.extend(Some(found.curve).filter(|curve| !curve.points.is_empty()));
            }
        }
        profile.others_busy = begun.zip(Ticks::now()).and_then(|(then, now)| now.others_since(then));
        Ok(profile)
    }

    fn batches(&self, spec: &ModelSpec) -> Vec<u32> {
        if !spec.batched() {
            return vec![1];
        }
        let most = spec.max_batch_size;
        let mut batches = self.batches.clone();
        if batches.is_empty() {
            let doubled = std::iter::successors(Some(1_u32), |size| size.checked_mul(2));
            batches.extend(doubled.take_while(|size| *size <= most.min(LARGEST_BATCH)));
            batches.push(most.min(LARGEST_BATCH));
        }
        batches.sort_unstable();
        batches.dedup();
        batches
    }

    /// What an engine is measured in; of what it cannot, it is said why.
    fn precisions(&self, engine: &str, left_out: &mut Vec<LeftOut>) -> Vec<String> {
        let all: &[&str] = if engine == "cuda" { &["fp32", "fp16"] } else { &["fp32"] };
        let asked = if self.precision.is_empty() {
            all.iter().map(ToString::to_string).collect()
        } else {
            self.precision.clone()
        };
        if engine == "cuda" {
            return asked;
        }
        let (full, other): (Vec<_>, Vec<_>) = asked.into_iter().partition(|name| name == "fp32");
        let why = "the CPU computes in what the model's file says; give it a file in that precision".to_owned();
        let gap = |precision| LeftOut { engine: engine.to_owned(), precision, batch: None, why: why.clone() };
        left_out.extend(other.into_iter().map(gap));
        full
    }
}

/// The engines that may compute a model, each with nothing beside it, the one of the reference first.
fn engines(spec: &ModelSpec, means: &Means) -> Vec<(&'static str, Means)> {
    let cpu = Means { gpu: None, onnxruntime: None, ..means.clone() };
    match &spec.backend {
        BackendSpec::Simulated(_) => vec![("simulated", cpu)],
        BackendSpec::Identity(_) => vec![("identity", cpu)],
        BackendSpec::Ensemble(_) => Vec::new(),
        BackendSpec::Cpu { engine, .. } => {
            let mut engines = Vec::new();
            if *engine == OnnxEngine::Best && means.onnxruntime.is_some() {
                engines.push(("onnxruntime", Means { gpu: None, ..means.clone() }));
            }
            engines.push(("rten", cpu));
            if means.gpu.is_some() && spec.placement != Placement::Cpu {
                engines.push(("cuda", Means { onnxruntime: None, ..means.clone() }));
            }
            engines
        }
    }
}

/// Where a model's profile belongs. A built-in model has no folder: then it is this one.
fn beside(source: &Source, model: &str) -> PathBuf {
    match source {
        Source::Folder(root) => root.join(model).join(FILE),
        Source::Embedded => PathBuf::from(format!("{model}.{FILE}")),
    }
}

/// Writes a profile whole or not at all.
fn write(path: &Path, profile: &Profile) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(profile).map_err(io::Error::other)?;
    let name = path.file_name().ok_or_else(|| io::Error::other("it has no name"))?.to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut file = File::create(&aside)?;
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&aside, path)
    })();
    // What is left of a failure is in nobody's way.
    written.inspect_err(|_| drop(fs::remove_file(&aside)))
}

fn print(line: &str) -> Result<(), DaemonError> {
    let printed = writeln!(io::stdout().lock(), "{line}");
    printed.map_err(|source| DaemonError::System { what: "cannot print", source })
}

/// What was measured of a model, if there is anything beside it; that it cannot be used is a warning.
pub(crate) fn found(origin: &Origin<'_>, spec: &ModelSpec, warnings: &mut Vec<String>) -> Option<Profile> {
    let text = origin.bytes(&spec.name, FILE).ok()?;
    let read = Profile::read(&text, &spec.sha256());
    read.map_err(|what| warnings.push(format!("model '{}': its {FILE} has no effect: {what}", spec.name))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_written_whole_and_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for version in [1, 2] {
            let profile = Profile { version, ..file::tests::profile(Vec::new()) };
            write(&path, &profile).unwrap();
            let read = Profile::read(&fs::read(&path).unwrap(), "ab").unwrap();
            assert_eq!(read.version, version);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing lies beside it");
        assert!(write(&folder.path().join("nowhere").join(FILE), &file::tests::profile(Vec::new())).is_err());
    }

    #[test]
    fn profiles_lie_beside_their_models() {
        assert_eq!(beside(&Source::Folder("/a".into()), "m"), Path::new("/a/m/profile.json"));
        assert_eq!(beside(&Source::Embedded, "m"), Path::new("m.profile.json"));
    }
}
