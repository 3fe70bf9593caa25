//! Calibration: whether this machine measures what is true. The generator drives built-in servers whose latencies are
//! known by arithmetic or simulation, and what it measured is set beside the truth.
//!
//! [`law`] \* says how a server takes its time, [`server`] does it, [`truth`] \* says what a generator must find.
//! (\* is pure.)

pub mod law;
pub mod server;
pub mod truth;

use std::path::{Path, PathBuf};

use proofload_run::RunError;
use proofload_run::folder::RunFolder;
use proofload_run::journal::JournalReader;
use proofload_run::manifest::{Host, Tool};
use proofload_run::sample::{Outcome, Sample};
use tokio::sync::watch;

use crate::run::{LoadError, ResolvedTarget, RunOptions, run};
use crate::scenario::{Scenario, ScenarioErrors};
use crate::stop::StopHandle;
use law::Law;
use server::{Served, Server};
use truth::{Figures, simulate};

const MS: u64 = 1_000_000;
/// What the loopback interface and two wake-ups may add to a latency without its being called wrong.
pub const SLACK_NS: u64 = 300_000;
/// How far a figure may be from the truth.
pub const TOLERANCE: f64 = 0.03;
/// Share of its capacity at which the server of so many slots is driven.
const SLOT_LOAD: f64 = 0.8;
/// Time of an answer of the server of so many slots.
const SLOT_NS: u64 = 4 * MS;

/// One thing to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// How the server takes its time.
    pub law: Law,
    /// How arrivals are spaced: the scenario's word.
    pub arrivals: &'static str,
    /// The most connections; `None` for as many as needed.
    pub connections: Option<u32>,
    /// What is counted as slow.
    pub slow_ns: u64,
}

/// The cases for a rate and a length.
pub fn cases(rate_per_s: f64, seconds: u64) -> Vec<Case> {
    let freezing = Law::Freezing {
        service_ns: MS,
        freeze_ns: seconds * 1000 * MS / 10,
        period_ns: seconds * 1000 * MS,
        phase_ns: seconds * 1000 * MS * 4 / 10,
    };
    let slots = (rate_per_s * SLOT_NS as f64 / 1e9 / SLOT_LOAD).ceil().max(1.0) as u32;
    let case = |name: &str, law, arrivals, connections, slow_ns| Case {
        name: name.to_owned(),
        law,
        arrivals,
        connections,
        slow_ns,
    };
    vec![
        case("fixed 5ms", Law::Fixed { service_ns: 5 * MS }, "constant", None, 10 * MS),
        case("freezing, 32 connections", freezing, "constant", Some(32), 100 * MS),
        case("freezing", freezing, "constant", None, 100 * MS),
        case(&format!("{slots} slots of 4ms"), Law::Slots { slots, service_ns: SLOT_NS }, "poisson", None, 2 * SLOT_NS),
        case("heavy tail", Law::HeavyTail { least_ns: MS, most_ns: 1000 * MS, alpha: 1.5 }, "poisson", None, 10 * MS),
    ]
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What was measured.
    pub measured: Figures,
    /// What the server did, by its own log of when it sent each answer.
    pub served: Figures,
    /// What the server should have done.
    pub truth: Figures,
    /// The largest relative error of what was measured against what was served, beyond [`SLACK_NS`].
    pub error: f64,
    /// The same against what should have been served.
    pub error_by_law: f64,
    /// The generator's own lateness, 99th percentile.
    pub late_p99_ns: u64,
    /// Requests answered, and intended.
    pub answered: (usize, usize),
    /// Connections used.
    pub connections: u32,
}

impl Finding {
    /// Whether the generator measured what was served. Its lateness is part of every latency, so it is judged with
    /// them; and a server that cannot keep its law on this machine is not the generator's fault.
    pub fn is_right(&self) -> bool {
        self.error <= TOLERANCE && self.answered.0 == self.answered.1
    }
}

