//! What the GPUs report, as a document.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use schemars::JsonSchema;
use serde::Serialize;

use super::FrontState;
use super::routes::Routes;
use crate::gpu::memory::ledger::Sum;
use crate::gpu::memory::manager::Manager;
use crate::gpu::memory::pool::Figures;
use crate::gpu::memory::pressure::{BUDGET_SHARE, Profile};
use crate::gpu::memory::recommend::Recommendation;
use crate::gpu::memory::report::Report;
use crate::gpu::monitor::reading::{Device, Reading, throttle_reasons};
use crate::gpu::monitor::{Source, Summary};
use crate::model::Model;
use crate::profile::file::{Curve, Profile as ModelProfile};

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
    /// The memory of the GPU that models run on; absent where they run on none.
    #[serde(skip_serializing_if = "Option::is_none")]
    managed_memory: Option<Managed>,
}

/// The memory that models have on the GPU, in short.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GpuManagedMemorySummary")]
struct Managed {
    /// What may be used of the device's memory.
    budget_bytes: u64,
    /// What models have, and the most that they ever had.
    used: Sum,
    /// Blocks that were taken from the driver, and what lies in them.
    pool: Figures,
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
    /// The memory of the GPU that models run on: whose it is, and what was given back and why. Absent where they run on none.
    #[serde(skip_serializing_if = "Option::is_none")]
    managed: Option<Report>,
    /// The models of which `daemon profile` has measured something, wherever they run.
    models: Vec<Measured>,
}

/// What was measured of a model.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GpuMeasuredModel")]
struct Measured {
    model: String,
    version: i64,
    /// What computes it now.
    engine: &'static str,
    /// Whether that was measured on such a machine: then batching begins with it.
    holds: bool,
    /// The batch size that serves most, as it is computed now.
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<u32>,
    /// In what it should be computed; absent where FP32 was not measured with this engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<Recommendation>,
    /// What was measured.
    profile: ModelProfile,
}

impl Measured {
    fn of(model: &Model) -> Option<Self> {
        let profile = ModelProfile::clone(model.spec().profile.as_ref()?);
        Some(Self {
            model: model.spec().name.clone(),
            version: model.spec().version,
            engine: model.engine(),
            holds: model.measured().is_some(),
            batch: model.measured().and_then(Curve::best).map(|best| best.batch),
            precision: profile.precision(model.engine()),
            profile,
        })
    }
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
    let managed = state.gpu_memory.as_ref().map(|memory| memory.report(now));
    let models = state.engine.models().iter().filter_map(|model| Measured::of(model)).collect();
    Json(Outlook { source: gpus.source().as_str(), reason: reason(gpus.source()), devices, managed, models })
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
    let managed = |memory: &Arc<Manager>| {
        let Report { budget_bytes, used, pool, .. } = memory.report(now);
        Managed { budget_bytes, used, pool }
    };
    let managed_memory = state.gpu_memory.as_ref().map(managed);
    Json(Document { source: gpus.source().as_str(), reason: reason(gpus.source()), devices, managed_memory })
}
