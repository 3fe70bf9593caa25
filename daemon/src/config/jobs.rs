//! `[jobs]`: how much long work is taken on, and for how long its results are kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Check;
use crate::jobs::Limits;

/// More side by side than this are a slip of the pen.
const MOST_WORKERS: usize = 64;
/// What waits is looked through whenever somebody asks for a position.
const MOST_QUEUED: usize = 10_000;
/// A result that is kept for longer than a month belongs into a file.
const LONGEST_S: f64 = 30.0 * 86_400.0;

/// `[jobs]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jobs {
    /// Jobs that run side by side.
    pub workers: usize,
    /// Most jobs that wait.
    pub queued: usize,
    /// Most bytes that the jobs that wait hold, of `server.total_body_bytes`.
    pub queued_bytes: usize,
    /// How long a job may run.
    pub run_seconds: f64,
    /// How long the outcome of a job is kept.
    pub retention_seconds: f64,
    /// Most outcomes that are kept.
    pub results: usize,
    /// Most bytes that the results that are kept take.
    pub result_bytes: usize,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            workers: 1,
            queued: 50,
            queued_bytes: 128 * 1024 * 1024,
            run_seconds: 600.0,
            retention_seconds: 600.0,
            results: 100,
            result_bytes: 256 * 1024 * 1024,
        }
    }
}

/// What the section means.
pub(super) fn limits(jobs: &Jobs, total_body_bytes: usize, check: &mut Check) -> Limits {
    check.that((1..=MOST_WORKERS).contains(&jobs.workers), "jobs.workers must be between 1 and 64");
    check.that((1..=MOST_QUEUED).contains(&jobs.queued), "jobs.queued must be between 1 and 10000");
    check.that(jobs.queued_bytes >= 1, "jobs.queued_bytes must be at least 1");
    let seconds = |key: &str, value: f64, check: &mut Check| {
        let right = (0.001..=LONGEST_S).contains(&value);
        check.that(right, format!("jobs.{key} must be between 0.001 and {LONGEST_S}"));
        Duration::try_from_secs_f64(value).unwrap_or_default()
    };
    let run = seconds("run_seconds", jobs.run_seconds, check);
    let retention = seconds("retention_seconds", jobs.retention_seconds, check);
    check.that(jobs.results >= 1, "jobs.results must be at least 1");
    check.that(jobs.result_bytes >= 1, "jobs.result_bytes must be at least 1");
    Limits {
        workers: jobs.workers,
        queued: jobs.queued,
        queued_bytes: jobs.queued_bytes.min(total_body_bytes),
        run,
        retention,
        results: jobs.results,
        result_bytes: jobs.result_bytes,
    }
}
