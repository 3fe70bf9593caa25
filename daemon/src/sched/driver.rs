//! Runs a model: one OS thread per instance takes batches from the shared queue and answers their requests. All
//! decisions are made in `queue`, `batch` and `backlog`; here are the lock, the clock and the threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use proofload_wire::tensor::Tensor;
use tokio::sync::oneshot;

use super::backlog::ServiceTime;
use super::batch::{BatchPolicy, Decision, decide, ready_at};
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
    Expired {
        /// When the queue, as it is now, will have been served.
        retry_after: Duration,
    },
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] Box<Broken>),
    /// The model was stopped first.
    #[error("the model was stopped")]
    Stopped,
}

/// An execution that gave no outputs.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct Broken {
    /// Why.
    pub error: BackendError,
    /// When its batch passed which boundary.
    pub timeline: Timeline,
    /// Batch elements that were to be computed together.
    pub batch_elements: u32,
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

type Reply = oneshot::Sender<Result<Served, NotServed>>;

struct Job {
    request: Request,
    reply: Reply,
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

    /// When what waits will have been served.
    fn backlog(&self, state: &State) -> Duration {
        state.service.until_served(state.queue.len(), self.instances)
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
        let ticket =
            pushed.map_err(|limit| Refusal::Full { limit, waiting, retry_after: self.shared.backlog(&state) })?;
        drop(state);
        self.shared.work.notify_one();
        Ok(Pending { shared: Arc::clone(&self.shared), ticket, receiver })
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// Fails what still waits, and everything that comes. The threads end after the executions that run.
    pub fn close(&self) {
        let waiting = {
            let mut state = self.shared.lock();
            state.stopped = true;
            state.queue.take(usize::MAX)
        };
        self.shared.work.notify_all();
        fail(waiting, &NotServed::Stopped);
    }

    /// Closes it and waits for its threads to end.
    pub fn stop(&self) {
        self.close();
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
                Err(_) => match self.give_up() {
                    Some(retry_after) => return Err(NotServed::Expired { retry_after }),
                    None => (&mut self.receiver).await,
                },
            },
        };
        answer.unwrap_or(Err(NotServed::Stopped))
    }

    /// Leaves the queue, and says when those that stay will have been served; `None` when it has left it already.
    fn give_up(&self) -> Option<Duration> {
        let mut state = self.shared.lock();
        // The job is dropped after the lock: freeing its tensors may take a while.
        let removed = state.queue.remove(self.ticket);
        let retry_after = self.shared.backlog(&state);
        drop(state);
        removed.map(|_| retry_after)
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
    while let Some((batch, ready)) = next_batch(shared) {
        serve(shared, backend.as_mut(), batch, ready);
    }
}

