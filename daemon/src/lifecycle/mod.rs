//! The models over time: which are loaded when the daemon starts, how versions come and go while it serves, and what
//! serves right now. Readers take a snapshot that never waits; one writer at a time replaces it. What a request is told
//! is the engine's affair, what files mean the repository's.

mod ensembles;
mod given;
mod load;
mod poll;
mod serving;
pub mod snapshot;
mod stamp;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use proofload_wire::types::RepositoryIndexEntry;

use self::ensembles::Ensembles;
pub use self::given::{Parameter, given};
use self::load::{Failure, Wanted};
use self::serving::Retirement;
pub use self::serving::Serving;
use self::snapshot::{Missing, Snapshot};
use crate::model::{Means, Model};
use crate::repository::origin::Given;
use crate::repository::source::Source;
use crate::repository::{self, Place};
use crate::sched::queue::Limits;

/// Who decides which models are loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Control {
    /// All are loaded at the start, and nothing changes afterwards.
    #[default]
    None,
    /// Clients do, after these have been loaded at the start; `*` stands for all.
    Explicit(Vec<String>),
    /// The repository does: it is looked at this often.
    Poll(Duration),
}

/// How models are loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Where they are read from.
    pub sources: Vec<Source>,
    /// Who decides which.
    pub control: Control,
    /// Whether a model that cannot be loaded at the start keeps the daemon from starting.
    pub exit_on_error: bool,
    /// Bounds the queues of models that do not bound them themselves.
    pub queue: Limits,
    /// Threads that load models side by side.
    pub load_threads: NonZeroUsize,
}

/// Why a model was not loaded or unloaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Clients have no say here. The words are Triton's, for both other modes.
    #[error("explicit model load / unload is not allowed if polling is enabled")]
    NotAllowed,
    /// There is no such model.
    #[error("failed to load '{0}', failed to poll from model repository")]
    Unknown(String),
    /// It cannot be served as it is.
    #[error("load failed for model '{model}': {}", .errors.join("; "))]
    Failed {
        /// Which.
        model: String,
        /// All that is wrong.
        errors: Vec<String>,
    },
}

type Held = Snapshot<Arc<Serving>>;

/// Every model whose threads may still run, for the end.
#[derive(Default)]
struct Started {
    models: Vec<Weak<Model>>,
    /// The end has come: a load that was on its way must not leave threads behind.
    closed: bool,
}

/// The models. It must be closed and stopped when the daemon ends.
pub struct Live {
    options: Options,
    means: Means,
    snapshot: ArcSwap<Held>,
    /// The ensembles that should serve. Held while the snapshot is replaced; never while a model is being loaded.
    writing: Mutex<Ensembles>,
    /// Held by whoever loads or unloads: one at a time, so that the last word counts.
    control: Mutex<()>,
    retirement: Retirement,
    started: Mutex<Started>,
    poll: Mutex<Option<poll::Poll>>,
}

impl Live {
    /// Loads the models of the start.
    ///
    /// # Errors
    /// One message for each thing that is wrong with the models that should be loaded.
    pub fn start(options: Options, means: Means) -> Result<Arc<Self>, Vec<String>> {
        let no_thread = |error: std::io::Error| vec![format!("cannot start a thread: {error}")];
        let (retirement, retired) = Retirement::new();
        let live = Arc::new(Self {
            options,
            means,
            snapshot: ArcSwap::default(),
            writing: Mutex::default(),
            control: Mutex::default(),
            retirement,
            started: Mutex::default(),
            poll: Mutex::default(),
        });
        let watching = Arc::downgrade(&live);
        let gone = move |model: &Model| {
            if let Some(live) = Weak::upgrade(&watching) {
                live.update(|snapshot| snapshot.unloaded(&model.spec().name, model.spec().version));
            }
        };
        serving::stop_all(retired, gone).map_err(no_thread)?;
        live.load_first()?;
        if let Control::Poll(period) = live.options.control {
            let poll = poll::Poll::start(&live, period).map_err(no_thread)?;
            *lock(&live.poll) = Some(poll);
        }
        Ok(live)
    }

    fn load_first(&self) -> Result<(), Vec<String>> {
        let (places, mut errors) = repository::places(&self.options.sources);
        let names: Vec<String> = match &self.options.control {
            Control::Explicit(names) if names.iter().all(|name| name != "*") => names.clone(),
            _ => places.keys().cloned().collect(),
        };
        if places.is_empty() && errors.is_empty() && self.options.control == Control::None {
            let sources = self.options.sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            errors.push(format!("no model found in {sources}; expected <model>/config.pbtxt and <model>/1/model.onnx"));
        }
        let (known, unknown): (Vec<_>, Vec<_>) = names.iter().partition(|name| places.contains_key(*name));
        let missing =
            |name: &String| format!("model '{name}' is to be loaded at the start, but is in no model repository");
        let failed = self.load_all(&places, known.iter().map(|name| Wanted::of(name)).collect());
        errors
            .splice(0..0, failed.into_iter().flat_map(|failed| failed.errors).chain(unknown.into_iter().map(missing)));
        if errors.is_empty() || !self.options.exit_on_error {
            errors.iter().for_each(|error| tracing::error!("{error}"));
            return Ok(());
        }
        Err(errors)
    }

    /// What serves right now, by name and version.
    pub fn ready(&self) -> Vec<Arc<Serving>> {
        self.snapshot.load().ready().cloned().collect()
    }

    /// What is known right now.
    pub fn snapshot(&self) -> Arc<Held> {
        self.snapshot.load_full()
    }

