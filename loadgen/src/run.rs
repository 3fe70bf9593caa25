//! The shell of a run: everything is wired here and nowhere else. It starts the threads, waits for the plan's end
//! or an early one, drains, and seals the manifest.

mod conduct;
mod manifest;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use proofload_run::RunError;
use proofload_run::events::EventKind;
use proofload_run::folder::RunFolder;
use proofload_run::journal::JournalWriter;
use proofload_run::manifest::{End, EndReason, Host, Manifest, Tool};
use tokio::sync::{oneshot, watch};

use crate::clock::RunClock;
use crate::dispatch::Limits;
use crate::dispatch::hub::{Hub, HubState};
use crate::dispatch::slot::Stage;
use crate::dispatch::timer::{self, Alarms, Curtain, Duty};
use crate::payload::{PrepareError, prepare};
use crate::plan::{Arrivals, Mix, Profile};
use crate::progress::Snapshot;
use crate::record::{Ledger, Log, Writer, WriterHandle};
use crate::scenario::{Model, Scenario};
use crate::stop::StopHandle;
use crate::transport::{Address, AddressError};
use crate::users::{Crowd, UsersError, run_closed, run_open};
use crate::watch::{Scraper, describe_target};
use conduct::{Ending, conduct, drain};

/// Between the users being up and the run's zero, so that the first arrival is not late.
const LEAD: Duration = Duration::from_millis(50);
/// Samples in one chunk of the journal at most; it is flushed ten times a second anyway.
const CHUNK_SAMPLES: usize = 8192;
/// Arrivals that may wait beyond what the time limit lets through.
const SPARE_BACKLOG: f64 = 10_000.0;
/// Arrivals that may wait at most: 80 MB of them.
const MOST_BACKLOG: f64 = 2e6;
/// How long Goose may take to start its users, or to let them go.
const USERS_PATIENCE: Duration = Duration::from_secs(60);

