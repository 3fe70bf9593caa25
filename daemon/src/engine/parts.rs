//! Requests to decoupled models: any number of responses, each as soon as it is there, and then how it ended. Dropping
//! the stream gives the request up: its place in the queue, or what the model has still to compute.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Instant;

use futures::stream::{self, Stream};
use proofload_wire::infer::{InferRequest, InferResponse};
use proofload_wire::phases::Phases;
use tokio::sync::mpsc;

use super::account::InFlight;
use super::{Admitted, Engine, Failed, RequestContext, ServeError, answer};
use crate::backend::responses::{self, Responses};
use crate::model::Model;
use crate::statistics::{PartEnd, PartTimes};

/// What a request to a decoupled model gets.
#[derive(Debug)]
pub enum Part {
    /// A response.
    Response(InferResponse),
    /// That there are no more, and where the time went; always the last.
    End(Result<Phases, Failed>),
}

type Run = Pin<Box<dyn Future<Output = Result<Phases, Failed>> + Send>>;

/// A request that runs, what it has given already, and how it ended.
struct Flow {
    run: Option<Run>,
    responses: mpsc::Receiver<InferResponse>,
    end: Option<Result<Phases, Failed>>,
}

impl Engine {
    /// Whether a model sends any number of responses, so that only [`Engine::infer_parts`] serves it.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn is_decoupled(&self, model: &str, version: Option<&str>) -> Result<bool, ServeError> {
        Ok(self.model(model, version)?.spec().decoupled)
    }

    /// Serves a request to a decoupled model.
    pub fn infer_parts(
        &self,
        request: InferRequest,
        context: RequestContext,
    ) -> impl Stream<Item = Part> + Send + use<> {
        // One at a time: what its client does not read holds the model back.
        let (sink, responses) = mpsc::channel(1);
        let run: Run = Box::pin(run(self.clone(), request, context, sink));
        stream::unfold(Flow { run: Some(run), responses, end: None }, next)
    }
}

async fn next(mut flow: Flow) -> Option<(Part, Flow)> {
    if let Some(run) = &mut flow.run {
        tokio::select! {
            // A response goes before the end that came with it.
            biased;
            Some(response) = flow.responses.recv() => return Some((Part::Response(response), flow)),
            end = run => flow.end = Some(end),
        }
        flow.run = None;
    }
    match flow.responses.try_recv() {
        Ok(response) => Some((Part::Response(response), flow)),
        Err(_) => flow.end.take().map(|end| (Part::End(end), flow)),
    }
}

async fn run(
    engine: Engine,
    request: InferRequest,
    context: RequestContext,
    sink: mpsc::Sender<InferResponse>,
) -> Result<Phases, Failed> {
    let _in_flight = InFlight::enter(&engine.inner.parts.in_flight);
    let serving = engine.model(&request.model_name, request.model_version.as_deref())?;
    let model: &Model = &serving;
    let (responses, mut parts) = Responses::channel();
    let admitted = engine.admit(model, request, context, Some(responses))?;
    let Admitted { account, mut place, pending, wanted, patience, id } = admitted;
    let mut delivery =
        Delivery { model, wanted, id, sink, count: Count { model, sent: 0, since: Instant::now(), over: false } };
    let mut outcome = pin!(pending.outcome(patience.ends()));
    let ended = loop {
        tokio::select! {
            biased;
            Some(part) = parts.next() => if let Err(error) = delivery.deliver(part).await {
                return Err(account.broken(error));
            },
            ended = &mut outcome => break ended,
        }
    };
    while let Some(part) = parts.try_next() {
        if let Err(error) = delivery.deliver(part).await {
            return Err(account.broken(error));
        }
    }
    if parts.stalled() {
        return Err(account.broken(unread()));
    }
    delivery.count.end(ended.is_ok());
    place.iter_mut().for_each(|place| place.learn(&ended));
    match ended {
        Ok(served) => Ok(account.complete(&served)),
        Err(why) => Err(account.not_served(&why, patience)),
    }
}

fn unread() -> ServeError {
    let message = "the client did not read the responses in time; the rest was given up".to_owned();
    ServeError::Unavailable { message, retry_after: None }
}

/// Makes responses of what the model sends, and counts them.
struct Delivery<'a> {
    model: &'a Model,
    wanted: Vec<answer::Wanted>,
    id: String,
    sink: mpsc::Sender<InferResponse>,
    count: Count<'a>,
}

impl Delivery<'_> {
    async fn deliver(&mut self, part: responses::Part) -> Result<(), ServeError> {
        let times = PartTimes::of(&part);
        let response = answer::respond(self.model.spec(), &self.wanted, part.outputs, self.id.clone());
        self.count.add(times, if response.is_ok() { PartEnd::Sent } else { PartEnd::Failed });
        // When nobody listens any more, this is about to be dropped.
        let _ = self.sink.send(response?).await;
        Ok(())
    }
}

/// Counts the responses of one request by their number.
struct Count<'a> {
    model: &'a Model,
    sent: usize,
    /// When the last one was sent.
    since: Instant,
    over: bool,
}

impl Count<'_> {
    fn add(&mut self, times: PartTimes, end: PartEnd) {
        self.model.count_part(self.sent, times, end);
        self.sent += 1;
        self.since = Instant::now();
        self.over |= end == PartEnd::Failed;
    }

    /// The model is done: in Triton's terms the last response is an empty one, which says so.
    fn end(&mut self, succeeded: bool) {
        self.over = true;
        if succeeded {
            self.model.count_part(self.sent, PartTimes::waited(self.since, Instant::now()), PartEnd::Empty);
        }
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.model.count_part(self.sent, PartTimes::waited(self.since, Instant::now()), PartEnd::Cancelled);
        }
    }
}