    /// What serves a version of a model, or its newest that serves.
    ///
    /// # Errors
    /// When nothing does.
    pub fn find(&self, name: &str, version: Option<&str>) -> Result<Arc<Serving>, Missing> {
        self.snapshot.load().find(name, version).cloned()
    }

    /// Loads a model, or loads it again. Blocks until it serves. When it cannot be loaded, what served goes on.
    ///
    /// # Errors
    /// When clients have no say, there is no such model, or it cannot be served.
    pub fn load(&self, name: &str, given: &Given) -> Result<(), ControlError> {
        let _control = self.controlled()?;
        let (places, _) = repository::places(&self.options.sources);
        if given.files.is_empty() && !places.contains_key(name) {
            return Err(ControlError::Unknown(name.to_owned()));
        }
        let failed = self.load_all(&places, vec![Wanted { name, given: Some(given) }]);
        match failed.into_iter().find(|failed| failed.name == name) {
            Some(Failure { name: model, errors }) => Err(ControlError::Failed { model, errors }),
            None => Ok(()),
        }
    }

    /// Takes a model out of service; a model that is not there is none. Requests on their way are finished. With
    /// `dependents`, models go too that were loaded only because this ensemble needed them.
    ///
    /// # Errors
    /// When clients have no say.
    pub fn unload(&self, name: &str, dependents: bool) -> Result<(), ControlError> {
        let _control = self.controlled()?;
        let alone = self.update_with(|snapshot, ensembles| {
            snapshot.unload(name);
            let alone = if dependents { ensembles.dissolve(name) } else { Vec::new() };
            ensembles.forget(name);
            alone.iter().for_each(|model| snapshot.unload(model));
            alone
        });
        std::iter::once(name).chain(alone.iter().map(String::as_str)).for_each(|name| {
            tracing::info!("model '{name}' is unloaded");
        });
        Ok(())
    }

    /// Everything in the repositories and everything that is known beside it, or only what serves.
    pub fn index(&self, ready_only: bool) -> Vec<RepositoryIndexEntry> {
        let snapshot = self.snapshot();
        let mut names: BTreeMap<&str, Option<String>> = BTreeMap::new();
        let (places, _) = if ready_only { Default::default() } else { repository::places(&self.options.sources) };
        for (name, place) in &places {
            let twice = if let Place::Twice(what) = place { Some(what.clone()) } else { None };
            names.insert(name, twice);
        }
        snapshot.models.keys().for_each(|name| _ = names.entry(name).or_default());
        names.into_iter().flat_map(|(name, twice)| entries(&snapshot, name, twice, ready_only)).collect()
    }

    /// Fails what still waits for a model, and everything that comes.
    pub fn close(&self) {
        drop(lock(&self.poll).take());
        lock(&self.started).closed = true;
        self.started().iter().for_each(|model| model.close());
    }

    /// Ends the models' threads. Blocks until the executions that run are over.
    pub fn stop(&self) {
        self.close();
        self.started().iter().for_each(|model| model.stop());
    }

    fn started(&self) -> Vec<Arc<Model>> {
        lock(&self.started).models.iter().filter_map(Weak::upgrade).collect()
    }

    fn controlled(&self) -> Result<MutexGuard<'_, ()>, ControlError> {
        match self.options.control {
            Control::Explicit(_) => Ok(lock(&self.control)),
            Control::None | Control::Poll(_) => Err(ControlError::NotAllowed),
        }
    }

    fn update(&self, change: impl FnOnce(&mut Held)) {
        self.update_with(|snapshot, _| change(snapshot));
    }

    /// Replaces the snapshot. What that means for ensembles is part of the same step: no request sees an ensemble beside
    /// models that it does not fit.
    fn update_with<R>(&self, change: impl FnOnce(&mut Held, &mut Ensembles) -> R) -> R {
        let mut ensembles = lock(&self.writing);
        let mut next = Held::clone(&self.snapshot.load());
        let result = change(&mut next, &mut ensembles);
        self.settle(&ensembles, &mut next);
        self.snapshot.store(Arc::new(next));
        result
    }

    fn settle(&self, ensembles: &Ensembles, snapshot: &mut Held) {
        ensembles.settle(snapshot, |model| self.retirement.serve(Arc::new(model)));
    }
}

/// The lines of the index about one model. A model that was never loaded has one without version and state.
fn entries(snapshot: &Held, name: &str, twice: Option<String>, ready_only: bool) -> Vec<RepositoryIndexEntry> {
    let entry = |version: String, state: &str, reason: &str| RepositoryIndexEntry {
        name: name.to_owned(),
        version,
        state: state.to_owned(),
        reason: reason.to_owned(),
    };
    let known = snapshot.models.get(name);
    let versions = known.into_iter().flat_map(|known| &known.versions).map(|(version, state)| {
        let (state, reason) = state.describe();
        entry(version.to_string(), state, reason)
    });
    let mut entries: Vec<_> = versions.filter(|entry| !ready_only || entry.state == "READY").collect();
    let failure = twice.or_else(|| known.map(|known| known.failure.clone()).filter(|failure| !failure.is_empty()));
    match failure {
        Some(failure) if !ready_only => entries.push(entry(String::new(), "UNAVAILABLE", &failure)),
        None if !ready_only && entries.is_empty() => entries.push(entry(String::new(), "", "")),
        _ => {}
    }
    entries
}

/// What these locks guard is whole after every statement: a panic elsewhere is no reason to stop serving.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
