//! Reliefs that are kept: of the same picture with the same parameters, made once. What the bytes of an answer are is
//! said by whoever encodes it.

use std::time::Instant;

use bytes::Bytes;
use proofload_wire::phases::Phases;

use super::parameters::Parameters;
use super::visit::Visit;
use super::{Relief, ReliefError, Studio, depth};
use crate::cache::entry::Entry;
use crate::cache::key::Subject;
use crate::cache::{self, Cache, Layer, Looked};
use crate::engine::cached::is_of_the_model;
use crate::engine::{Failed, RequestContext, ServeError};

/// A relief that is wanted.
pub struct Wanted {
    /// The place of who wants it.
    pub visit: Visit,
    /// Of what.
    pub picture: Bytes,
    /// The SHA-256 of the picture, if it is known already.
    pub digest: Option<[u8; 32]>,
    /// How it is to be.
    pub parameters: Parameters,
    /// What is known of the request.
    pub context: RequestContext,
    /// The form of the answer: a form's bytes are no other's.
    pub form: &'static str,
}

/// An answer in its bytes, and where the time went.
pub struct Kept {
    /// The answer.
    pub entry: Entry,
    /// Where the time went this time.
    pub phases: Phases,
}

impl Studio {
    /// Makes a relief or gives it out of the cache. Dropping the future gives up what has not begun, and hands the duty to
    /// make it to another that waits for the same.
    ///
    /// # Errors
    /// When the picture is not usable, the depth model does not serve, or the deadline comes first.
    pub async fn kept_relief(
        &self,
        cache: &Cache,
        wanted: Wanted,
        encode: impl FnOnce(Relief) -> (Vec<u8>, Vec<u8>),
    ) -> Result<Kept, Failed<ReliefError>> {
        let key = cache.key(self.subject(&wanted).await.map_err(ReliefError::from)?).await;
        let keyed = Instant::now();
        let Wanted { mut visit, picture, parameters, context, .. } = wanted;
        visit.begin(context.clone());
        let duty = match cache.look_up(key, context.deadline).await {
            Ok(Looked::Found(entry, layer)) => {
                let waited_until = (layer == Layer::Coalesced).then(Instant::now);
                return Ok(Kept { entry, phases: visit.found(keyed, waited_until, layer) });
            }
            Ok(Looked::Missing(duty)) => duty,
            Err(_) => return Err(late(visit)),
        };
        match self.relief(visit, picture, parameters, context).await {
            Ok(relief) => {
                let phases = relief.phases;
                let (about, body) = encode(relief);
                let entry = Entry::new(about, body, phases.total_ns().saturating_sub(phases.queue_ns));
                cache.keep(duty, &entry);
                Ok(Kept { entry, phases })
            }
            Err(failed) => {
                if is_of_everyone(&failed.error) {
                    duty.give_up();
                }
                Err(failed)
            }
        }
    }

    async fn subject(&self, wanted: &Wanted) -> Result<Subject, ServeError> {
        let mut subject = Subject::new("relief");
        subject.fingerprint(&self.engine.fingerprint(depth::MODEL, None)?);
        subject.text(wanted.form);
        // Its digits are exact, and what it says is all there is.
        subject.text(&format!("{:?}", wanted.parameters));
        let digest = match wanted.digest {
            Some(digest) => digest,
            None => cache::digest(wanted.picture.clone()).await,
        };
        subject.data(Bytes::copy_from_slice(&digest));
        Ok(subject)
    }
}

fn late(visit: Visit) -> Failed<ReliefError> {
    let message = "the deadline came while the request waited for an identical one".to_owned();
    let error = ReliefError::Serve(ServeError::DeadlineExceeded(message));
    let phases = visit.end(Err(&error), Instant::now());
    Failed { error, phases }
}

fn is_of_everyone(error: &ReliefError) -> bool {
    match error {
        ReliefError::Picture(_) => true,
        ReliefError::Serve(error) => is_of_the_model(error),
    }
}
