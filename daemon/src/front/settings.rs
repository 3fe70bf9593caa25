//! Trace and log settings, for both doors: from what a client wrote to what holds then.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::FrontState;
use crate::engine::ServeError;
use crate::telemetry::logs;
use crate::telemetry::trace::settings::{Refused, Settings, Shown, Wanted};

/// The trace settings of a model, or of the whole server, after changes that may be none.
pub(super) fn trace(
    state: &FrontState,
    headers: &HeaderMap,
    model: Option<&str>,
    wanted: &Wanted,
) -> Result<Shown, ServeError> {
    let engine = &state.engine;
    if !wanted.is_empty() {
        state.admin.permit(headers)?;
    }
    if let Some(model) = model {
        engine.model_metadata(model, None)?;
    }
    match engine.traces() {
        Some(traces) => Ok(traces.change(model, wanted)?),
        None if wanted.is_empty() => Ok(Settings::off().show(model)),
        None => Err(ServeError::Unavailable {
            message: "traces go nowhere; start the server with --otlp-endpoint".to_owned(),
            retry_after: None,
        }),
    }
}

/// The log settings after changes that may be none.
pub(super) fn log(
    state: &FrontState,
    headers: &HeaderMap,
    wanted: &BTreeMap<String, logs::Value>,
) -> Result<logs::Settings, ServeError> {
    if !wanted.is_empty() {
        state.admin.permit(headers)?;
    }
    Ok(logs::change(wanted)?)
}

impl From<Refused> for ServeError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Wrong(message) => Self::InvalidArgument(message),
            Refused::NotOffered(message) => Self::Unsupported(message),
        }
    }
}

impl From<logs::Refused> for ServeError {
    fn from(refused: logs::Refused) -> Self {
        match refused {
            logs::Refused::Wrong(message) => Self::InvalidArgument(message),
            logs::Refused::NotOffered(message) => Self::Unsupported(message.to_owned()),
        }
    }
}
