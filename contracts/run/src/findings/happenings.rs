//! What happened in a run besides its requests. Nothing is computed here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One or several events of the same kind, near in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Happening {
    /// The first of them on the run's clock.
    pub t_ns: u64,
    /// The last of them on the run's clock.
    pub until_ns: u64,
    /// How many.
    pub n: u64,
    /// What happened, in a few words.
    pub what: String,
    /// What is known of the first; may be empty.
    pub detail: String,
}
