//! What happened to a run that its load does not explain, by name. Nothing is computed here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// The target answered nothing for a while, though requests were under way.
    Freeze,
    /// Computing took longer than at other times with batches of the same size.
    SlowCompute,
    /// Far fewer answers than usual came from the cache.
    CacheCollapse,
    /// Other processes on the generator's machine used its processors.
    BusyNeighbour,
}

impl IncidentKind {
    /// What it is called in a report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::SlowCompute => "slow compute",
            Self::CacheCollapse => "cache collapse",
            Self::BusyNeighbour => "busy neighbour",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Incident {
    /// What it was.
    pub kind: IncidentKind,
    /// Start on the run's clock.
    pub start_ns: u64,
    /// End on the run's clock.
    pub end_ns: u64,
    /// The entry of the mix that it happened to; `None` where it happened to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// What was measured meanwhile, in `unit`.
    pub measured: f64,
    /// What is usual in this run, in the same unit.
    pub usual: f64,
    /// Of both.
    pub unit: String,
    /// Requests, or readings, that this is seen by.
    pub n: u64,
    /// In a sentence.
    pub sentence: String,
}
