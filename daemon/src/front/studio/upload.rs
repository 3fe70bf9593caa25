//! The body of a request with a file, a picture or a mesh: a form with the file, or the file itself. Memory and time are
//! bounded.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Query, Request};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use sha2::Sha256;

use crate::bodies::Bodies;
use crate::front::body::{self, Intake, NotTaken, Taken};
use crate::front::coding;
use crate::front::doors::limits::Pace;
use crate::front::refusal::Refusal;
use crate::relief::MAX_PICTURE_BYTES;
use crate::relief::meters::Outcome;
use crate::relief::parameters::NO_TEXT;

/// A form is the file with boundaries and parameters around it.
const FORM_BYTES: usize = 64 * 1024;
/// A mesh of the largest size as binary STL takes 50 MB.
const MAX_MESH_BYTES: usize = 64 * 1024 * 1024;
/// A client that needs longer keeps a place from others.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// More than all parameters and the file.
const MAX_FIELDS: usize = 16;

/// What kind of file is taken.
#[derive(Debug)]
pub struct Kind {
    /// What it is called in messages.
    noun: &'static str,
    /// The largest.
    max_bytes: usize,
    /// The field of a form that holds it, beside `file`.
    field: &'static str,
    /// Media types of a body that is the file. What it really is, its first bytes tell.
    media_types: &'static [&'static str],
    /// What is said to who sends another type.
    wanted: &'static str,
    /// What is said to who sends words.
    no_text: &'static str,
}

/// Pictures.
pub static PICTURE: Kind = Kind {
    noun: "picture",
    max_bytes: MAX_PICTURE_BYTES,
    field: "image",
    media_types: &["image/png", "image/jpeg", "image/jpg", "application/octet-stream"],
    wanted: "send image/png, image/jpeg, or multipart/form-data with a field `file`",
    no_text: NO_TEXT,
};

/// Meshes.
pub static MESH: Kind = Kind {
    noun: "mesh",
    max_bytes: MAX_MESH_BYTES,
    field: "mesh",
    media_types: &[
        "model/stl",
        "model/obj",
        "model/ply",
        "application/sla",
        "application/vnd.ms-pki.stl",
        "application/ply",
        "application/x-ply",
        "application/octet-stream",
        "text/plain",
    ],
    wanted: "send model/stl, model/obj, application/ply, application/octet-stream, or multipart/form-data with a field \
             `file`",
    no_text: "a mesh is not repaired by words; send an STL, OBJ or PLY file",
};

/// What the client sent.
#[derive(Debug)]
pub struct Upload {
    /// The file.
    pub file: Bytes,
    /// The parameters as written.
    pub written: Vec<(String, String)>,
}

/// Why there is no upload.
#[derive(Debug)]
pub struct NoUpload {
    /// What the client is told.
    pub refusal: Refusal,
    /// What became of its request.
    pub outcome: Outcome,
}

impl From<Refusal> for NoUpload {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, outcome: Outcome::Invalid }
    }
}

impl From<NotTaken> for NoUpload {
    fn from(why: NotTaken) -> Self {
        let outcome = match &why {
            NotTaken::TooLarge { max_bytes } => return too_large("file", max_bytes.saturating_sub(FORM_BYTES)).into(),
            NotTaken::NoRoom(_) => Outcome::Rejected,
            NotTaken::TooSlow(_) | NotTaken::TooSlowly(_) => Outcome::TimedOut,
            NotTaken::Broken(_) => Outcome::Cancelled,
        };
        Self { refusal: why.into(), outcome }
    }
}

/// Reads a request: file and parameters. The file keeps its share of the budget until it is decoded.
///
/// # Errors
/// When the body is too large or slow, finds no room, or is not what its head says.
pub async fn read(head: Parts, body: Body, bodies: &Arc<Bodies>, pace: Pace, kind: &Kind) -> Result<Upload, NoUpload> {
    read_hashing(head, body, Intake { bodies, pace }, kind, None).await
}

/// Whether the body is the file, and neither a form around it nor compressed.
pub(super) fn is_file(headers: &HeaderMap, kind: &Kind) -> bool {
    matches!(is_form(headers, kind), Ok(false)) && !headers.contains_key(CONTENT_ENCODING)
}

