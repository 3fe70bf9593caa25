//! Requests whose answers are kept: looked for first, and computed by one of those who want the same at the same time.
//! A request that has to be computed goes the usual way, and what looking for its answer took is a part of its wait.

use std::time::{Duration, Instant};

use proofload_wire::infer::{InferRequest, InferResponse};

use super::account::{Account, InFlight};
use super::patience::Patience;
use super::{Engine, Failed, Inference, RequestContext, ServeError};
use crate::cache::entry::Entry;
use crate::cache::key::{Fingerprint, Subject};
use crate::cache::{Cache, Duty, Layer, Looked};
use crate::model::Model;
use crate::sched::driver::NotServed;

/// When a retry is worth while for who waited for another's answer in vain. When that will be there is not known; it is
/// the shortest time that the header can say.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A form in which answers leave and are kept. The id of a request is no part of what is kept.
pub trait Form {
    /// An answer, ready to send.
    type Answer;

    /// Adds what of the form decides the bytes.
    fn tell(&self, request: &InferRequest, subject: &mut Subject);

    /// The bytes of an answer: what is to be known beside the body, and the body.
    ///
    /// # Errors
    /// When the outputs cannot be said in this form.
    fn encode(&self, response: InferResponse) -> Result<(Vec<u8>, Vec<u8>), ServeError>;

    /// The answer to the request with this id.
    ///
    /// # Errors
    /// When the bytes are not what `encode` wrote.
    fn answer(&self, entry: Entry, id: &str) -> Result<Self::Answer, ServeError>;
}

impl Engine {
    /// Whether answers of a model are kept. A model that does not exist has none.
    pub fn keeps_answers(&self, model: &str, version: Option<&str>) -> bool {
        self.model(model, version).is_ok_and(|model| model.fingerprint().is_some())
    }

    /// A model as it is loaded now.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn fingerprint(&self, model: &str, version: Option<&str>) -> Result<Fingerprint, ServeError> {
        let model = self.model(model, version)?;
        Ok(Fingerprint::of(model.spec(), model.engine()))
    }

    /// Serves a request, out of the cache if its answer is there. Dropping the future gives up its place, and hands the
    /// duty to compute to another that waits for the same.
    ///
    /// # Errors
    /// When it does not fit the model, there is no room, its deadline comes first, or the model fails.
    pub async fn infer_cached<F: Form>(
        &self,
        cache: &Cache,
        request: InferRequest,
        context: RequestContext,
        form: &F,
    ) -> Result<Inference<F::Answer>, Failed> {
        let _in_flight = InFlight::enter(&self.inner.parts.in_flight);
        let model = self.model(&request.model_name, request.model_version.as_deref())?;
        let Some(fingerprint) = model.fingerprint() else {
            // It has been loaded anew meanwhile.
            return self.infer(request, context, |response| whole(form, response)).await;
        };
        let key = cache.key(subject(fingerprint, &request, form)).await;
        let keyed = Instant::now();
        let patience = patience(&model, &context);
        let account = Account::open(&model, self.traces(), context.clone(), request.id.clone());
        let looked = cache.look_up(key, patience.ends()).await;
        match looked {
            Ok(Looked::Found(entry, layer)) => found(account, form, entry, &request.id, Looking { keyed, layer }),
            Ok(Looked::Missing(duty)) => {
                account.pass_on();
                let asked = Asked { request, context, duty };
                self.compute(cache, &model, asked, form).await
            }
            Err(_) => Err(account.not_served(&NotServed::Expired { retry_after: RETRY_AFTER }, patience)),
        }
    }

    /// Computes an answer and keeps it. A failure that may be this request's alone hands the duty over.
    async fn compute<F: Form>(
        &self,
        cache: &Cache,
        model: &Model,
        asked: Asked,
        form: &F,
    ) -> Result<Inference<F::Answer>, Failed> {
        let Asked { request, context, duty } = asked;
        let looked = duty.looked;
        let id = request.id.clone();
        let computed = self.encoded(model, request, context, form).await;
        let Inference { response: (about, body), phases } = match computed {
            Ok(inference) => inference,
            Err(failed) => {
                if is_of_the_model(&failed.error) {
                    duty.give_up();
                }
                return Err(failed);
            }
        };
        let keeping = Instant::now();
        let computed_ns = phases.total_ns().saturating_sub(phases.queue_ns);
        let entry = Entry::new(about, body, computed_ns);
        cache.keep(duty, &entry);
        model.count_miss(looked + keeping.elapsed());
        Ok(Inference { response: form.answer(entry, &id)?, phases })
    }

    /// An answer without an id, in its bytes.
    async fn encoded<F: Form>(
        &self,
        model: &Model,
        request: InferRequest,
        context: RequestContext,
        form: &F,
    ) -> Result<Inference<(Vec<u8>, Vec<u8>)>, Failed> {
        let without_id = |response| form.encode(InferResponse { id: String::new(), ..response });
        self.infer_alone(model, request, context, without_id).await
    }
}

/// A request that has to be computed.
struct Asked {
    request: InferRequest,
    context: RequestContext,
    duty: Duty,
}

/// How an answer was found.
#[derive(Clone, Copy)]
struct Looking {
    keyed: Instant,
    layer: Layer,
}

fn found<F: Form>(
    account: Account<'_>,
    form: &F,
    entry: Entry,
    id: &str,
    looking: Looking,
) -> Result<Inference<F::Answer>, Failed> {
    let Looking { keyed, layer } = looking;
    let came = Instant::now();
    let response = match form.answer(entry, id) {
        Ok(response) => response,
        Err(error) => return Err(account.broken(error)),
    };
    // Only who waited for another's answer has waited.
    let waited_until = (layer == Layer::Coalesced).then_some(came);
    Ok(Inference { response, phases: account.found(keyed, waited_until, layer) })
}

fn subject<F: Form>(fingerprint: &Fingerprint, request: &InferRequest, form: &F) -> Subject {
    let mut subject = Subject::of_request(fingerprint, request);
    form.tell(request, &mut subject);
    subject
}

fn whole<F: Form>(form: &F, response: InferResponse) -> Result<F::Answer, ServeError> {
    let (about, body) = form.encode(response)?;
    form.answer(Entry::new(about, body, 0), "")
}

fn patience(model: &Model, context: &RequestContext) -> Patience {
    let queue = &model.spec().scheduling.queue;
    let level = queue.at(queue.level(context.priority));
    Patience::new(level, context.timeout, context.deadline, context.received)
}

/// Whether others who ask for the same would fare the same. What has to do with room and time may be otherwise for
/// them.
pub(crate) fn is_of_the_model(error: &ServeError) -> bool {
    matches!(error, ServeError::Internal(_) | ServeError::InvalidArgument(_) | ServeError::Unsupported(_))
}
