//! Registering regions of system shared memory, forgetting them, and listing them. CUDA's do not exist here: there is
//! nothing to list or forget, and to register one is not offered.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::ServeError;
use crate::front::FrontState;
use crate::front::body::Taken;
use crate::front::not_offered::NotOffered;
use crate::front::path::Path;
use crate::front::refusal::Refusal;
use crate::shared_memory::Registration;

/// One region in an answer.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SharedMemoryRegion")]
pub(in crate::front) struct Listed {
    name: String,
    key: String,
    offset: u64,
    byte_size: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Register {
    key: Option<String>,
    offset: u64,
    byte_size: Option<u64>,
}

/// `GET /v2/systemsharedmemory/status`
pub(super) async fn all(State(state): State<FrontState>) -> Result<Json<Vec<Listed>>, Refusal> {
    list(&state, None)
}

/// `GET /v2/systemsharedmemory/region/{region}/status`
pub(super) async fn one(
    State(state): State<FrontState>,
    Path(region): Path<String>,
) -> Result<Json<Vec<Listed>>, Refusal> {
    list(&state, Some(&region))
}

fn list(state: &FrontState, region: Option<&str>) -> Result<Json<Vec<Listed>>, Refusal> {
    let listed = |Registration { name, key, offset, byte_size }| Listed { name, key, offset, byte_size };
    Ok(Json(state.shared_memory.status(region)?.into_iter().map(listed).collect()))
}

/// `POST /v2/systemsharedmemory/region/{region}/register`
pub(super) async fn register(
    State(state): State<FrontState>,
    Path(name): Path<String>,
    body: Taken,
) -> Result<StatusCode, Refusal> {
    let request: Register = serde_json::from_slice(&body.bytes)
        .map_err(|error| ServeError::InvalidArgument(format!("cannot read the JSON: {error}")))?;
    let missing = |field| ServeError::InvalidArgument(format!("Shared memory register request has no '{field}' field"));
    let key = request.key.ok_or_else(|| missing("key"))?;
    let byte_size = request.byte_size.ok_or_else(|| missing("byte_size"))?;
    state.shared_memory.register(Registration { name, key, offset: request.offset, byte_size })?;
    Ok(StatusCode::OK)
}

/// `POST /v2/systemsharedmemory/unregister`
pub(super) async fn forget_all(State(state): State<FrontState>) -> Result<StatusCode, Refusal> {
    state.shared_memory.unregister(None)?;
    Ok(StatusCode::OK)
}

/// `POST /v2/systemsharedmemory/region/{region}/unregister`
pub(super) async fn forget(State(state): State<FrontState>, Path(region): Path<String>) -> Result<StatusCode, Refusal> {
    state.shared_memory.unregister(Some(&region))?;
    Ok(StatusCode::OK)
}

/// `GET /v2/cudasharedmemory/status`
pub(super) async fn no_cuda() -> Json<[(); 0]> {
    Json([])
}

/// `GET /v2/cudasharedmemory/region/{region}/status`
pub(super) async fn no_such_cuda(Path(region): Path<String>) -> Refusal {
    ServeError::NotFound(format!("Unable to find cuda shared memory region: '{region}'")).into()
}

/// `POST /v2/cudasharedmemory/region/{region}/register`
pub(super) async fn register_cuda() -> Refusal {
    ServeError::from(NotOffered::CudaSharedMemory).into()
}

/// `POST /v2/cudasharedmemory[/region/{region}]/unregister`
pub(super) async fn forget_cuda() -> StatusCode {
    StatusCode::OK
}
