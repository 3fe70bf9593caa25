//! The shell of a run: everything is wired here and nowhere else. It starts the threads, waits for the plan's end
//! or an early one, drains, and seals the manifest.

mod conduct;
mod crew;
mod manifest;
mod trial;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proofload_run::RunError;
use proofload_run::events::EventKind;
use proofload_run::folder::RunFolder;
use proofload_run::manifest::{ConnectionBound, End, EndReason, Host, Manifest, Tool};
use tokio::sync::watch;

use crate::clock::RunClock;
use crate::dispatch::slot::Stage;
use crate::payload::{PrepareError, prepare};
use crate::plan::{Doings, Mix, Profile, Zipf};
use crate::progress::Snapshot;
use crate::record::Log;
use crate::scenario::environment;
use crate::scenario::{MixEntry, Model, PayloadPolicy, Scenario};
use crate::stop::StopHandle;
use crate::transport::{Address, AddressError, HttpVersion, Sharing, TlsOptions};
use crate::users::UsersError;
use crate::watch::{Expected, Scraper, describe_target, find_metrics, metrics_below, points_per_scrape, server_name};
pub use trial::{Fit, Trial, fit_each, try_each};

use conduct::{Ending, conduct, drain};
use crew::Crew;

/// Between the users being up and the run's zero, so that the first arrival is not late.
const LEAD: Duration = Duration::from_millis(50);
/// Where the load goes, with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolvedTarget {
    /// Base URL of the HTTP side.
    pub http_url: Option<String>,
    /// Base URL of the gRPC side.
    pub grpc_url: Option<String>,
    /// URL of the Prometheus page; without a path, `/metrics` is meant.
    pub metrics_url: Option<String>,
    /// Which HTTP the HTTP side speaks.
    pub http_version: HttpVersion,
    /// Headers of every request; `${env:NAME}` in a value stands for a variable of the environment.
    pub headers: BTreeMap<String, String>,
    /// How TLS is spoken where a URL asks for it.
    pub tls: TlsOptions,
    /// Whether proofload started it itself.
    pub embedded: bool,
}

/// How a scenario is run.
#[derive(Debug)]
pub struct RunOptions {
    /// The run folder to make; it must not hold a run yet.
    pub folder: PathBuf,
    /// Unique name of the run.
    pub run_id: String,
    /// Where the load goes.
    pub target: ResolvedTarget,
    /// What runs it.
    pub tool: Tool,
    /// The machine: see [`crate::host::probe`].
    pub host: Host,
    /// For ending it early.
    pub stop: StopHandle,
    /// Where its progress is told.
    pub progress: watch::Sender<Snapshot>,
}

/// What came of a run.
#[derive(Debug)]
pub struct RunSummary {
    /// The folder.
    pub folder: RunFolder,
    /// How it ended.
    pub end: End,
}

/// Why a run could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The target's URL.
    #[error("target: {0}")]
    Target(#[from] AddressError),
    /// The target's headers.
    #[error("target.headers: {0}")]
    Headers(String),
    /// An entry of the mix.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The run folder.
    #[error(transparent)]
    Folder(#[from] RunError),
    /// The end of the run could not be written down.
    #[error(
        "{told}, and how it ended could not be written ({why}); what was recorded is kept: free some disk, then \
         `proofload report {folder}`"
    )]
    Unsealed {
        /// How it ended.
        told: String,
        /// Why that could not be written.
        why: String,
        /// The run folder.
        folder: String,
    },
    /// The simulated users.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The scenario allows fewer connections than it has users, or the system does.
    #[error("{users} users need {needed} connections, and the {whose} allows {limit}; {remedy}")]
    Connections {
        /// Most users at a time.
        users: u32,
        /// Connections that they need.
        needed: u32,
        /// Whose limit it is.
        whose: &'static str,
        /// The limit.
        limit: u32,
        /// What to change.
        remedy: &'static str,
    },
    /// The system gave no thread.
    #[error("cannot start a thread: {0}; raise the limit on processes (ulimit -u)")]
    Thread(#[from] std::io::Error),
}

