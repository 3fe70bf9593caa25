//! Calibration: whether this machine measures what is true. The generator drives built-in servers whose latencies are
//! known by arithmetic or simulation, and what it measured is set beside the truth.
//!
//! [`law`] \* says how a server takes its time, [`server`] does it, [`processors`] gives it one of its own, [`truth`] \*
//! says what a generator must find.
//! (\* is pure.)

pub mod law;
pub mod processors;
pub mod server;
pub mod truth;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proofload_run::RunError;
use proofload_run::folder::RunFolder;
use proofload_run::journal::JournalReader;
use proofload_run::manifest::{Host, Tool};
use proofload_run::sample::{Outcome, Sample};
use rustix::thread::CpuSet;
use tokio::sync::watch;

use crate::run::{LoadError, ResolvedTarget, RunOptions, run};
use crate::scenario::{Scenario, ScenarioErrors};
use crate::stop::StopHandle;
use law::Law;
use server::{Served, Server};
use truth::{Figures, simulate, simulate_pieces};

const MS: u64 = 1_000_000;
/// What the loopback interface and two wake-ups may add to a latency without its being called wrong.
pub const SLACK_NS: u64 = 300_000;
/// How far a figure may be from the truth.
pub const TOLERANCE: f64 = 0.03;
/// Share of its capacity at which the server of so many slots is driven.
const SLOT_LOAD: f64 = 0.8;
/// Time of an answer of the server of so many slots.
const SLOT_NS: u64 = 4 * MS;
/// Tokens of a streamed answer.
const TOKENS: u32 = 20;

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
    /// Which time of an answer is compared.
    pub time: Time,
    /// Share of the rate asked for at which it is driven: an answer of many pieces is the work of many.
    pub rate_share: f64,
}

/// A time that an answer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// All of it, from the intended arrival.
    Whole,
    /// Its first token, from the intended arrival.
    FirstToken,
    /// The mean time between its tokens.
    TokenGap,
}

impl Case {
    /// A case of whole answers at the full rate.
    pub fn whole(name: &str, law: Law, arrivals: &'static str, connections: Option<u32>, slow_ns: u64) -> Self {
        let (time, rate_share) = (Time::Whole, 1.0);
        Self { name: name.to_owned(), law, arrivals, connections, slow_ns, time, rate_share }
    }
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
    let in_slots = Law::Slots { slots, service_ns: SLOT_NS };
    let tailed = Law::HeavyTail { least_ns: MS, most_ns: 1000 * MS, alpha: 1.5 };
    vec![
        Case::whole("fixed 5ms", Law::Fixed { service_ns: 5 * MS }, "constant", None, 10 * MS),
        Case::whole("freezing, 32 connections", freezing, "constant", Some(32), 100 * MS),
        Case::whole("freezing", freezing, "constant", None, 100 * MS),
        Case::whole(&format!("{slots} slots of 4ms"), in_slots, "poisson", None, 2 * SLOT_NS),
        Case::whole("heavy tail", tailed, "poisson", None, 10 * MS),
        streamed("stream, first token", Time::FirstToken, 150 * MS),
        streamed("stream, between tokens", Time::TokenGap, 15 * MS),
    ]
}

fn streamed(name: &str, time: Time, slow_ns: u64) -> Case {
    let law = Law::Tokens { first_ns: 100 * MS, gap_ns: 10 * MS, tokens: TOKENS };
    Case { time, rate_share: 1.0 / f64::from(TOKENS), ..Case::whole(name, law, "poisson", None, slow_ns) }
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

/// Measures one case, leaving its run in `folder`. The server runs on `server_on`: see [`processors::set_one_aside`].
///
/// # Errors
/// When it cannot run. A wrong measurement is a finding, no error.
pub async fn measure(
    case: &Case,
    rate_per_s: f64,
    seconds: u64,
    server_on: Option<CpuSet>,
    folder: PathBuf,
    stop: StopHandle,
) -> Result<Finding, CalibrateError> {
    let server = Server::start(case.law, server_on)?;
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
    let of_served = served_times(case.time, arrivals_ns, served);
    let of_answered: Vec<u64> = answered.iter().filter_map(|sample| measured_time(case.time, sample)).collect();
    if of_answered.is_empty() || of_served.is_empty() {
        return None;
    }
    let served = Figures::of(of_served, case.slow_ns);
    let measured = Figures::of(of_answered, case.slow_ns);
    let of_law = match case.time {
        Time::Whole => simulate(case.law, arrivals_ns, case.connections),
        Time::FirstToken => simulate_pieces(case.law, arrivals_ns).map(|(first_ns, _)| first_ns).collect(),
        Time::TokenGap => simulate_pieces(case.law, arrivals_ns).map(|(_, gap_ns)| gap_ns).collect(),
    };
    let truth = Figures::of(of_law, case.slow_ns);
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

fn measured_time(time: Time, sample: &Sample) -> Option<u64> {
    match time {
        Time::Whole => Some(sample.latency_ns()),
        Time::FirstToken => sample.first_token_latency_ns(),
        Time::TokenGap => sample.mean_gap_ns().map(|ns| ns as u64),
    }
}

/// The same by the server's own log.
fn served_times(time: Time, arrivals_ns: &[u64], served: &[Served]) -> Vec<u64> {
    let mut answers: BTreeMap<u64, (u64, u64, u32)> = BTreeMap::new();
    for piece in served {
        let (first_ns, last_ns, last) = answers.entry(piece.number).or_insert((piece.sent_ns, 0, 0));
        *first_ns = piece.sent_ns.min(*first_ns);
        *last_ns = piece.sent_ns.max(*last_ns);
        *last = piece.piece.max(*last);
    }
    let times = answers.into_iter().filter_map(|(number, (first_ns, last_ns, last))| {
        let arrival_ns = *arrivals_ns.get(usize::try_from(number).ok()?)?;
        match time {
            Time::Whole => Some(last_ns.saturating_sub(arrival_ns)),
            Time::FirstToken => Some(first_ns.saturating_sub(arrival_ns)),
            Time::TokenGap => (last_ns - first_ns).checked_div(u64::from(last)),
        }
    });
    times.collect()
}

fn scenario(case: &Case, rate_per_s: f64, seconds: u64) -> Result<Scenario, ScenarioErrors> {
    let rate_per_s = rate_per_s * case.rate_share;
    let entry = match case.law {
        Law::Tokens { .. } => {
            "protocol = \"openai-chat\"\nmodel = \"none\"\npayload = \"fixed\"\nprompt = \"#{{sequence}}#\""
        }
        _ => "protocol = \"http\"\npath = \"/{{sequence}}\"",
    };
    let connections = case.connections.map_or("\"as-needed\"".to_owned(), |n| n.to_string());
    let text = format!(
        "kind = \"sustained\"\n[load]\narrivals = \"{}\"\nrate = {rate_per_s:?}\nduration = \"{seconds}s\"\n\
         max_connections = {connections}\n[[mix]]\nname = \"get\"\n{entry}\n",
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
