//! A model that runs: its specification, its scheduler with the instance threads, and its counts. Which requests it
//! is given, and what clients are told, is the engine's affair.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proofload_wire::phases::Phases;
use proofload_wire::types::ModelStatistics;
use rten::ThreadPool;

use crate::admit::concurrency::{Defaults, Limiter};
use crate::backend::cpu::{CpuError, Graphs};
use crate::backend::cuda::CudaModelError;
use crate::backend::onnxruntime::{Library, OnnxRuntimeError};
use crate::backend::{Request, Timeline};
use crate::cache::key::Fingerprint;
use crate::engines::{Computed, backends, place};
use crate::ensemble::graph::Plan;
use crate::gpu::cuda::Device;
use crate::lifecycle::Serving;
use crate::profile::file::{Curve, Host};
use crate::repository::spec::ModelSpec;
use crate::sched::driver::{self, Execution, Pending, Refusal, Scheduler};
use crate::sched::limiter::RateLimiter;
use crate::sched::queue::Entry;
use crate::sched::usage::Usage;
use crate::statistics::{Counts, PartEnd, PartTimes};
use crate::telemetry::meters::{Meters, Outcome};
use crate::warm_up;

/// Why a model cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its backend cannot run it.
    #[error("model '{model}': {source}")]
    Cpu {
        /// The model.
        model: String,
        /// Why.
        source: CpuError,
    },
    /// ONNX Runtime cannot run it.
    #[error("model '{model}': {source}")]
    OnnxRuntime {
        /// The model.
        model: String,
        /// Why.
        source: OnnxRuntimeError,
    },
    /// The GPU cannot run another instance of it.
    #[error("model '{model}': {source}")]
    Cuda {
        /// The model.
        model: String,
        /// Why.
        source: CudaModelError,
    },
    /// Others compute it.
    #[error("model '{model}' is an ensemble: it serves as soon as the models of its steps do")]
    Ensemble {
        /// The model.
        model: String,
    },
    /// It cannot compute what it should be warmed with.
    #[error("model '{model}': {what}")]
    WarmUp {
        /// The model.
        model: String,
        /// What went wrong.
        what: String,
    },
    /// Its instances cannot run.
    #[error("model '{model}': {source}")]
    Instances {
        /// The model.
        model: String,
        /// Why.
        source: driver::StartError,
    },
}

/// How long loading a model took, by phase.
#[derive(Debug, Clone, Copy)]
pub struct Loading {
    /// Reading its files and its configuration.
    pub read: Duration,
    /// Making it ready to compute: parsing, optimising.
    pub start: Duration,
    /// Computing the samples of its configuration.
    pub warm_up: Duration,
}

/// What all models compute with.
#[derive(Clone)]
pub struct Means {
    /// The threads that compute.
    pub pool: Arc<ThreadPool>,
    /// The graphs that are in use.
    pub graphs: Arc<Graphs>,
    /// ONNX Runtime, where it is there.
    pub onnxruntime: Option<&'static Library>,
    /// The GPU, where there is one.
    pub gpu: Option<Arc<Device>>,
    /// Where instances share what they need, if executions are limited.
    pub limiter: Option<Arc<RateLimiter>>,
    /// What holds of the concurrency of models that say nothing of it.
    pub concurrency: Defaults,
    /// The machine, to which what was measured belongs.
    pub host: Arc<Host>,
    /// How many instances of one model are made side by side.
    pub load_threads: NonZeroUsize,
    /// Whether answers can be kept.
    pub response_cache: bool,
}

/// A model that runs.
pub struct Model {
    spec: ModelSpec,
    loading: Loading,
    counts: Arc<Mutex<Counts>>,
    meters: Meters,
    concurrency: Option<Mutex<Limiter>>,
    computed: Computed,
    /// What computes it, if that is one.
    gpu: Option<Arc<Device>>,
    work: Work,
    fingerprint: Option<Fingerprint>,
    measured: Option<Curve>,
}

/// Who computes a model.
enum Work {
    /// Its own instances.
    Instances(Scheduler),
    /// Other models.
    Steps(Ensemble),
}

/// An ensemble that can serve: its graph, and who computes each of its steps. As long as it is held, they serve.
pub struct Ensemble {
    /// What goes where.
    pub plan: Plan,
    /// Who computes each step.
    pub steps: Vec<Arc<Serving>>,
}

