//! The account of one request: it is opened when the model is known and settled exactly once, whatever happens.
//! An account that is dropped unsettled belongs to a client that went away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use proofload_wire::infer::InferResponse;
use proofload_wire::phases::Phases;
use proofload_wire::tensor::Tensor;

use super::answer::{self, Wanted};
use super::patience::Patience;
use super::{Failed, Inference, RequestContext, ServeError};
use crate::admit::concurrency::Over;
use crate::backend::{BackendError, Timeline};
use crate::cache::Layer;
use crate::ensemble::spent::{self, Spent};
use crate::model::Model;
use crate::sched::driver::{Broken, NotServed, Refusal, Served};
use crate::sched::queue::Full;
use crate::statistics;
use crate::telemetry::meters::Outcome;
use crate::telemetry::trace::{self, Traces};

/// Counts a request as in flight while it lives.
pub(super) struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    pub(super) fn enter(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

pub(super) struct Account<'a> {
    model: &'a Model,
    traces: Option<&'a Traces>,
    context: RequestContext,
    /// The request's own id, for the trace.
    id: String,
    /// What was asked of the models of an ensemble's steps, for the trace.
    steps: Vec<trace::Inference>,
    settled: bool,
}

impl<'a> Account<'a> {
    pub(super) fn open(model: &'a Model, traces: Option<&'a Traces>, context: RequestContext, id: String) -> Self {
        Self { model, traces, context, id, steps: Vec::new(), settled: false }
    }

    /// Makes the answer out of the outputs. The request has succeeded only when that can be done.
    pub(super) fn succeed<T>(
        mut self,
        wanted: &[Wanted],
        served: Served,
        id: String,
        encode: impl FnOnce(InferResponse) -> Result<T, ServeError>,
    ) -> Result<Inference<T>, Failed> {
        let Served { outputs, timeline, batch_elements } = served;
        let response = answer::respond(self.model.spec(), wanted, outputs, id);
        let answered = Instant::now();
        let phases = statistics::phases(self.context.received, &timeline, answered, batch_elements);
        match response.and_then(encode) {
            Ok(response) => {
                self.model.count_success(&phases, unix_ms());
                self.settle(answered, Ok((timeline, batch_elements)));
                Ok(Inference { response, phases })
            }
            Err(error) => {
                self.count_failure(Outcome::BackendFailed, error.to_string(), answered);
                Err(Failed { error, phases })
            }
        }
    }

    /// What was asked of the models of an ensemble's steps.
    pub(super) fn steps(&mut self, steps: Vec<trace::Inference>) {
        self.steps = steps;
    }

    /// Makes the answer out of what the steps of an ensemble gave. In Triton's terms a request is one execution of it.
    pub(super) fn assemble<T>(
        mut self,
        wanted: &[Wanted],
        outputs: Vec<Tensor>,
        spent: &Spent,
        elements: u32,
        id: String,
        encode: impl FnOnce(InferResponse) -> Result<T, ServeError>,
    ) -> Result<Inference<T>, Failed> {
        let response = answer::respond(self.model.spec(), wanted, outputs, id);
        let answered = Instant::now();
        let phases = spent.phases(self.context.received, answered, elements);
        let timeline = spent::timeline(self.context.received, &phases);
        match response.and_then(encode) {
            Ok(response) => {
                self.model.count_execution(elements, &timeline);
                self.model.count_success(&phases, unix_ms());
                self.settle(answered, Ok((timeline, elements)));
                Ok(Inference { response, phases })
            }
            Err(error) => {
                self.count_failure(Outcome::BackendFailed, error.to_string(), answered);
                Err(Failed { error, phases })
            }
        }
    }

    /// Closes the account of a request one of whose steps failed.
    pub(super) fn step_failed(self, error: ServeError, spent: impl FnOnce(Instant, Instant) -> Phases) -> Failed {
        let outcome = match &error {
            ServeError::Overdue { .. } => Outcome::TimedOut,
            ServeError::DeadlineExceeded(_) => Outcome::DeadlineExceeded,
            ServeError::Unavailable { retry_after: None, .. } => Outcome::Stopping,
            ServeError::Unavailable { .. } | ServeError::TooManyRequests { .. } => Outcome::Rejected,
            _ => Outcome::BackendFailed,
        };
        self.fail(outcome, error, spent)
    }

    /// Closes the account of a request whose answer was not computed. Until `keyed` it was looked at; then it waited
    /// for another's answer, if it did; and from then on its own was made ready.
    pub(super) fn found(mut self, keyed: Instant, waited_until: Option<Instant>, layer: Layer) -> Phases {
        let answered = Instant::now();
        let timeline = statistics::timeline_of_a_hit(self.context.received, keyed, waited_until, answered);
        let phases =
            Phases { cache: layer.into(), ..statistics::phases(self.context.received, &timeline, answered, 0) };
        self.model.count_hit(&phases, unix_ms());
        self.settle(answered, Ok((timeline, 0)));
        phases
    }

    /// Closes the account without a word: the request goes on under another.
    pub(super) fn pass_on(mut self) {
        self.settled = true;
    }

