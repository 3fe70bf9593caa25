//! Every answer over HTTP says where its time went.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use proofload_wire::phases::Phases;

/// As many headers as an answer has, at most: a map that grows puts all of them in place again.
const HEADERS: usize = 16;

/// Adds the phases to an answer's headers.
pub(super) fn insert(headers: &mut HeaderMap, phases: &Phases) {
    headers.reserve(HEADERS);
    for (name, value) in phases.to_headers() {
        // Digits and words of ASCII are always a valid value.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}
