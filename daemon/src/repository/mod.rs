//! The model repository in Triton's layout: `<repository>/<model>/config.pbtxt` and
//! `<repository>/<model>/<version>/model.onnx`. It reads and checks everything, and starts nothing.

pub mod complaint;
pub mod embedded;
pub mod ensemble;
mod labels;
pub mod onnx;
pub mod origin;
pub mod pbtxt;
pub mod resolve;
pub mod scheduling;
pub mod source;
pub mod spec;
mod tensors;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use proofload_wire::grpc::inference::model_version_policy::PolicyChoice;
use proofload_wire::grpc::inference::{ModelConfig, ModelVersionPolicy};

use self::complaint::{Complaint, at};
use self::origin::{Origin, Text};
use self::pbtxt::text::Message;
use self::pbtxt::{Parsed, Remark};
use self::resolve::{BackendName, Found, backend, resolve};
use self::source::Source;
use self::spec::{BackendSpec, ModelSpec};
use crate::profile;
use crate::sched::queue::Limits;
use crate::warm_up;

/// The name of a model's file unless its configuration says otherwise.
pub const DEFAULT_MODEL_FILENAME: &str = "model.onnx";

/// Where a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place<'a> {
    /// In one source.
    In(&'a Source),
    /// In several, so that nobody knows which is meant. The text says where.
    Twice(String),
}

/// The names of all models of some sources, and what is wrong with the sources themselves.
pub fn places(sources: &[Source]) -> (BTreeMap<String, Place<'_>>, Vec<String>) {
    let mut places = BTreeMap::new();
    let mut errors = Vec::new();
    for source in sources {
        let names = source.models().unwrap_or_else(|error| {
            errors.push(format!("{source}: cannot read the model repository: {error}"));
            Vec::new()
        });
        for name in names {
            let place = match places.get(&name) {
                None => Place::In(source),
                Some(Place::In(first)) => Place::Twice(format!("model '{name}' is in {first} and again in {source}")),
                Some(Place::Twice(before)) => Place::Twice(format!("{before} and in {source}")),
            };
            places.insert(name, place);
        }
    }
    (places, errors)
}

/// What was read of one model.
#[derive(Debug, Default)]
pub struct Read {
    /// Its versions, ready to be started.
    pub versions: Vec<ModelSpec>,
    /// What is wrong, one line each. With any, nothing should be started.
    pub errors: Vec<String>,
    /// What has no effect, one line each.
    pub warnings: Vec<String>,
}

/// Reads the versions of a model that its policy wants. `defaults` bounds its queue where it does not do so itself.
pub fn read(name: &str, origin: &Origin<'_>, defaults: Limits) -> Read {
    let mut read = Read::default();
    let place = origin.config_place(name);
    let configuration = match origin.config(name) {
        Ok(text) => Configuration::read(place, &text, &mut read),
        Err(error) => {
            read.errors.push(format!("{place}: cannot be read: {error}"));
            None
        }
    };
    let Some(configuration) = configuration else { return read };
    let versions = origin.versions(name).map_err(|error| error.to_string());
    match versions.and_then(|versions| choose_versions(&configuration.config, versions)) {
        Ok(versions) => {
            for version in versions {
                read_version(origin, name, version, &configuration, defaults, &mut read);
            }
        }
        Err(what) => read.errors.push(configuration.located(&at(["version_policy"], what))),
    }
    read
}

/// A configuration and where it was written.
struct Configuration {
    config: ModelConfig,
    place: String,
    /// The fields with their lines; none for what came without lines.
    written: Option<Message>,
}

impl Configuration {
    fn read(place: String, text: &Text, read: &mut Read) -> Option<Self> {
        let (parsed, numbered) = match text {
            Text::Pbtxt(text) => (pbtxt::parse(text), true),
            Text::Json(text) => (pbtxt::json::parse(text), false),
        };
        let Parsed { config, written, errors, warnings } = parsed;
        let line = |Remark { line, what }: Remark| {
            if numbered { format!("{place}:{line}: {what}") } else { format!("{place}: {what}") }
        };
        read.warnings.extend(warnings.into_iter().map(line));
        let usable = errors.is_empty();
        read.errors.extend(errors.into_iter().map(line));
        usable.then_some(Self { config, place, written: numbered.then_some(written) })
    }

    /// A complaint as a line of text, with the line of the file that it is about where there is one.
    fn located(&self, complaint: &Complaint) -> String {
        let (place, what) = (&self.place, &complaint.what);
        match self.written.as_ref().and_then(|written| complaint.line(written)) {
            Some(line) => format!("{place}:{line}: {what}"),
            None => format!("{place}: {what}"),
        }
    }
}

