//! Anomalies: what was odd in a run and not explained by its load. How they are found is `proofload-anomaly`'s; here is
//! what is looked at, and what it is compared with.

pub mod baseline;
mod files;
mod judge;
mod seconds;

pub use files::{AnomaliesError, Found, Wanted, in_files};
pub(crate) use judge::anomalies;
pub(crate) use seconds::{Latency, Seconds, is_watched, latency};

/// The share of healthy windows that count as odd unless told otherwise. Two odd ones in a row are an alert.
pub const SENSITIVE: f64 = 0.02;
