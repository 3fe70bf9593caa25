//! Requests to ensembles: every step is a request of its own to the step's model, with its queue, its counts and its limits,
//! and runs as soon as its inputs are there. Dropping the future gives up the steps that run.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures::stream::{FuturesUnordered, StreamExt};
use proofload_wire::infer::{InferRequest, InferResponse, RequestedOutput};
use proofload_wire::tensor::Tensor;

use super::account::Account;
use super::check::{self, Checked};
use super::{Engine, Failed, Inference, Protocol, RequestContext, ServeError};
use crate::ensemble::flow::Flow;
use crate::ensemble::spent::Spent;
use crate::ensemble::step_name;
use crate::model::{Ensemble, Model};
use crate::telemetry::trace::Slot;

/// A step that runs, and when it was asked for.
type Running = Pin<Box<dyn Future<Output = Done> + Send>>;

/// A step that has ended.
struct Done {
    step: usize,
    asked: Instant,
    result: Result<Inference, Failed>,
}

/// A request on its way through the steps.
struct Way<'a> {
    engine: &'a Engine,
    ensemble: &'a Ensemble,
    flow: Flow<'a>,
    /// What every step's request says beside its content.
    context: RequestContext,
    id: String,
    spent: Spent,
    /// Where the steps' records go, when there are traces.
    records: Vec<Slot>,
}

impl Engine {
    /// Serves a request to an ensemble.
    pub(super) async fn infer_steps<T>(
        &self,
        model: &Model,
        ensemble: &Ensemble,
        request: InferRequest,
        context: RequestContext,
        encode: impl FnOnce(InferResponse) -> Result<T, ServeError>,
    ) -> Result<Inference<T>, Failed> {
        let InferRequest { id, inputs, outputs, .. } = request;
        let for_steps = RequestContext { protocol: Protocol::Internal, part_of: None, ..context.clone() };
        let mut account = Account::open(model, self.traces(), context, id.clone());
        let checked = match check::check(model.spec(), inputs, &outputs) {
            Ok(checked) => checked,
            Err(error) => return Err(account.invalid(error)),
        };
        let Checked { inputs, elements, outputs: wanted, .. } = checked;
        let flow = Flow::new(&ensemble.plan, wanted.iter().map(|output| output.index));
        let (context, spent, records) = (for_steps, Spent::default(), Vec::new());
        let mut way = Way { engine: self, ensemble, flow, context, id: id.clone(), spent, records };
        let ended = way.run(inputs).await;
        account.steps(way.records.iter().filter_map(|slot| slot.get().cloned()).collect());
        match ended {
            Ok(outputs) => account.assemble(&wanted, outputs, &way.spent, elements, id, encode),
            Err(error) => {
                Err(account.step_failed(in_ensemble(model, error), |from, to| way.spent.phases(from, to, elements)))
            }
        }
    }
}

impl Way<'_> {
    async fn run(&mut self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, ServeError> {
        let mut running = FuturesUnordered::new();
        let ready = self.flow.begin(inputs);
        self.start(ready, &running)?;
        while let Some(Done { step, asked, result }) = running.next().await {
            let phases = result.as_ref().map_or_else(|failed| &failed.phases, |inference| &inference.phases);
            self.spent.add(asked, phases);
            let outputs = result.map_err(|failed| self.in_step(step, failed.error))?.response.outputs;
            let ready = self.flow.done(step, outputs);
            self.start(ready, &running)?;
        }
        self.flow.outputs().map_err(ServeError::Internal)
    }

    fn start(&mut self, ready: Vec<usize>, running: &FuturesUnordered<Running>) -> Result<(), ServeError> {
        for step in ready {
            let inputs = self.flow.inputs(step).map_err(|what| self.in_step(step, ServeError::Internal(what)))?;
            running.push(self.ask(step, inputs));
        }
        Ok(())
    }

    /// Asks the model of a step. Boxed, because it may be an ensemble itself.
    fn ask(&mut self, step: usize, inputs: Vec<Tensor>) -> Running {
        let asked = Instant::now();
        let slot = self.engine.traces().is_some().then(Slot::default);
        self.records.extend(slot.clone());
        let context = RequestContext { received: asked, part_of: slot, ..self.context.clone() };
        let model = Arc::clone(&self.ensemble.steps[step]);
        let wanted = self.flow.wanted(step).into_iter();
        let outputs =
            wanted.map(|name| RequestedOutput { name: name.to_owned(), ..RequestedOutput::default() }).collect();
        let request = InferRequest {
            model_name: model.spec().name.clone(),
            id: self.id.clone(),
            inputs,
            outputs,
            ..InferRequest::default()
        };
        let engine = self.engine.clone();
        Box::pin(async move {
            let result = match model.steps() {
                Some(ensemble) => engine.infer_steps(&model, ensemble, request, context, Ok).await,
                None => engine.infer_alone(&model, request, context, Ok).await,
            };
            Done { step, asked, result }
        })
    }

    fn in_step(&self, step: usize, error: ServeError) -> ServeError {
        let name = step_name(step, &self.ensemble.steps[step].spec().name);
        error.within(|message| format!("{name}: {message}"))
    }
}

/// In Triton's words.
fn in_ensemble(model: &Model, error: ServeError) -> ServeError {
    error.within(|message| format!("in ensemble '{}', {message}", model.spec().name))
}
