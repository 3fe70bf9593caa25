//! Every answer over HTTP says where its time went.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use proofload_wire::phases::Phases;

/// Adds the phases to an answer's headers.
pub(super) fn insert(headers: &mut HeaderMap, phases: &Phases) {
    for (name, value) in phases.to_headers() {
        // Digits and words of ASCII are always a valid value.
        headers.extend(HeaderValue::try_from(value).ok().map(|value| (HeaderName::from_static(name), value)));
    }
}