    /// Closes the account of a request that got its responses one by one.
    pub(super) fn complete(mut self, served: &Served) -> Phases {
        let Served { timeline, batch_elements, .. } = *served;
        let answered = Instant::now();
        let phases = statistics::phases(self.context.received, &timeline, answered, batch_elements);
        self.model.count_success(&phases, unix_ms());
        self.settle(answered, Ok((timeline, batch_elements)));
        phases
    }

    /// Closes the account of a request one of whose responses cannot be given as it was asked for.
    pub(super) fn broken(self, error: ServeError) -> Failed {
        self.fail(Outcome::BackendFailed, error, statistics::phases_in_the_queue)
    }

    /// Turns a request away that does not fit the model.
    pub(super) fn invalid(self, error: ServeError) -> Failed {
        self.fail(Outcome::Invalid, error, statistics::phases_at_the_door)
    }

    /// Turns a request away because its model has as many as it can bear.
    pub(super) fn over(self, over: Over) -> Failed {
        let Over { limit, retry_after } = over;
        let name = &self.model.spec().name;
        let message = format!("model '{name}': it has as many requests as it can bear now, {limit}");
        let error = ServeError::Unavailable { message, retry_after: Some(retry_after) };
        self.fail(Outcome::Rejected, error, statistics::phases_at_the_door)
    }

    pub(super) fn refuse(self, refusal: Refusal) -> Failed {
        let name = &self.model.spec().name;
        let (outcome, message, retry_after) = match refusal {
            Refusal::Full { limit, waiting, retry_after } => {
                let limit = match limit {
                    Full::Requests => "`max_queue_size`",
                    Full::Bytes => "its memory",
                };
                let message = format!("model '{name}': the queue has reached {limit} with {waiting} requests waiting");
                (Outcome::Rejected, message, Some(retry_after))
            }
            Refusal::TooLate { retry_after } => {
                let wait_ms = retry_after.as_millis();
                let message =
                    format!("model '{name}': the queue takes about {wait_ms} ms, longer than this request waits");
                (Outcome::Rejected, message, Some(retry_after))
            }
            Refusal::Stopped => (Outcome::Stopping, stopping(name), None),
        };
        self.fail(outcome, ServeError::Unavailable { message, retry_after }, statistics::phases_at_the_door)
    }

    pub(super) fn not_served(self, why: &NotServed, patience: Patience) -> Failed {
        let name = &self.model.spec().name;
        let in_queue = statistics::phases_in_the_queue;
        match why {
            NotServed::Expired { retry_after } => {
                let error = patience.expired(format!("Request timeout expired: model '{name}': {why}"), *retry_after);
                let of_caller = matches!(error, ServeError::DeadlineExceeded(_));
                let outcome = if of_caller { Outcome::DeadlineExceeded } else { Outcome::TimedOut };
                self.fail(outcome, error, in_queue)
            }
            NotServed::Backend(broken) => {
                let Broken { error, timeline, batch_elements } = broken.as_ref();
                let message = format!("model '{name}': {error}");
                let error = match error {
                    BackendError::Input { .. } => ServeError::InvalidArgument(message),
                    BackendError::Model(_) | BackendError::Output { .. } => ServeError::Internal(message),
                };
                let spent = |received, answered| statistics::phases(received, timeline, answered, *batch_elements);
                self.fail(Outcome::BackendFailed, error, spent)
            }
            NotServed::Stopped => {
                let error = ServeError::Unavailable { message: stopping(name), retry_after: None };
                self.fail(Outcome::Stopping, error, in_queue)
            }
        }
    }

    fn fail(mut self, outcome: Outcome, error: ServeError, spent: impl FnOnce(Instant, Instant) -> Phases) -> Failed {
        let answered = Instant::now();
        self.count_failure(outcome, error.to_string(), answered);
        Failed { error, phases: spent(self.context.received, answered) }
    }

    fn count_failure(&mut self, outcome: Outcome, error: String, answered: Instant) {
        let took = answered.saturating_duration_since(self.context.received);
        self.model.count_failure(outcome, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.settle(answered, Err(error));
    }

    fn settle(&mut self, answered: Instant, result: Result<(Timeline, u32), String>) {
        self.settled = true;
        let Some(traces) = self.traces else { return };
        let spec = self.model.spec();
        let record = trace::Inference {
            parent: self.context.trace,
            id: std::mem::take(&mut self.id),
            model: spec.name.clone(),
            version: spec.version,
            protocol: self.context.protocol.as_str(),
            received: self.context.received,
            answered,
            result,
            steps: std::mem::take(&mut self.steps),
        };
        match &self.context.part_of {
            // Whoever asked for it hands it over together with its own.
            Some(whole) => drop(whole.set(record)),
            None => traces.record(record),
        }
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.count_failure(Outcome::Cancelled, "the client went away".to_owned(), Instant::now());
        }
    }
}

fn stopping(model: &str) -> String {
    format!("model '{model}' is not served any more: the daemon is stopping")
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
