//! The threads of a run: timer, users, writer. Started together, closed together.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use proofload_run::criteria::Rule;
use proofload_run::folder::RunFolder;
use proofload_run::journal::JournalWriter;
use proofload_run::jsonl::LineWriter;
use proofload_run::manifest::End;
use tokio::sync::{mpsc, oneshot, watch};

use super::conduct::Ending;
use super::{LoadError, Plan};
use crate::dispatch::Limits;
use crate::dispatch::hub::{Hub, HubState, OpenSlot};
use crate::dispatch::slot::Stage;
use crate::dispatch::timer::{self, Alarms, Duty};
use crate::plan::{Arrivals, Think, Timing};
use crate::progress::Snapshot;
use crate::record::{Climb, Recorded, Watchdog, Writer, WriterHandle};
use crate::scenario::{Model, Scenario};
use crate::users::{Crowd, run_closed, run_open};
use crate::watch::{Pulse, Scraper, USERS_THREAD};

/// Samples in one chunk of the journal at most; it is flushed ten times a second anyway.
const CHUNK_SAMPLES: usize = 8192;
/// Arrivals that may wait beyond what the time limit lets through.
const SPARE_BACKLOG: f64 = 10_000.0;
/// Arrivals that may wait at most: 80 MB of them.
const MOST_BACKLOG: f64 = 2e6;
/// How long Goose may take to start its users.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether a thread has died.
const LOOK: Duration = Duration::from_millis(50);
/// A server may count a request after it has sent the answer: Triton was seen to do so 0.5 ms later.
const COUNTING: Duration = Duration::from_millis(100);
/// How long users may take to leave when the run is over.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

type ShowHub = Arc<dyn Fn() -> HubState + Send + Sync>;

/// See the module.
pub(super) struct Crew {
    hub: Option<Arc<Hub>>,
    hub_state: ShowHub,
    users: JoinHandle<()>,
    users_end: watch::Receiver<Option<Result<(), String>>>,
    timer: JoinHandle<()>,
    writer: WriterHandle,
    pulse: Pulse,
}

impl Crew {
    /// Starts everything and waits until the users are up.
    pub(super) async fn start(
        scenario: &Scenario,
        stage: &Arc<Stage>,
        plan: Plan,
        folder: &RunFolder,
        progress: watch::Sender<Snapshot>,
    ) -> Result<Self, LoadError> {
        let profile = plan.profile.clone();
        let cast = Cast::of(scenario, stage, plan);
        let hub = cast.hub.clone();
        let on_stage = Arc::clone(stage);
        let hub_state: ShowHub = match hub.clone() {
            Some(hub) => Arc::new(move || of_connections(hub.state(), &on_stage)),
            None => Arc::new(HubState::default),
        };
        let shown = Arc::clone(&hub_state);
        let waiting = hub.clone();
        let writer = Writer {
            clock: stage.clock.clone(),
            ledger: Arc::clone(&stage.ledger),
            journal: JournalWriter::create(&folder.sample_journal(0), 0, CHUNK_SAMPLES)?,
            histograms: LineWriter::create(&folder.histogram_lines(0))?,
            shard: 0,
            entries: stage.entries.len(),
            log: Arc::clone(&stage.log),
            profile,
            climb: Climb::of(scenario),
            watchdog: watchdog(scenario),
            waiting: Box::new(move || waiting.as_ref().map(|hub| hub.under_way()).unwrap_or_default()),
            retried: Arc::clone(&stage.retried),
            timeout_ns: stage.timeout_ns,
            hub: Box::new(move || shown()),
            progress,
        };
        let writer = writer.start()?;
        let timer = timer::start(cast.duty, stage.clock.clone(), Arc::clone(&stage.curtain))?;
        let pulse = Pulse::start(stage.clock.clone(), Arc::clone(&stage.log))?;
        let (users, users_end, ready) = cast.players.enter()?;
        let crew = Self { hub, hub_state, users, users_end, timer, writer, pulse };
        match tokio::time::timeout(START_PATIENCE, ready).await {
            Ok(Ok(())) => Ok(crew),
            _ => Err(crew.stillborn(stage)),
        }
    }

