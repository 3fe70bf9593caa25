//! What the fronts call: inference and everything a client may ask about models. It finds the model, checks the
//! request, lets it wait and run, and accounts for it; how bytes arrive and leave is not its affair.

mod account;
mod answer;
pub mod cached;
pub mod check;
mod classify;
mod control;
mod describe;
mod ensemble;
mod errand;
mod error;
mod parts;
mod patience;
mod place;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use proofload_wire::grpc::inference::ModelConfig;
use proofload_wire::infer::{InferRequest, InferResponse};
use proofload_wire::phases::Phases;
use proofload_wire::tensor::DataType;
use proofload_wire::trace::TraceParent;
use proofload_wire::types::{ModelMetadata, ModelStatistics, ServerMetadata};

use self::account::{Account, InFlight};
use self::answer::Wanted;
use self::check::Checked;
pub use self::error::{Failed, ServeError};
pub use self::parts::Part;
use self::patience::Patience;
use self::place::Place;
use crate::backend::Request;
use crate::backend::responses::Responses;
use crate::lifecycle::{Live, Serving};
use crate::model::Model;
use crate::sched::driver::{Pending, Refusal};
use crate::sched::queue::Entry;
use crate::telemetry::trace::{Slot, Traces};

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Over HTTP.
    Http,
    /// Over gRPC.
    Grpc,
    /// From another part of the daemon.
    Internal,
}

impl Protocol {
    /// Its name in a trace.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Internal => "internal",
        }
    }
}

/// What is known of a request beside its content.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// When it was decoded: its phases begin here.
    pub received: Instant,
    /// How long it may wait in a queue: its own parameter `timeout`.
    pub timeout: Option<Duration>,
    /// When its caller stops waiting for the answer: the transport's own deadline.
    pub deadline: Option<Instant>,
    /// The caller's span.
    pub trace: Option<TraceParent>,
    /// How it came.
    pub protocol: Protocol,
    /// How urgent it is: 1 is the most urgent, 0 leaves it to the model.
    pub priority: u32,
    /// Where its record goes when it is a part of something larger that is traced as a whole.
    pub part_of: Option<Slot>,
    /// Memory that the inputs keep alive, when that is more than their own bytes: a slice keeps the whole body.
    pub held_bytes: usize,
}

/// A served request, its answer in whatever form was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Inference<T = InferResponse> {
    /// The answer.
    pub response: T,
    /// Where the time went.
    pub phases: Phases,
}

/// The parts that an engine is made of.
pub struct Parts {
    /// The models.
    pub models: Arc<Live>,
    /// The metrics.
    pub registry: Registry,
    /// Where traces go, if anywhere.
    pub traces: Option<Traces>,
    /// Requests accepted and not yet answered.
    pub in_flight: Arc<AtomicUsize>,
}

struct Inner {
    parts: Parts,
    ready: AtomicBool,
}

/// A request in the queue, and what its answer needs.
struct Admitted<'a> {
    account: Account<'a>,
    /// Under the model's concurrency limit, where it has one.
    place: Option<Place<'a>>,
    pending: Pending,
    wanted: Vec<Wanted>,
    patience: Patience,
    id: String,
}

/// The one handle that the fronts share. Cloning it is cheap.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

impl Engine {
    /// An engine that is ready.
    pub fn new(parts: Parts) -> Self {
        Self { inner: Arc::new(Inner { parts, ready: AtomicBool::new(true) }) }
    }

    /// Serves a request. Dropping the future gives up its place in the queue. The answer leaves in the form that `encode`
    /// gives it; a request whose outputs do not go into that form has failed.
    ///
    /// # Errors
    /// When it does not fit the model, there is no room, its deadline comes first, or the model fails.
    pub async fn infer<T>(
        &self,
        request: InferRequest,
        context: RequestContext,
        encode: impl FnOnce(InferResponse) -> Result<T, ServeError>,
    ) -> Result<Inference<T>, Failed> {
        let _in_flight = InFlight::enter(&self.inner.parts.in_flight);
        let model = self.model(&request.model_name, request.model_version.as_deref())?;
        refuse_decoupled(&model, context.protocol)?;
        if let Some(ensemble) = model.steps() {
            return Box::pin(self.infer_steps(&model, ensemble, request, context, encode)).await;
        }
        self.infer_alone(&model, request, context, encode).await
    }

