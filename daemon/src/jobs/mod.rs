//! Long work as jobs: taken at once, done when its turn comes, its result kept for a while. What a job does is a future
//! that somebody hands in; here it waits, runs beside a bounded number of others, and is accounted for. Jobs live in
//! memory: a daemon that is started again knows none.

mod aside;
mod board;
mod estimate;
mod id;
mod job;
pub mod meters;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError};

pub use self::aside::aside;
use self::board::{Begun, Board};
pub use self::board::{Cancelling, Refused};
pub use self::id::{JobId, NotAnId};
pub use self::job::{Change, End, Failure, Kind, Owner, State, Step, Submission, View};
use self::meters::Meters;

/// How often outcomes that have been kept for long enough are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// How much work is taken on, and what is kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Jobs that run side by side, at least 1.
    pub workers: usize,
    /// Most jobs that wait.
    pub queued: usize,
    /// Most bytes that those hold.
    pub queued_bytes: usize,
    /// How long a job may run.
    pub run: Duration,
    /// How long an outcome is kept.
    pub retention: Duration,
    /// Most outcomes that are kept.
    pub results: usize,
    /// Most bytes that results take.
    pub result_bytes: usize,
}

/// What a job gives: the answer that the same request would have got, had it waited.
#[derive(Debug)]
pub struct Output {
    /// The answer's headers.
    pub headers: HeaderMap,
    /// The answer's body.
    pub body: Bytes,
}

/// The future that does a job.
pub type Doing = Pin<Box<dyn Future<Output = Result<Output, Failure>> + Send>>;
/// What is to be done; it is told where to report its steps. Dropping the future gives the job up.
pub type Work = Box<dyn FnOnce(Reporter) -> Doing + Send>;
/// A job with its result, as it is at a moment.
pub type JobView = View<Output>;

struct Shared {
    board: Board<Work, Output>,
    /// Ends those that run.
    running: HashMap<JobId, AbortHandle>,
}

struct Inner {
    limits: Limits,
    shared: Mutex<Shared>,
    meters: Meters,
    /// Counts what has happened to any job.
    changed: watch::Sender<u64>,
}

/// The one handle that the front and the drain share. Cloning it is cheap.
#[derive(Clone)]
pub struct Jobs {
    inner: Arc<Inner>,
}

/// Where a job that runs says how far it is.
pub struct Reporter {
    jobs: Weak<Inner>,
    id: JobId,
}

impl Reporter {
    /// The job has come to a step.
    pub fn step(&self, name: &'static str, done: u8, of: u8) {
        if let Some(inner) = self.jobs.upgrade() {
            inner.lock().board.step(self.id, Step { name, done, of }, Instant::now());
            inner.tell();
        }
    }
}

impl Jobs {
    /// No jobs yet. Must be called within a tokio runtime, on which they will run.
    pub fn start(limits: Limits, meters: Meters) -> Self {
        let shared = Shared { board: Board::new(limits), running: HashMap::new() };
        let inner = Inner { limits, shared: Mutex::new(shared), meters, changed: watch::Sender::new(0) };
        let inner = Arc::new(inner);
        tokio::spawn(sweep(Arc::downgrade(&inner)));
        Self { inner }
    }

    /// Whether a job that holds so much would be taken now.
    ///
    /// # Errors
    /// When it would not.
    pub fn room(&self, wanted_bytes: usize) -> Result<(), Refused> {
        let room = self.inner.lock().board.room(wanted_bytes, Instant::now());
        room.inspect_err(|_| self.inner.meters.refused())
    }

    /// Takes a job.
    ///
    /// # Errors
    /// When there is no room, or the system gives no randomness for its name.
    pub fn submit(&self, job: Submission<Work>) -> Result<JobId, NotTaken> {
        let id = JobId::random().map_err(NotTaken::Nameless)?;
        let submitted = self.inner.lock().board.submit(id, job, Instant::now());
        submitted.inspect_err(|_| self.inner.meters.refused())?;
        self.inner.advance();
        Ok(id)
    }

    /// Whose a job is, for those who may see all. `None` when there is no such job.
    pub fn owner_of(&self, id: JobId) -> Option<Owner> {
        self.inner.lock().board.owner_of(id)
    }

    /// A job as it is now. `None` when there is no such job for this owner.
    pub fn view(&self, id: JobId, owner: &Owner) -> Option<JobView> {
        self.inner.lock().board.view(id, owner, Instant::now())
    }

    /// At most `limit` of an owner's jobs, the newest first, beginning behind the one called `after`; and whether there
    /// are more. `None` when there is no job of that name.
    pub fn list(&self, owner: &Owner, after: Option<JobId>, limit: usize) -> Option<(Vec<JobView>, bool)> {
        let (shared, now) = (self.inner.lock(), Instant::now());
        let (ids, more) = shared.board.list(owner, after, limit)?;
        Some((ids.into_iter().filter_map(|id| shared.board.view(id, owner, now)).collect(), more))
    }

