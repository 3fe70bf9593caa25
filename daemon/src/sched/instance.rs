//! The threads of a model's instances: each waits for work, takes a batch out of the queue, has it computed and answers
//! its requests. What to take and when is decided in `queue` and `batch`; who computes in their stead is in `turn`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proofload_wire::tensor::Tensor;

use super::adaptive::{Adaptive, Plan};
use super::batch::{Decision, decide, ready_at};
use super::driver::{Broken, Execution, Job, NotServed, Reply, Served, Shared, State, fail};
use super::limiter::{Permit, Seat};
use super::memory;
use super::queue::Waiting;
use crate::backend::{Backend, BackendError, Request, Stages};

/// How often free memory is looked up, where the size of batches depends on it.
const MEMORY_IS_OLD: Duration = Duration::from_secs(1);

/// Answers that leave together.
pub(super) type Answers = Vec<(Reply, Result<Served, NotServed>)>;

/// Requests that run together.
pub(super) struct Batch<'a> {
    jobs: Vec<Waiting<Job>>,
    /// Since when it could have run.
    ready: Instant,
    /// Its place among the model's answers, where their order is kept.
    place: Option<u64>,
    /// What its execution takes of what models share.
    permit: Option<Permit<'a>>,
    /// How it was made, where that adapts.
    plan: Option<Plan>,
}

/// One instance of a model.
pub(super) struct Instance {
    index: usize,
    backend: Box<dyn Backend>,
    /// Free memory, and when it was looked up; only where the size of batches depends on it.
    memory: Option<(Instant, Option<u64>)>,
}

/// Serves until the model is stopped.
pub(super) fn run(shared: &Shared, mut instance: Instance) {
    while let Some((mine, batch)) = instance.next_batch(shared) {
        instance = mine;
        instance.serve(shared, batch);
    }
}

impl Instance {
    /// Number `index` of a model.
    pub(super) fn new(index: usize, backend: Box<dyn Backend>) -> Self {
        Self { index, backend, memory: None }
    }

    /// Waits for work, and gives it together with the instance that is to do it; `None` once the model is stopped. What
    /// models share is waited for before requests leave the queue, so that until it is there they can still be joined by
    /// others, expire or go away.
    fn next_batch(mut self, shared: &Shared) -> Option<(Self, Batch<'_>)> {
        let seat = shared.seats.get(self.index);
        let mut permit = None;
        let idle_since = Instant::now();
        let free_bytes = self.free_bytes(shared, idle_since);
        let mut state = shared.lock();
        while !state.stopped {
            let now = Instant::now();
            let expired = state.queue.expire(now);
            if !expired.is_empty() {
                drop(state);
                expire(shared, expired);
                state = shared.lock();
                continue;
            }
            let plan = state.plan(idle_since, shared.instances(), free_bytes);
            let policy = plan.as_ref().map_or(&shared.batching, |plan| &plan.policy);
            let bounded = self.backend.largest_batch(state.queue.elements()).and_then(|most| policy.bounded(most));
            let policy = bounded.as_ref().unwrap_or(policy);
            match decide(policy, state.queue.iter(), now) {
                Decision::Run(count) if permit.is_some() || seat.is_none() => {
                    let ready = ready_at(policy, state.queue.iter(), count).unwrap_or(now);
                    let ready = permit.as_ref().map_or(ready, |permit: &Permit<'_>| ready.max(permit.since()));
                    let batch = Batch { permit, plan, ..take(shared, &mut state, count, ready) };
                    drop(state);
                    return Some((self, batch));
                }
                Decision::Run(_) => {
                    drop(state);
                    // Another instance may need less, and be there before this one.
                    shared.work.notify_one();
                    permit = seat.and_then(Seat::acquire);
                    state = shared.lock();
                }
                decision => {
                    // Others may take what is not used meanwhile.
                    drop(permit.take());
                    if let (Some(adaptive), Decision::WaitUntil(_)) = (&mut state.adaptive, decision) {
                        adaptive.waits(policy);
                    }
                    (state, self) = self.wait(shared, state, decision, now);
                }
            }
        }
        // Freeing the model takes longer than others should wait for the lock.
        drop(state);
        None
    }

    /// Waits until there may be something to do. Where whoever brings a request may serve it, an idle instance is theirs
    /// meanwhile, and what this thread goes on with is any that is idle then.
    fn wait<'a>(
        self,
        shared: &Shared,
        mut state: MutexGuard<'a, State>,
        decision: Decision,
        now: Instant,
    ) -> (MutexGuard<'a, State>, Self) {
        let work = &shared.work;
        if let Decision::WaitUntil(until) = decision {
            let until = state.queue.next_due().map_or(until, |due| due.min(until));
            let left = until.saturating_duration_since(now);
            return (work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0, self);
        }
        if !shared.lends {
            return (work.wait(state).unwrap_or_else(PoisonError::into_inner), self);
        }
        state.idle.push(self);
        loop {
            state = work.wait(state).unwrap_or_else(PoisonError::into_inner);
            if let Some(instance) = state.idle.pop() {
                return (state, instance);
            }
        }
    }

