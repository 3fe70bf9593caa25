//! What the GPUs report, as a document.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use schemars::JsonSchema;
use serde::Serialize;

use super::FrontState;
use super::routes::Routes;
use crate::gpu::monitor::reading::{Reading, throttle_reasons};
use crate::gpu::monitor::{Source, Summary};

/// What a summary covers.
const RECENT: Duration = Duration::from_secs(60);

/// The document.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GpuStatistics")]
pub(super) struct Document {
    /// `nvml`, `replay` or `none`.
    source: &'static str,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    devices: Vec<Entry>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GpuStatisticsEntry")]
struct Entry {
    #[serde(flatten)]
    reading: Reading,
    /// Why its clocks are held down, by name.
    throttle_reasons: Vec<&'static str>,
    /// What the last minute came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_minute: Option<Summary>,
}

/// The routes, under both of their names.
pub(super) fn routes() -> Routes {
    ["/api/v1/gpu", "/api/gpu"]
        .into_iter()
        .fold(Routes::new(), |router, prefix| router.route(&format!("{prefix}/stats"), get(statistics)))
}

/// `GET /api/v1/gpu/stats`.
async fn statistics(State(state): State<FrontState>) -> Json<Document> {
    let (now, gpus) = (Instant::now(), &state.gpus);
    let entry = |reading: Reading| Entry {
        throttle_reasons: throttle_reasons(reading.now.throttle_bits.unwrap_or(0)),
        last_minute: gpus.summary(&reading.device.uuid, now, RECENT),
        reading,
    };
    let reason = match gpus.source() {
        Source::None(why) => Some(why.clone()),
        Source::Driver | Source::Replay => None,
    };
    Json(Document { source: gpus.source().as_str(), reason, devices: gpus.read(now).into_iter().map(entry).collect() })
}
