//! `POST /api/v1/generate-progressive`: the same request as for a relief, answered with a line of JSON a stage (NDJSON), or
//! an event a stage for who accepts `text/event-stream`. What is wrong with the request has its usual status; a failure
//! after the first look is the last line.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use proofload_wire::infer::Parameters as WireParameters;
use serde::Serialize;

use super::answer::{self, Times};
use crate::engine::Protocol;
use crate::front::refusal::Refusal;
use crate::front::{FrontState, context};
use crate::mesh::export::Format;
use crate::relief::Facts;
use crate::relief::progressive::{Piece, Progress, Stage};

const EVENTS: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";

/// The first line: what will come.
#[derive(Serialize)]
struct Accepted {
    stage: &'static str,
    progress: u8,
    stages: [&'static str; 4],
    format: &'static str,
    media_type: &'static str,
}

/// A stage's line.
#[derive(Serialize)]
struct Line<'a> {
    stage: &'static str,
    progress: u8,
    quality: &'a Facts,
    phases_ns: Times,
    mesh_base64: String,
}

/// The last line of a relief that failed.
#[derive(Serialize)]
struct Failure {
    stage: &'static str,
    error: String,
}

/// How lines are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Lines,
    Events,
}

impl Framing {
    fn frame(self, line: &impl Serialize) -> Bytes {
        // Numbers that are finite and text: there is nothing that could fail.
        let text = serde_json::to_string(line).unwrap_or_default();
        Bytes::from(match self {
            Self::Lines => format!("{text}\n"),
            Self::Events => format!("event: stage\ndata: {text}\n\n"),
        })
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Lines => LINES,
            Self::Events => EVENTS,
        }
    }
}

/// Makes a relief in stages.
pub(super) async fn generate(State(state): State<FrontState>, request: Request) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let headers = head.headers.clone();
    let (visit, picture, parameters) = super::admitted(&state, head, body, None).await?;
    let context = context::of(&headers, &WireParameters::new(), Protocol::Http, Instant::now())?;
    let framing = if answer::accepts(&headers, EVENTS) { Framing::Events } else { Framing::Lines };
    let (progress, first) = Progress::begin(Arc::clone(&state.studio), visit, picture, parameters, context).await?;
    let begun = [framing.frame(&accepted(parameters.format)), framing.frame(&line(&first))];
    let later = stream::unfold(progress, move |mut progress| async move {
        let frame = match progress.next().await? {
            Ok(piece) => framing.frame(&line(&piece)),
            Err(failed) => framing.frame(&Failure { stage: "failed", error: failed.error.to_string() }),
        };
        Some((frame, progress))
    });
    let body = Body::from_stream(stream::iter(begun).chain(later).map(Ok::<_, Infallible>));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(framing.media_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn accepted(format: Format) -> Accepted {
    Accepted {
        stage: "accepted",
        progress: 0,
        stages: Stage::ALL.map(Stage::as_str),
        format: format.extension(),
        media_type: format.media_type(),
    }
}

fn line(piece: &Piece) -> Line<'_> {
    Line {
        stage: piece.stage.as_str(),
        progress: piece.stage.percent(),
        quality: &piece.facts,
        phases_ns: (&piece.phases).into(),
        mesh_base64: answer::base64(&piece.file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        let check = |framing: Framing, expected: &str| assert_eq!(framing.frame(&7), expected);
        check(Framing::Lines, "7\n");
        check(Framing::Events, "event: stage\ndata: 7\n\n");
    }
}