impl Model {
    /// Loads a model and starts its instances.
    ///
    /// # Errors
    /// When the backend cannot run it, or it is an ensemble, which has none.
    pub fn start(mut spec: ModelSpec, means: &Means) -> Result<Self, StartError> {
        let limiter = means.limiter.as_ref();
        if limiter.is_none() && spec.scheduling.rates.iter().any(|rate| !rate.needs.is_empty()) {
            tracing::warn!(
                "model '{}': its `rate_limiter` has no effect while models.rate_limit is \"off\"",
                spec.name
            );
        }
        let meters = Meters::default();
        let begun = Instant::now();
        let (computed, mut backends) = backends(&mut spec, means)?;
        let gpu = means.gpu.clone().filter(|_| computed.on_gpu());
        place(&mut spec, gpu.as_deref());
        let fingerprint = fingerprint(&spec, computed.engine, means.response_cache);
        let warming = Instant::now();
        let warmed = warm_up::run(&mut backends, &std::mem::take(&mut spec.warm_up));
        warmed.map_err(|what| StartError::WarmUp { model: spec.name.clone(), what })?;
        let loading = Loading { read: spec.reading, start: warming - begun, warm_up: warming.elapsed() };
        let counts = Arc::new(Mutex::new(Counts::default()));
        let observer = observer(Arc::clone(&counts), meters.clone());
        let scheduler = Scheduler::start(&spec.name, spec.scheduling.clone(), limiter, backends, observer);
        let scheduler = scheduler.map_err(|source| StartError::Instances { model: spec.name.clone(), source })?;
        let measured =
            spec.profile.as_ref().and_then(|profile| profile.curve(&means.host, computed.engine, spec.precision()));
        let measured = measured.cloned();
        if let Some(curve) = &measured {
            let timed = curve.timed().into_iter().map(|timed| (timed.batch, Duration::from_secs_f64(timed.latency_s)));
            scheduler.known_before(&timed.collect::<Vec<_>>());
        }
        let concurrency = means.concurrency.rule(spec.concurrency).map(|rule| {
            let batching = &spec.scheduling.batching;
            Mutex::new(Limiter::new(rule, spec.instances, batching.max_elements, batching.max_delay, Instant::now()))
        });
        let work = Work::Instances(scheduler);
        Ok(Self { spec, loading, counts, meters, concurrency, computed, gpu, work, fingerprint, measured })
    }

    /// A model that others compute. It counts on where `before` ended, which it replaces.
    pub fn ensemble(spec: ModelSpec, ensemble: Ensemble, before: Option<&Self>) -> Self {
        let loading = Loading { read: spec.reading, start: Duration::ZERO, warm_up: Duration::ZERO };
        let (counts, meters) =
            before.map(|before| (Arc::clone(&before.counts), before.meters.clone())).unwrap_or_default();
        if spec.config.response_cache.is_some_and(|cache| cache.enable) {
            tracing::warn!("model '{}': its `response_cache` has no effect, because it is an ensemble", spec.name);
        }
        let (computed, work) = (Computed::by("ensemble"), Work::Steps(ensemble));
        let (gpu, measured) = (None, None);
        Self { spec, loading, counts, meters, concurrency: None, computed, gpu, work, fingerprint: None, measured }
    }

    /// Its steps, if others compute it.
    pub fn steps(&self) -> Option<&Ensemble> {
        match &self.work {
            Work::Instances(_) => None,
            Work::Steps(ensemble) => Some(ensemble),
        }
    }

    fn scheduler(&self) -> Option<&Scheduler> {
        match &self.work {
            Work::Instances(scheduler) => Some(scheduler),
            Work::Steps(_) => None,
        }
    }

    /// What it is.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// How long loading it took.
    pub fn loading(&self) -> Loading {
        self.loading
    }

    /// What its answers are kept under, if they are kept.
    pub fn fingerprint(&self) -> Option<&Fingerprint> {
        self.fingerprint.as_ref()
    }

