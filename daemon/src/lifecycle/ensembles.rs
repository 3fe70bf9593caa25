//! Ensembles over time: those that should serve, and whether they can with the models that serve right now. Looked through
//! whenever these change, so that an ensemble goes with the models of its steps and comes back with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::snapshot::{Missing, Snapshot};
use super::{Held, Serving};
use crate::ensemble::{EnsembleSpec, StepSpec, graph};
use crate::model::{Ensemble, Model};
use crate::repository::spec::{BackendSpec, ModelSpec};

/// The ensembles that should serve.
#[derive(Default)]
pub(super) struct Ensembles {
    /// By name: the versions to be.
    wanted: BTreeMap<String, Vec<ModelSpec>>,
    /// Models that nobody asked for by name: they were loaded because an ensemble needs them.
    implied: BTreeSet<String>,
}

impl Ensembles {
    /// These versions should serve. Gives those that should have until now.
    pub(super) fn want(&mut self, name: &str, versions: Vec<ModelSpec>) -> Option<Vec<ModelSpec>> {
        self.wanted.insert(name.to_owned(), versions)
    }

    /// That model should serve no ensemble.
    pub(super) fn forget(&mut self, name: &str) {
        self.wanted.remove(name);
    }

    /// Remembers whether somebody asked for that model by name.
    pub(super) fn asked_for(&mut self, name: &str, by_name: bool) {
        if by_name {
            self.implied.remove(name);
        } else {
            self.implied.insert(name.to_owned());
        }
    }

    /// Forgets an ensemble, and says which models were loaded only for it.
    pub(super) fn dissolve(&mut self, name: &str) -> Vec<String> {
        let mut alone = Vec::new();
        let mut gone = vec![name.to_owned()];
        while let Some(name) = gone.pop() {
            let steps = self.wanted.remove(&name).iter().flat_map(|specs| needed(specs)).collect::<BTreeSet<_>>();
            for step in steps {
                let still_needed = self.wanted.values().any(|specs| needed(specs).any(|other| other == step));
                if !still_needed && self.implied.remove(&step) {
                    alone.push(step.clone());
                    gone.push(step);
                }
            }
        }
        alone
    }

    /// Has every ensemble serve that can, and none that cannot. `serve` puts a model into service.
    pub(super) fn settle(&self, snapshot: &mut Held, serve: impl Fn(Model) -> Arc<Serving>) {
        let (order, cycles) = order(&self.wanted);
        for (name, why) in &cycles {
            self.unavailable(snapshot, name, why);
        }
        for name in order.iter().filter(|name| !cycles.contains_key(**name)) {
            let made: Vec<_> = self.wanted[*name].iter().map(|spec| make(spec, snapshot, &serve)).collect();
            let errors: BTreeSet<_> = made.iter().filter_map(|made| made.as_ref().err()).flatten().cloned().collect();
            if !errors.is_empty() {
                self.unavailable(snapshot, name, &errors.into_iter().collect::<Vec<_>>().join("; "));
                continue;
            }
            let made: BTreeMap<_, _> =
                made.into_iter().filter_map(Result::ok).map(|model| (model.spec().version, model)).collect();
            let same = snapshot.ready_of(name).map(|(version, model)| (version, Arc::as_ptr(model)));
            if !same.eq(made.iter().map(|(version, model)| (*version, Arc::as_ptr(model)))) {
                snapshot.loaded(name, made);
            }
        }
    }

    fn unavailable(&self, snapshot: &mut Held, name: &str, why: &str) {
        let versions = self.wanted.get(name).into_iter().flatten().map(|spec| spec.version);
        snapshot.unavailable(name, versions, why);
    }
}

/// The names of the models that these need.
fn needed(specs: &[ModelSpec]) -> impl Iterator<Item = String> {
    specs.iter().filter_map(steps).flat_map(|ensemble| &ensemble.steps).map(|step| step.model.clone())
}

/// The steps of an ensemble.
pub(super) fn steps(spec: &ModelSpec) -> Option<&EnsembleSpec> {
    match &spec.backend {
        BackendSpec::Ensemble(ensemble) => Some(ensemble),
        _ => None,
    }
}

