//! Anomalies: what was odd in a run and not explained by its load. How they are found is `proofload-anomaly`'s; here is
//! what is looked at, and what it is compared with.

pub mod baseline;
mod files;
mod judge;
mod seconds;

pub use files::{AnomaliesError, Found, Wanted, in_files};
pub(crate) use judge::anomalies;
pub(crate) use seconds::{Latency, Seconds, is_watched, latency};

/// The share of healthy windows that count as odd in recorded metrics unless told otherwise. Two odd ones in a row are an
/// alert. By ten simulated systems the least at which 95 % of their faults are found; three healthy hours have seven alerts.
pub const SENSITIVE: f64 = 0.035;
/// The same in reports, which people read who asked another question: half as many false alerts, 92 % of the faults.
pub(crate) const IN_REPORTS: f64 = 0.02;
