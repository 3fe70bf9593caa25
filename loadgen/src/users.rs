//! The only module that knows Goose. Goose keeps the simulated users and their life cycle; what a user does in its
//! one long transaction is ours, on our own connections, and Goose's own metrics are not used.
//!
//! In the open model one Goose user hosts all connection slots. In the closed model each simulated user is a Goose
//! user that thinks, sends and records until the run is over.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{GooseUser, Scenario, Transaction, TransactionResult};
use goose::{GooseAttack, GooseError};
use proofload_run::sample::flags;
use tokio::sync::{Mutex, Notify, mpsc};

use crate::dispatch::hub::{Hub, OpenSlot};
use crate::dispatch::slot::{Slot, Stage, host};
use crate::dispatch::timer::Alarms;
use crate::plan::{Arrival, Doings, Profile, Think, UserPlan};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Goose could not run the users.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It refused.
    #[error("the simulated users could not be started: {0}")]
    Goose(#[from] Box<GooseError>),
    /// It ended on its own, which it is not asked to.
    #[error("Goose ended the simulated users before the run was over")]
    Ended,
}

/// Hosts the slots of an open model until the run is over.
///
/// # Errors
/// When Goose refuses.
pub async fn run_open(
    stage: Arc<Stage>,
    hub: Arc<Hub>,
    opener: mpsc::UnboundedReceiver<OpenSlot>,
    ready: impl Fn() + Send + Sync + 'static,
) -> Result<(), UsersError> {
    let opener = Arc::new(Mutex::new(Some(opener)));
    let work = move |_user: u32| -> Work {
        let (stage, hub, opener) = (Arc::clone(&stage), Arc::clone(&hub), Arc::clone(&opener));
        ready();
        Box::pin(async move {
            if let Some(opener) = opener.lock().await.take() {
                host(stage, hub, opener).await;
            }
        })
    };
    attack(1, work).await
}

/// What the users of a closed model share.
#[derive(Debug)]
pub struct Crowd {
    /// The stage they send from.
    pub stage: Arc<Stage>,
    /// Their wake-ups.
    pub alarms: Arc<Alarms>,
    /// How many are active when.
    pub profile: Profile,
    /// What they do.
    pub doings: Doings,
    /// How long they wait.
    pub think: Think,
    /// Seed of their turns.
    pub seed: u64,
    /// Numbers their requests.
    pub sequence: AtomicU64,
    /// Journeys that a failed request cut short.
    pub cut_short: AtomicU64,
}

/// Runs the users of a closed model until the run is over.
///
/// # Errors
/// When Goose refuses.
pub async fn run_closed(
    crowd: Arc<Crowd>,
    users: u32,
    ready: impl Fn() + Send + Sync + 'static,
) -> Result<(), UsersError> {
    let waiting = AtomicU32::new(users);
    let told = Arc::clone(&crowd);
    let work = move |user: u32| -> Work {
        let crowd = Arc::clone(&crowd);
        if waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            ready();
        }
        Box::pin(async move { live(&crowd, user).await })
    };
    attack(users, work).await?;
    told.tell();
    Ok(())
}

impl Crowd {
    /// Says at the end how many journeys did not come to theirs.
    fn tell(&self) {
        let cut_short = self.cut_short.load(Ordering::Relaxed);
        if cut_short > 0 {
            let message = || {
                format!(
                    "{cut_short} journeys were cut short by a failed request: their later requests were never made, \
                     so the mix of requests is not the one that was planned"
                )
            };
            self.stage.log.warn(self.stage.clock.now_ns(), "journeys_cut_short", message);
        }
    }
}

