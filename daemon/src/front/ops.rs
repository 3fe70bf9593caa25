//! Operations: health and metrics.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::FrontState;

/// `GET /v2/health/live`.
pub(super) async fn live(State(state): State<FrontState>) -> StatusCode {
    health(state.engine.is_live())
}

/// `GET /v2/health/ready`.
pub(super) async fn ready(State(state): State<FrontState>) -> StatusCode {
    health(state.engine.is_ready())
}

/// Triton's way: the status alone, with an empty body.
pub(super) fn health(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::BAD_REQUEST }
}

/// `GET /metrics`.
pub(super) async fn metrics(State(state): State<FrontState>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], state.engine.metrics_text()).into_response()
}
