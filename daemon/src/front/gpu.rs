//! What the GPUs report, as a document.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use schemars::JsonSchema;
use serde::Serialize;

use super::FrontState;
use super::routes::Routes;
use crate::gpu::memory::pressure::{BUDGET_SHARE, Profile};
use crate::gpu::monitor::reading::{Device, Reading, throttle_reasons};
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

/// How close the devices are to the end of their memory.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GpuProfile")]
pub(super) struct Outlook {
    /// `nvml`, `replay` or `none`.
    source: &'static str,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    devices: Vec<OutlookEntry>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GpuProfileEntry")]
struct OutlookEntry {
    device: Device,
    /// Absent where the device does not say how much it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Profile>,
}

/// The routes, under both of their names.
pub(super) fn routes() -> Routes {
    ["/api/v1/gpu", "/api/gpu"].into_iter().fold(Routes::new(), |router, prefix| {
        router.route(&format!("{prefix}/stats"), get(statistics)).route(&format!("{prefix}/profile"), get(profile))
    })
}

/// `GET /api/v1/gpu/profile`.
async fn profile(State(state): State<FrontState>) -> Json<Outlook> {
    let (now, gpus) = (Instant::now(), &state.gpus);
    let entry =
        |reading: Reading| OutlookEntry { memory: gpus.memory(&reading, BUDGET_SHARE, now), device: reading.device };
    let devices = gpus.read(now).into_iter().map(entry).collect();
    Json(Outlook { source: gpus.source().as_str(), reason: reason(gpus.source()), devices })
}

fn reason(source: &Source) -> Option<String> {
    match source {
        Source::None(why) => Some(why.clone()),
        Source::Driver | Source::Replay => None,
    }
}

/// `GET /api/v1/gpu/stats`.
async fn statistics(State(state): State<FrontState>) -> Json<Document> {
    let (now, gpus) = (Instant::now(), &state.gpus);
    let entry = |reading: Reading| Entry {
        throttle_reasons: throttle_reasons(reading.now.throttle_bits.unwrap_or(0)),
        last_minute: gpus.summary(&reading.device.uuid, now, RECENT),
        reading,
    };
    let devices = gpus.read(now).into_iter().map(entry).collect();
    Json(Document { source: gpus.source().as_str(), reason: reason(gpus.source()), devices })
}