/// Carries out a scenario. Returns when the load has ended, was drained, and everything is on disk.
///
/// # Errors
/// When it cannot start. Once it has started, whatever happens is in the run folder.
pub async fn run(scenario: &Scenario, options: RunOptions) -> Result<RunSummary, LoadError> {
    options.stop.obey_ctrl_c();
    let Opened { stage, plan, folder, mut manifest, mut scraper } = open(scenario, &options).await?;
    scraper.scrape().await;
    let snapshots = options.progress.subscribe();
    let crew = Crew::start(scenario, &stage, plan, &folder, options.progress).await?;
    manifest::anchor(&mut manifest, stage.clock.start_in(LEAD));
    stage.log.event(0, EventKind::RunStarted);
    warn_of_trust(&options.target, &stage);
    warn_of_retries(scenario, &stage);
    // A failure is not lost: the same file is written again at the end.
    let _ = folder.write_manifest(&manifest);

    let ending = tokio::select! {
        ending = conduct(&stage, &manifest.steps, &options.stop, &snapshots) => ending,
        ending = crew.died() => ending,
        () = scraper.run() => Ending::failed("the scraper ended"),
    };
    // Whoever ended it, nothing more is sent.
    stage.curtain.stop_at(stage.clock.now_ns());
    let drain_ns = if ending.reason == EndReason::TargetLost { 0 } else { scenario.load.drain_ns };
    drain(&stage, crew.hub_state(), drain_ns, &options.stop).await;
    let end = crew.end(&stage, ending, &mut scraper).await;
    if let Some(sentence) = stage.retried.sentence() {
        stage.log.warn(end.at_ns, "attempts_retried", || sentence);
    }
    seal(folder, manifest, end, &stage.log)
}

/// What is planned: when, what, over how many connections.
struct Plan {
    profile: Profile,
    mix: Mix,
    doings: Doings,
    /// Requests that may be under way at a time, or users.
    slots: u32,
    connections: u32,
    bound_by: Option<ConnectionBound>,
}

/// A run that has its folder and sends nothing yet.
struct Opened {
    stage: Arc<Stage>,
    plan: Plan,
    folder: RunFolder,
    manifest: Manifest,
    scraper: Scraper,
}

/// Makes entries ready, asks the target what it is, and makes the run folder.
async fn open(scenario: &Scenario, options: &RunOptions) -> Result<Opened, LoadError> {
    let target = Resolved::of(&options.target).await?;
    let (http, grpc) = (target.http.as_ref(), target.grpc.as_ref());
    let entries = scenario.mix.iter().map(|entry| prepare(scenario, &options.run_id, entry, http, grpc));
    let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    let weights = scenario.mix.iter().zip(&entries).map(|(entry, ready)| (entry.weight, ready.payloads.len() as u32));
    let mix = repeating(Mix::new(weights), &scenario.mix);
    let profile = Profile::new(scenario.load.steps.clone());
    let (slots, bound_by) = slots(scenario, &profile)?;
    let connections = slots.div_ceil(scenario.load.connections.streams);
    let journeys = scenario.journeys.iter().map(|journey| (journey.weight, journey.requests.clone()));
    let plan = Plan { profile, doings: Doings::new(mix.clone(), journeys), mix, slots, connections, bound_by };

    let mut manifest = manifest::planned(scenario, options, &plan, &entries);
    let mut metrics = target.metrics;
    if let Some(http) = &target.http {
        (manifest.target.server, manifest.target.models) = describe_target(http, &manifest::models(scenario)).await;
        if metrics.is_none() {
            metrics = Some(find_metrics(http, manifest.target.server.as_deref()).await);
        }
    }
    manifest.target.metrics_url = metrics.as_ref().map(Address::url).unwrap_or_default();
    let folder = RunFolder::create(&options.folder, &manifest)?;
    let log = Arc::new(Log::create(&folder, 0)?.hiding(scenario.secrets()));
    let clock = RunClock::default();
    let expected =
        Expected { metrics: options.target.metrics_url.is_some(), statistics: !manifest::models(scenario).is_empty() };
    let scraper = Scraper::new(clock.clone(), Arc::clone(&log), metrics, target.http.clone(), expected);
    let stage = Arc::new(Stage {
        clock,
        curtain: Arc::default(),
        ledger: Arc::default(),
        log,
        entries,
        http: target.http,
        grpc: target.grpc,
        connections: scenario.load.connections,
        shared: Sharing::default(),
        retries: scenario.load.retries.clone(),
        retried: Arc::default(),
        timeout_ns: scenario.load.request_timeout_ns,
    });
    Ok(Opened { stage, plan, folder, manifest, scraper })
}

