//! `[concurrency]`: how many requests models may have at a time, where that is found out while they serve.

use serde::{Deserialize, Serialize};

use super::Check;
use crate::admit::concurrency::Defaults;

/// `[concurrency]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Concurrency {
    /// Whether models that say nothing of it have an adaptive limit.
    pub adaptive: bool,
    /// An adaptive limit never falls below this.
    pub min: u32,
    /// Or rises above this.
    pub max: u32,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { adaptive: false, min: 1, max: 4096 }
    }
}

/// What the section means.
pub(super) fn defaults(written: &Concurrency, check: &mut Check) -> Defaults {
    let Concurrency { adaptive, min, max } = *written;
    check.that(min >= 1, "concurrency.min must be at least 1");
    check.that(max >= min, "concurrency.max must be at least concurrency.min");
    Defaults { adaptive, min, max }
}