/// One user's life: active while the profile says so, it thinks, sends, waits for the answer, and again.
async fn live(crowd: &Crowd, user: u32) {
    let stage = &crowd.stage;
    let mut slot = Slot::new(Arc::clone(stage), user, flags::CLOSED_MODEL);
    let mut plan = UserPlan::new(crowd.doings.clone(), crowd.think, crowd.seed, user);
    let bell = Arc::new(Notify::new());
    // The first wake-up is for time zero, which lies ahead: Goose starts the users before the run begins.
    let mut free_ns = 0;
    while let Some(active_ns) = crowd.profile.next_active(user, free_ns) {
        let turn = plan.turn();
        let intended_ns = active_ns + turn.think_ns;
        if !crowd.profile.is_active(user, intended_ns) {
            // Strictly later, so that this cannot go round without end.
            free_ns = intended_ns.max(free_ns + 1);
            continue;
        }
        if stage.clock.until(intended_ns) > std::time::Duration::ZERO {
            crowd.alarms.set(intended_ns, Arc::clone(&bell));
            slot.wait(&bell).await;
        }
        if intended_ns >= stage.curtain.stop_ns() {
            return;
        }
        let arrival = Arrival {
            sequence: crowd.sequence.fetch_add(1, Ordering::Relaxed),
            intended_ns,
            unique: turn.unique,
            content: turn.content,
            payload: turn.payload,
            step: crowd.profile.step_at(intended_ns),
            entry: turn.entry,
        };
        if !stage.ledger.intend_on(user, &arrival) {
            return;
        }
        if !slot.send(&arrival).await && plan.abandon() {
            crowd.cut_short.fetch_add(1, Ordering::Relaxed);
        }
        free_ns = stage.clock.now_ns();
    }
}

/// Starts `users` Goose users, each of which does `work` once, with its number, and ends when all have done it.
///
/// A Goose transaction that returns is run again, and Goose's own shutdown takes up to a second, so none returns:
/// when the work is done the attack is dropped, and the users with the runtime they live in.
async fn attack(users: u32, work: impl Fn(u32) -> Work + Send + Sync + 'static) -> Result<(), UsersError> {
    // Goose would print its warnings on standard output. A logger that is in place already stays.
    if log::set_logger(&ToTracing).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
    let (busy, done) = (Arc::new(AtomicU32::new(users)), Arc::new(Notify::new()));
    let all_done = Arc::clone(&done);
    let transaction = Transaction::new(Arc::new(move |user: &mut GooseUser| {
        let work = work(u32::try_from(user.weighted_users_index).unwrap_or(u32::MAX));
        let (busy, done) = (Arc::clone(&busy), Arc::clone(&done));
        let outcome: Pin<Box<dyn Future<Output = TransactionResult> + Send>> = Box::pin(async move {
            work.await;
            if busy.fetch_sub(1, Ordering::AcqRel) == 1 {
                done.notify_one();
            }
            std::future::pending().await
        });
        outcome
    }));
    let attack = GooseAttack::initialize_with_config(configuration(users))
        .and_then(|attack| {
            // One client for all, never used: the users send on connections of our own.
            attack.set_client_builder_without_cookies(GooseClientBuilder::new().without_cookies())
        })
        .map_err(Box::new)?
        .register_scenario(Scenario::new("load").register_transaction(transaction));
    tokio::select! {
        ended = attack.execute() => Err(ended.map_or_else(|e| Box::new(e).into(), |_| UsersError::Ended)),
        () = all_done.notified() => Ok(()),
    }
}

/// Passes what Goose logs on to whatever the program logs with.
struct ToTracing;

impl log::Log for ToTracing {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            tracing::warn!(from = record.target(), "{}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Everything of Goose's own that would listen, print, log or count is off. Neither `iterations` nor a test plan is
/// used: with either, Goose prints how many users it launched, and a program's output is its own.
fn configuration(users: u32) -> GooseConfiguration {
    let mut configuration = GooseConfiguration::default();
    // Required by Goose; no request of its own is ever made.
    configuration.host = Some("http://127.0.0.1".to_owned());
    configuration.users = Some(users as usize);
    // The users are up before the run's zero, so they may as well all start at once.
    configuration.increase_rate = Some("1000000".to_owned());
    configuration.no_telnet = true;
    configuration.no_metrics = true;
    configuration.no_print_metrics = true;
    configuration.no_error_summary = true;
    configuration.quiet = 3;
    configuration
}
