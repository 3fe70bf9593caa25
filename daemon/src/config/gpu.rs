//! `[gpu]`: whether models run on a GPU, and on which.

use serde::{Deserialize, Serialize};

use super::Check;
use crate::gpu::memory::budget::Budget;

/// `[gpu]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gpu {
    /// `auto`, `on` or `off`.
    pub mode: String,
    /// Its number, as the driver counts.
    pub device: usize,
    /// What may be used of its memory: a share of it, or bytes.
    pub memory_budget: String,
}

impl Default for Gpu {
    fn default() -> Self {
        // Until it has been seen to be right on a GPU, nobody gets it who has not asked for it.
        Self { mode: "off".to_owned(), device: 0, memory_budget: "75%".to_owned() }
    }
}

/// Whether models run on a GPU, and on which.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GpuUse {
    /// Whether.
    pub mode: GpuMode,
    /// On which.
    pub device: usize,
    /// What may be used of its memory.
    pub budget: Budget,
}

/// Whether models run on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GpuMode {
    /// If there is one.
    Auto,
    /// Or else the daemon does not start.
    On,
    /// Never.
    #[default]
    Off,
}

/// What the section means.
pub(super) fn usage(gpu: &Gpu, check: &mut Check) -> GpuUse {
    let mode = match gpu.mode.as_str() {
        "auto" => Some(GpuMode::Auto),
        "on" => Some(GpuMode::On),
        "off" => Some(GpuMode::Off),
        _ => None,
    };
    check.that(mode.is_some(), format!("gpu.mode = \"{}\" must be \"auto\", \"on\" or \"off\"", gpu.mode));
    let budget = Budget::parse(&gpu.memory_budget);
    check.that(
        budget.is_ok(),
        budget.as_ref().map_or_else(|what| format!("gpu.memory_budget = {what}"), |_| String::new()),
    );
    GpuUse { mode: mode.unwrap_or_default(), device: gpu.device, budget: budget.unwrap_or_default() }
}