/// Why a case could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The built-in server.
    #[error("the built-in server cannot start: {0}")]
    Server(#[from] std::io::Error),
    /// The rate or the length makes no scenario.
    #[error(transparent)]
    Scenario(#[from] ScenarioErrors),
    /// The run.
    #[error(transparent)]
    Run(#[from] LoadError),
    /// What the run left.
    #[error(transparent)]
    Folder(#[from] RunError),
    /// The run was ended before anything was measured.
    #[error("nothing was measured: the run was ended before its first answer")]
    Nothing,
}

/// Measures one case, leaving its run in `folder`.
///
/// # Errors
/// When it cannot run. A wrong measurement is a finding, no error.
pub async fn measure(
    case: &Case,
    rate_per_s: f64,
    seconds: u64,
    folder: PathBuf,
    stop: StopHandle,
) -> Result<Finding, CalibrateError> {
    let server = Server::start(case.law)?;
    let scenario = scenario(case, rate_per_s, seconds)?;
    let options = RunOptions {
        folder,
        run_id: "calibration".to_owned(),
        target: ResolvedTarget { http_url: Some(server.url()), ..ResolvedTarget::default() },
        tool: Tool { name: "proofload".to_owned(), version: String::new(), git_commit: None },
        host: Host::default(),
        stop,
        progress: watch::Sender::default(),
    };
    let done = run(&scenario, options).await?;
    let zero_unix_ns = done.folder.read_manifest()?.clocks.first().map_or(0, |clock| clock.zero_unix_ns);
    let samples = samples(&done.folder)?;
    let arrivals_ns: Vec<u64> = samples.iter().map(|s| server.time_ns(s.intended_ns, zero_unix_ns)).collect();
    compare(case, &samples, &arrivals_ns, &server.served()).ok_or(CalibrateError::Nothing)
}

/// Sets what was measured beside what was served and what should have been; `None` without any answer.
fn compare(case: &Case, samples: &[Sample], arrivals_ns: &[u64], served: &[Served]) -> Option<Finding> {
    let answered: Vec<&Sample> = samples.iter().filter(|s| s.outcome() == Outcome::Ok).collect();
    let of_served = served.iter().filter_map(|answer| {
        let arrival_ns = arrivals_ns.get(usize::try_from(answer.number).ok()?)?;
        Some(answer.sent_ns.saturating_sub(*arrival_ns))
    });
    let of_served: Vec<u64> = of_served.collect();
    if answered.is_empty() || of_served.is_empty() {
        return None;
    }
    let served = Figures::of(of_served, case.slow_ns);
    let measured = Figures::of(answered.iter().map(|s| s.latency_ns()).collect(), case.slow_ns);
    let truth = Figures::of(simulate(case.law, arrivals_ns, case.connections), case.slow_ns);
    let mut late: Vec<u64> = samples.iter().map(|s| s.generator_late_ns).collect();
    late.sort_unstable();
    Some(Finding {
        measured,
        served,
        truth,
        error: measured.worst_error(&served, SLACK_NS as f64),
        error_by_law: measured.worst_error(&truth, SLACK_NS as f64),
        late_p99_ns: late[late.len() * 99 / 100],
        answered: (answered.len(), samples.len()),
        connections: samples.iter().map(|s| s.connection + 1).max().unwrap_or(0),
    })
}

fn scenario(case: &Case, rate_per_s: f64, seconds: u64) -> Result<Scenario, ScenarioErrors> {
    let connections = case.connections.map_or("\"as-needed\"".to_owned(), |n| n.to_string());
    let text = format!(
        "kind = \"sustained\"\n[load]\narrivals = \"{}\"\nrate = {rate_per_s:?}\nduration = \"{seconds}s\"\n\
         max_connections = {connections}\n[[mix]]\nname = \"get\"\nprotocol = \"http\"\npath = \"/{{{{sequence}}}}\"\n",
        case.arrivals
    );
    Scenario::parse(Path::new("calibration.toml"), &text, &[])
}

/// The samples of a run, in the order of the plan.
fn samples(folder: &RunFolder) -> Result<Vec<Sample>, RunError> {
    let mut reader = JournalReader::open(&folder.sample_journal(0))?;
    let (mut all, mut chunk) = (Vec::new(), Vec::new());
    while reader.next_chunk(&mut chunk)? {
        all.append(&mut chunk);
    }
    all.sort_by_key(|sample| sample.sequence);
    Ok(all)
}
