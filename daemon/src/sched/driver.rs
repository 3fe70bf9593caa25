//! Runs a model: one OS thread per instance takes batches from the shared queue and answers their requests. All
//! decisions are made in `queue`, `batch` and `backlog`; here are the lock, the clock and the threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use proofload_wire::tensor::Tensor;
use tokio::sync::oneshot;

use super::backlog::ServiceTime;
use super::batch::{BatchPolicy, Decision, decide};
use super::queue::{Entry, Full, Limits, Queue, Ticket, Waiting};
use crate::backend::{Backend, BackendError, Request, Stages, Timeline};

/// An execution, as those who count want to know it.
#[derive(Debug, Clone, Copy)]
pub struct Execution {
    /// Requests in the batch.
    pub requests: usize,
    /// Batch elements in it.
    pub elements: u32,
    /// When what happened.
    pub timeline: Timeline,
    /// Whether the backend answered.
    pub succeeded: bool,
}

/// Is told of every execution before its requests are answered.
pub type Observer = Box<dyn Fn(&Execution) + Send + Sync>;

/// What became of a request that an instance took.
#[derive(Debug)]
pub struct Served {
    /// Its outputs, in the order of the model's configuration.
    pub outputs: Vec<Tensor>,
    /// When its batch passed which boundary.
    pub timeline: Timeline,
    /// Batch elements that were computed together.
    pub batch_elements: u32,
}

/// Why a request got no outputs.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotServed {
    /// Its deadline came while it waited.
    #[error("the deadline came while the request waited in the queue")]
    Expired,
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The model was stopped first.
    #[error("the model was stopped")]
    Stopped,
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The queue is full; a place should be free after that time.
    Full {
        /// Which limit was reached.
        limit: Full,
        /// How many wait.
        waiting: usize,
        /// When the queue, as it is now, will have been served.
        retry_after: Duration,
    },
    /// The model is being stopped.
    Stopped,
}

struct Job {
    request: Request,
    reply: oneshot::Sender<Result<Served, NotServed>>,
}

struct State {
    queue: Queue<Job>,
    service: ServiceTime,
    stopped: bool,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    policy: BatchPolicy,
    instances: usize,
    observer: Observer,
}

impl Shared {
    /// A panic while the lock is held is impossible by construction of the pure parts; should one happen all the
    /// same, serving on is better than failing every request from then on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue and the instance threads of a model.
pub struct Scheduler {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Scheduler {
    /// Starts one thread per backend.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        name: &str,
        policy: BatchPolicy,
        limits: Limits,
        backends: Vec<Box<dyn Backend>>,
        observer: Observer,
    ) -> std::io::Result<Self> {
        let state = State { queue: Queue::new(limits), service: ServiceTime::default(), stopped: false };
        let instances = backends.len();
        let shared = Arc::new(Shared { state: Mutex::new(state), work: Condvar::new(), policy, instances, observer });
        let scheduler = Self { shared: Arc::clone(&shared), threads: Mutex::new(Vec::with_capacity(instances)) };
        for (index, backend) in backends.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("{name}-{index}"));
            let thread = builder.spawn(move || run_instance(&shared, backend))?;
            scheduler.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(scheduler)
    }

