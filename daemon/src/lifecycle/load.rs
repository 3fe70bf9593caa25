//! Loading models: ordinary ones side by side, with them what the ensembles among them need, and then the ensembles, which
//! are made of what serves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Live, Serving, ensembles, lock};
use crate::model::Model;
use crate::parallel;
use crate::repository::origin::{Given, Origin};
use crate::repository::spec::ModelSpec;
use crate::repository::{self, Place, Read};

/// A model that is to be loaded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// What goes before the repository. With it, nothing of the model that serves is used again.
    pub(super) given: Option<&'a Given>,
}

impl<'a> Wanted<'a> {
    /// A model as the repository has it.
    pub(super) fn of(name: &'a str) -> Self {
        Self { name, given: None }
    }
}

/// A model that was not loaded.
#[derive(Debug)]
pub(super) struct Failure {
    /// Its name.
    pub(super) name: String,
    /// All that is wrong.
    pub(super) errors: Vec<String>,
}

/// What became of a model that could be loaded.
enum Loaded {
    /// It serves.
    Serves,
    /// It is an ensemble: whether it serves depends on others.
    Ensemble(Vec<ModelSpec>),
}

impl Live {
    /// Loads these models, and with them what ensembles among them need and does not serve yet. Says which were not loaded.
    pub(super) fn load_all<'a>(&self, places: &'a BTreeMap<String, Place<'_>>, first: Vec<Wanted<'a>>) -> Vec<Failure> {
        let mut seen: BTreeSet<&str> = first.iter().map(|wanted| wanted.name).collect();
        let by_name = seen.clone();
        let (mut wave, mut made, mut failed) = (first, Vec::new(), Vec::new());
        while !wave.is_empty() {
            let results = parallel::map(&wave, self.options.load_threads, |wanted| {
                self.load_one(wanted, places.get(wanted.name))
            });
            let mut needed = Vec::new();
            for (wanted, result) in wave.iter().zip(results) {
                match result {
                    Ok(Loaded::Serves) => {}
                    Ok(Loaded::Ensemble(versions)) => {
                        needed.extend(self.lacking(&versions));
                        made.push((wanted.name.to_owned(), versions));
                    }
                    Err(errors) => failed.push(Failure { name: wanted.name.to_owned(), errors }),
                }
            }
            let there = needed.iter().filter_map(|name| Some(places.get_key_value(name)?.0.as_str()));
            wave = there.filter(|name| seen.insert(name)).map(Wanted::of).collect();
        }
        self.update_with(|_, ensembles| seen.iter().for_each(|name| ensembles.asked_for(name, by_name.contains(name))));
        failed.extend(self.assemble(&made));
        failed
    }

    /// The models that these ensembles need and that do not serve.
    fn lacking(&self, versions: &[ModelSpec]) -> Vec<String> {
        let snapshot = self.snapshot();
        let steps = versions.iter().filter_map(ensembles::steps).flat_map(|ensemble| &ensemble.steps);
        let lacks = steps.filter(|step| snapshot.ready_of(&step.model).next().is_none());
        lacks.map(|step| step.model.clone()).collect()
    }

    fn load_one(&self, wanted: &Wanted<'_>, place: Option<&Place<'_>>) -> Result<Loaded, Vec<String>> {
        let Wanted { name, given } = *wanted;
        match place {
            None => self.load_from(name, &Origin { source: None, given }),
            Some(Place::In(source)) => self.load_from(name, &Origin { source: Some(source), given }),
            Some(Place::Twice(what)) => {
                self.update(|snapshot| snapshot.failed(name, what));
                Err(vec![what.clone()])
            }
        }
    }

    /// Loads all versions of a model, or none. Versions of the repository that have not changed serve on as they are.
    fn load_from(&self, name: &str, origin: &Origin<'_>) -> Result<Loaded, Vec<String>> {
        let Read { versions, errors, warnings } = repository::read(name, origin, self.options.queue);
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        self.update(|snapshot| snapshot.loading(name, versions.iter().map(|spec| spec.version)));
        if errors.is_empty() && versions.iter().any(|spec| ensembles::steps(spec).is_some()) {
            return Ok(Loaded::Ensemble(versions));
        }
        match if errors.is_empty() { self.begin(versions, origin.given.is_none()) } else { Err(errors) } {
            Ok(versions) => {
                let numbers = numbers(versions.keys());
                self.update_with(|snapshot, ensembles| {
                    ensembles.forget(name);
                    snapshot.loaded(name, versions);
                });
                tracing::info!("model '{name}' serves in version {numbers}");
                Ok(Loaded::Serves)
            }
            Err(errors) => {
                self.update(|snapshot| snapshot.failed(name, &errors.join("; ")));
                Err(errors)
            }
        }
    }

    fn begin(&self, versions: Vec<ModelSpec>, reuse: bool) -> Result<BTreeMap<i64, Arc<Serving>>, Vec<String>> {
        let snapshot = self.snapshot();
        let (mut serving, mut errors) = (BTreeMap::new(), Vec::new());
        for spec in versions {
            let version = spec.version;
            let same = snapshot.ready_of(&spec.name).find(|(_, old)| reuse && old.spec().is_same(&spec));
            match same.map_or_else(|| self.serve(spec), |(_, old)| Ok(Arc::clone(old))) {
                Ok(model) => _ = serving.insert(version, model),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(serving) } else { Err(errors) }
    }

    fn serve(&self, spec: ModelSpec) -> Result<Arc<Serving>, String> {
        let model = Arc::new(Model::start(spec, &self.means).map_err(|error| error.to_string())?);
        let mut started = lock(&self.started);
        if started.closed {
            return Err("the daemon is stopping".to_owned());
        }
        started.models.retain(|model| model.strong_count() > 0);
        started.models.push(Arc::downgrade(&model));
        Ok(self.retirement.serve(model))
    }

    /// Has ensembles serve, all at once, because they may need each other. One that cannot leaves in service what it was
    /// to replace; where there is nothing to leave, it serves as soon as it can.
    fn assemble(&self, made: &[(String, Vec<ModelSpec>)]) -> Vec<Failure> {
        if made.is_empty() {
            return Vec::new();
        }
        let failed = self.update_with(|snapshot, ensembles| {
            let served: BTreeSet<String> = snapshot.names().cloned().collect();
            let mut trial = snapshot.clone();
            let mut before = BTreeMap::new();
            for (name, versions) in made {
                before.insert(name, ensembles.want(name, versions.clone()));
            }
            self.settle(ensembles, &mut trial);
            let mut failed = Vec::new();
            for (name, _) in made {
                let Some(errors) = reasons(&trial, name) else { continue };
                if served.contains(name) {
                    match before.remove(name).flatten() {
                        Some(old) => _ = ensembles.want(name, old),
                        None => ensembles.forget(name),
                    }
                    snapshot.failed(name, &errors.join("; "));
                }
                failed.push(Failure { name: name.clone(), errors });
            }
            if failed.is_empty() {
                *snapshot = trial;
            }
            failed
        });
        for (name, versions) in made {
            if !failed.iter().any(|failure| failure.name == *name) {
                let numbers = numbers(versions.iter().map(|spec| &spec.version));
                tracing::info!("ensemble '{name}' serves in version {numbers}");
            }
        }
        failed
    }
}

/// Why nothing serves that ensemble, if nothing does.
fn reasons(snapshot: &super::Held, name: &str) -> Option<Vec<String>> {
    if snapshot.ready_of(name).next().is_some() {
        return None;
    }
    let versions = snapshot.models.get(name).into_iter().flat_map(|entry| entry.versions.values());
    let reasons: BTreeSet<_> = versions.map(|state| state.describe().1.to_owned()).collect();
    Some(reasons.into_iter().filter(|reason| !reason.is_empty()).collect())
}

fn numbers<'a>(versions: impl Iterator<Item = &'a i64>) -> String {
    versions.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
