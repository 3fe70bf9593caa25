//! `GET /api/v1/jobs/{id}/events`: what happens to a job, as it happens. Every change of state and every step is an event
//! with a number; a client that was cut off says which it saw last and gets the later ones. The last event is the final
//! state. Between them, an event without a number says when the job has moved up in the queue.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use tokio::sync::watch;

use super::asked;
use super::document::{ChangeDocument, PositionDocument};
use crate::front::FrontState;
use crate::front::path::Path;
use crate::front::refusal::Refusal;
use crate::jobs::{Change, JobId, Jobs, Owner};

/// After so long without an event a comment is sent, for those between who close what is silent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A client that watches a job.
struct Watching {
    jobs: Jobs,
    id: JobId,
    owner: Owner,
    changed: watch::Receiver<u64>,
    /// How many changes it was told.
    seen: usize,
    /// The position it was told last.
    position: Option<usize>,
    over: bool,
}

/// Tells what happens to a job until it has ended.
pub(super) async fn events(
    State(state): State<FrontState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (view, owner) = super::kept(&state, &id, &headers)?;
    let (jobs, changed) = (state.jobs.clone(), state.jobs.subscribe());
    let seen = asked::seen(&headers)?;
    let watching = Watching { jobs, id: view.id, owner, changed, seen, position: None, over: false };
    let frames = stream::unfold(watching, next).map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn next(mut watching: Watching) -> Option<(Bytes, Watching)> {
    while !watching.over {
        watching.changed.mark_unchanged();
        let (state, changes) = watching.jobs.changes(watching.id, &watching.owner, watching.seen)?;
        watching.over = state.is_final();
        if !changes.is_empty() {
            let frames = watching.told(&changes);
            return Some((frames.into(), watching));
        }
        if let Some(frame) = watching.moved() {
            return Some((frame.into(), watching));
        }
        if watching.over {
            break;
        }
        match tokio::time::timeout(KEEP_ALIVE, watching.changed.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => break,
            Err(_) => return Some((Bytes::from_static(b": still there\n\n"), watching)),
        }
    }
    None
}

impl Watching {
    /// The events of these changes.
    fn told(&mut self, changes: &[Change]) -> String {
        let view = self.jobs.view(self.id, &self.owner);
        // The change to the queue and the position in it are told together.
        self.position = view.as_ref().and_then(|view| view.position);
        let mut frames = String::new();
        for change in changes {
            self.seen += 1;
            let name = if change.step.is_some() { "step" } else { change.state.as_str() };
            frames += &format!("id: {}\n", self.seen);
            frames += &frame(name, &ChangeDocument::of(change, view.as_ref()));
        }
        frames
    }

    /// The event of having moved up, if it has.
    fn moved(&mut self) -> Option<String> {
        let stands = PositionDocument::of(&self.jobs.view(self.id, &self.owner)?)?;
        let before = self.position.replace(stands.position());
        (before != self.position).then(|| frame("position", &stands))
    }
}

fn frame(event: &str, data: &impl serde::Serialize) -> String {
    // Numbers that are finite and text: there is nothing that could fail.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {event}\ndata: {data}\n\n")
}
