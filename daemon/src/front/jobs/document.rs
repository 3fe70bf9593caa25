//! Jobs as JSON.

use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use crate::jobs::{Change, End, Failure, JobView, Kind, State, Step};

/// A job.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Job")]
pub(in crate::front) struct JobDocument {
    /// Its name: who knows it may ask for it.
    id: String,
    kind: Kind,
    /// From 1, the most urgent, to 9.
    priority: u8,
    state: State,
    /// When it came, in milliseconds since 1970.
    submitted_unix_ms: u64,
    /// While it waits: how many are begun before it, and itself.
    position: Option<usize>,
    /// While it waits: how long it will about, in seconds, from what jobs have taken; null while none was measured.
    estimated_wait_s: Option<f64>,
    /// How long it waited or waits, in seconds.
    waited_s: f64,
    /// How long it ran or runs, in seconds; null before it begins.
    ran_s: Option<f64>,
    progress: ProgressDocument,
    /// Why it failed.
    error: Option<ErrorDocument>,
    /// What it gave, while that is kept.
    result: Option<ResultDocument>,
}

/// How far a job is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "JobProgress")]
pub(super) struct ProgressDocument {
    /// The share of its steps that are done.
    percent: u8,
    /// The step it is at, or was at last.
    step: Option<&'static str>,
}

/// Why a job has no result.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "JobError")]
pub(super) struct ErrorDocument {
    /// The HTTP status that the same request would have been answered with at once.
    status: u16,
    message: String,
}

/// What a job gave.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "JobResult")]
pub(super) struct ResultDocument {
    /// Where it is.
    url: String,
    media_type: String,
    bytes: usize,
    /// For how long it is kept at most, in seconds.
    expires_in_s: f64,
}

/// Some of a client's jobs, the newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "JobPage")]
pub(in crate::front) struct PageDocument {
    pub(super) jobs: Vec<JobDocument>,
    /// What to send as `after` for the next page; null on the last.
    pub(super) next: Option<String>,
}

/// Something that happened to a job.
#[derive(Debug, Serialize)]
pub(super) struct ChangeDocument {
    state: State,
    progress: ProgressDocument,
    /// How long that was after the job came, in seconds.
    after_s: f64,
    /// Why it failed.
    error: Option<ErrorDocument>,
}

/// How many are before a job that waits.
#[derive(Debug, Serialize)]
pub(super) struct PositionDocument {
    position: usize,
    estimated_wait_s: Option<f64>,
}

impl JobDocument {
    /// A job as it is at `now`.
    pub(super) fn of(view: &JobView, now: Instant) -> Self {
        Self {
            id: view.id.to_string(),
            kind: view.kind,
            priority: view.priority,
            state: view.state,
            submitted_unix_ms: view.submitted_unix_ms,
            position: view.position,
            estimated_wait_s: view.estimated_wait.map(|wait| wait.as_secs_f64()),
            waited_s: view.waited.as_secs_f64(),
            ran_s: view.ran.map(|ran| ran.as_secs_f64()),
            progress: ProgressDocument::of(view.state, view.step),
            error: failure(view).map(ErrorDocument::of),
            result: ResultDocument::of(view, now),
        }
    }
}

impl ProgressDocument {
    fn of(state: State, step: Option<Step>) -> Self {
        let percent = if state == State::Done { 100 } else { step.map_or(0, Step::percent) };
        Self { percent, step: step.map(|step| step.name) }
    }
}

impl ErrorDocument {
    fn of(failure: &Failure) -> Self {
        Self { status: failure.status, message: failure.message.clone() }
    }
}

impl ResultDocument {
    fn of(view: &JobView, now: Instant) -> Option<Self> {
        let (Some(End::Done { result, bytes }), Some(expires)) = (&view.end, view.expires) else { return None };
        let media_type = result.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Some(Self {
            url: format!("{}/{}/result", super::PATH, view.id),
            media_type: media_type.unwrap_or_default().to_owned(),
            bytes: *bytes,
            expires_in_s: expires.saturating_duration_since(now).as_secs_f64(),
        })
    }
}

impl ChangeDocument {
    /// A change of a job that is now like `view`.
    pub(super) fn of(change: &Change, view: Option<&JobView>) -> Self {
        let failed = view.filter(|_| change.state == State::Failed).and_then(failure);
        Self {
            state: change.state,
            progress: ProgressDocument::of(change.state, change.step),
            after_s: change.after.as_secs_f64(),
            error: failed.map(ErrorDocument::of),
        }
    }
}

impl PositionDocument {
    /// Where a job stands that waits.
    pub(super) fn of(view: &JobView) -> Option<Self> {
        let estimated_wait_s = view.estimated_wait.map(|wait| wait.as_secs_f64());
        Some(Self { position: view.position?, estimated_wait_s })
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }
}

fn failure(view: &JobView) -> Option<&Failure> {
    match &view.end {
        Some(End::Failed(failure)) => Some(failure),
        _ => None,
    }
}