/// The model that serves an ensemble: the one that does so already, if nothing has changed for it.
fn make(spec: &ModelSpec, snapshot: &Held, serve: impl Fn(Model) -> Arc<Serving>) -> Result<Arc<Serving>, Vec<String>> {
    let Some(ensemble) = steps(spec) else { return Err(vec![format!("model '{}' is no ensemble", spec.name)]) };
    let find = |step: &StepSpec| find(snapshot, step);
    let plan = graph::plan(spec, ensemble, |step| find(step).map(|model| model.spec()))?;
    let found: Result<Vec<_>, _> = ensemble.steps.iter().map(|step| find(step).cloned()).collect();
    let steps = found.map_err(|why| vec![why])?;
    let before = snapshot.ready_of(&spec.name).find(|(version, _)| *version == spec.version).map(|(_, model)| model);
    let same =
        before.filter(|before| before.spec().is_same(spec) && before.steps().is_some_and(|old| same(old, &steps)));
    if let Some(same) = same {
        return Ok(Arc::clone(same));
    }
    let counts_on = before.filter(|before| before.steps().is_some()).map(|before| &***before);
    Ok(serve(Model::ensemble(with_labels(spec, &plan, &steps), Ensemble { plan, steps }, counts_on)))
}

fn same(old: &Ensemble, steps: &[Arc<Serving>]) -> bool {
    old.steps.len() == steps.len() && old.steps.iter().zip(steps).all(|(old, new)| Arc::ptr_eq(old, new))
}

/// The classes of an output have the names that the step has for them, where the ensemble has none of its own.
fn with_labels(spec: &ModelSpec, plan: &graph::Plan, steps: &[Arc<Serving>]) -> ModelSpec {
    let mut spec = spec.clone();
    let written: BTreeMap<usize, _> = plan
        .steps
        .iter()
        .zip(steps)
        .flat_map(|(step, model)| {
            let outputs = step.outputs.iter().zip(&model.spec().outputs);
            outputs.filter_map(|((_, tensor), output)| Some(((*tensor)?, &output.labels)))
        })
        .collect();
    for (output, (_, feed)) in spec.outputs.iter_mut().zip(&plan.outputs).filter(|(output, _)| output.labels.is_empty())
    {
        output.labels = written.get(&feed.tensor).copied().cloned().unwrap_or_default();
    }
    spec
}

/// The model of a step, or why there is none.
fn find<'a>(snapshot: &'a Held, step: &StepSpec) -> Result<&'a Arc<Serving>, String> {
    let version = step.version.map(|version| version.to_string());
    snapshot.find(&step.model, version.as_deref()).map_err(|missing| match missing {
        Missing::Model => "there is no such model".to_owned(),
        Missing::Version => format!("it has no version {}", version.unwrap_or_default()),
        Missing::NoneReady | Missing::NotReady => why_not(snapshot, &step.model, step.version),
    })
}

/// What the index says of a model that does not serve.
fn why_not<T>(snapshot: &Snapshot<T>, model: &str, version: Option<i64>) -> String {
    let entry = snapshot.models.get(model);
    let versions = entry.into_iter().flat_map(|entry| &entry.versions);
    let said = versions.rev().find(|(number, _)| version.is_none_or(|version| version == **number));
    let (state, reason) = said.map_or(("", ""), |(_, state)| state.describe());
    let reason = entry.map(|entry| entry.failure.as_str()).filter(|failure| !failure.is_empty()).unwrap_or(reason);
    match (state, reason) {
        (_, reason) if !reason.is_empty() => format!("it does not serve: {reason}"),
        (state, _) => format!("it does not serve: {}", state.to_lowercase()),
    }
}

/// The ensembles, each after those that it needs, and those that need themselves, with the way round.
fn order(wanted: &BTreeMap<String, Vec<ModelSpec>>) -> (Vec<&str>, BTreeMap<&str, String>) {
    let mut walk = Walk { wanted, order: Vec::new(), cycles: BTreeMap::new(), path: Vec::new() };
    wanted.keys().for_each(|name| walk.visit(name));
    (walk.order, walk.cycles)
}

struct Walk<'a> {
    wanted: &'a BTreeMap<String, Vec<ModelSpec>>,
    order: Vec<&'a str>,
    cycles: BTreeMap<&'a str, String>,
    /// From the ensemble that was looked at first to the one that is now.
    path: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, name: &'a str) {
        if let Some(from) = self.path.iter().position(|before| *before == name) {
            let round = self.path[from..].to_vec();
            let why = format!("ensembles need each other: {} -> {name}", round.join(" -> "));
            self.cycles.extend(round.into_iter().map(|member| (member, why.clone())));
            return;
        }
        if self.order.contains(&name) {
            return;
        }
        self.path.push(name);
        let wanted = self.wanted;
        for step in needed(&wanted[name]) {
            if let Some((step, _)) = wanted.get_key_value(&step) {
                self.visit(step);
            }
        }
        self.path.pop();
        self.order.push(name);
    }
}
