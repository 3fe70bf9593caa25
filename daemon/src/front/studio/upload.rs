//! The body of a relief request: a form with a file, or the file itself. Memory and time are bounded.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Query, Request};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::request::Parts;

use crate::bodies::Bodies;
use crate::front::body::{self, NotTaken, Taken};
use crate::front::refusal::Refusal;
use crate::relief::MAX_PICTURE_BYTES;
use crate::relief::meters::Outcome;
use crate::relief::parameters::NO_TEXT;

/// A form is the picture with boundaries and parameters around it.
const MAX_BODY_BYTES: usize = MAX_PICTURE_BYTES + 64 * 1024;
/// A client that needs longer for 10 MB keeps a place from others.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// More than all parameters and the picture.
const MAX_FIELDS: usize = 16;

/// What the client sent.
#[derive(Debug)]
pub struct Upload {
    /// The picture file.
    pub picture: Bytes,
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
            NotTaken::TooLarge { .. } => return too_large().into(),
            NotTaken::NoRoom(_) => Outcome::Rejected,
            NotTaken::TooSlow(_) => Outcome::TimedOut,
            NotTaken::Broken(_) => Outcome::Cancelled,
        };
        Self { refusal: why.into(), outcome }
    }
}

/// Reads a request: picture and parameters. The picture keeps its share of the budget until it is decoded.
///
/// # Errors
/// When the body is too large or slow, finds no room, or is not what its head says.
pub async fn read(head: Parts, body: Body, bodies: &Arc<Bodies>) -> Result<Upload, NoUpload> {
    let form = is_form(&head.headers);
    let taking = body::take(&head.headers, body, MAX_BODY_BYTES, bodies);
    let taken = tokio::time::timeout(READ_TIMEOUT, taking).await.unwrap_or(Err(NotTaken::TooSlow(READ_TIMEOUT)));
    let Taken { bytes, share } = taken?;
    let form = form?;
    let query = Query::<Vec<(String, String)>>::try_from_uri(&head.uri);
    let Query(mut written) = query.map_err(|error| bad_request(format!("the query cannot be read: {error}")))?;
    let picture = if form { read_form(head, bytes, &mut written).await? } else { bytes };
    if picture.len() > MAX_PICTURE_BYTES {
        return Err(too_large().into());
    }
    Ok(Upload { picture: Arc::new(share).pin(picture), written })
}

/// Reads a body and keeps nothing of it.
pub(super) async fn discard(body: Body) {
    body::discard(body.into_data_stream(), MAX_BODY_BYTES).await;
}

/// Whether the body is a form. The format of a picture is told from its own first bytes, not from what is said here.
fn is_form(headers: &HeaderMap) -> Result<bool, Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(false) };
    let essence = value.to_str().ok().and_then(|text| text.split(';').next()).unwrap_or_default();
    match essence.trim().to_ascii_lowercase().as_str() {
        "multipart/form-data" => Ok(true),
        "image/png" | "image/jpeg" | "image/jpg" | "application/octet-stream" => Ok(false),
        "application/json" | "text/plain" => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("{NO_TEXT}: image/png, image/jpeg, or multipart/form-data"),
        )),
        other => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!(
                "content-type '{}' is not taken; send image/png, image/jpeg, or multipart/form-data with a field `file`",
                other.escape_debug()
            ),
        )),
    }
}

async fn read_form(head: Parts, body: Bytes, written: &mut Vec<(String, String)>) -> Result<Bytes, Refusal> {
    let request = Request::from_parts(head, Body::from(body));
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|error| bad_request(format!("the form cannot be read: {}", error.body_text())))?;
    let mut picture = None;
    for _ in 0..MAX_FIELDS {
        let Some(field) = form.next_field().await.map_err(|error| broken_form(&error))? else {
            return picture.ok_or_else(|| no_picture(written));
        };
        let name = field.name().unwrap_or_default().to_owned();
        if name != "file" && name != "image" {
            let value = text(&name, field).await?;
            written.push((name, value));
        } else if picture.replace(field.bytes().await.map_err(|error| broken_form(&error))?).is_some() {
            return Err(bad_request("the form has two pictures; send one, in a field `file`"));
        }
    }
    Err(bad_request(format!("the form has more than {MAX_FIELDS} fields")))
}

fn no_picture(written: &[(String, String)]) -> Refusal {
    let prompted = written.iter().any(|(name, _)| name == "prompt" || name == "text");
    bad_request(if prompted { NO_TEXT } else { "the form has no picture; send it in a field `file`" })
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

fn too_large() -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the picture is too large; send at most {} MiB", MAX_PICTURE_BYTES / (1024 * 1024)),
    )
}