/// Says that it is not known who answers.
fn warn_of_trust(target: &ResolvedTarget, stage: &Stage) {
    if target.tls.insecure {
        stage.log.warn(0, "tls_not_verified", || {
            "the target's certificate was not checked (target.tls.insecure): anybody may have answered; state its CA \
             as target.tls.ca"
                .to_owned()
        });
    }
}

/// Says that the rates of the run are those after retries.
fn warn_of_retries(scenario: &Scenario, stage: &Stage) {
    let Some(retries) = &scenario.load.retries else { return };
    stage.log.warn(0, "retries", || {
        let on: Vec<&str> = retries.on.iter().map(|outcome| outcome.as_str()).collect();
        format!(
            "failed attempts were made again (up to {} in all, on {}), so the error and shed rates are those after \
             retries; remove [load.retries] to measure the target's own",
            retries.attempts,
            on.join(", ")
        )
    });
}

/// The mix with the laws by which its entries' contents repeat.
fn repeating(mix: Mix, entries: &[MixEntry]) -> Mix {
    entries.iter().enumerate().fold(mix, |mix, (index, entry)| match entry.payload {
        PayloadPolicy::Zipf { items, exponent } => mix.repeating(index, Zipf::new(items, exponent)),
        PayloadPolicy::Unique | PayloadPolicy::Fixed => mix,
    })
}

fn seal(folder: RunFolder, mut manifest: Manifest, end: End, log: &Log) -> Result<RunSummary, LoadError> {
    log.event(end.at_ns, EventKind::RunEnded);
    let end = match log.failure() {
        Some(failure) if matches!(end.reason, EndReason::Completed | EndReason::LimitFound) => {
            End { reason: EndReason::GeneratorFailed, detail: format!("events or series were lost: {failure}"), ..end }
        }
        _ => end,
    };
    manifest.end = Some(end.clone());
    match folder.write_manifest(&manifest) {
        Ok(()) => Ok(RunSummary { folder, end }),
        Err(why) => Err(unsealed(&folder, end, &why)),
    }
}

fn unsealed(folder: &RunFolder, end: End, why: &RunError) -> LoadError {
    let told = if end.detail.is_empty() { "the load has ended".to_owned() } else { end.detail };
    LoadError::Unsealed { told, why: why.to_string(), folder: folder.path().display().to_string() }
}

/// A target with its names resolved.
struct Resolved {
    http: Option<Address>,
    grpc: Option<Address>,
    /// Where its metrics are, if somebody said.
    metrics: Option<Address>,
}

/// Values that each scrape of a target would bring now; 0 where it cannot be reached.
pub async fn scraped_points(target: &ResolvedTarget) -> usize {
    let Ok(Resolved { http, metrics, .. }) = Resolved::of(target).await else { return 0 };
    let metrics = match (metrics, &http) {
        (None, Some(http)) => Some(find_metrics(http, server_name(http).await.as_deref()).await),
        (metrics, _) => metrics,
    };
    points_per_scrape(metrics.as_ref(), http.as_ref()).await
}

