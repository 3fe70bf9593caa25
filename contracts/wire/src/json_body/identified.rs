//! The id of a request in a body that was written without one. Bodies of responses begin with it.

use bytes::Bytes;

use super::EncodedBody;

/// The same response with this id, which may be empty. The body must be one that [`super::encode_response`] or
/// [`super::encode_generated`] wrote for a response without an id.
pub fn with_id(encoded: EncodedBody, id: &str) -> EncodedBody {
    let Some((b'{', rest)) = encoded.body.split_first().filter(|_| !id.is_empty()) else { return encoded };
    // A string is always valid JSON.
    let id = serde_json::to_string(id).unwrap_or_default();
    let head = format!("{{\"id\":{id},");
    let grown = head.len() - 1;
    let body = Bytes::from([head.as_bytes(), rest].concat());
    EncodedBody { body, json_length: encoded.json_length.map(|length| length + grown) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::infer::InferResponse;
    use crate::json_body::{BinaryOutputs, encode_generated, encode_response};
    use crate::testing::{Travels, response};

    proptest! {
        /// Whatever the response and the id: it is as if it had been written with the id at once.
        #[test]
        fn an_id_that_is_added_is_as_good_as_one_that_was_there(
            response in response(Travels::Json),
            id in prop_oneof![Just(String::new()), ".{0,20}"],
            binary: bool,
        ) {
            let outputs = if binary { BinaryOutputs::all() } else { BinaryOutputs::none() };
            let without = InferResponse { id: String::new(), ..response.clone() };
            let with = InferResponse { id: id.clone(), ..response };
            let added = with_id(encode_response(&without, &outputs).unwrap(), &id);
            prop_assert_eq!(added, encode_response(&with, &outputs).unwrap());
            let generated = |response: &InferResponse| {
                EncodedBody { body: encode_generated(response).unwrap().into(), json_length: None }
            };
            prop_assert_eq!(with_id(generated(&without), &id), generated(&with));
        }
    }
}