    /// The users did not come up.
    fn stillborn(&self, stage: &Stage) -> LoadError {
        stage.curtain.fall();
        let said = self.users_end.borrow().clone().and_then(Result::err);
        LoadError::Thread(io::Error::other(said.unwrap_or_else(|| "the users did not start".to_owned())))
    }

    /// What the dispatcher is doing.
    pub(super) fn hub_state(&self) -> &dyn Fn() -> HubState {
        &*self.hub_state
    }

    /// Ends when somebody has ended before they should.
    pub(super) async fn died(&self) -> Ending {
        tokio::select! {
            ending = self.users_left() => ending,
            () = ended(&self.timer) => Ending::failed("the timer's thread died"),
        }
    }

    /// In a closed model users may leave a little before the plan's end, when the next request of each would come after
    /// it; that is no reason to end.
    async fn users_left(&self) -> Ending {
        let mut users_end = self.users_end.clone();
        let end = users_end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        match end {
            Some(Ok(())) if self.hub.is_none() => std::future::pending().await,
            Some(Err(e)) => Ending::failed(&e),
            Some(Ok(())) | None => Ending::failed("the simulated users ended before the plan"),
        }
    }

    /// Closes the books, lets everybody go, scrapes a last time.
    pub(super) async fn end(self, stage: &Stage, ending: Ending, scraper: &mut Scraper) -> End {
        let now_ns = stage.clock.now_ns();
        if let Some(hub) = &self.hub {
            hub.close(now_ns);
        }
        stage.ledger.close(now_ns);
        stage.curtain.fall();
        tokio::time::sleep(COUNTING).await;
        scraper.scrape().await;
        let intended = stage.ledger.intended();
        let recorded = tokio::task::spawn_blocking(move || self.leave()).await;
        let Recorded { outcomes, kept, lost } =
            recorded.unwrap_or_else(|_| Recorded { outcomes: BTreeMap::new(), kept: 0, lost: u64::MAX });
        let detail = if lost == 0 { ending.detail } else { told(&ending.detail, kept, lost) };
        End { at_ns: now_ns, reason: ending.reason, detail, intended, outcomes, lost_samples: lost }
    }

    fn leave(self) -> Recorded {
        drop(self.pulse);
        let recorded = self.writer.finish();
        let _ = self.timer.join();
        // Users whose requests never end are left behind and die with the process.
        let until = Instant::now() + LEAVE_PATIENCE;
        while !self.users.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        recorded
    }
}

/// Returns when the thread has ended.
/// What is told are connections, of which several slots may share one.
fn of_connections(slots: HubState, stage: &Stage) -> HubState {
    if stage.connections.streams == 1 {
        return slots;
    }
    let (open, closed) = stage.shared.open_and_closed();
    HubState { open, closed, ..slots }
}

async fn ended<T>(thread: &JoinHandle<T>) {
    while !thread.is_finished() {
        tokio::time::sleep(LOOK).await;
    }
}

/// How a run ended that lost samples: what is kept of it.
fn told(detail: &str, kept: u64, lost: u64) -> String {
    let lost = if lost == u64::MAX { "an unknown number".to_owned() } else { lost.to_string() };
    let kept = format!("{kept} samples are kept, {lost} were lost");
    if detail.is_empty() { kept } else { format!("{detail}: {kept}") }
}

/// Watches the scenario's thresholds.
fn watchdog(scenario: &Scenario) -> Watchdog {
    let entries = || scenario.mix.iter().map(|entry| (entry.name.as_str(), entry.slo));
    let rules = scenario.thresholds.iter().map(|threshold| Rule::new(threshold, scenario.slo, entries()));
    let steps = &scenario.load.steps;
    let warm_until_ns = steps.iter().filter(|step| step.warm_up).map(|step| step.end_ns).max().unwrap_or(0);
    let until_ns = steps.last().map_or(0, |step| step.end_ns);
    Watchdog::new(rules, warm_until_ns, until_ns)
}