    /// Free memory as it was lately, where the size of batches depends on it.
    fn free_bytes(&mut self, shared: &Shared, now: Instant) -> Option<u64> {
        shared.adapts.then_some(())?;
        let fresh = self.memory.filter(|(at, _)| now.saturating_duration_since(*at) < MEMORY_IS_OLD);
        self.memory.insert(fresh.unwrap_or_else(|| (now, memory::free_bytes()))).1
    }

    /// Runs a batch and answers its requests.
    pub(super) fn serve(&mut self, shared: &Shared, batch: Batch<'_>) {
        let Batch { jobs, ready, place, permit, plan } = batch;
        let elements: u64 = jobs.iter().map(|waiting| u64::from(waiting.entry.elements)).sum();
        let answers = self.compute(shared, jobs, ready, plan.as_ref());
        shared.lock().running -= elements;
        permit.into_iter().for_each(Permit::spend);
        let (Some(order), Some(place)) = (&shared.in_order, place) else { return send(answers) };
        // Answers are sent while the order is locked, or two instances might overtake each other.
        let mut order = order.lock().unwrap_or_else(PoisonError::into_inner);
        order.fill(place, answers).into_iter().for_each(send);
    }

    /// The answers of a batch. When it fails, each of its requests is tried alone, so that one that the model cannot
    /// compute fails alone.
    fn compute(&mut self, shared: &Shared, jobs: Vec<Waiting<Job>>, ready: Instant, plan: Option<&Plan>) -> Answers {
        let (jobs, mut answers) = still_wanted(shared, jobs);
        if jobs.is_empty() {
            return answers;
        }
        let (requests, replies): (Vec<_>, Vec<_>) =
            jobs.into_iter().map(|Waiting { job, .. }| (job.request, job.reply)).unzip();
        match self.execute(shared, &requests, ready, plan) {
            Ok(served) => answers.extend(replies.into_iter().zip(served.into_iter().map(Ok))),
            Err(broken) if requests.len() == 1 => {
                answers.extend(replies.into_iter().map(|reply| (reply, Err(broken.clone().into()))));
            }
            Err(_) => answers.extend(self.one_by_one(shared, &requests, replies, ready)),
        }
        answers
    }

    fn one_by_one(&mut self, shared: &Shared, requests: &[Request], replies: Vec<Reply>, ready: Instant) -> Answers {
        let mut answers = Answers::with_capacity(replies.len());
        // Somebody may have gone away while all were tried together.
        for (request, reply) in requests.iter().zip(replies).filter(|(_, reply)| !reply.is_closed()) {
            let alone = self.execute(shared, std::slice::from_ref(request), ready, None).map_err(NotServed::from);
            answers.push((reply, alone.and_then(|mut served| served.pop().ok_or(NotServed::Stopped))));
        }
        if answers.len() == requests.len() && answers.iter().all(|(_, answer)| answer.is_ok()) {
            let elements = requests.iter().map(|request| request.elements).sum();
            shared.lock().adaptive.iter_mut().for_each(|adaptive: &mut Adaptive| adaptive.too_large(elements));
        }
        answers
    }

    fn execute(
        &mut self,
        shared: &Shared,
        requests: &[Request],
        ready: Instant,
        plan: Option<&Plan>,
    ) -> Result<Vec<Served>, Box<Broken>> {
        let elements = requests.iter().map(|request| request.elements).sum();
        let mut stages = Stages::start(ready, Instant::now());
        let backend = self.backend.as_mut();
        let result = catch_unwind(AssertUnwindSafe(|| backend.execute(requests, &mut stages)))
            .unwrap_or_else(|panic| Err(BackendError::Model(format!("it panicked: {}", panic_text(panic.as_ref())))));
        let result = result.and_then(|outputs| same_count(outputs, requests.len()));
        let timeline = stages.finish(Instant::now());
        let took = timeline.finished - timeline.started;
        observe(shared, took, requests.len(), elements, plan.filter(|_| result.is_ok()));
        shared.usage[self.index].executed(elements, took);
        (shared.observer)(&Execution { elements, timeline, succeeded: result.is_ok() });
        let served = |outputs| Served { outputs, timeline, batch_elements: elements };
        let outputs = result.map_err(|error| Box::new(Broken { error, timeline, batch_elements: elements }))?;
        Ok(outputs.into_iter().map(served).collect())
    }
}