    /// What has happened to a job after its first `seen` changes, and its state. `None` when there is no such job for
    /// this owner.
    pub fn changes(&self, id: JobId, owner: &Owner, seen: usize) -> Option<(State, Vec<Change>)> {
        self.inner.lock().board.changes(id, owner, seen)
    }

    /// Resolves whenever something has happened to any job.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Gives a job up: one that waits leaves at once, one that runs stops at its next step. `None` when there is no such
    /// job for this owner.
    pub fn cancel(&self, id: JobId, owner: &Owner) -> Option<Cancelling> {
        let (cancelling, kind) = {
            let mut shared = self.inner.lock();
            let kind = shared.board.view(id, owner, Instant::now())?.kind;
            let cancelling = shared.board.cancel(id, owner, Instant::now())?;
            if let Some(running) = shared.running.remove(&id) {
                running.abort();
            }
            (cancelling, kind)
        };
        if matches!(cancelling, Cancelling::Now { .. }) {
            self.inner.meters.ended(kind, State::Cancelled);
            self.inner.advance();
        }
        Some(cancelling)
    }

    /// Takes no more jobs and fails those that wait; those that run go on.
    pub fn stop(&self) {
        let message = "the daemon was stopped before the job began; send it again".to_owned();
        let failure = Failure { status: 503, message };
        let failed = self.inner.lock().board.stop(&failure, Instant::now());
        failed.into_iter().for_each(|kind| self.inner.meters.ended(kind, State::Failed));
        self.inner.tell();
    }

    /// Jobs that run.
    pub fn running(&self) -> usize {
        self.inner.lock().board.running()
    }

    /// Resolves when no job runs.
    pub async fn idle(&self) {
        let mut changed = self.subscribe();
        while self.running() > 0 && changed.changed().await.is_ok() {}
    }
}

/// Why a job was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// There is no room.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It got no name.
    #[error("the system gives no randomness for the job's name: {0}")]
    Nameless(rand_core::OsError),
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins what may begin, and tells who watches.
    fn advance(self: &Arc<Self>) {
        let mut shared = self.lock();
        while let Some(Begun { id, kind, waited, work }) = shared.board.next(Instant::now()) {
            let reporter = Reporter { jobs: Arc::downgrade(self), id };
            // A task of its own, so that one that panics takes nothing with it.
            let doing = tokio::spawn(async move { work(reporter).await });
            shared.running.insert(id, doing.abort_handle());
            self.meters.began(kind, waited);
            let (inner, limit) = (Arc::clone(self), self.limits.run);
            tokio::spawn(async move {
                let abort = doing.abort_handle();
                let ended = tokio::time::timeout(limit, doing).await;
                abort.abort();
                inner.ended(id, ended.map_or_else(|_| Err(overdue(limit)), done));
            });
        }
        drop(shared);
        self.tell();
    }

    fn ended(self: &Arc<Self>, id: JobId, result: Result<Output, Failure>) {
        let end = match result {
            Ok(output) => End::Done { bytes: output.body.len(), result: Arc::new(output) },
            Err(failure) => End::Failed(failure),
        };
        let ended = {
            let mut shared = self.lock();
            shared.running.remove(&id);
            shared.board.end(id, end, Instant::now())
        };
        if let Some((kind, state, ran)) = ended {
            self.meters.ended(kind, state);
            self.meters.ran(kind, ran);
        }
        self.advance();
    }

    /// Shows how much there is now, under the lock, so that the last one who shows is right.
    fn level(&self) {
        let Shared { board, .. } = &*self.lock();
        self.meters.levels(board.queued(), board.running(), board.kept_bytes());
    }

    fn tell(&self) {
        self.level();
        self.changed.send_modify(|changes| *changes = changes.wrapping_add(1));
    }
}

/// What became of the task that did a job. One that was aborted has been cancelled, which the board knows already.
fn done(joined: Result<Result<Output, Failure>, JoinError>) -> Result<Output, Failure> {
    joined.unwrap_or_else(|error| {
        if error.is_panic() {
            tracing::error!("a job panicked: {error}");
        }
        Err(Failure { status: 500, message: "the job was lost; the daemon's log says why".to_owned() })
    })
}

fn overdue(limit: Duration) -> Failure {
    let seconds = limit.as_secs_f64();
    Failure { status: 504, message: format!("the job ran for longer than the {seconds} s of `jobs.run_seconds`") }
}

/// Drops what has been kept for long enough, for as long as there are jobs at all.
async fn sweep(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(inner) = inner.upgrade() else { return };
        inner.lock().board.sweep(Instant::now());
        inner.level();
    }
}

/// Now, in milliseconds since the Unix epoch.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