    /// Serves a request to a model that its own instances compute.
    async fn infer_alone<T>(
        &self,
        model: &Model,
        request: InferRequest,
        context: RequestContext,
        encode: impl FnOnce(InferResponse) -> Result<T, ServeError>,
    ) -> Result<Inference<T>, Failed> {
        let admitted = self.admit(model, request, context, None)?;
        let Admitted { account, mut place, pending, wanted, patience, id } = admitted;
        let outcome = pending.outcome(patience.ends()).await;
        place.iter_mut().for_each(|place| place.learn(&outcome));
        match outcome {
            Ok(served) => account.succeed(&wanted, served, id, encode),
            Err(why) => Err(account.not_served(&why, patience)),
        }
    }

    /// Puts a request that fits its model into the queue.
    fn admit<'a>(
        &'a self,
        model: &'a Model,
        request: InferRequest,
        context: RequestContext,
        responses: Option<Responses>,
    ) -> Result<Admitted<'a>, Failed> {
        let queue = &model.spec().scheduling.queue;
        let level = queue.level(context.priority);
        let patience = Patience::new(queue.at(level), context.timeout, context.deadline, context.received);
        let held_bytes = context.held_bytes;
        let place = Place::take(model.concurrency(), level, context.received);
        let account = Account::open(model, self.traces(), context, request.id.clone());
        let checked = match check::check(model.spec(), request.inputs, &request.outputs) {
            Ok(checked) => checked,
            Err(error) => return Err(account.invalid(error)),
        };
        let place = match place {
            Ok(place) => place,
            Err(over) => return Err(account.over(over)),
        };
        let wanted = checked.outputs.clone();
        match submit(model, checked, responses, held_bytes, level, patience) {
            Ok(pending) => Ok(Admitted { account, place, pending, wanted, patience, id: request.id }),
            Err(refusal) => Err(account.refuse(refusal)),
        }
    }

    /// Where traces go, if anywhere.
    pub fn traces(&self) -> Option<&Traces> {
        self.inner.parts.traces.as_ref()
    }

    /// Whether the process works at all: whoever asks is answered, and no instance has lost its thread. What is loading,
    /// full or draining lives.
    pub fn is_live(&self) -> bool {
        self.inner.parts.models.ready().iter().all(|serving| serving.lives())
    }

    /// Whether requests are welcome: not any more once it is draining.
    pub fn is_ready(&self) -> bool {
        self.inner.ready.load(Ordering::Acquire)
    }

    /// From now on the engine says that it is not ready. Requests that still come are served.
    pub fn begin_drain(&self) {
        self.inner.ready.store(false, Ordering::Release);
    }

    /// Requests accepted and not yet answered.
    pub fn in_flight(&self) -> usize {
        self.inner.parts.in_flight.load(Ordering::Acquire)
    }

    /// Fails what still waits for a model, and everything that comes.
    pub fn close(&self) {
        self.begin_drain();
        self.inner.parts.models.close();
    }

    /// Ends the models' threads. Blocks until the executions that run are over.
    pub fn stop_models(&self) {
        self.close();
        self.inner.parts.models.stop();
    }

    /// Sends the last traces, if traces go anywhere. Blocks, for a bounded time.
    pub fn stop_traces(&self) {
        self.inner.parts.traces.iter().for_each(Traces::stop);
    }

    /// Whether a model can serve.
    pub fn model_ready(&self, model: &str, version: Option<&str>) -> bool {
        self.is_ready() && self.model(model, version).is_ok_and(|model| model.broken().is_none())
    }

    /// The models that serve.
    pub fn models(&self) -> Vec<Arc<Serving>> {
        self.inner.parts.models.ready()
    }

    /// What this server is.
    pub fn server_metadata(&self) -> ServerMetadata {
        describe::server()
    }

    /// What a model takes and gives.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn model_metadata(&self, model: &str, version: Option<&str>) -> Result<ModelMetadata, ServeError> {
        let found = self.model(model, version)?;
        let snapshot = self.inner.parts.models.snapshot();
        let versions: Vec<_> = snapshot.ready_of(model).map(|(version, _)| version).collect();
        Ok(describe::metadata(found.spec(), &versions))
    }

    /// A model's configuration.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn model_config(&self, model: &str, version: Option<&str>) -> Result<ModelConfig, ServeError> {
        Ok(describe::config(&*self.model(model, version)?))
    }

    /// The counts of one model, of one of its versions, or of all models.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn statistics(&self, model: Option<&str>, version: Option<&str>) -> Result<Vec<ModelStatistics>, ServeError> {
        let version = version.filter(|version| !version.is_empty());
        let Some(name) = model.filter(|name| !name.is_empty()) else {
            return Ok(self.inner.parts.models.ready().iter().map(|model| model.statistics()).collect());
        };
        let newest = self.model(name, version)?;
        if version.is_some() {
            return Ok(vec![newest.statistics()]);
        }
        Ok(self.inner.parts.models.snapshot().ready_of(name).map(|(_, model)| model.statistics()).collect())
    }

    /// All metrics in the `OpenMetrics` text format.
    pub fn metrics_text(&self) -> String {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.inner.parts.registry) {
            Ok(()) => text,
            // Writing to a string cannot fail; should a collector do so, half a scrape would be a lie.
            Err(error) => format!("# {error}\n# EOF\n"),
        }
    }

    /// Name, type and shape of the only input of a model: what a raw request needs. The shape has -1 in front for
    /// the batch, where there is one.
    ///
    /// # Errors
    /// When there is no such model or it has several inputs.
    pub fn single_input(&self, model: &str, version: Option<&str>) -> Result<(String, DataType, Vec<i64>), ServeError> {
        let found = self.model(model, version)?;
        let spec = found.spec();
        match spec.inputs.as_slice() {
            [input] => Ok((input.name.clone(), input.datatype, input.full_shape(spec.batched()))),
            inputs => Err(ServeError::InvalidArgument(format!(
                "a raw request needs a model with exactly one input; '{model}' has {}",
                inputs.len()
            ))),
        }
    }

    fn model(&self, name: &str, version: Option<&str>) -> Result<Arc<Serving>, ServeError> {
        let models = &self.inner.parts.models;
        let version = version.filter(|version| !version.is_empty());
        let found = models.find(name, version);
        found.map_err(|missing| describe::missing(&missing, name, version.unwrap_or_default(), &models.snapshot()))
    }
}

/// In Triton's words, which say where to go instead.
fn refuse_decoupled(model: &Model, protocol: Protocol) -> Result<(), ServeError> {
    let door = match protocol {
        _ if !model.spec().decoupled => return Ok(()),
        Protocol::Http => {
            "HTTP end point doesn't support models with decoupled transaction policy; use generate_stream"
        }
        Protocol::Grpc => {
            "ModelInfer RPC doesn't support models with decoupled transaction policy; use ModelStreamInfer"
        }
        Protocol::Internal => "this part of the daemon doesn't support models with decoupled transaction policy",
    };
    Err(ServeError::Unsupported(door.to_owned()))
}

fn submit(
    model: &Model,
    checked: Checked,
    responses: Option<Responses>,
    held_bytes: usize,
    level: u32,
    patience: Patience,
) -> Result<Pending, Refusal> {
    let Checked { inputs, elements, shape, .. } = checked;
    let enqueued = Instant::now();
    let bytes = held_bytes.max(inputs.iter().map(|input| input.data.len()).sum());
    let (timeout, deadline) = (patience.timeout(), patience.deadline());
    let entry = Entry { level, elements, bytes, shape, enqueued, timeout, deadline };
    model.submit(entry, Request { responses, ..Request::new(inputs, elements) })
}