impl ResolvedTarget {
    /// Its HTTP side as requests reach it, headers included.
    ///
    /// # Errors
    /// When one of its URLs or headers is none.
    pub async fn http(&self) -> Result<Option<Address>, LoadError> {
        Ok(Resolved::of(self).await?.http)
    }
}

impl Resolved {
    async fn of(target: &ResolvedTarget) -> Result<Self, LoadError> {
        let headers = Arc::new(environment::header_map(&target.headers).map_err(LoadError::Headers)?);
        let reach = async |url: &Option<String>, version| match url {
            Some(url) => Ok(Some(Address::reach(url, version, &target.tls).await?.with_headers(&headers))),
            None => Ok::<_, AddressError>(None),
        };
        let http = reach(&target.http_url, target.http_version).await?;
        let metrics = match reach(&target.metrics_url, HttpVersion::Http1).await? {
            Some(bare) if bare.prefix.is_empty() => Some(metrics_below(bare)),
            stated => stated,
        };
        Ok(Self { grpc: reach(&target.grpc_url, HttpVersion::Http2).await?, metrics, http })
    }
}

/// How many slots or users the run may have, and what bounds them. As many as share connections hold one to every side of
/// the target that the mix needs.
fn slots(scenario: &Scenario, profile: &Profile) -> Result<(u32, Option<ConnectionBound>), LoadError> {
    let (system, bound) = crate::host::connection_limit();
    let allowed = scenario.load.max_connections.unwrap_or(system);
    let (users, closed) = (profile.peak().ceil() as u32, matches!(scenario.load.model, Model::Closed { .. }));
    let sides = sides(&scenario.mix);
    let streams = scenario.load.connections.streams;
    let needed = users.div_ceil(streams).saturating_mul(sides);
    let slots = |connections: u32| (connections / sides).max(1).saturating_mul(streams);
    let refuse = |whose, limit, remedy| Err(LoadError::Connections { users, needed, whose, limit, remedy });
    match () {
        () if closed && needed > allowed => refuse("scenario", allowed, remedy_of(ConnectionBound::Scenario)),
        () if closed && needed > system => refuse("system", system, remedy_of(bound)),
        () if closed => Ok((users, None)),
        () if allowed < system => Ok((slots(allowed), Some(ConnectionBound::Scenario))),
        () => Ok((slots(system), Some(bound))),
    }
}

fn remedy_of(bound: ConnectionBound) -> &'static str {
    match bound {
        ConnectionBound::Scenario => "raise load.max_connections",
        ConnectionBound::OpenFiles => "raise the limit on open files (ulimit -n)",
        ConnectionBound::LocalPorts => "widen the range of local ports (sysctl net.ipv4.ip_local_port_range)",
    }
}

/// How many sides of the target the mix needs: HTTP, gRPC, or both.
fn sides(mix: &[MixEntry]) -> u32 {
    let needs = |grpc: bool| u32::from(mix.iter().any(|entry| entry.request.is_grpc() == grpc));
    (needs(true) + needs(false)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_cannot_be_written_says_what_is_kept_and_what_to_do() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("run.json"), "{}").unwrap();
        let folder = RunFolder::open(place.path()).unwrap();
        let why = RunError::io(&folder.manifest_path(), std::io::ErrorKind::StorageFull.into());
        let check = |detail: &str, expected: &str| {
            let (reason, detail) = (EndReason::GeneratorFailed, detail.to_owned());
            let end = End { at_ns: 1, reason, detail, intended: 1, outcomes: [].into(), lost_samples: 0 };
            let said = unsealed(&folder, end, &why).to_string();
            assert!(said.starts_with(expected) && said.contains("proofload report /"), "{said}");
        };
        check(
            "the disk is full: 512 samples are kept, 3 were lost",
            "the disk is full: 512 samples are kept, 3 were lost, and",
        );
        check("", "the load has ended, and");
    }
}