/// The same as `read`, and hashes the body while it arrives, where there is a hash.
pub(super) async fn read_hashing(
    head: Parts,
    body: Body,
    intake: Intake<'_>,
    kind: &Kind,
    hash: Option<&mut Sha256>,
) -> Result<Upload, NoUpload> {
    let form = is_form(&head.headers, kind);
    let taking = body::take_hashing(&head.headers, body, kind.max_bytes + FORM_BYTES, intake, hash);
    let taken = tokio::time::timeout(READ_TIMEOUT, taking).await.unwrap_or(Err(NotTaken::TooSlow(READ_TIMEOUT)));
    let form = form?;
    let plain = coding::plain(&head.headers, taken?, kind.max_bytes + FORM_BYTES, intake.bodies).await;
    let Taken { bytes, share } = plain?;
    let query = Query::<Vec<(String, String)>>::try_from_uri(&head.uri);
    let Query(mut written) = query.map_err(|error| bad_request(format!("the query cannot be read: {error}")))?;
    let file = if form { read_form(head, bytes, &mut written, kind).await? } else { bytes };
    if file.len() > kind.max_bytes {
        return Err(too_large(kind.noun, kind.max_bytes).into());
    }
    Ok(Upload { file: Arc::new(share).pin(file), written })
}

/// Reads a body and keeps nothing of it.
pub(in crate::front) async fn discard(body: Body, kind: &Kind) {
    body::discard(body.into_data_stream(), kind.max_bytes + FORM_BYTES).await;
}

/// Whether the body is a form. The format of a file is told from its own first bytes, not from what is said here.
fn is_form(headers: &HeaderMap, kind: &Kind) -> Result<bool, Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(false) };
    let essence = value.to_str().ok().and_then(|text| text.split(';').next()).unwrap_or_default();
    let named = essence.trim().to_ascii_lowercase();
    if named == "multipart/form-data" || kind.media_types.contains(&named.as_str()) {
        return Ok(named == "multipart/form-data");
    }
    let wanted = kind.wanted;
    let message = match named.as_str() {
        "application/json" | "text/plain" => format!("{}; {wanted}", kind.no_text),
        other => format!("content-type '{}' is not taken; {wanted}", other.escape_debug()),
    };
    Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
}

async fn read_form(
    head: Parts,
    body: Bytes,
    written: &mut Vec<(String, String)>,
    kind: &Kind,
) -> Result<Bytes, Refusal> {
    let request = Request::from_parts(head, Body::from(body));
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|error| bad_request(format!("the form cannot be read: {}", error.body_text())))?;
    let mut file = None;
    for _ in 0..MAX_FIELDS {
        let Some(field) = form.next_field().await.map_err(|error| broken_form(&error))? else {
            return file.ok_or_else(|| no_file(written, kind));
        };
        let name = field.name().unwrap_or_default().to_owned();
        if name != "file" && name != kind.field {
            let value = text(&name, field).await?;
            written.push((name, value));
        } else if file.replace(field.bytes().await.map_err(|error| broken_form(&error))?).is_some() {
            return Err(bad_request(format!("the form has two {}s; send one, in a field `file`", kind.noun)));
        }
    }
    Err(bad_request(format!("the form has more than {MAX_FIELDS} fields")))
}

fn no_file(written: &[(String, String)], kind: &Kind) -> Refusal {
    if written.iter().any(|(name, _)| name == "prompt" || name == "text") {
        return bad_request(kind.no_text);
    }
    bad_request(format!("the form has no {}; send it in a field `file`", kind.noun))
}

async fn text(name: &str, field: Field<'_>) -> Result<String, Refusal> {
    let bytes = field.bytes().await.map_err(|error| broken_form(&error))?;
    String::from_utf8(bytes.into())
        .map_err(|_| bad_request(format!("the field `{}` must be text in UTF-8", name.escape_debug())))
}

fn broken_form(error: &MultipartError) -> Refusal {
    bad_request(format!("the form cannot be read: {}", error.body_text()))
}

fn bad_request(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, message)
}

fn too_large(noun: &str, max_bytes: usize) -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the {noun} is too large; send at most {} MiB", max_bytes / (1024 * 1024)),
    )
}