/// Waits for work, and says since when it could have run; `None` once the model is stopped.
fn next_batch(shared: &Shared) -> Option<(Vec<Waiting<Job>>, Instant)> {
    let mut state = shared.lock();
    loop {
        if state.stopped {
            return None;
        }
        let now = Instant::now();
        let expired = state.queue.expire(now);
        if !expired.is_empty() {
            let retry_after = shared.backlog(&state);
            drop(state);
            fail(expired, &NotServed::Expired { retry_after });
            state = shared.lock();
            continue;
        }
        match decide(&shared.policy, state.queue.iter(), now) {
            Decision::Run(count) => {
                let ready = ready_at(&shared.policy, state.queue.iter(), count).unwrap_or(now);
                let batch = state.queue.take(count);
                // What is left may be work for another instance that heard only of this batch.
                if !state.queue.is_empty() {
                    shared.work.notify_one();
                }
                return Some((batch, ready));
            }
            Decision::Idle => state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            Decision::WaitUntil(until) => {
                let wait = until.saturating_duration_since(now);
                state = shared.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

/// Runs a batch and answers its requests. When a batch fails, each of its requests is tried alone, so that one that
/// the model cannot compute fails alone.
fn serve(shared: &Shared, backend: &mut dyn Backend, batch: Vec<Waiting<Job>>, ready: Instant) {
    let (requests, replies): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|Waiting { job, .. }| (job.request, job.reply)).unzip();
    let together = execute(shared, backend, &requests, ready);
    if together.is_ok() || requests.len() == 1 {
        return answer(replies, together);
    }
    for (request, reply) in requests.iter().zip(replies) {
        answer(vec![reply], execute(shared, backend, std::slice::from_ref(request), ready));
    }
}

/// A client that went away has dropped its receiver; nobody wants its outputs.
fn answer(replies: Vec<Reply>, result: Result<Vec<Served>, Box<Broken>>) {
    match result {
        Ok(served) => replies.into_iter().zip(served).for_each(|(reply, served)| drop(reply.send(Ok(served)))),
        Err(broken) => replies.into_iter().for_each(|reply| drop(reply.send(Err(broken.clone().into())))),
    }
}

fn execute(
    shared: &Shared,
    backend: &mut dyn Backend,
    requests: &[Request],
    ready: Instant,
) -> Result<Vec<Served>, Box<Broken>> {
    let batch_elements = requests.iter().map(|request| request.elements).sum();
    let mut stages = Stages::start(ready, Instant::now());
    let result = catch_unwind(AssertUnwindSafe(|| backend.execute(requests, &mut stages)))
        .unwrap_or_else(|panic| Err(BackendError::Model(format!("it panicked: {}", panic_text(panic.as_ref())))));
    let result = result.and_then(|outputs| same_count(outputs, requests.len()));
    let timeline = stages.finish(Instant::now());
    let succeeded = result.is_ok();
    shared.lock().service.observe(timeline.finished - timeline.started, requests.len());
    (shared.observer)(&Execution { requests: requests.len(), elements: batch_elements, timeline, succeeded });
    let served = |outputs| Served { outputs, timeline, batch_elements };
    let outputs = result.map_err(|error| Box::new(Broken { error, timeline, batch_elements }))?;
    Ok(outputs.into_iter().map(served).collect())
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Gives back its inputs, fails on a tensor called "bad" and panics on one called "worse".
    struct Picky;

    impl Backend for Picky {
        fn execute(&mut self, requests: &[Request], _: &mut Stages) -> Result<Vec<Vec<Tensor>>, BackendError> {
            let named = |name: &str| requests.iter().any(|request| request.inputs[0].name == name);
            assert!(!named("worse"), "this is worse");
            if named("bad") {
                std::thread::sleep(Duration::from_millis(10));
                return Err(BackendError::Model("this is bad".to_owned()));
            }
            // Long enough for those who come meanwhile to form a batch.
            std::thread::sleep(Duration::from_millis(20));
            Ok(requests.iter().map(|request| request.inputs.clone()).collect())
        }
    }

    fn submit(scheduler: &Scheduler, name: &str) -> Pending {
        let enqueued = Instant::now();
        let entry = Entry { elements: 1, bytes: 4, shape: Vec::new(), enqueued, deadline: None };
        let inputs = vec![Tensor::from_f32(name, vec![1], &[1.0]).expect("well-formed")];
        scheduler.submit(entry, Request { inputs, elements: 1 }).expect("there is room")
    }

    fn scheduler(executions: &Arc<AtomicUsize>) -> Scheduler {
        let policy = BatchPolicy { max_elements: 8, ..BatchPolicy::alone() };
        let executions = Arc::clone(executions);
        let count = move |execution: &Execution| {
            executions.fetch_add(usize::from(execution.succeeded), Ordering::Relaxed);
        };
        let limits = Limits { requests: 100, bytes: 1000 };
        Scheduler::start("picky", policy, limits, vec![Box::new(Picky)], Box::new(count)).expect("started")
    }

    #[tokio::test]
    async fn a_request_that_cannot_be_computed_fails_alone() {
        let executions = Arc::default();
        let scheduler = scheduler(&executions);
        let first = submit(&scheduler, "good");
        std::thread::sleep(Duration::from_millis(5));
        let batch = ["good", "bad", "good", "worse"].map(|name| submit(&scheduler, name));
        assert!(first.outcome(None).await.is_ok());
        let mut shown = Vec::new();
        for pending in batch {
            shown.push(match pending.outcome(None).await {
                Ok(served) => served.outputs[0].name.clone(),
                Err(NotServed::Backend(broken)) => {
                    let Broken { error, timeline, batch_elements } = *broken;
                    let spent = timeline.computed - timeline.computing;
                    let slow = error.to_string().contains("bad");
                    assert_eq!(
                        (batch_elements, spent >= Duration::from_millis(10)),
                        (1, slow),
                        "{error}: {timeline:?}"
                    );
                    error.to_string()
                }
                Err(error) => panic!("{error}"),
            });
        }
        let expected =
            ["good", "the model failed: this is bad", "good", "the model failed: it panicked: this is worse"];
        assert_eq!(shown, expected);
        assert_eq!(executions.load(Ordering::Relaxed), 3);
        assert!(submit(&scheduler, "good").outcome(None).await.is_ok(), "the instance lives on");
    }

    #[tokio::test]
    async fn stopping_fails_what_waits_and_finishes_what_runs() {
        let executions = Arc::default();
        let scheduler = scheduler(&executions);
        let running = submit(&scheduler, "good");
        std::thread::sleep(Duration::from_millis(5));
        let waiting = submit(&scheduler, "good");
        scheduler.stop();
        assert!(running.outcome(None).await.is_ok());
        assert!(matches!(waiting.outcome(None).await, Err(NotServed::Stopped)));
        let enqueued = Instant::now();
        let entry = Entry { elements: 1, bytes: 0, shape: Vec::new(), enqueued, deadline: None };
        let refused = scheduler.submit(entry, Request { inputs: Vec::new(), elements: 1 });
        assert_eq!(refused.err(), Some(Refusal::Stopped));
    }
}
