//! Pictures to relief meshes, at once (`POST /api/v1/generate-3d` and its alias `/api/v1/generate`) or in stages
//! (`/api/v1/generate-progressive`), and meshes that are looked at and repaired. Decodes requests and encodes answers; the
//! work is done elsewhere.

pub(super) mod answer;
pub(super) mod meshes;
mod progressive;
pub mod upload;

use std::time::Instant;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;
use proofload_wire::infer::Parameters as WireParameters;
use sha2::{Digest, Sha256};

use self::upload::{NoUpload, Upload};
use super::body::Intake;
use super::refusal::Refusal;
use super::routes::Routes;
use super::{FrontState, context};
use crate::engine::Protocol;
use crate::relief::ReliefError;
use crate::relief::kept::{Kept, Wanted};
use crate::relief::parameters::Parameters;
use crate::relief::picture::PictureError;
use crate::relief::visit::Visit;

/// The studio's routes. The body is bounded where it is read.
pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/api/v1/generate-3d", post(generate))
        .route("/api/v1/generate", post(generate))
        .route("/api/v1/generate-progressive", post(progressive::generate))
        .route("/api/v1/mesh/analyze", post(meshes::analyze))
        .route("/api/v1/mesh/repair", post(meshes::repair))
        .within(|router| router.layer(DefaultBodyLimit::disable()))
}

/// Makes a relief of a picture.
async fn generate(State(state): State<FrontState>, request: Request) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let headers = head.headers.clone();
    let cache = state.cache.as_deref().filter(|cache| cache.keeps_reliefs());
    let mut hash = (cache.is_some() && upload::is_file(&headers, &upload::PICTURE)).then(Sha256::new);
    let (visit, picture, parameters) = admitted(&state, head, body, hash.as_mut()).await?;
    let context = context::of(&headers, &WireParameters::new(), Protocol::Http, Instant::now())?;
    let form = answer::Form::wanted(&headers);
    let Some(cache) = cache else {
        let relief = state.studio.relief(visit, picture, parameters, context).await?;
        return Ok(answer::of(relief, parameters.format, form));
    };
    let encode = |relief| answer::to_keep(relief, parameters.format, form);
    let digest = hash.map(|hash| hash.finalize().into());
    let wanted = Wanted { visit, picture, digest, parameters, context, form: form.as_str() };
    let Kept { entry, phases } = state.studio.kept_relief(cache, wanted, encode).await?;
    Ok(answer::again(entry, &phases, form))
}

/// Takes a place and reads a request, and hashes its body where there is a hash. The place is taken before the body is
/// read: who waits outside holds no picture. Who would be answered after its deadline gets none.
async fn admitted(
    state: &FrontState,
    head: http::request::Parts,
    body: Body,
    hash: Option<&mut Sha256>,
) -> Result<(Visit, bytes::Bytes, Parameters), Refusal> {
    let until = context::deadline(&head.headers, Instant::now()).map_err(Refusal::from);
    let entered = until.and_then(|until| Ok(state.studio.enter(until)?));
    let visit = match entered {
        Ok(visit) => visit,
        Err(refusal) => {
            upload::discard(body, &upload::PICTURE).await;
            return Err(refusal);
        }
    };
    match read(head, body, state.intake(), hash).await {
        Ok((picture, parameters)) => Ok((visit, picture, parameters)),
        Err(NoUpload { refusal, outcome }) => {
            visit.unread(outcome);
            Err(refusal)
        }
    }
}

async fn read(
    head: http::request::Parts,
    body: Body,
    intake: Intake<'_>,
    hash: Option<&mut Sha256>,
) -> Result<(bytes::Bytes, Parameters), NoUpload> {
    let Upload { file, written } = upload::read_hashing(head, body, intake, &upload::PICTURE, hash).await?;
    let pairs = written.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let parameters = Parameters::from_written(pairs);
    Ok((file, parameters.map_err(|errors| Refusal::new(StatusCode::BAD_REQUEST, errors.join("; ")))?))
}

impl From<ReliefError> for Refusal {
    fn from(error: ReliefError) -> Self {
        let status = match &error {
            ReliefError::Serve(error) => return error.clone().into(),
            ReliefError::Picture(PictureError::Empty) => StatusCode::BAD_REQUEST,
            ReliefError::Picture(PictureError::Format { .. }) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ReliefError::Picture(PictureError::TooManyPixels { .. } | PictureError::TooLarge) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            ReliefError::Picture(PictureError::Shape { .. } | PictureError::Damaged(_)) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
        };
        Self::new(status, error.to_string())
    }
}
