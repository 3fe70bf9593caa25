//! The account of one request: it is opened when the model is known and settled exactly once, whatever happens.
//! An account that is dropped unsettled belongs to a client that went away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use proofload_wire::infer::{InferResponse, Parameters};
use proofload_wire::tensor::Tensor;

use super::{Inference, RequestContext, ServeError};
use crate::backend::{BackendError, Timeline};
use crate::model::Model;
use crate::sched::driver::{NotServed, Refusal, Served};
use crate::sched::queue::Full;
use crate::statistics;
use crate::telemetry::meters::Outcome;
use crate::telemetry::trace::{Record, Traces};

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
    settled: bool,
}

impl<'a> Account<'a> {
    pub(super) fn open(model: &'a Model, traces: Option<&'a Traces>, context: RequestContext, id: String) -> Self {
        Self { model, traces, context, id, settled: false }
    }

    pub(super) fn succeed(mut self, wanted: &[usize], served: Served, id: String) -> Inference {
        let Served { outputs, timeline, batch_elements } = served;
        let response = response(self.model, pick(outputs, wanted), id);
        let answered = Instant::now();
        let phases = statistics::phases(self.context.received, &timeline, answered, batch_elements);
        self.model.count_success(&phases, unix_ms());
        self.settle(answered, Ok((timeline, batch_elements)));
        Inference { response, phases }
    }

    pub(super) fn fail(mut self, outcome: Outcome, error: ServeError) -> ServeError {
        self.count_failure(outcome, error.to_string());
        error
    }

    pub(super) fn refuse(self, refusal: Refusal) -> ServeError {
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
            Refusal::Stopped => (Outcome::Stopping, stopping(name), None),
        };
        self.fail(outcome, ServeError::Unavailable { message, retry_after })
    }

    pub(super) fn not_served(self, error: &NotServed) -> ServeError {
        let name = &self.model.spec().name;
        let (outcome, error) = match error {
            NotServed::Expired => (
                Outcome::TimedOut,
                ServeError::DeadlineExceeded(format!("Request timeout expired: model '{name}': {error}")),
            ),
            NotServed::Backend(error @ BackendError::Input { .. }) => {
                (Outcome::BackendFailed, ServeError::InvalidArgument(format!("model '{name}': {error}")))
            }
            NotServed::Backend(error) => {
                (Outcome::BackendFailed, ServeError::Internal(format!("model '{name}': {error}")))
            }
            NotServed::Stopped => {
                (Outcome::Stopping, ServeError::Unavailable { message: stopping(name), retry_after: None })
            }
        };
        self.fail(outcome, error)
    }

    fn count_failure(&mut self, outcome: Outcome, error: String) {
        let answered = Instant::now();
        let took = answered.saturating_duration_since(self.context.received);
        self.model.count_failure(outcome, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.settle(answered, Err(error));
    }

    fn settle(&mut self, answered: Instant, result: Result<(Timeline, u32), String>) {
        self.settled = true;
        let Some(traces) = self.traces else { return };
        let spec = self.model.spec();
        traces.record(Record {
            parent: self.context.trace,
            id: std::mem::take(&mut self.id),
            model: spec.name.clone(),
            version: spec.version,
            protocol: self.context.protocol.as_str(),
            received: self.context.received,
            answered,
            result,
        });
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.count_failure(Outcome::Cancelled, "the client went away".to_owned());
        }
    }
}

fn stopping(model: &str) -> String {
    format!("model '{model}' is not served any more: the daemon is stopping")
}

fn response(model: &Model, outputs: Vec<Tensor>, id: String) -> InferResponse {
    let spec = model.spec();
    InferResponse {
        model_name: spec.name.clone(),
        model_version: spec.version.to_string(),
        id,
        parameters: Parameters::new(),
        outputs,
    }
}

/// The wanted outputs in the wanted order. An output that is wanted twice is given twice.
fn pick(outputs: Vec<Tensor>, wanted: &[usize]) -> Vec<Tensor> {
    if wanted.iter().copied().eq(0..outputs.len()) {
        return outputs;
    }
    wanted.iter().filter_map(|&index| outputs.get(index).cloned()).collect()
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
