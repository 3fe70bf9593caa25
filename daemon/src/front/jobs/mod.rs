//! `/api/v1/jobs`: long work that is taken at once and done in its turn. Decodes requests and encodes answers; who is next,
//! and what is kept, is decided in `jobs`.

mod asked;
pub(super) mod document;
mod events;
mod traced;
mod work;

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode, Uri};

use self::document::{JobDocument, PageDocument};
use self::work::Ready;
use super::path::Path;
use super::refusal::Refusal;
use super::routes::Routes;
use super::{FrontState, context};
use crate::engine::ServeError;
use crate::jobs::{self, Cancelling, End, JobView, Owner, Refused, State as JobState, Submission};

/// Where jobs are.
const PATH: &str = "/api/v1/jobs";

/// The routes of jobs. Bodies are bounded where they are read.
pub(super) fn routes() -> Routes {
    Routes::new()
        .route(PATH, get(list).post(submit))
        .route(&format!("{PATH}/{{id}}"), get(status).delete(cancel))
        .route(&format!("{PATH}/{{id}}/events"), get(events::events))
        .route(&format!("{PATH}/{{id}}/result"), get(result))
        .within(|router| router.layer(DefaultBodyLimit::disable()))
}

/// `POST /api/v1/jobs`
async fn submit(State(state): State<FrontState>, request: Request) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let asked = match asked::job(&head.uri).and_then(|asked| Ok(state.jobs.room(0).map(|()| asked)?)) {
        Ok(asked) => asked,
        Err(refusal) => {
            work::discard(body).await;
            return Err(refusal);
        }
    };
    let (owner, kind, priority) = (asked::owner(&head.headers), asked.kind, asked.priority);
    let parent = context::trace(&head.headers);
    let Ready { work, held_bytes } = work::read(&state, asked, head, body).await?;
    let work = traced::traced(work, state.engine.clone(), kind, parent);
    let submitted_unix_ms = jobs::unix_ms();
    let id = state.jobs.submit(Submission { kind, priority, owner, held_bytes, submitted_unix_ms, work })?;
    let view = state.jobs.view(id, &owner).ok_or_else(no_such_job)?;
    let mut response = (StatusCode::ACCEPTED, document(&view)).into_response();
    // A path of ASCII is always a valid value.
    let location = HeaderValue::try_from(format!("{PATH}/{id}")).ok();
    response.headers_mut().extend(location.map(|location| (LOCATION, location)));
    Ok(response)
}

/// `GET /api/v1/jobs`
async fn list(State(state): State<FrontState>, uri: Uri, headers: HeaderMap) -> Result<Json<PageDocument>, Refusal> {
    let (page, owner) = (asked::page(&uri)?, asked::owner(&headers));
    if owner.is_none() && state.admin.reachable {
        let message = "on a daemon that other machines can reach, jobs are listed only for who says whose: send \
                       Authorization or X-API-Key with each job, and with this";
        return Err(Refusal::new(StatusCode::FORBIDDEN, message));
    }
    let (views, more) = state.jobs.list(&owner, page.after, page.limit).ok_or_else(no_such_job)?;
    let next = views.last().filter(|_| more).map(|view| view.id.to_string());
    let now = Instant::now();
    Ok(Json(PageDocument { jobs: views.iter().map(|view| JobDocument::of(view, now)).collect(), next }))
}

/// `GET /api/v1/jobs/{id}`
async fn status(
    State(state): State<FrontState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<JobDocument>, Refusal> {
    Ok(document(&found(&state, &id, &headers)?.0))
}

/// `DELETE /api/v1/jobs/{id}`
async fn cancel(
    State(state): State<FrontState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<JobDocument>, Refusal> {
    let (view, owner) = found(&state, &id, &headers)?;
    match state.jobs.cancel(view.id, &owner).ok_or_else(no_such_job)? {
        Cancelling::Now { .. } | Cancelling::Before => Ok(document(&found(&state, &id, &headers)?.0)),
        Cancelling::TooLate(JobState::Expired) => Err(gone()),
        Cancelling::TooLate(ended) => {
            let message =
                format!("the job is {} already; only one that waits or runs can be cancelled", ended.as_str());
            Err(Refusal::new(StatusCode::CONFLICT, message))
        }
    }
}

/// `GET /api/v1/jobs/{id}/result`
async fn result(
    State(state): State<FrontState>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let until = tokio::time::Instant::now() + Duration::from_secs(asked::wait_s(&uri)?);
    let mut changed = state.jobs.subscribe();
    loop {
        let (view, _) = kept(&state, &id, &headers)?;
        if view.state.is_final() || tokio::time::timeout_at(until, changed.changed()).await.is_err() {
            return given(&view);
        }
    }
}

/// The answer that the same request would have got at once.
fn given(view: &JobView) -> Result<Response, Refusal> {
    let without = match &view.end {
        Some(End::Done { result, .. }) => {
            let mut response = result.body.clone().into_response();
            response.headers_mut().clone_from(&result.headers);
            return Ok(response);
        }
        Some(End::Failed(failure)) => format!("the job failed: {}", failure.message),
        Some(End::Cancelled) => "the job was cancelled; there is no result".to_owned(),
        None => format!("the job is {}; ask again later, or with ?wait_seconds=", view.state.as_str()),
    };
    Err(Refusal::new(StatusCode::CONFLICT, without))
}

fn document(view: &JobView) -> Json<JobDocument> {
    Json(JobDocument::of(view, Instant::now()))
}

/// The job that a path names, and who asks.
fn found(state: &FrontState, id: &str, headers: &HeaderMap) -> Result<(JobView, Owner), Refusal> {
    let id = id.parse().map_err(|_| no_such_job())?;
    // With the admin token, jobs of others are seen and cancelled like one's own.
    let any = state.admin.recognizes(headers).then(|| state.jobs.owner_of(id)).flatten();
    let owner = any.unwrap_or_else(|| asked::owner(headers));
    Ok((state.jobs.view(id, &owner).ok_or_else(no_such_job)?, owner))
}

/// The same, if its outcome is still there.
fn kept(state: &FrontState, id: &str, headers: &HeaderMap) -> Result<(JobView, Owner), Refusal> {
    let (view, owner) = found(state, id, headers)?;
    if view.state == JobState::Expired { Err(gone()) } else { Ok((view, owner)) }
}

fn no_such_job() -> Refusal {
    let message =
        "there is no such job; jobs are forgotten when the daemon is started again, and some time after they expired";
    Refusal::new(StatusCode::NOT_FOUND, message)
}

fn gone() -> Refusal {
    let message = "the job has ended and what became of it is not kept any more; see jobs.retention_seconds, jobs.results \
                   and jobs.result_bytes";
    Refusal::new(StatusCode::GONE, message)
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Full { retry_after, .. } | Refused::NoRoom { retry_after, .. } => {
                ServeError::Unavailable { message, retry_after: Some(retry_after) }.into()
            }
            Refused::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, message),
            Refused::Stopping => ServeError::Unavailable { message, retry_after: None }.into(),
        }
    }
}

impl From<jobs::NotTaken> for Refusal {
    fn from(why: jobs::NotTaken) -> Self {
        match why {
            jobs::NotTaken::Refused(refused) => refused.into(),
            nameless @ jobs::NotTaken::Nameless(_) => ServeError::Internal(nameless.to_string()).into(),
        }
    }
}
