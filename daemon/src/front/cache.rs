//! What the cache says of itself, and forgetting what it holds.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::FrontState;
use super::refusal::Refusal;
use super::routes::Routes;
use crate::cache::Cache;
use crate::cache::statistics::Statistics;

/// The document of a daemon with or without a cache.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CacheStatistics")]
pub(super) struct Document {
    enabled: bool,
    #[serde(flatten)]
    statistics: Option<Statistics>,
}

/// The cache's routes, under both of their names.
pub(super) fn routes() -> Routes {
    ["/api/v1/cache", "/api/cache"].into_iter().fold(Routes::new(), |router, prefix| {
        router.route(&format!("{prefix}/stats"), get(statistics)).route(&format!("{prefix}/clear"), post(clear))
    })
}

/// `GET /api/v1/cache/stats`.
async fn statistics(State(state): State<FrontState>) -> Response {
    let statistics = state.cache.as_deref().map(Cache::statistics);
    Json(Document { enabled: statistics.is_some(), statistics }).into_response()
}

/// `POST /api/v1/cache/clear`.
async fn clear(State(state): State<FrontState>, headers: HeaderMap) -> Result<StatusCode, Refusal> {
    state.admin.permit(&headers)?;
    let none = || Refusal::new(StatusCode::BAD_REQUEST, "nothing is kept here; set `cache.enabled` to have it kept");
    state.cache.as_deref().ok_or_else(none)?.clear();
    Ok(StatusCode::OK)
}
