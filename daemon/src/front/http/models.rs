//! Everything about the server and its models that is no inference: metadata, readiness, configuration,
//! statistics.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use proofload_wire::types::{ModelMetadata, ServerMetadata, StatisticsResponse};

use super::ModelPath;
use crate::front::path::Path;
use crate::front::refusal::Refusal;
use crate::front::{FrontState, ops};

/// `GET /v2`.
pub(super) async fn server(State(state): State<FrontState>) -> Json<ServerMetadata> {
    Json(state.metadata())
}

/// `GET /v2/models/{model}`.
pub(super) async fn metadata(
    State(state): State<FrontState>,
    Path(path): Path<ModelPath>,
) -> Result<Json<ModelMetadata>, Refusal> {
    Ok(Json(state.engine.model_metadata(&path.model, path.version.as_deref())?))
}

/// `GET /v2/models/{model}/ready`. A model that does not exist is told from one that is not ready.
pub(super) async fn ready(State(state): State<FrontState>, Path(path): Path<ModelPath>) -> Result<StatusCode, Refusal> {
    let version = path.version.as_deref();
    if state.engine.model_ready(&path.model, version) {
        return Ok(ops::health(true));
    }
    state.engine.model_metadata(&path.model, version)?;
    Ok(ops::health(false))
}

/// `GET /v2/models/{model}/config`.
pub(super) async fn config(State(state): State<FrontState>, Path(path): Path<ModelPath>) -> Result<Response, Refusal> {
    let config = state.engine.model_config(&path.model, path.version.as_deref())?;
    Ok(Json(config).into_response())
}

/// `GET /v2/models/{model}/stats`.
pub(super) async fn statistics(
    State(state): State<FrontState>,
    Path(path): Path<ModelPath>,
) -> Result<Json<StatisticsResponse>, Refusal> {
    let model_stats = state.engine.statistics(Some(&path.model), path.version.as_deref())?;
    Ok(Json(StatisticsResponse { model_stats }))
}

/// `GET /v2/models/stats`.
pub(super) async fn all_statistics(State(state): State<FrontState>) -> Result<Json<StatisticsResponse>, Refusal> {
    Ok(Json(StatisticsResponse { model_stats: state.engine.statistics(None, None)? }))
}
