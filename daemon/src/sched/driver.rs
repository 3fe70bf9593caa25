//! Runs a model: requests wait in one queue, and the threads of `instance` take them out of it in batches. All decisions
//! are made in `queue`, `batch`, `order` and `backlog`; here are the lock and the clock of those who wait.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::adaptive::{Adaptive, Plan, View};
use super::backlog::{ServiceTime, admit};
use super::batch::BatchPolicy;
use super::brevity::Brevity;
use super::instance::{self, Answers, Instance};
use super::limiter::{RateLimiter, Seat};
use super::order::InOrder;
pub use super::outcome::{Broken, Execution, NotServed, Observer, Refusal, Served};
use super::policy::QueueRules;
use super::queue::{Entry, Full, Queue, Ticket, Waiting};
use super::shares::{Rate, RateError};
use super::turn;
use super::usage::Usage;
use crate::backend::{Backend, Request};

pub(super) type Reply = oneshot::Sender<Result<Served, NotServed>>;

/// What an instance takes out of the queue.
pub(super) struct Job {
    pub(super) request: Request,
    pub(super) reply: Reply,
}

/// What the lock guards.
pub(super) struct State {
    pub(super) queue: Queue<Job>,
    pub(super) service: ServiceTime,
    /// Batches are made by it, where there is one.
    pub(super) adaptive: Option<Adaptive>,
    /// Batch elements that instances have taken and not answered.
    pub(super) running: u64,
    /// Whether executions are over sooner than a thread is woken.
    pub(super) brevity: Brevity,
    /// Instances that nobody uses, where whoever brings a request may serve it.
    pub(super) idle: Vec<Instance>,
    pub(super) stopped: bool,
}

impl State {
    /// When those that are served before a newcomer of this level will have been served.
    pub(super) fn backlog(&self, level: u32, instances: usize) -> Duration {
        self.service.until_served(self.queue.ahead(level), instances)
    }

    /// An idle instance, for whoever brings a request, where that is faster than waking its thread.
    fn lend(&mut self) -> Option<Instance> {
        if self.brevity.holds() { self.idle.pop() } else { None }
    }

    /// How an instance that has been idle since then makes the next batch, where that adapts.
    pub(super) fn plan(&self, idle_since: Instant, instances: usize, free_bytes: Option<u64>) -> Option<Plan> {
        let adaptive = self.adaptive.as_ref()?;
        let (waiting, waiting_bytes) = (self.queue.elements(), self.queue.bytes());
        let oldest = self.queue.iter().next()?.entry.enqueued;
        Some(adaptive.plan(&View { waiting, waiting_bytes, oldest, idle_since, instances, free_bytes }))
    }
}

/// What the handles of a model and its instances share.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) work: Condvar,
    pub(super) batching: BatchPolicy,
    /// Whether batches adapt instead.
    pub(super) adapts: bool,
    /// Whether whoever brings a request may serve it.
    pub(super) lends: bool,
    /// Answers that wait for those before them, where their order is kept. Never locked before the state.
    pub(super) in_order: Option<Mutex<InOrder<Answers>>>,
    pub(super) usage: Box<[Usage]>,
    /// Where each instance waits for what it shares with other models; empty where it shares nothing.
    pub(super) seats: Box<[Seat]>,
    pub(super) observer: Observer,
}

impl Shared {
    /// A panic while the lock is held is impossible by construction of the pure parts; should one happen all the
    /// same, serving on is better than failing every request from then on.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn instances(&self) -> usize {
        self.usage.len()
    }
}

/// How a model's requests are scheduled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduling {
    /// How they are put together.
    pub batching: BatchPolicy,
    /// How they wait.
    pub queue: QueueRules,
    /// Whether answers leave in the order in which requests were taken out of the queue.
    pub preserve_ordering: bool,
    /// What each instance needs to execute, where executions are limited.
    pub rates: Vec<Rate>,
    /// Whether the size of batches adapts to what they take, instead of the preferred ones.
    pub adaptive: bool,
}

