//! What a relief request gets: the mesh file with facts about it in the headers, or both in one JSON document for who
//! accepts that. No policy.

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use proofload_wire::phases::Phases;
use serde::Serialize;

use crate::front::phases;
use crate::mesh::export::Format;
use crate::relief::{Facts, Relief};

pub(super) const JSON: &str = "application/json";
/// What was answered depends on this header.
const VARY: HeaderName = HeaderName::from_static("vary");

/// A relief as one document.
#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    media_type: &'static str,
    quality: &'a Facts,
    phases_ns: Times,
    mesh_base64: String,
}

#[derive(Serialize)]
pub(super) struct Times {
    queue: u64,
    copy_in: u64,
    compute: u64,
    copy_out: u64,
    total: u64,
}

impl From<&Phases> for Times {
    fn from(phases: &Phases) -> Self {
        let &Phases { queue_ns, copy_in_ns, compute_ns, copy_out_ns, .. } = phases;
        Self {
            queue: queue_ns,
            copy_in: copy_in_ns,
            compute: compute_ns,
            copy_out: copy_out_ns,
            total: phases.total_ns(),
        }
    }
}

/// Whether a client asks for this media type by name. Who takes anything has not asked.
pub(in crate::front) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let lists = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut named = lists.flat_map(|list| list.split(',')).map(|one| one.split(';').next().unwrap_or_default().trim());
    named.any(|name| name.eq_ignore_ascii_case(media_type))
}

/// Bytes as text that JSON can carry.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The answer, as a JSON document or as the file.
pub(in crate::front) fn of(relief: Relief, format: Format, as_json: bool) -> Response {
    let Relief { file, facts, phases } = relief;
    let mut response = if as_json { document(&file, &facts, &phases, format) } else { attachment(file, format) };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept"));
    describe(headers, &facts);
    phases::insert(headers, &phases);
    response
}

fn document(file: &[u8], facts: &Facts, phases: &Phases, format: Format) -> Response {
    let document = Document {
        format: format.extension(),
        media_type: format.media_type(),
        quality: facts,
        phases_ns: phases.into(),
        mesh_base64: base64(file),
    };
    // Numbers that are finite and text: there is nothing that could fail.
    let mut response = Response::new(Body::from(serde_json::to_vec(&document).unwrap_or_default()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

fn attachment(file: Vec<u8>, format: Format) -> Response {
    let mut response = Response::new(Body::from(file));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(CONTENT_DISPOSITION, disposition(format));
    response
}

fn disposition(format: Format) -> HeaderValue {
    HeaderValue::from_static(match format {
        Format::Stl => "attachment; filename=\"relief.stl\"",
        Format::Obj => "attachment; filename=\"relief.obj\"",
        Format::Ply => "attachment; filename=\"relief.ply\"",
    })
}

fn describe(headers: &mut HeaderMap, facts: &Facts) {
    let quality = &facts.quality;
    let [width, depth, height] = quality.size_mm;
    let facts = [
        ("x-proofload-triangles", quality.triangles.to_string()),
        ("x-proofload-vertices", quality.vertices.to_string()),
        ("x-proofload-size-mm", format!("{width:.4} {depth:.4} {height:.4}")),
        ("x-proofload-volume-mm3", format!("{:.3}", quality.volume_mm3)),
        ("x-proofload-area-mm2", format!("{:.3}", quality.area_mm2)),
        ("x-proofload-minimum-wall-mm", format!("{:.4}", facts.minimum_wall_mm)),
        ("x-proofload-overhang-share", format!("{:.4}", quality.overhang_share)),
        ("x-proofload-watertight", quality.watertight.to_string()),
        ("x-proofload-mask", facts.mask.unwrap_or("none").to_owned()),
        ("x-proofload-foreground-share", format!("{:.4}", facts.foreground_share)),
    ];
    for (name, value) in facts {
        // Digits and words of ASCII are always a valid value.
        headers.extend(HeaderValue::try_from(value).ok().map(|value| (HeaderName::from_static(name), value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_json() {
        let check = |accept: &[&str], expected: bool| {
            let mut headers = HeaderMap::new();
            headers.extend(accept.iter().map(|value| (ACCEPT, HeaderValue::from_str(value).unwrap())));
            assert_eq!(accepts(&headers, JSON), expected, "{accept:?}");
        };
        check(&[], false);
        check(&["*/*"], false);
        check(&["model/stl, Application/JSON;q=0.5"], true);
        check(&["model/stl", "application/json"], true);
        check(&["application/jsonl"], false);
    }
}