/// Where the load goes, with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolvedTarget {
    /// Base URL of the HTTP side.
    pub http_url: Option<String>,
    /// Base URL of the gRPC side.
    pub grpc_url: Option<String>,
    /// URL of the Prometheus page.
    pub metrics_url: Option<String>,
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
    /// An entry of the mix.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The run folder.
    #[error(transparent)]
    Folder(#[from] RunError),
    /// The simulated users.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The scenario allows fewer connections than it has users, or the system does.
    #[error("{users} users need {users} connections, and the {whose} allows {limit}; {remedy}")]
    Connections {
        /// Most users at a time.
        users: u32,
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
    let target = Resolved::of(&options.target)?;
    let entries = scenario.mix.iter().map(|entry| prepare(scenario, entry, target.http.as_ref(), target.grpc.as_ref()));
    let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    let mix =
        Mix::new(scenario.mix.iter().zip(&entries).map(|(entry, ready)| (entry.weight, ready.payloads.len() as u32)));
    let profile = Profile::new(scenario.load.steps.clone());
    let connections = connections(scenario, &profile)?;
    options.stop.obey_ctrl_c();

    let mut manifest = manifest::planned(scenario, &options, &mix, connections, &entries);
    if let Some(http) = &target.http {
        (manifest.target.server, manifest.target.models) = describe_target(http, &manifest::models(scenario)).await;
    }
    let folder = RunFolder::create(&options.folder, &manifest)?;
    let log = Arc::new(Log::create(&folder, 0)?);
    let ledger = Arc::new(Ledger::default());
    let clock = RunClock::default();
    let stage = Arc::new(Stage {
        clock: clock.clone(),
        curtain: Arc::new(Curtain::default()),
        ledger: Arc::clone(&ledger),
        log: Arc::clone(&log),
        entries,
        http: target.http.clone(),
        grpc: target.grpc.clone(),
        timeout_ns: scenario.load.request_timeout_ns,
    });
    let mut scraper = Scraper::new(clock.clone(), Arc::clone(&log), target.metrics, target.http);
    scraper.scrape().await;

    let snapshots = options.progress.subscribe();
    let crew = Crew::start(scenario, &stage, profile.clone(), mix, connections, &folder, options.progress).await?;
    let anchor = clock.start_in(LEAD);
    manifest::anchor(&mut manifest, anchor);
    folder.write_manifest(&manifest)?;
    log.event(0, EventKind::RunStarted);

    let ending = tokio::select! {
        ending = conduct(&stage, profile.end_ns(), &options.stop, &snapshots) => ending,
        ending = crew.died() => ending,
        () = scraper.run() => Ending::failed("the scraper ended"),
    };
    let drain_ns = if ending.reason == EndReason::TargetLost { 0 } else { scenario.load.drain_ns };
    drain(&stage, &*crew.hub_state, drain_ns, &options.stop).await;
    let end = crew.end(&stage, ending, &mut scraper).await;
    seal(folder, manifest, end, &log)
}

fn seal(folder: RunFolder, mut manifest: Manifest, end: End, log: &Log) -> Result<RunSummary, LoadError> {
    log.event(end.at_ns, EventKind::RunEnded);
    let end = match log.failure() {
        Some(failure) if end.reason == EndReason::Completed => {
            End { reason: EndReason::GeneratorFailed, detail: format!("events or series were lost: {failure}"), ..end }
        }
        _ => end,
    };
    manifest.end = Some(end.clone());
    folder.write_manifest(&manifest)?;
    Ok(RunSummary { folder, end })
}

/// A target with its names resolved.
struct Resolved {
    http: Option<Address>,
    grpc: Option<Address>,
    metrics: Option<Address>,
}

impl Resolved {
    fn of(target: &ResolvedTarget) -> Result<Self, AddressError> {
        let resolve = |url: &Option<String>| url.as_deref().map(Address::resolve).transpose();
        let http = resolve(&target.http_url)?;
        let default = || http.clone().map(|http| Address { prefix: format!("{}/metrics", http.prefix), ..http });
        let metrics = resolve(&target.metrics_url)?.or_else(default);
        Ok(Self { grpc: resolve(&target.grpc_url)?, metrics, http })
    }
}

/// How many connections the run may open.
fn connections(scenario: &Scenario, profile: &Profile) -> Result<u32, LoadError> {
    let system = crate::host::connection_limit();
    let allowed = scenario.load.max_connections.unwrap_or(system);
    let (users, closed) = (profile.peak().ceil() as u32, matches!(scenario.load.model, Model::Closed { .. }));
    let refuse = |whose, limit, remedy| Err(LoadError::Connections { users, whose, limit, remedy });
    match () {
        () if closed && users > allowed => refuse("scenario", allowed, "raise load.max_connections"),
        () if closed && users > system => refuse("system", system, "raise the limit on open files (ulimit -n)"),
        () if closed => Ok(users),
        () => Ok(allowed.min(system)),
    }
}

/// The threads of a run.
struct Crew {
    curtain: Arc<Curtain>,
    hub: Option<Arc<Hub>>,
    hub_state: Arc<dyn Fn() -> HubState + Send + Sync>,
    users: std::thread::JoinHandle<()>,
    users_end: watch::Receiver<Option<Result<(), String>>>,
    timer: std::thread::JoinHandle<()>,
    writer: WriterHandle,
}

impl Crew {
    /// Starts everything and waits until the users are up.
    async fn start(
        scenario: &Scenario,
        stage: &Arc<Stage>,
        profile: Profile,
        mix: Mix,
        connections: u32,
        folder: &RunFolder,
        progress: watch::Sender<Snapshot>,
    ) -> Result<Self, LoadError> {
        let (ready, is_ready) = oneshot::channel();
        let ready = std::sync::Mutex::new(Some(ready));
        let ready = move || {
            if let Some(ready) = ready.lock().ok().and_then(|mut ready| ready.take()) {
                let _ = ready.send(());
            }
        };
        let cast = Cast::of(scenario, stage, &profile, mix, connections);
        let hub = cast.hub.clone();
        let hub_state: Arc<dyn Fn() -> HubState + Send + Sync> = match hub.clone() {
            Some(hub) => Arc::new(move || hub.state()),
            None => Arc::new(HubState::default),
        };
        let timer = timer::start(cast.duty, stage.clock.clone(), Arc::clone(&stage.curtain))?;
        let writer = Writer {
            clock: stage.clock.clone(),
            ledger: Arc::clone(&stage.ledger),
            journal: JournalWriter::create(&folder.sample_journal(0), 0, CHUNK_SAMPLES)?,
            log: Arc::clone(&stage.log),
            profile,
            timeout_ns: stage.timeout_ns,
            hub: Box::new({
                let hub_state = Arc::clone(&hub_state);
                move || hub_state()
            }),
            progress,
        };
        let writer = writer.start()?;
        let (tell, users_end) = watch::channel(None);
        let players = cast.players;
        let users = std::thread::Builder::new().name("load-users".to_owned()).spawn(move || {
            let _ = tell.send(Some(players.play(ready).map_err(|e| e.to_string())));
        })?;
        let crew = Self { curtain: Arc::clone(&stage.curtain), hub, hub_state, users, users_end, timer, writer };
        let up = tokio::time::timeout(USERS_PATIENCE, is_ready).await;
        if !matches!(up, Ok(Ok(()))) {
            let said = crew.users_end.borrow().clone().and_then(Result::err);
            crew.curtain.fall();
            return Err(LoadError::Thread(std::io::Error::other(
                said.unwrap_or_else(|| "users did not start".to_owned()),
            )));
        }
        Ok(crew)
    }

    /// Ends when the users have ended, which they do not do of themselves before the curtain falls unless a
    /// closed plan is over.
    async fn died(&self) -> Ending {
        let mut users_end = self.users_end.clone();
        let end = users_end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        match end {
            Some(Err(e)) => Ending::failed(&e),
            Some(Ok(())) if self.hub.is_none() => Ending::completed(),
            _ => Ending::failed("the simulated users ended before the plan"),
        }
    }

    /// Closes the books, lets everybody go, scrapes a last time.
    async fn end(self, stage: &Stage, ending: Ending, scraper: &mut Scraper) -> End {
        let now_ns = stage.clock.now_ns();
        if let Some(hub) = &self.hub {
            hub.close(now_ns);
        }
        stage.ledger.close(now_ns);
        self.curtain.fall();
        scraper.scrape().await;
        let intended = stage.ledger.intended();
        let joined = tokio::task::spawn_blocking(move || {
            let recorded = self.writer.finish();
            let _ = self.timer.join();
            // Requests that never end keep their users; those are left behind and die with the process.
            let until = std::time::Instant::now() + Duration::from_secs(5);
            while !self.users.is_finished() && std::time::Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            recorded
        });
        let (outcomes, lost_samples) = joined.await.map_or((Default::default(), u64::MAX), |r| (r.outcomes, r.lost));
        End { at_ns: now_ns, reason: ending.reason, detail: ending.detail, intended, outcomes, lost_samples }
    }
}

/// Who does what in this load model.
struct Cast {
    hub: Option<Arc<Hub>>,
    duty: Duty,
    players: Players,
}

enum Players {
    Open {
        stage: Arc<Stage>,
        hub: Arc<Hub>,
        opener: tokio::sync::mpsc::UnboundedReceiver<crate::dispatch::hub::OpenSlot>,
    },
    Closed {
        crowd: Arc<Crowd>,
        users: u32,
    },
}

impl Cast {
    fn of(scenario: &Scenario, stage: &Arc<Stage>, profile: &Profile, mix: Mix, connections: u32) -> Self {
        let stage = Arc::clone(stage);
        match scenario.load.model {
            Model::Open { arrivals } => {
                let waiting = profile.peak() * (stage.timeout_ns as f64 / 1e9) * 1.5 + SPARE_BACKLOG;
                let limits = Limits { slots: connections, backlog: waiting.min(MOST_BACKLOG) as usize };
                let (hub, opener) = Hub::new(limits, Arc::clone(&stage.ledger), stage.timeout_ns);
                let arrivals = Box::new(Arrivals::new(profile.clone(), mix, arrivals, scenario.seed));
                Self {
                    hub: Some(Arc::clone(&hub)),
                    duty: Duty::Open { arrivals, hub: Arc::clone(&hub) },
                    players: Players::Open { stage, hub, opener },
                }
            }
            Model::Closed { think } => {
                let alarms = Arc::new(Alarms::default());
                let crowd = Crowd {
                    stage,
                    alarms: Arc::clone(&alarms),
                    profile: profile.clone(),
                    mix,
                    think,
                    seed: scenario.seed,
                    sequence: AtomicU64::new(0),
                };
                let users = profile.peak().ceil() as u32;
                Self {
                    hub: None,
                    duty: Duty::Closed(alarms),
                    players: Players::Closed { crowd: Arc::new(crowd), users },
                }
            }
        }
    }
}

impl Players {
    /// Runs the users on a runtime of one thread: on a small machine the load shares its processors with the
    /// target, and one thread that is never interrupted by its own siblings costs least and is the least late.
    fn play(self, ready: impl Fn() + Send + Sync + 'static) -> Result<(), LoadError> {
        timer::prefer_this_thread(-5);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(async {
            match self {
                Self::Open { stage, hub, opener } => run_open(stage, hub, opener, ready).await,
                Self::Closed { crowd, users } => run_closed(crowd, users, ready).await,
            }
        });
        runtime.shutdown_background();
        Ok(outcome?)
    }
}
