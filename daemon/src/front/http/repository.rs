//! The model repository: what is there, loading and unloading.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use proofload_wire::types::{RepositoryIndexEntry, RepositoryIndexRequest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ModelPath;
use crate::engine::ServeError;
use crate::front::FrontState;
use crate::front::body::Taken;
use crate::front::path::Path;
use crate::front::refusal::Refusal;
use crate::lifecycle::{Parameter, given};

/// The body of a request to load or unload a model.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Control {
    parameters: BTreeMap<String, Value>,
}

/// `POST /v2/repository/index`.
pub(super) async fn index(
    State(state): State<FrontState>,
    body: Taken,
) -> Result<Json<Vec<RepositoryIndexEntry>>, Refusal> {
    let request: RepositoryIndexRequest = read(&body.bytes)?;
    Ok(Json(state.engine.repository_index(request.ready).await?))
}

/// `POST /v2/repository/models/{model}/load`.
pub(super) async fn load(
    State(state): State<FrontState>,
    Path(path): Path<ModelPath>,
    headers: HeaderMap,
    body: Taken,
) -> Result<StatusCode, Refusal> {
    state.admin.permit(&headers)?;
    let control: Control = read(&body.bytes)?;
    let parameters = control.parameters.into_iter().map(|(name, value)| (name, parameter(value)));
    let given = given(parameters).map_err(ServeError::InvalidArgument)?;
    state.engine.load_model(path.model, given).await?;
    Ok(StatusCode::OK)
}

/// `POST /v2/repository/models/{model}/unload`.
pub(super) async fn unload(
    State(state): State<FrontState>,
    Path(path): Path<ModelPath>,
    headers: HeaderMap,
    body: Taken,
) -> Result<StatusCode, Refusal> {
    state.admin.permit(&headers)?;
    let control: Control = read(&body.bytes)?;
    let dependents = match control.parameters.get("unload_dependents") {
        None => false,
        Some(Value::Bool(dependents)) => *dependents,
        Some(_) => {
            return Err(ServeError::InvalidArgument("`unload_dependents` must be true or false".to_owned()).into());
        }
    };
    state.engine.unload_model(path.model, dependents).await?;
    Ok(StatusCode::OK)
}

/// An empty body means the defaults.
fn read<T: Default + DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("cannot read the JSON: {error}")))
}

fn parameter(value: Value) -> Parameter {
    match value {
        Value::String(text) => Parameter::Text(text),
        _ => Parameter::Other,
    }
}
