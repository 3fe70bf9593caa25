//! KServe v2 over HTTP: which path leads where.

mod generate;
pub(super) mod infer;
mod models;
mod repository;
mod settings;
pub(super) mod shared_memory;

use axum::Router;
use axum::routing::{get, post};
use http::{Method, StatusCode, Uri};
use serde::Deserialize;

use super::refusal::Refusal;
use super::routes::Routes;
use super::{FrontState, cache, gate, gpu, jobs, openapi, ops, studio};

/// Everything that is served over HTTP.
pub(super) fn router(state: FrontState) -> Router {
    let gate = state.gate.clone();
    let router = routes().router();
    let router = router.fallback(no_such_path).method_not_allowed_fallback(wrong_verb).with_state(state);
    gate::guard(router, gate.as_ref())
}

/// Which path leads where.
pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/openapi.json", get(openapi::json))
        .route("/docs", get(openapi::docs))
        .route("/metrics", get(ops::metrics))
        .route("/v2", get(models::server))
        .route("/v2/", get(models::server))
        .route("/v2/health/live", get(ops::live))
        .route("/v2/health/ready", get(ops::ready))
        .route("/v2/models/stats", get(models::all_statistics))
        .route("/v2/repository/index", post(repository::index))
        .route("/v2/repository/models/{model}/load", post(repository::load))
        .route("/v2/repository/models/{model}/unload", post(repository::unload))
        .merge(of_a_model("/v2/models/{model}"))
        .merge(of_a_model("/v2/models/{model}/versions/{version}"))
        .route("/v2/trace/setting", get(settings::trace).post(settings::change_trace))
        .route("/v2/models/{model}/trace/setting", get(settings::model_trace).post(settings::change_model_trace))
        .route("/v2/logging", get(settings::log).post(settings::change_log))
        .merge(sharing())
        .merge(studio::routes())
        .merge(jobs::routes())
        .merge(cache::routes())
        .merge(gpu::routes())
}

/// Metrics alone, for a port of their own.
pub(super) fn metrics_router(state: FrontState) -> Router {
    let gate = state.gate.clone();
    let router = Router::new()
        .route("/metrics", get(ops::metrics))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_verb)
        .with_state(state);
    gate::guard(router, gate.as_ref())
}

fn of_a_model(prefix: &str) -> Routes {
    Routes::new()
        .route(prefix, get(models::metadata))
        .route(&format!("{prefix}/ready"), get(models::ready))
        .route(&format!("{prefix}/config"), get(models::config))
        .route(&format!("{prefix}/stats"), get(models::statistics))
        .route(&format!("{prefix}/infer"), post(infer::infer))
        .route(&format!("{prefix}/generate"), post(generate::generate))
        .route(&format!("{prefix}/generate_stream"), post(generate::generate_stream))
}

fn sharing() -> Routes {
    let (system, cuda) = ("/v2/systemsharedmemory", "/v2/cudasharedmemory");
    Routes::new()
        .route(&format!("{system}/status"), get(shared_memory::all))
        .route(&format!("{system}/unregister"), post(shared_memory::forget_all))
        .route(&format!("{system}/region/{{region}}/status"), get(shared_memory::one))
        .route(&format!("{system}/region/{{region}}/register"), post(shared_memory::register))
        .route(&format!("{system}/region/{{region}}/unregister"), post(shared_memory::forget))
        .route(&format!("{cuda}/status"), get(shared_memory::no_cuda))
        .route(&format!("{cuda}/unregister"), post(shared_memory::forget_cuda))
        .route(&format!("{cuda}/region/{{region}}/status"), get(shared_memory::no_such_cuda))
        .route(&format!("{cuda}/region/{{region}}/register"), post(shared_memory::register_cuda))
        .route(&format!("{cuda}/region/{{region}}/unregister"), post(shared_memory::forget_cuda))
}

/// Which model, and which version of it, a path names.
#[derive(Deserialize)]
pub(super) struct ModelPath {
    pub(super) model: String,
    #[serde(default)]
    pub(super) version: Option<String>,
}

async fn no_such_path(uri: Uri) -> Refusal {
    let message = format!("there is nothing at {}; the models are listed by POST /v2/repository/index", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, message)
}

async fn wrong_verb(method: Method, uri: Uri) -> Refusal {
    let message = format!("{method} is not the verb of {}; the Allow header names it", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