    /// Puts a request into the queue.
    ///
    /// # Errors
    /// When the queue is full or the model is being stopped.
    pub fn submit(&self, entry: Entry, request: Request) -> Result<Pending, Refusal> {
        let (reply, receiver) = oneshot::channel();
        let mut state = self.shared.lock();
        if state.stopped {
            return Err(Refusal::Stopped);
        }
        let pushed = state.queue.push(entry, Job { request, reply });
        let waiting = state.queue.len();
        let ticket = pushed.map_err(|limit| Refusal::Full {
            limit,
            waiting,
            retry_after: state.service.until_served(waiting, self.shared.instances),
        })?;
        drop(state);
        self.shared.work.notify_one();
        Ok(Pending { shared: Arc::clone(&self.shared), ticket, receiver })
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// Fails what still waits, lets running executions finish, and ends the threads.
    pub fn stop(&self) {
        let waiting = {
            let mut state = self.shared.lock();
            state.stopped = true;
            state.queue.take(usize::MAX)
        };
        self.shared.work.notify_all();
        fail(waiting, &NotServed::Stopped);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // Backends' panics are caught where they happen, so there is nothing to learn from the join.
            let _ = thread.join();
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A request on its way. Dropping it gives its place in the queue up.
pub struct Pending {
    shared: Arc<Shared>,
    ticket: Ticket,
    receiver: oneshot::Receiver<Result<Served, NotServed>>,
}

impl Pending {
    /// Waits for the answer. A deadline frees the place of a request that still waits; a batch that runs is waited
    /// for, because its cost is spent already.
    ///
    /// # Errors
    /// When the request got no outputs.
    pub async fn outcome(mut self, deadline: Option<Instant>) -> Result<Served, NotServed> {
        let answer = match deadline {
            None => (&mut self.receiver).await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), &mut self.receiver).await {
                Ok(answer) => answer,
                Err(_) if self.give_up() => return Err(NotServed::Expired),
                Err(_) => (&mut self.receiver).await,
            },
        };
        answer.unwrap_or(Err(NotServed::Stopped))
    }

    fn give_up(&self) -> bool {
        self.shared.lock().queue.remove(self.ticket).is_some()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.receiver.is_terminated() {
            return;
        }
        // The job is dropped after the lock: freeing its tensors may take a while.
        let _removed = self.shared.lock().queue.remove(self.ticket);
    }
}

fn run_instance(shared: &Shared, mut backend: Box<dyn Backend>) {
    while let Some(batch) = next_batch(shared) {
        let requests = batch.len();
        let started = Instant::now();
        execute(shared, backend.as_mut(), batch, started);
        shared.lock().service.observe(started.elapsed(), requests);
    }
}

/// Waits for work; `None` once the model is stopped.
fn next_batch(shared: &Shared) -> Option<Vec<Waiting<Job>>> {
    let mut state = shared.lock();
    loop {
        if state.stopped {
            return None;
        }
        let now = Instant::now();
        let expired = state.queue.expire(now);
        if !expired.is_empty() {
            drop(state);
            fail(expired, &NotServed::Expired);
            state = shared.lock();
            continue;
        }
        match decide(&shared.policy, state.queue.iter(), now) {
            Decision::Run(count) => {
                let batch = state.queue.take(count);
                // What is left may be work for another instance that heard only of this batch.
                if !state.queue.is_empty() {
                    shared.work.notify_one();
                }
                return Some(batch);
            }
            Decision::Idle => state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            Decision::WaitUntil(until) => {
                let wait = until.saturating_duration_since(now);
                state = shared.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

fn execute(shared: &Shared, backend: &mut dyn Backend, batch: Vec<Waiting<Job>>, started: Instant) {
    let batch_elements = batch.iter().map(|waiting| waiting.entry.elements).sum();
    let (requests, replies): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|Waiting { job, .. }| (job.request, job.reply)).unzip();
    let mut stages = Stages::start(started);
    let result = catch_unwind(AssertUnwindSafe(|| backend.execute(&requests, &mut stages)))
        .unwrap_or_else(|panic| Err(BackendError::Model(format!("it panicked: {}", panic_text(panic.as_ref())))));
    let result = result.and_then(|outputs| same_count(outputs, requests.len()));
    let timeline = stages.finish(Instant::now());
    let succeeded = result.is_ok();
    (shared.observer)(&Execution { requests: requests.len(), elements: batch_elements, timeline, succeeded });
    match result {
        Ok(outputs) => {
            for (reply, outputs) in replies.into_iter().zip(outputs) {
                // A client that went away has dropped its receiver; nobody wants its outputs.
                let _ = reply.send(Ok(Served { outputs, timeline, batch_elements }));
            }
        }
        Err(error) => replies.into_iter().for_each(|reply| {
            let _ = reply.send(Err(error.clone().into()));
        }),
    }
}

fn same_count(outputs: Vec<Vec<Tensor>>, requests: usize) -> Result<Vec<Vec<Tensor>>, BackendError> {
    if outputs.len() == requests {
        return Ok(outputs);
    }
    Err(BackendError::Model(format!("it answered {} of {requests} requests", outputs.len())))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn fail(waiting: Vec<Waiting<Job>>, why: &NotServed) {
    for Waiting { job, .. } in waiting {
        let _ = job.reply.send(Err(why.clone()));
    }
}
