//! What a relief request gets: the mesh file with facts about it in the headers, or both in one JSON document for who
//! accepts that. No policy.

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use proofload_wire::phases::Phases;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cache::entry::Entry;
use crate::front::phases;
use crate::mesh::export::Format;
use crate::relief::{Facts, Relief};

pub(super) const JSON: &str = "application/json";
/// What was answered depends on this header.
const VARY: HeaderName = HeaderName::from_static("vary");

/// A relief as one document, but for where its time went.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Relief")]
pub(in crate::front) struct Document<'a> {
    format: &'static str,
    media_type: &'static str,
    quality: &'a Facts,
    mesh_base64: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PhaseTimes")]
pub(in crate::front) struct Times {
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

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::front) enum Form {
    /// The mesh.
    File,
    /// A document with the mesh in it.
    Document,
}

impl Form {
    /// The form that a client asks for.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        if accepts(headers, JSON) { Self::Document } else { Self::File }
    }

    /// Its name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Document => "document",
        }
    }
}

/// The answer.
pub(in crate::front) fn of(relief: Relief, format: Format, form: Form) -> Response {
    let phases = relief.phases;
    let (headers, body) = written(relief, format, form);
    respond(headers, body.into(), &phases, form)
}

/// The answer in bytes that can be given again: lines with its headers, and its body.
pub(super) fn to_keep(relief: Relief, format: Format, form: Form) -> (Vec<u8>, Vec<u8>) {
    let (headers, body) = written(relief, format, form);
    let mut lines = Vec::new();
    for (name, value) in &headers {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.push(b':');
        lines.extend_from_slice(value.as_bytes());
        lines.push(b'\n');
    }
    (lines, body)
}

/// The answer that was kept.
pub(super) fn again(entry: Entry, phases: &Phases, form: Form) -> Response {
    let Entry { about, body, .. } = entry;
    let header = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    };
    let headers = about.split(|byte| *byte == b'\n').filter_map(header).collect();
    respond(headers, body, phases, form)
}

/// Everything of an answer but where its time went.
fn written(relief: Relief, format: Format, form: Form) -> (HeaderMap, Vec<u8>) {
    let Relief { file, facts, .. } = relief;
    let mut headers = HeaderMap::new();
    headers.insert(VARY, HeaderValue::from_static("accept"));
    describe(&mut headers, &facts);
    let body = match form {
        Form::Document => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
            document(&file, &facts, format)
        }
        Form::File => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
            headers.insert(CONTENT_DISPOSITION, disposition(format));
            file
        }
    };
    (headers, body)
}

fn respond(headers: HeaderMap, body: Bytes, phases: &Phases, form: Form) -> Response {
    let body = if form == Form::Document { with_times(&body, phases) } else { body };
    let mut response = Response::new(Body::from(body));
    *response.headers_mut() = headers;
    phases::insert(response.headers_mut(), phases);
    response
}

fn document(file: &[u8], facts: &Facts, format: Format) -> Vec<u8> {
    let document = Document {
        format: format.extension(),
        media_type: format.media_type(),
        quality: facts,
        mesh_base64: base64(file),
    };
    // Numbers that are finite and text: there is nothing that could fail.
    serde_json::to_vec(&document).unwrap_or_default()
}

/// A document that says where the time went, too. It comes last, because it is another each time.
fn with_times(document: &[u8], phases: &Phases) -> Bytes {
    let Some((b'}', document)) = document.split_last() else { return Bytes::copy_from_slice(document) };
    let times = serde_json::to_string(&Times::from(phases)).unwrap_or_default();
    [document, b",\"phases_ns\":", times.as_bytes(), b"}"].concat().into()
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
    fn times_come_last() {
        let phases = Phases { queue_ns: 1, copy_in_ns: 2, compute_ns: 3, copy_out_ns: 4, ..Phases::default() };
        let times = r#"{"queue":1,"copy_in":2,"compute":3,"copy_out":4,"total":10}"#;
        let expected = format!(r#"{{"format":"stl","phases_ns":{times}}}"#);
        assert_eq!(with_times(br#"{"format":"stl"}"#, &phases), expected);
    }

    #[test]
    fn what_is_kept_is_answered_again() {
        let headers = [("content-type", "model/stl"), ("x-proofload-size-mm", "1.0 2.0: 3")];
        let lines = headers.map(|(name, value)| format!("{name}:{value}\n")).concat();
        let entry = Entry::new(lines.into_bytes(), b"solid".to_vec(), 0);
        let response = again(entry, &Phases::default(), Form::File);
        for (name, value) in headers {
            assert_eq!(response.headers()[name], value);
        }
        assert_eq!(response.headers()["x-proofload-cache"], "miss");
    }

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
