//! Reading and changing trace and log settings over HTTP: one JSON object, all members of which may be left out.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde_json::{Map, Value};

use crate::engine::ServeError;
use crate::front::body::Taken;
use crate::front::path::Path;
use crate::front::refusal::Refusal;
use crate::front::{FrontState, settings};
use crate::telemetry::logs;
use crate::telemetry::trace::settings::{Shown, Wanted, is_list};

type Object = Map<String, Value>;

/// `GET /v2/trace/setting`
pub(super) async fn trace(State(state): State<FrontState>) -> Result<Json<Object>, Refusal> {
    Ok(shown(settings::trace(&state, &HeaderMap::new(), None, &Wanted::new())?))
}

/// `GET /v2/models/{model}/trace/setting`
pub(super) async fn model_trace(
    State(state): State<FrontState>,
    Path(model): Path<String>,
) -> Result<Json<Object>, Refusal> {
    Ok(shown(settings::trace(&state, &HeaderMap::new(), Some(&model), &Wanted::new())?))
}

/// `POST /v2/trace/setting`
pub(super) async fn change_trace(
    State(state): State<FrontState>,
    headers: HeaderMap,
    body: Taken,
) -> Result<Json<Object>, Refusal> {
    Ok(shown(settings::trace(&state, &headers, None, &wanted(&body)?)?))
}

/// `POST /v2/models/{model}/trace/setting`
pub(super) async fn change_model_trace(
    State(state): State<FrontState>,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Taken,
) -> Result<Json<Object>, Refusal> {
    Ok(shown(settings::trace(&state, &headers, Some(&model), &wanted(&body)?)?))
}

/// `GET /v2/logging`
pub(super) async fn log(State(state): State<FrontState>) -> Result<Json<Object>, Refusal> {
    Ok(log_shown(settings::log(&state, &HeaderMap::new(), &BTreeMap::new())?))
}

/// `POST /v2/logging`
pub(super) async fn change_log(
    State(state): State<FrontState>,
    headers: HeaderMap,
    body: Taken,
) -> Result<Json<Object>, Refusal> {
    let members = object(&body)?.into_iter().filter(|(_, value)| !value.is_null());
    let wanted = members.map(|(name, value)| {
        let value = match &value {
            Value::Bool(on) => Some(logs::Value::Bool(*on)),
            Value::Number(number) => number.as_u64().map(logs::Value::Number),
            Value::String(text) => Some(logs::Value::Text(text.clone())),
            _ => None,
        };
        let wrong =
            || ServeError::InvalidArgument(format!("'{name}' must be true, false, a number from 0 or a string"));
        Ok((name.clone(), value.ok_or_else(wrong)?))
    });
    Ok(log_shown(settings::log(&state, &headers, &wanted.collect::<Result<_, ServeError>>()?)?))
}

/// An empty body means no changes, as in Triton.
fn object(body: &Taken) -> Result<Object, ServeError> {
    if body.bytes.is_empty() {
        return Ok(Object::new());
    }
    serde_json::from_slice(&body.bytes)
        .map_err(|error| ServeError::InvalidArgument(format!("cannot read the JSON: {error}")))
}

fn wanted(body: &Taken) -> Result<Wanted, ServeError> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    object(body)?
        .into_iter()
        .map(|(name, value)| {
            let values = match &value {
                Value::Null => return Ok((name, None)),
                Value::Array(values) => values.iter().map(text).collect(),
                value => text(value).map(|text| vec![text]),
            };
            let wrong = || ServeError::InvalidArgument(format!("'{name}' must be a string, a list of strings or null"));
            let values = values.ok_or_else(wrong)?;
            Ok((name, Some(values)))
        })
        .collect()
}

fn shown(settings: Shown) -> Json<Object> {
    let member = |(name, values): (&str, Vec<String>)| {
        let value = if is_list(name) { values.into() } else { values.join(",").into() };
        (name.to_owned(), value)
    };
    Json(settings.into_iter().map(member).collect())
}

fn log_shown(settings: logs::Settings) -> Json<Object> {
    let value = |value| match value {
        logs::Value::Bool(on) => on.into(),
        logs::Value::Number(number) => number.into(),
        logs::Value::Text(text) => text.into(),
    };
    Json(settings.show().map(|(name, shown)| (name.to_owned(), value(shown))).into_iter().collect())
}