fn read_version(
    origin: &Origin<'_>,
    name: &str,
    version: i64,
    configuration: &Configuration,
    defaults: Limits,
    read: &mut Read,
) {
    let begun = Instant::now();
    let config = &configuration.config;
    let file = Some(config.default_model_filename.as_str()).filter(|file| !file.is_empty());
    let file = file.unwrap_or(DEFAULT_MODEL_FILENAME);
    let onnx = match backend(config) {
        Ok(BackendName::Cpu) => match origin.file(name, version, file) {
            Ok(onnx) => onnx,
            Err(error) => {
                let place = origin.file_place(name, version, file);
                read.errors.push(format!("{place}: the model file cannot be read: {error}"));
                return;
            }
        },
        _ => Vec::new(),
    };
    let resolved = resolve(Found { name: name.to_owned(), version, config: config.clone(), onnx }, defaults);
    match resolved.and_then(|spec| with_files(origin, spec)) {
        Ok(mut spec) => {
            if let BackendSpec::Ensemble(steps) = &mut spec.backend {
                ensemble::locate(steps, config, &configuration.place, configuration.written.as_ref());
            }
            spec.profile = profile::found(origin, &spec, &mut read.warnings).map(Arc::new);
            read.versions.push(ModelSpec { reading: begun.elapsed(), ..spec });
        }
        Err(complaints) => read.errors.extend(complaints.iter().map(|complaint| configuration.located(complaint))),
    }
}

/// Reads what the configuration names beside the model itself.
fn with_files(origin: &Origin<'_>, mut spec: ModelSpec) -> Result<ModelSpec, Vec<Complaint>> {
    labels::read(origin, &mut spec)?;
    if let BackendSpec::Ensemble(_) = &spec.backend {
        return Ok(spec);
    }
    let samples = warm_up::samples(&spec, |file| origin.bytes(&spec.name, file));
    let complain = |what: Vec<String>| what.into_iter().map(|what| at(["model_warmup"], what)).collect::<Vec<_>>();
    spec.warm_up = samples.map_err(complain)?;
    Ok(spec)
}

