//! Statistics of raw samples: exact percentiles, means, shares, and their intervals. Knows numbers and blocks of
//! time, not requests.
//!
//! Neighbouring requests are not independent: they share queues, batches and pauses. Every interval here is
//! therefore widened by a design effect measured on the run itself: how much more a share differs from one second
//! to the next than it would if requests were independent.

mod interval;
mod population;

pub(crate) use interval::share;
pub(crate) use population::{Population, enough};

use proofload_run::units::NS_PER_S;

/// Blocks are counted in tables with a place for each; a time beyond this (46 days) shares the last one.
const MAX_BLOCK: u32 = 4_000_000;

/// The block of time, a second, that a sample belongs to.
pub(crate) fn block(t_ns: u64) -> u32 {
    u32::try_from(t_ns / NS_PER_S).unwrap_or(MAX_BLOCK).min(MAX_BLOCK)
}