/// Takes the first `count` requests out of the queue.
pub(super) fn take<'a>(shared: &Shared, state: &mut State, count: usize, ready: Instant) -> Batch<'a> {
    let jobs = state.queue.take(count);
    let elements = jobs.iter().map(|waiting| waiting.entry.elements).fold(0, u32::saturating_add);
    state.running += u64::from(elements);
    state.adaptive.iter_mut().for_each(|adaptive| adaptive.dispatched(elements));
    // What is left may be work for another instance that heard only of this batch.
    if !state.queue.is_empty() {
        shared.work.notify_one();
    }
    // While the queue is locked, or another batch might come in between.
    let in_order = shared.in_order.as_ref();
    let place = in_order.map(|order| order.lock().unwrap_or_else(PoisonError::into_inner).reserve());
    Batch { jobs, ready, place, permit: None, plan: None }
}

/// Turns those away whose time came while they waited.
fn expire(shared: &Shared, expired: Vec<Waiting<Job>>) {
    for waiting in expired {
        let retry_after = shared.lock().backlog(waiting.entry.level, shared.instances());
        fail(vec![waiting], &NotServed::Expired { retry_after });
    }
}

/// Nothing is computed for nobody: drops requests whose clients went away, and turns away those whose deadlines have
/// passed since they left the queue.
fn still_wanted(shared: &Shared, jobs: Vec<Waiting<Job>>) -> (Vec<Waiting<Job>>, Answers) {
    let (wanted, late) = screen(jobs, Instant::now());
    let turn_away = |waiting: Waiting<Job>| {
        let retry_after = shared.lock().backlog(waiting.entry.level, shared.instances());
        (waiting.job.reply, Err(NotServed::Expired { retry_after }))
    };
    (wanted, late.into_iter().map(turn_away).collect())
}

/// Learns from an execution, of a batch that was made by `plan` if it is one.
fn observe(shared: &Shared, took: Duration, requests: usize, elements: u32, plan: Option<&Plan>) {
    let mut state = shared.lock();
    state.service.observe(took, requests);
    state.brevity.observe(took);
    let in_system = state.running + state.queue.elements();
    if let (Some(adaptive), Some(plan)) = (&mut state.adaptive, plan) {
        adaptive.observe(plan, elements, in_system, took);
    }
}

/// Those whose clients still wait at `now`, and those whose deadlines have passed. Who went away is dropped.
fn screen(jobs: Vec<Waiting<Job>>, now: Instant) -> (Vec<Waiting<Job>>, Vec<Waiting<Job>>) {
    let there = jobs.into_iter().filter(|waiting| !waiting.job.reply.is_closed());
    there.partition(|waiting| waiting.entry.deadline.is_none_or(|deadline| deadline > now))
}

fn send(answers: Answers) {
    for (reply, answer) in answers {
        // A client that went away has dropped its receiver; nobody wants its outputs.
        let _ = reply.send(answer);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::super::policy::QueueRules;
    use super::super::queue::{Entry, Limits, Queue};
    use super::*;

    #[test]
    fn nothing_is_computed_for_nobody() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut queue = Queue::new(QueueRules::without_priorities(Limits { requests: 9, bytes: 9 }));
        let mut clients = Vec::new();
        for (elements, deadline) in [(1, None), (2, Some(at(5))), (3, Some(at(4))), (4, None), (5, Some(at(3)))] {
            let (reply, client) = oneshot::channel();
            let entry =
                Entry { level: 0, elements, bytes: 0, shape: Vec::new(), enqueued: start, timeout: None, deadline };
            let job = Job { request: Request::new(Vec::new(), elements), reply };
            queue.push(entry, job).expect("there is room");
            clients.push(client);
        }
        drop(clients.drain(3..));
        let (wanted, late) = screen(queue.take(9), at(4));
        let elements = |jobs: &[Waiting<Job>]| jobs.iter().map(|job| job.entry.elements).collect::<Vec<_>>();
        assert_eq!((elements(&wanted), elements(&late)), (vec![1, 2], vec![3]));
    }
}
