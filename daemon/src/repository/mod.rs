//! The model repository in Triton's layout: `<repository>/<model>/config.pbtxt` and
//! `<repository>/<model>/<version>/model.onnx`. It reads and checks everything, and starts nothing.

pub mod embedded;
mod labels;
pub mod onnx;
pub mod pbtxt;
pub mod resolve;
mod scheduling;
pub mod source;
pub mod spec;
mod tensors;

use std::collections::BTreeMap;

use proofload_wire::grpc::inference::model_version_policy::PolicyChoice;
use proofload_wire::grpc::inference::{ModelConfig, ModelVersionPolicy};

use self::pbtxt::Remark;
use self::resolve::{BackendName, Found, backend, resolve};
use self::source::Source;
use self::spec::ModelSpec;
use crate::sched::queue::Limits;

/// The name of a model's file unless its configuration says otherwise.
pub const DEFAULT_MODEL_FILENAME: &str = "model.onnx";

/// Every model of some sources.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The models, ready to be started.
    pub models: Vec<ModelSpec>,
    /// What is wrong, one line each. With any, nothing should be started.
    pub errors: Vec<String>,
    /// What has no effect, one line each.
    pub warnings: Vec<String>,
}

/// Reads all models of all sources. `defaults` bounds the queues of models that do not bound them themselves.
pub fn load(sources: &[Source], defaults: Limits) -> Loaded {
    let mut loaded = Loaded::default();
    let mut places: BTreeMap<String, &Source> = BTreeMap::new();
    for source in sources {
        let names = source.models().unwrap_or_else(|error| {
            loaded.errors.push(format!("{source}: cannot read the model repository: {error}"));
            Vec::new()
        });
        for name in names {
            match places.insert(name.clone(), source) {
                None => load_model(source, &name, defaults, &mut loaded),
                Some(first) => loaded.errors.push(format!("model '{name}' is in {first} and again in {source}")),
            }
        }
    }
    if loaded.models.is_empty() && loaded.errors.is_empty() {
        let places = sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        loaded
            .errors
            .push(format!("no model found in {places}; expected <model>/config.pbtxt and <model>/1/model.onnx"));
    }
    loaded
}

fn load_model(source: &Source, name: &str, defaults: Limits, loaded: &mut Loaded) {
    let place = source.config_place(name);
    let config = match source.config(name) {
        Ok(text) => read_config(&place, text.as_deref().unwrap_or_default(), loaded),
        Err(error) => {
            loaded.errors.push(format!("{place}: cannot be read: {error}"));
            None
        }
    };
    let Some(config) = config else { return };
    let versions = source.versions(name).map_err(|error| error.to_string());
    match versions.and_then(|versions| choose_versions(&config, versions)) {
        Ok(versions) => {
            for version in versions {
                load_version(source, name, version, &config, defaults, loaded);
            }
        }
        Err(what) => loaded.errors.push(format!("{place}: {what}")),
    }
}

fn read_config(place: &str, text: &str, loaded: &mut Loaded) -> Option<ModelConfig> {
    let parsed = pbtxt::parse(text);
    let line = |Remark { line, what }: Remark| format!("{place}:{line}: {what}");
    loaded.warnings.extend(parsed.warnings.into_iter().map(line));
    let usable = parsed.errors.is_empty();
    loaded.errors.extend(parsed.errors.into_iter().map(line));
    usable.then_some(parsed.config)
}

fn load_version(
    source: &Source,
    name: &str,
    version: i64,
    config: &ModelConfig,
    defaults: Limits,
    loaded: &mut Loaded,
) {
    let file = Some(config.default_model_filename.as_str()).filter(|file| !file.is_empty());
    let file = file.unwrap_or(DEFAULT_MODEL_FILENAME);
    let onnx = match backend(config) {
        Ok(BackendName::Cpu) => match source.file(name, version, file) {
            Ok(onnx) => onnx,
            Err(error) => {
                let place = source.file_place(name, version, file);
                loaded.errors.push(format!("{place}: the model file cannot be read: {error}"));
                return;
            }
        },
        _ => Vec::new(),
    };
    let resolved = resolve(Found { name: name.to_owned(), version, config: config.clone(), onnx }, defaults);
    match resolved.and_then(|mut spec| labels::read(source, &mut spec).map(|()| spec)) {
        Ok(spec) => loaded.models.push(spec),
        Err(errors) => {
            let place = source.config_place(name);
            loaded.errors.extend(errors.into_iter().map(|what| format!("{place}: {what}")));
        }
    }
}

/// The versions that the policy wants. A model without a file needs no version folder either.
fn choose_versions(config: &ModelConfig, mut versions: Vec<i64>) -> Result<Vec<i64>, String> {
    if versions.is_empty() && matches!(backend(config), Ok(BackendName::Simulated | BackendName::Identity)) {
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

    use super::*;

    const LIMITS: Limits = Limits { requests: 8, bytes: 1 << 20 };
    const SIMULATED: &str = r#"backend: "simulated"
        input { name: "x" data_type: TYPE_FP32 dims: 2 } output { name: "y" data_type: TYPE_FP32 dims: 2 }
        parameters { key: "mean_ms" value { string_value: "1" } }"#;

    fn write(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, content).expect("written");
    }

    #[test]
    fn the_built_in_models_are_right() {
        let loaded = load(&[Source::Embedded], LIMITS);
        assert_eq!((loaded.errors, loaded.warnings), (Vec::<String>::new(), Vec::new()));
        let names: Vec<_> = loaded.models.iter().map(|model| model.name.as_str()).collect();
        assert_eq!(names, ["relief_depth", "sim_4x10ms", "tiny_mlp"]);
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
        let loaded = load(&[Source::Folder(root.path().to_owned())], LIMITS);
        assert_eq!(loaded.errors, Vec::<String>::new());
        let mut versions: Vec<_> =
            loaded.models.iter().map(|model| format!("{}{}", model.name, model.version)).collect();
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
        let sources = [Source::Folder(root.path().to_owned()), Source::Folder(root.path().join("nowhere"))];
        let errors = load(&sources, LIMITS).errors;
        let expected = [
            "a/config.pbtxt:2: unknown field 'nam'",
            "a/config.pbtxt:3: 'max_batch_size' must be",
            "b/config.pbtxt: the model has no version",
            "c/config.pbtxt: the model file is no ONNX model",
            "d/config.pbtxt: version 7 of the 'version_policy' has no folder",
            "e/1/model.onnx: the model file cannot be read",
            "nowhere: cannot read the model repository",
        ];
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        assert!(errors.iter().zip(expected).all(|(error, part)| error.contains(part)), "{errors:#?}");
    }
}