/// The versions that the policy wants. A model without a file needs no version folder either.
fn choose_versions(config: &ModelConfig, mut versions: Vec<i64>) -> Result<Vec<i64>, String> {
    if versions.is_empty()
        && matches!(backend(config), Ok(BackendName::Simulated | BackendName::Identity | BackendName::Ensemble))
    {
        versions.push(1);
    }
    let choice = config.version_policy.as_ref().and_then(|policy: &ModelVersionPolicy| policy.policy_choice.as_ref());
    let chosen: Vec<i64> = match choice {
        None => versions.iter().rev().take(1).copied().collect(),
        Some(PolicyChoice::All(_)) => versions.clone(),
        Some(PolicyChoice::Latest(latest)) => {
            versions.iter().rev().take(latest.num_versions.max(1) as usize).copied().collect()
        }
        Some(PolicyChoice::Specific(specific)) => specific.versions.clone(),
    };
    if let Some(missing) = chosen.iter().find(|version| !versions.contains(version)) {
        return Err(format!("version {missing} of the 'version_policy' has no folder"));
    }
    if chosen.is_empty() {
        return Err("the model has no version; expected a folder with a number, such as 1".to_owned());
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::origin::Given;
    use super::*;

    const LIMITS: Limits = Limits { requests: 8, bytes: 1 << 20 };
    const SIMULATED: &str = r#"backend: "simulated"
        input { name: "x" data_type: TYPE_FP32 dims: 2 } output { name: "y" data_type: TYPE_FP32 dims: 2 }
        parameters { key: "mean_ms" value { string_value: "1" } }"#;

    /// Everything that can be read of these sources.
    fn load(sources: &[Source]) -> Read {
        let (places, errors) = places(sources);
        let mut all = Read::default();
        for (name, place) in places {
            match place {
                Place::In(source) => {
                    let Read { versions, errors, warnings } = read(&name, &Origin::of(source), LIMITS);
                    all.versions.extend(versions);
                    all.errors.extend(errors);
                    all.warnings.extend(warnings);
                }
                Place::Twice(what) => all.errors.push(what),
            }
        }
        all.errors.extend(errors);
        all
    }

    fn write(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, content).expect("written");
    }

    #[test]
    fn the_built_in_models_are_right() {
        let loaded = load(&[Source::Embedded]);
        assert_eq!((loaded.errors, loaded.warnings), (Vec::<String>::new(), Vec::new()));
        let names: Vec<_> = loaded.versions.iter().map(|model| model.name.as_str()).collect();
        assert_eq!(names, ["relief", "relief_depth", "relief_height", "relief_prepare", "sim_4x10ms", "tiny_mlp"]);
    }

    #[test]
    fn versions_follow_the_policy() {
        let root = tempfile::tempdir().expect("a folder");
        for (model, policy) in
            [("a", ""), ("b", "all { }"), ("c", "latest { num_versions: 2 }"), ("d", "specific { versions: 2 }")]
        {
            write(root.path(), &format!("{model}/config.pbtxt"), &format!("{SIMULATED} version_policy {{ {policy} }}"));
            for version in [1, 2, 10] {
                write(root.path(), &format!("{model}/{version}/x"), "");
            }
        }
        write(root.path(), "e/config.pbtxt", SIMULATED);
        let loaded = load(&[Source::Folder(root.path().to_owned())]);
        assert_eq!(loaded.errors, Vec::<String>::new());
        let mut versions: Vec<_> =
            loaded.versions.iter().map(|model| format!("{}{}", model.name, model.version)).collect();
        versions.sort();
        assert_eq!(versions, ["a10", "b1", "b10", "b2", "c10", "c2", "d2", "e1"]);
    }

    #[test]
    fn every_mistake_of_every_model_is_named_with_its_place() {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), "a/config.pbtxt", "\nnam: 1\nmax_batch_size: x");
        write(root.path(), "b/config.pbtxt", "");
        write(root.path(), "c/1/model.onnx", "this is no model");
        write(root.path(), "d/config.pbtxt", &format!("{SIMULATED} version_policy {{ specific {{ versions: 7 }} }}"));
        write(root.path(), "e/1/x", "");
        write(
            root.path(),
            "f/config.pbtxt",
            &format!("max_batch_size: 2\n{SIMULATED} dynamic_batching {{\n preferred_batch_size: 8 }}"),
        );
        let sources = [Source::Folder(root.path().to_owned()), Source::Folder(root.path().join("nowhere"))];
        let errors = load(&sources).errors;
        let expected = [
            "a/config.pbtxt:2: unknown field 'nam'",
            "a/config.pbtxt:3: 'max_batch_size' must be",
            "b/config.pbtxt: the model has no version",
            "c/config.pbtxt: the model file is no ONNX model",
            "d/config.pbtxt:3: version 7 of the 'version_policy' has no folder",
            "e/1/model.onnx: the model file cannot be read",
            "f/config.pbtxt:5: 'preferred_batch_size' 8 must be between",
            "nowhere: cannot read the model repository",
        ];
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        assert!(errors.iter().zip(expected).all(|(error, part)| error.contains(part)), "{errors:#?}");
    }

    #[test]
    fn a_model_in_two_places_is_in_none() {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), "a/m/config.pbtxt", SIMULATED);
        write(root.path(), "b/m/config.pbtxt", SIMULATED);
        let sources = ["a", "b"].map(|name| Source::Folder(root.path().join(name)));
        let errors = load(&sources).errors;
        assert!(errors.len() == 1 && errors[0].contains("model 'm' is in") && errors[0].contains("again in"));
    }

    #[test]
    fn what_is_given_goes_before_what_is_there() {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), "m/config.pbtxt", &format!("{SIMULATED} max_batch_size: 2"));
        let source = Source::Folder(root.path().to_owned());
        let tensors = r#""input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["2"]}],
            "output": [{"name": "y", "dataType": "TYPE_FP32", "dims": [2]}]"#;
        let json = format!(
            r#"{{"backend": "simulated", "maxBatchSize": 6, {tensors}, "parameters": {{"mean_ms": {{"string_value": "1"}}}}}}"#
        );
        let given = Given { config: Some(json), files: BTreeMap::new() };
        let loaded = read("m", &Origin { source: Some(&source), given: Some(&given) }, LIMITS);
        assert_eq!(loaded.errors, Vec::<String>::new());
        assert_eq!(loaded.versions[0].max_batch_size, 6);
        let depth = embedded::MODELS.iter().find(|model| model.name == "tiny_mlp").expect("there");
        let files = BTreeMap::from([((7, "model.onnx".to_owned()), depth.onnx.into())]);
        let given = Given { config: Some("{}".to_owned()), files };
        let loaded = read("elsewhere", &Origin { source: None, given: Some(&given) }, LIMITS);
        assert_eq!(loaded.errors, Vec::<String>::new());
        assert_eq!((loaded.versions.len(), loaded.versions[0].version), (1, 7));
    }
}