/// Why a model's instances do not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system has no thread left.
    #[error("cannot start its instance threads: {0}; lower `instance_group.count`")]
    Threads(#[from] std::io::Error),
    /// One of them could never execute.
    #[error("{0}")]
    Rate(#[from] RateError),
}

/// The queue and the instance threads of a model.
pub struct Scheduler {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Scheduler {
    /// Starts one thread per backend. They share resources with those of other models at `limiter`, if there is one.
    ///
    /// # Errors
    /// When the system has no thread left, or an instance could never execute.
    pub fn start(
        name: &str,
        scheduling: Scheduling,
        limiter: Option<&Arc<RateLimiter>>,
        backends: Vec<Box<dyn Backend>>,
        observer: Observer,
    ) -> Result<Self, StartError> {
        let Scheduling { batching, queue, preserve_ordering, rates, adaptive: adapts } = scheduling;
        let join = |limiter: &Arc<RateLimiter>| rates.into_iter().map(|rate| limiter.join(rate)).collect();
        let seats = limiter.map_or_else(|| Ok(Box::default()), join)?;
        let (queue, service) = (Queue::new(queue), ServiceTime::default());
        let adaptive = adapts.then(|| Adaptive::new(&batching));
        let lends = seats.is_empty() && !adapts && backends.iter().all(|backend| backend.runs_anywhere());
        let (brevity, idle) = (Brevity::default(), Vec::new());
        let state = State { queue, service, adaptive, running: 0, brevity, idle, stopped: false };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            batching,
            adapts,
            lends,
            in_order: preserve_ordering.then(Mutex::default),
            usage: backends.iter().map(|_| Usage::default()).collect(),
            seats,
            observer,
        });
        let scheduler = Self { shared: Arc::clone(&shared), threads: Mutex::new(Vec::with_capacity(backends.len())) };
        for (index, backend) in backends.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("{name}-{index}"));
            let thread = builder.spawn(move || instance::run(&shared, Instance::new(index, backend)))?;
            scheduler.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(scheduler)
    }

    /// Puts a request into the queue. Where the model is idle and its executions are over sooner than its thread would
    /// wake, the request is served before this returns.
    ///
    /// # Errors
    /// When the queue is full, the request would wait in vain, or the model is being stopped.
    pub fn submit(&self, entry: Entry, request: Request) -> Result<Pending, Refusal> {
        let (reply, receiver) = oneshot::channel();
        let level = entry.level;
        let mut state = self.shared.lock();
        if state.stopped {
            return Err(Refusal::Stopped);
        }
        let retry_after = state.backlog(level, self.shared.instances());
        if !admit(entry.enqueued, retry_after, state.queue.gives_up(&entry)) {
            return Err(Refusal::TooLate { retry_after });
        }
        let ticket = state.queue.push(entry, Job { request, reply }).map_err(|limit| {
            let waiting = if limit == Full::Requests { state.queue.at(level) } else { state.queue.len() };
            Refusal::Full { limit, waiting, retry_after }
        })?;
        if let Some(instance) = state.lend() {
            turn::serve(&self.shared, state, instance);
        } else {
            drop(state);
            self.shared.work.notify_one();
        }
        Ok(Pending { shared: Arc::clone(&self.shared), ticket, level, receiver })
    }

    /// Where batches adapt, begins with what those of these sizes took when the model was measured.
    pub fn known_before(&self, timed: &[(u32, Duration)]) {
        self.shared.lock().adaptive.iter_mut().for_each(|adaptive| adaptive.known_before(timed));
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// The batch size that serves most, where it adapts.
    pub fn adaptive_size(&self) -> Option<u32> {
        self.shared.lock().adaptive.as_ref().map(Adaptive::size)
    }

    /// What each instance has done.
    pub fn usage(&self) -> &[Usage] {
        &self.shared.usage
    }

    /// Whether every instance has its thread: none has ended but by `stop`.
    pub fn lives(&self) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().all(|thread| !thread.is_finished())
    }

    /// Fails what still waits, and everything that comes. The threads end after the executions that run.
    pub fn close(&self) {
        let waiting = {
            let mut state = self.shared.lock();
            state.stopped = true;
            state.queue.take(usize::MAX)
        };
        self.shared.work.notify_all();
        self.shared.seats.iter().for_each(Seat::close);
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

/// A request on its way. Dropping it gives its place up: in the queue, and in a batch that has not begun to compute.
pub struct Pending {
    shared: Arc<Shared>,
    ticket: Ticket,
    level: u32,
    receiver: oneshot::Receiver<Result<Served, NotServed>>,
}

impl Pending {
    /// Waits for the answer. `until` frees the place of a request that still waits; a batch that runs is waited for,
    /// because its cost is spent already.
    ///
    /// # Errors
    /// When the request got no outputs.
    pub async fn outcome(mut self, until: Option<Instant>) -> Result<Served, NotServed> {
        let answer = match until {
            None => (&mut self.receiver).await,
            Some(until) => match tokio::time::timeout_at(until.into(), &mut self.receiver).await {
                Ok(answer) => answer,
                Err(_) => match self.give_up() {
                    Some(retry_after) => return Err(NotServed::Expired { retry_after }),
                    None => (&mut self.receiver).await,
                },
            },
        };
        answer.unwrap_or(Err(NotServed::Stopped))
    }

    /// Leaves the queue, and says when those before it will have been served; `None` when it has left it already.
    fn give_up(&self) -> Option<Duration> {
        let mut state = self.shared.lock();
        // The job is dropped after the lock: freeing its tensors may take a while.
        let removed = state.queue.remove(self.ticket);
        let retry_after = state.backlog(self.level, self.shared.instances());
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

/// Answers requests that got no outputs.
pub(super) fn fail(waiting: Vec<Waiting<Job>>, why: &NotServed) {
    for Waiting { job, .. } in waiting {
        // Whoever went away has dropped the receiver.
        let _ = job.reply.send(Err(why.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proofload_wire::tensor::Tensor;

    use super::super::queue::Limits;
    use super::*;
    use crate::backend::{BackendError, Stages};

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

    /// Sleeps for as many milliseconds as its input's name says, and gives it back.
    struct Sleeper;

    impl Backend for Sleeper {
        fn execute(&mut self, requests: &[Request], _: &mut Stages) -> Result<Vec<Vec<Tensor>>, BackendError> {
            let name = &requests[0].inputs[0].name;
            std::thread::sleep(Duration::from_millis(name.parse().expect("a number")));
            Ok(requests.iter().map(|request| request.inputs.clone()).collect())
        }
    }

    fn submit(scheduler: &Scheduler, name: &str) -> Pending {
        let enqueued = Instant::now();
        let entry =
            Entry { level: 0, elements: 1, bytes: 4, shape: Vec::new(), enqueued, timeout: None, deadline: None };
        let inputs = vec![Tensor::from_f32(name, vec![1], &[1.0]).expect("well-formed")];
        scheduler.submit(entry, Request::new(inputs, 1)).expect("there is room")
    }

    fn scheduling(max_elements: u32, preserve_ordering: bool) -> Scheduling {
        let queue = QueueRules::without_priorities(Limits { requests: 100, bytes: 1000 });
        let batching = BatchPolicy { max_elements, ..BatchPolicy::alone() };
        Scheduling { batching, queue, preserve_ordering, rates: Vec::new(), adaptive: false }
    }

    fn scheduler(executions: &Arc<AtomicUsize>) -> Scheduler {
        let executions = Arc::clone(executions);
        let count = move |execution: &Execution| {
            executions.fetch_add(usize::from(execution.succeeded), Ordering::Relaxed);
        };
        Scheduler::start("picky", scheduling(8, false), None, vec![Box::new(Picky)], Box::new(count)).expect("started")
    }

    #[test]
    fn an_instance_without_its_thread_is_told() {
        let scheduler = scheduler(&Arc::default());
        assert!(scheduler.lives());
        // Its thread ends, and nobody has waited for that.
        scheduler.close();
        let begun = Instant::now();
        while scheduler.lives() {
            assert!(begun.elapsed() < Duration::from_secs(10), "a thread that has ended lives");
            std::thread::yield_now();
        }
        scheduler.stop();
        assert!(scheduler.lives(), "there is none to miss");
    }

    /// Waits until an instance has taken all that was submitted.
    fn until_taken(scheduler: &Scheduler) {
        let begun = Instant::now();
        while scheduler.waiting() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "no instance takes it");
            std::thread::yield_now();
        }
    }

    /// Two instances, and a slow request before fast ones: the names in the order in which answers came.
    async fn order_of_answers(preserve_ordering: bool) -> Vec<String> {
        let backends: Vec<Box<dyn Backend>> = vec![Box::new(Sleeper), Box::new(Sleeper)];
        let scheduling = scheduling(1, preserve_ordering);
        let scheduler = Scheduler::start("order", scheduling, None, backends, Box::new(|_| {})).expect("started");
        let answers = Arc::new(Mutex::new(Vec::new()));
        let mut clients = Vec::new();
        for name in ["500", "1", "2", "3"] {
            let (pending, answers) = (submit(&scheduler, name), Arc::clone(&answers));
            clients.push(tokio::spawn(async move {
                let served = pending.outcome(None).await.expect("served");
                answers.lock().expect("no panic").push(served.outputs[0].name.clone());
            }));
        }
        for client in clients {
            client.await.expect("no panic");
        }
        assert_eq!(scheduler.usage().iter().map(Usage::executions).sum::<u64>(), 4);
        std::mem::take(&mut *answers.lock().expect("no panic"))
    }

    #[tokio::test]
    async fn answers_keep_the_order_of_arrival_where_asked_to() {
        assert_eq!(order_of_answers(true).await, ["500", "1", "2", "3"]);
        assert_eq!(order_of_answers(false).await, ["1", "2", "3", "500"]);
    }

    #[tokio::test]
    async fn a_request_that_cannot_be_computed_fails_alone() {
        let executions = Arc::default();
        let scheduler = scheduler(&executions);
        let first = submit(&scheduler, "good");
        until_taken(&scheduler);
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
        until_taken(&scheduler);
        let waiting = submit(&scheduler, "good");
        scheduler.stop();
        assert!(running.outcome(None).await.is_ok());
        assert!(matches!(waiting.outcome(None).await, Err(NotServed::Stopped)));
        let enqueued = Instant::now();
        let entry =
            Entry { level: 0, elements: 1, bytes: 0, shape: Vec::new(), enqueued, timeout: None, deadline: None };
        let refused = scheduler.submit(entry, Request::new(Vec::new(), 1));
        assert_eq!(refused.err(), Some(Refusal::Stopped));
    }
}