/// Who does what in this load model.
struct Cast {
    hub: Option<Arc<Hub>>,
    duty: Duty,
    players: Players,
}

enum Players {
    Open { stage: Arc<Stage>, hub: Arc<Hub>, opener: mpsc::UnboundedReceiver<OpenSlot> },
    Closed { crowd: Arc<Crowd>, users: u32 },
}

impl Cast {
    fn of(scenario: &Scenario, stage: &Arc<Stage>, plan: Plan) -> Self {
        match &scenario.load.model {
            Model::Open { arrivals } => Self::open(arrivals.clone(), scenario.seed, Arc::clone(stage), plan),
            Model::Closed { think } => Self::closed(*think, scenario.seed, Arc::clone(stage), plan),
        }
    }

    fn open(timing: Timing, seed: u64, stage: Arc<Stage>, plan: Plan) -> Self {
        let waiting = timing.most_within(&plan.profile, stage.timeout_ns) * 1.5 + SPARE_BACKLOG;
        let limits = Limits {
            slots: plan.slots,
            backlog: waiting.min(MOST_BACKLOG) as usize,
            idle_timeout_ns: stage.connections.idle_timeout_ns,
        };
        let (hub, opener) = Hub::new(limits, Arc::clone(&stage.ledger), stage.timeout_ns);
        let arrivals = Box::new(Arrivals::new(plan.profile, plan.mix, timing, seed));
        Self {
            hub: Some(Arc::clone(&hub)),
            duty: Duty::Open { arrivals, hub: Arc::clone(&hub) },
            players: Players::Open { stage, hub, opener },
        }
    }

    fn closed(think: Think, seed: u64, stage: Arc<Stage>, plan: Plan) -> Self {
        let alarms = Arc::new(Alarms::default());
        let crowd = Crowd {
            stage,
            alarms: Arc::clone(&alarms),
            profile: plan.profile,
            doings: plan.doings,
            think,
            seed,
            sequence: AtomicU64::new(0),
            cut_short: AtomicU64::new(0),
        };
        let players = Players::Closed { crowd: Arc::new(crowd), users: plan.slots };
        Self { hub: None, duty: Duty::Closed(alarms), players }
    }
}

/// The users' thread, how it ended, and when they are all up.
type Entered = (JoinHandle<()>, watch::Receiver<Option<Result<(), String>>>, oneshot::Receiver<()>);

impl Players {
    fn enter(self) -> io::Result<Entered> {
        let (ready, is_ready) = oneshot::channel();
        let ready = Mutex::new(Some(ready));
        let ready = move || {
            if let Some(ready) = ready.lock().ok().and_then(|mut ready| ready.take()) {
                let _ = ready.send(());
            }
        };
        let (tell, users_end) = watch::channel(None);
        let users = Builder::new().name(USERS_THREAD.to_owned()).spawn(move || {
            let _ = tell.send(Some(self.play(ready).map_err(|e| e.to_string())));
        })?;
        Ok((users, users_end, is_ready))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_has_died_is_noticed_and_one_that_lives_is_not() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || held.recv().is_ok());
        assert!(tokio::time::timeout(LOOK * 3, ended(&thread)).await.is_err());
        drop(hold);
        assert!(tokio::time::timeout(Duration::from_secs(5), ended(&thread)).await.is_ok());
    }

    #[test]
    fn a_run_that_lost_samples_says_what_it_kept() {
        let check = |detail, lost, expected: &str| assert_eq!(told(detail, 512, lost), expected);
        check("", 3, "512 samples are kept, 3 were lost");
        check("the disk is full", 3, "the disk is full: 512 samples are kept, 3 were lost");
        check("", u64::MAX, "512 samples are kept, an unknown number were lost");
    }
}
