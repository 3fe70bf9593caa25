//! What a run tells about itself while it goes on.

use proofload_run::sample::Outcome;

/// How a threshold stands that is watched while the run goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The threshold as written.
    pub threshold: String,
    /// Whether it held over the latest window; `None` before the first one is over, and while there is no data.
    pub holds: Option<bool>,
    /// Whether it was missed over any window so far.
    pub was_missed: bool,
    /// The latest figure, with its unit.
    pub figure: String,
}

/// The state of a run at one moment. Published ten times a second.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// On the run's clock.
    pub elapsed_ns: u64,
    /// Length of the plan; the drain comes on top.
    pub total_ns: u64,
    /// Index of the current step; `None` before the first and after the last.
    pub step: Option<u16>,
    /// Its name.
    pub step_name: String,
    /// The intended level now: arrivals per second (open) or users (closed).
    pub level: f64,
    /// Requests that ended per second, over the last seconds.
    pub finished_per_s: f64,
    /// Median latency of successes over the last seconds.
    pub p50_ns: Option<u64>,
    /// 95th percentile of the same.
    pub p95_ns: Option<u64>,
    /// 99th percentile of the same.
    pub p99_ns: Option<u64>,
    /// The generator's own lateness over the last seconds, 99th percentile.
    pub late_p99_ns: Option<u64>,
    /// Arrivals so far.
    pub intended: u64,
    /// Ended so far, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Successes so far.
    pub ok: u64,
    /// Errors so far.
    pub errors: u64,
    /// Sheds so far.
    pub sheds: u64,
    /// Requests being sent.
    pub in_flight: u64,
    /// Arrivals that wait for a connection.
    pub backlog: u64,
    /// Connections that are open, in the open model.
    pub connections: u32,
    /// Set when the target has stopped answering: when the last answer came.
    pub target_lost_since_ns: Option<u64>,
    /// Set when samples can no longer be written: why.
    pub unwritable: Option<String>,
    /// How the thresholds that are watched while the run goes on stand.
    pub standings: Vec<Standing>,
    /// The first threshold that was missed while it was watched.
    pub missed: Option<String>,
    /// Set when a threshold was missed that ends the run: which.
    pub abort: Option<String>,
    /// Set when a climb has clearly passed its break: the step by which.
    pub broken_by: Option<u16>,
}
