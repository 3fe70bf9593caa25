//! The forms in which answers are kept: JSON with or without binary tensors, the JSON of `generate`, and messages of
//! gRPC. Kept bytes are those that are sent; only a request's own id is put in.

use bytes::Bytes;
use proofload_wire::WireError;
use proofload_wire::grpc::inference as pb;
use proofload_wire::infer::{InferRequest, InferResponse};
use proofload_wire::json_body::{BinaryOutputs, EncodedBody, encode_generated, encode_response, with_id};
use prost::Message as _;

use super::FrontState;
use super::sharing::Placed;
use crate::cache::Cache;
use crate::cache::entry::Entry;
use crate::cache::key::{Subject, in_sequence};
use crate::engine::ServeError;
use crate::engine::cached::Form;

/// The cache, where the answer to this request may be found in it. What is put into memory that a client shares is not
/// in the answer's bytes.
pub(super) fn cache<'a>(state: &'a FrontState, request: &InferRequest, placed: &[Placed]) -> Option<&'a Cache> {
    let cache = state.cache.as_deref()?;
    let version = request.model_version.as_deref();
    let may = placed.is_empty() && !in_sequence(&request.parameters);
    (may && state.engine.keeps_answers(&request.model_name, version)).then_some(cache)
}

/// The body of an answer to `infer`.
pub(super) struct Body<'a>(pub(super) &'a BinaryOutputs);

impl Form for Body<'_> {
    type Answer = EncodedBody;

    fn tell(&self, request: &InferRequest, subject: &mut Subject) {
        subject.text("json");
        // Without names, all outputs go the same way.
        subject.number(u64::from(self.0.wants("")));
        request.outputs.iter().for_each(|output| subject.number(u64::from(self.0.wants(&output.name))));
    }

    fn encode(&self, response: InferResponse) -> Result<(Vec<u8>, Vec<u8>), ServeError> {
        let EncodedBody { body, json_length } = encode_response(&response, self.0).map_err(|error| internal(&error))?;
        let length = json_length.map(|length| length.to_string()).unwrap_or_default();
        Ok((length.into_bytes(), body.into()))
    }

    fn answer(&self, Entry { about, body, .. }: Entry, id: &str) -> Result<EncodedBody, ServeError> {
        let length = std::str::from_utf8(&about).map_err(|_| not_ours())?;
        let json_length = match length {
            "" => None,
            length => Some(length.parse().ok().filter(|length| *length <= body.len()).ok_or_else(not_ours)?),
        };
        Ok(with_id(EncodedBody { body, json_length }, id))
    }
}

/// The object that `generate` answers with.
pub(super) struct Generated;

impl Form for Generated {
    type Answer = Bytes;

    fn tell(&self, _: &InferRequest, subject: &mut Subject) {
        subject.text("generated");
    }

    fn encode(&self, response: InferResponse) -> Result<(Vec<u8>, Vec<u8>), ServeError> {
        Ok((Vec::new(), encode_generated(&response).map_err(|error| internal(&error))?))
    }

    fn answer(&self, Entry { body, .. }: Entry, id: &str) -> Result<Bytes, ServeError> {
        Ok(with_id(EncodedBody { body, json_length: None }, id).body)
    }
}

/// A message over gRPC. Its tensors are slices of what is kept.
pub(super) struct Message;

impl Form for Message {
    type Answer = InferResponse;

    fn tell(&self, _: &InferRequest, subject: &mut Subject) {
        subject.text("message");
    }

    fn encode(&self, response: InferResponse) -> Result<(Vec<u8>, Vec<u8>), ServeError> {
        Ok((Vec::new(), pb::ModelInferResponse::from(response).encode_to_vec()))
    }

    fn answer(&self, Entry { body, .. }: Entry, id: &str) -> Result<InferResponse, ServeError> {
        let message = pb::ModelInferResponse::decode(body).map_err(|_| not_ours())?;
        let response = InferResponse::try_from(message).map_err(|error| internal(&error))?;
        Ok(InferResponse { id: id.to_owned(), ..response })
    }
}

fn internal(error: &WireError) -> ServeError {
    ServeError::Internal(error.to_string())
}

/// Checksums say that kept bytes are what was written, so it was written by another version of this code.
fn not_ours() -> ServeError {
    ServeError::Internal("the cache holds what this version does not read; clear it".to_owned())
}

#[cfg(test)]
mod tests {
    use proofload_wire::tensor::Tensor;

    use super::*;

    fn response(id: &str) -> InferResponse {
        InferResponse {
            model_name: "m".to_owned(),
            model_version: "1".to_owned(),
            id: id.to_owned(),
            outputs: vec![Tensor::from_f32("y", vec![2], &[0.5, 1.0]).unwrap()],
            ..InferResponse::default()
        }
    }

    fn kept<F: Form>(form: &F) -> Entry {
        let (about, body) = form.encode(response("")).unwrap();
        Entry::new(about, body, 0)
    }

    #[test]
    fn what_was_kept_is_given_with_the_id_of_who_asks() {
        for outputs in [BinaryOutputs::all(), BinaryOutputs::none()] {
            let form = Body(&outputs);
            for id in ["", "7", "a\"b"] {
                let expected = encode_response(&response(id), &outputs).unwrap();
                assert_eq!(form.answer(kept(&form), id), Ok(expected));
            }
        }
        assert_eq!(Message.answer(kept(&Message), "7"), Ok(response("7")));
        let expected = encode_generated(&response("7")).unwrap();
        assert_eq!(Generated.answer(kept(&Generated), "7"), Ok(Bytes::from(expected)));
    }

    #[test]
    fn bytes_of_another_kind_are_refused() {
        let entry = |about: &str, body: &'static [u8]| Entry::new(about.into(), body.to_vec(), 0);
        let outputs = BinaryOutputs::none();
        for about in ["x", "3", "-1"] {
            assert!(Body(&outputs).answer(entry(about, b"{}"), "").is_err(), "{about}");
        }
        assert!(Message.answer(entry("", b"\xff"), "").is_err());
    }

    #[test]
    fn forms_have_keys_of_their_own() {
        let request = InferRequest::default();
        let key = |form: &dyn Fn(&mut Subject)| {
            let mut subject = Subject::new("t");
            form(&mut subject);
            subject.key(0)
        };
        let (all, none) = (BinaryOutputs::all(), BinaryOutputs::none());
        let keys = [
            key(&|subject| Body(&all).tell(&request, subject)),
            key(&|subject| Body(&none).tell(&request, subject)),
            key(&|subject| Generated.tell(&request, subject)),
            key(&|subject| Message.tell(&request, subject)),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
