//! `POST /api/v1/mesh/analyze` and `/api/v1/mesh/repair`: a mesh file in, what is wrong with it or the repaired mesh out.
//! Decodes and encodes; the work is done in the workshop, within a limit of time, and given up when the client leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Serialize;

use super::answer;
use super::upload::{self, NoUpload, Upload};
use crate::front::FrontState;
use crate::front::refusal::Refusal;
use crate::mesh::analysis::Analysis;
use crate::mesh::export::Format;
use crate::mesh::read::{self, ReadError};
use crate::mesh::repair::{self, Done, Stopped, Wanted};

/// How long a repair may compute. Meshes of the largest size take a few seconds.
const TIME_LIMIT: Duration = Duration::from_secs(30);
const REPAIR: HeaderName = HeaderName::from_static("x-proofload-repair");
const WATERTIGHT: HeaderName = HeaderName::from_static("x-proofload-watertight");

/// The answer to what a mesh is like.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MeshAnalysis")]
pub(in crate::front) struct Looked {
    format: &'static str,
    #[serde(flatten)]
    analysis: Analysis,
}

/// A repaired mesh.
pub(in crate::front) struct Mended {
    file: Vec<u8>,
    format: Format,
    done: Done,
    before: Analysis,
    after: Analysis,
}

/// The same as one document.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RepairedMesh")]
pub(in crate::front) struct Document<'a> {
    format: &'static str,
    media_type: &'static str,
    done: &'a Done,
    before: &'a Analysis,
    after: &'a Analysis,
    mesh_base64: String,
}

/// Says what is right and wrong with a mesh.
pub(super) async fn analyze(State(state): State<FrontState>, request: Request) -> Result<Response, Refusal> {
    let looked = worked(&state, request, |file, written, _| {
        no_parameters(written)?;
        let (mesh, format) = read::read(file)?;
        Ok(Looked { format: format.extension(), analysis: Analysis::of(&mesh) })
    });
    Ok(json(&looked.await?))
}

/// Repairs a mesh.
pub(super) async fn repair(State(state): State<FrontState>, request: Request) -> Result<Response, Refusal> {
    let as_json = answer::accepts(request.headers(), answer::JSON);
    let mended = worked(&state, request, mend).await?;
    Ok(if as_json { document(&mended) } else { attachment(mended) })
}

/// Reads and repairs a mesh.
pub(in crate::front) fn mend(file: &[u8], written: &[(String, String)], wanted: Wanted<'_>) -> Result<Mended, Refusal> {
    let asked = format(written)?;
    let (mesh, found) = read::read(file)?;
    let before = Analysis::of(&mesh);
    let (mesh, done) = repair::repair(mesh, wanted)?;
    let (after, format) = (Analysis::of(&mesh), asked.unwrap_or(found));
    Ok(Mended { file: format.encode(&mesh), format, done, before, after })
}

/// Takes a place, reads the body and does a job on it. When the client leaves, or it takes too long, the job is told.
async fn worked<T: Send + 'static>(
    state: &FrontState,
    request: Request,
    job: impl FnOnce(&[u8], &[(String, String)], Wanted<'_>) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let (head, body) = request.into_parts();
    let _place = match state.studio.place() {
        Ok(place) => place,
        Err(full) => {
            upload::discard(body, &upload::MESH).await;
            return Err(full.into());
        }
    };
    let read = upload::read(head, body, &state.bodies, state.body_pace(), &upload::MESH).await;
    let Upload { file, written } = read.map_err(|NoUpload { refusal, .. }| refusal)?;
    let awaited = Awaited::default();
    let gone = awaited.flag();
    let done = state.studio.job(move || {
        let until = Instant::now() + TIME_LIMIT;
        job(&file, &written, &|| !gone.load(Ordering::Relaxed) && Instant::now() < until)
    });
    done.await?
}

/// Somebody waits while this lives.
#[derive(Default)]
pub(in crate::front) struct Awaited(Arc<AtomicBool>);

impl Awaited {
    /// Whether nobody waits any more.
    pub(in crate::front) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn no_parameters(written: &[(String, String)]) -> Result<(), Refusal> {
    let Some((name, _)) = written.first() else { return Ok(()) };
    Err(Refusal::new(StatusCode::BAD_REQUEST, format!("`{}` is no parameter; there are none", name.escape_debug())))
}

/// The format that is asked for, if any. Every mistake is named.
pub(in crate::front) fn format(written: &[(String, String)]) -> Result<Option<Format>, Refusal> {
    let (mut asked, mut errors) = (None, Vec::new());
    for (name, value) in written {
        let mistake = match (name.as_str(), Format::parse(value.trim())) {
            ("format", Some(_)) if asked.is_some() => "`format` is given twice; give it once".to_owned(),
            ("format", Some(format)) => {
                asked = Some(format);
                continue;
            }
            ("format", None) => format!("`format` must be stl, obj or ply, not '{}'", value.escape_debug()),
            _ => format!("`{}` is no parameter; the only one is format", name.escape_debug()),
        };
        errors.push(mistake);
    }
    if errors.is_empty() { Ok(asked) } else { Err(Refusal::new(StatusCode::BAD_REQUEST, errors.join("; "))) }
}

fn json(document: &impl Serialize) -> Response {
    // Numbers that are finite and text: there is nothing that could fail.
    let mut response = Response::new(Body::from(serde_json::to_vec(document).unwrap_or_default()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer::JSON));
    response
}

fn document(mended: &Mended) -> Response {
    let Mended { file, format, done, before, after } = mended;
    let mesh_base64 = answer::base64(file);
    let (format, media_type) = (format.extension(), format.media_type());
    json(&Document { format, media_type, done, before, after, mesh_base64 })
}

/// The mesh as a file.
pub(in crate::front) fn attachment(mended: Mended) -> Response {
    let Mended { file, format, done, after, .. } = mended;
    let mut response = Response::new(Body::from(file));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(WATERTIGHT, HeaderValue::from_static(if after.watertight { "true" } else { "false" }));
    // Digits and words of ASCII are always a valid value.
    let done = serde_json::to_string(&done).ok().and_then(|text| HeaderValue::try_from(text).ok());
    headers.extend(done.map(|done| (REPAIR, done)));
    response
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        let status = match &error {
            ReadError::Empty => StatusCode::BAD_REQUEST,
            ReadError::Unknown => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ReadError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ReadError::Damaged { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string())
    }
}

impl From<Stopped> for Refusal {
    fn from(Stopped: Stopped) -> Self {
        let message = format!("the repair takes longer than {} s; send a smaller mesh", TIME_LIMIT.as_secs());
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_a_repair() {
        let check = |written: &[(&str, &str)], expected: Result<Option<Format>, &str>| {
            let written: Vec<_> =
                written.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            match (format(&written).map_err(|refusal| refusal.message), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
                (found, expected) => panic!("{found:?} is not {expected:?}"),
            }
        };
        check(&[], Ok(None));
        check(&[("format", "PLY")], Ok(Some(Format::Ply)));
        check(&[("format", "gltf"), ("x", "1")], Err("not 'gltf'; `x` is no parameter"));
        check(&[("format", "ply"), ("format", "obj")], Err("twice"));
    }
}
