//! `[models]`: which models are loaded, and when.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::written::Models;
use super::{Check, MAX_COMPUTE_THREADS};
use crate::lifecycle::{Control, Options};
use crate::repository::source::Source;
use crate::sched::queue::Limits;

/// Triton's own.
const DEFAULT_POLL_S: f64 = 15.0;
/// A repository cannot be looked at all the time; one that is looked at less than daily is not looked at.
const SHORTEST_POLL_S: f64 = 0.1;
const LONGEST_POLL_S: f64 = 86_400.0;

/// Where ONNX Runtime's shared library is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnnxRuntime {
    /// Where the environment says, or in a usual place, if anywhere.
    Auto,
    /// It is not used.
    Off,
    /// Here.
    At(PathBuf),
}

/// What is said of ONNX Runtime.
pub(super) fn onnxruntime(models: &Models, check: &mut Check) -> OnnxRuntime {
    let wrong = "models.onnxruntime must be \"auto\", \"off\" or the path of a shared library";
    check.that(!models.onnxruntime.is_empty(), wrong);
    match models.onnxruntime.as_str() {
        "auto" => OnnxRuntime::Auto,
        "off" | "" => OnnxRuntime::Off,
        path => OnnxRuntime::At(PathBuf::from(path)),
    }
}

/// What the section means.
pub(super) fn options(models: &Models, check: &mut Check) -> Options {
    check.that(
        (1..=MAX_COMPUTE_THREADS).contains(&models.load_threads),
        "models.load_threads must be between 1 and 1024",
    );
    Options {
        control: control(models, check),
        exit_on_error: models.exit_on_error,
        queue: Limits { requests: models.queue_requests, bytes: models.queue_bytes },
        load_threads: NonZeroUsize::new(models.load_threads).unwrap_or(NonZeroUsize::MIN),
        sources: sources(&models.repositories),
    }
}

/// The keys of the other modes have no effect, so they must not look as if they had one.
fn control(models: &Models, check: &mut Check) -> Control {
    let (explicit, poll) = (models.control == "explicit", models.control == "poll");
    let all = models.load.iter().any(|name| name == "*");
    check.that(!all || models.load.len() == 1, "models.load must be [\"*\"] alone, or names");
    check.that(models.load.is_empty() || explicit, "models.load needs models.control = \"explicit\"");
    check.that(models.poll_seconds.is_none() || poll, "models.poll_seconds needs models.control = \"poll\"");
    let period = models.poll_seconds.unwrap_or(DEFAULT_POLL_S);
    check.that(
        (SHORTEST_POLL_S..=LONGEST_POLL_S).contains(&period),
        "models.poll_seconds must be between 0.1 and 86400",
    );
    check.that(
        explicit || poll || models.control == "none",
        format!("models.control = \"{}\" must be \"none\", \"explicit\" or \"poll\"", models.control),
    );
    match models.control.as_str() {
        "explicit" => Control::Explicit(models.load.clone()),
        "poll" => Control::Poll(Duration::try_from_secs_f64(period).unwrap_or_default()),
        _ => Control::None,
    }
}

/// Naming a repository replaces the built-in models.
fn sources(repositories: &[PathBuf]) -> Vec<Source> {
    if repositories.is_empty() {
        return vec![Source::Embedded];
    }
    repositories.iter().cloned().map(Source::Folder).collect()
}
