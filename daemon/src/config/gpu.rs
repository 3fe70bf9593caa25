//! `[gpu]`: whether models run on a GPU, and on which, and where its libraries are.

use std::path::PathBuf;

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
    /// Folders in which CUDA's libraries (but the driver's) are looked for first; then come the loader's path and Python's
    /// packages.
    pub library_path: Vec<PathBuf>,
}

impl Default for Gpu {
    fn default() -> Self {
        // Until it has been seen to be right on a GPU, nobody gets it who has not asked for it.
        let memory_budget = "75%".to_owned();
        Self { mode: "off".to_owned(), device: 0, memory_budget, library_path: Vec::new() }
    }
}

/// Whether models run on a GPU, and on which.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GpuUse {
    /// Whether.
    pub mode: GpuMode,
    /// On which.
    pub device: usize,
    /// What may be used of its memory.
    pub budget: Budget,
    /// Where its libraries are looked for first.
    pub library_path: Vec<PathBuf>,
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
    let (mode, budget) = (mode.unwrap_or_default(), budget.unwrap_or_default());
    GpuUse { mode, device: gpu.device, budget, library_path: gpu.library_path.clone() }
}