    /// What computes it.
    pub fn engine(&self) -> &'static str {
        self.computed.engine
    }

    /// Why our own executor does not compute it on the GPU that there is.
    pub fn not_on_gpu(&self) -> Option<&str> {
        self.computed.not_on_gpu.as_deref()
    }

    /// What was measured of it here, as it is computed now.
    pub fn measured(&self) -> Option<&Curve> {
        self.measured.as_ref()
    }

    /// What it counts.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// The limit of its concurrency, if it has one.
    pub fn concurrency(&self) -> Option<&Mutex<Limiter>> {
        self.concurrency.as_ref()
    }

    /// Puts a request into its queue. An ensemble has none: its requests go to its steps.
    ///
    /// # Errors
    /// When the queue is full or the model is being stopped.
    pub fn submit(&self, entry: Entry, request: Request) -> Result<Pending, Refusal> {
        self.scheduler().ok_or(Refusal::Stopped)?.submit(entry, request)
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.scheduler().map_or(0, Scheduler::waiting)
    }

    /// The batch size that serves most, where it adapts.
    pub fn adaptive_size(&self) -> Option<u32> {
        self.scheduler()?.adaptive_size()
    }

    /// What each of its instances has done.
    pub fn usage(&self) -> &[Usage] {
        self.scheduler().map_or(&[], Scheduler::usage)
    }

    /// Its counts as Triton gives them.
    pub fn statistics(&self) -> ModelStatistics {
        lock(&self.counts).to_wire(&self.spec.name, self.spec.version)
    }

    /// Counts a request that got its outputs.
    pub fn count_success(&self, phases: &Phases, unix_ms: u64) {
        lock(&self.counts).succeeded(phases, unix_ms);
        self.meters.phases(phases);
        self.meters.outcome(Outcome::Success);
    }

    /// Counts a request whose steps others have computed as one execution.
    pub fn count_execution(&self, elements: u32, timeline: &Timeline) {
        lock(&self.counts).executed(elements, timeline);
        self.meters.executed(elements);
    }

    /// Counts a request whose answer was not computed.
    pub fn count_hit(&self, phases: &Phases, unix_ms: u64) {
        lock(&self.counts).hit(phases, unix_ms);
        self.meters.phases(phases);
        self.meters.outcome(Outcome::Success);
    }

    /// Counts how long looking for an answer and keeping it took, of a request that was computed and succeeded.
    pub fn count_miss(&self, took: Duration) {
        lock(&self.counts).missed(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts response number `index` of a request to a decoupled model.
    pub fn count_part(&self, index: usize, times: PartTimes, end: PartEnd) {
        lock(&self.counts).part(index, times, end);
    }

    /// Counts a request that got none, `ns` after it was received. One that never fitted the model is not the
    /// model's failure, and Triton does not count it either.
    pub fn count_failure(&self, outcome: Outcome, ns: u64) {
        if outcome != Outcome::Invalid {
            lock(&self.counts).failed(ns);
        }
        self.meters.outcome(outcome);
    }

    /// Why it can compute nothing any more, if that is so: its GPU is lost. What others compute knows nothing of it.
    pub fn broken(&self) -> Option<String> {
        self.gpu.as_ref()?.lost().map(ToString::to_string)
    }

    /// Whether every instance has its thread.
    pub fn lives(&self) -> bool {
        self.scheduler().is_none_or(Scheduler::lives)
    }

    /// Fails what waits, and everything that comes.
    pub fn close(&self) {
        self.scheduler().into_iter().for_each(Scheduler::close);
    }

    /// Ends its threads after the executions that run; what waits fails.
    pub fn stop(&self) {
        self.scheduler().into_iter().for_each(Scheduler::stop);
    }
}

/// What the model's answers are kept under. Any number of responses to a request is more than a cache can give back.
fn fingerprint(spec: &ModelSpec, engine: &str, response_cache: bool) -> Option<Fingerprint> {
    let wanted = spec.config.response_cache.is_some_and(|cache| cache.enable);
    if wanted && !response_cache {
        tracing::warn!("model '{}': its `response_cache` has no effect while cache.enabled is false", spec.name);
    }
    if wanted && spec.decoupled {
        tracing::warn!("model '{}': its `response_cache` has no effect, because it is decoupled", spec.name);
    }
    (wanted && response_cache && !spec.decoupled).then(|| Fingerprint::of(spec, engine))
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

fn observer(counts: Arc<Mutex<Counts>>, meters: Meters) -> Box<dyn Fn(&Execution) + Send + Sync> {
    Box::new(move |execution| {
        if execution.succeeded {
            lock(&counts).executed(execution.elements, &execution.timeline);
            meters.executed(execution.elements);
        }
    })
}
