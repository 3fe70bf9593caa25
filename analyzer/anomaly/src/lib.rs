//! Anomaly detection: what a service's metrics should be under the load that it got, and when they are not.
//!
//! A legitimate change of load moves every metric and is no anomaly. So each metric is first explained by the load and by
//! what else explains it ([`expect`]); what is left over is summed up in windows ([`window`]), and windows are
//! compared with those of earlier healthy runs by three detectors, whose scores become conformal p-values ([`model`]).
//! Two windows in a row make an alarm ([`watch`]), and alarms that belong together an [`episode`].
//!
//! Everything takes one second at a time and keeps a few minutes of them, so that a day is watched in the memory of an
//! hour, and live as after the fact. Nothing here opens a file or a socket or reads a clock; the same seconds give the
//! same alarms. Why something is odd, it does not know: it says which metrics were.

pub mod csv;
mod detect;
pub mod episode;
pub mod expect;
pub mod forest;
mod matrix;
pub mod metric;
pub mod model;
pub mod recording;
mod robust;
pub mod watch;
pub mod window;

pub use model::{Model, ModelError};
pub use recording::Recording;
pub use watch::{Watch, Watched};
