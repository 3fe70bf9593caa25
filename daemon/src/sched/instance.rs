//! The thread of one instance: it waits for work, takes a batch out of the queue, has it computed and answers its
//! requests. What to take and when is decided in `queue` and `batch`.

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
struct Batch<'a> {
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
struct Instance<'a> {
    shared: &'a Shared,
    index: usize,
    seat: Option<&'a Seat>,
    backend: Box<dyn Backend>,
    /// Free memory, and when it was looked up; only where the size of batches depends on it.
    memory: Option<(Instant, Option<u64>)>,
}

/// Serves until the model is stopped.
pub(super) fn run(shared: &Shared, index: usize, backend: Box<dyn Backend>) {
    let mut instance = Instance { shared, index, seat: shared.seats.get(index), backend, memory: None };
    while let Some(batch) = instance.next_batch() {
        instance.serve(batch);
    }
}

impl<'a> Instance<'a> {
    /// Waits for work; `None` once the model is stopped. What models share is waited for before requests leave the
    /// queue, so that until it is there they can still be joined by others, expire or go away.
    fn next_batch(&mut self) -> Option<Batch<'a>> {
        let shared = self.shared;
        let mut permit = None;
        let idle_since = Instant::now();
        let free_bytes = self.free_bytes(idle_since);
        let mut state = shared.lock();
        while !state.stopped {
            let now = Instant::now();
            let expired = state.queue.expire(now);
            if !expired.is_empty() {
                drop(state);
                self.expire(expired);
                state = shared.lock();
                continue;
            }
            let plan = state.plan(idle_since, shared.instances(), free_bytes);
            let policy = plan.as_ref().map_or(&shared.batching, |plan| &plan.policy);
            match decide(policy, state.queue.iter(), now) {
                Decision::Run(count) if permit.is_some() || self.seat.is_none() => {
                    let ready = ready_at(policy, state.queue.iter(), count).unwrap_or(now);
                    let ready = permit.as_ref().map_or(ready, |permit: &Permit<'_>| ready.max(permit.since()));
                    return Some(Batch { permit, plan, ..self.take(&mut state, count, ready) });
                }
                Decision::Run(_) => {
                    drop(state);
                    // Another instance may need less, and be there before this one.
                    shared.work.notify_one();
                    permit = self.seat.and_then(Seat::acquire);
                    state = shared.lock();
                }
                decision => {
                    // Others may take what is not used meanwhile.
                    drop(permit.take());
                    if let (Some(adaptive), Decision::WaitUntil(_)) = (&mut state.adaptive, decision) {
                        adaptive.waits(policy);
                    }
                    state = self.wait(state, decision, now);
                }
            }
        }
        None
    }

    fn wait(&self, state: MutexGuard<'a, State>, decision: Decision, now: Instant) -> MutexGuard<'a, State> {
        let work = &self.shared.work;
        let Decision::WaitUntil(until) = decision else {
            return work.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let until = state.queue.next_due().map_or(until, |due| due.min(until));
        work.wait_timeout(state, until.saturating_duration_since(now)).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Free memory as it was lately, where the size of batches depends on it.
    fn free_bytes(&mut self, now: Instant) -> Option<u64> {
        self.shared.adapts.then_some(())?;
        let fresh = self.memory.filter(|(at, _)| now.saturating_duration_since(*at) < MEMORY_IS_OLD);
        self.memory.insert(fresh.unwrap_or_else(|| (now, memory::free_bytes()))).1
    }

    fn take(&self, state: &mut State, count: usize, ready: Instant) -> Batch<'a> {
        let jobs = state.queue.take(count);
        let elements = jobs.iter().map(|waiting| waiting.entry.elements).fold(0, u32::saturating_add);
        state.running += u64::from(elements);
        state.adaptive.iter_mut().for_each(|adaptive| adaptive.dispatched(elements));
        // What is left may be work for another instance that heard only of this batch.
        if !state.queue.is_empty() {
            self.shared.work.notify_one();
        }
        // While the queue is locked, or another batch might come in between.
        let in_order = self.shared.in_order.as_ref();
        let place = in_order.map(|order| order.lock().unwrap_or_else(PoisonError::into_inner).reserve());
        Batch { jobs, ready, place, permit: None, plan: None }
    }

    fn expire(&self, expired: Vec<Waiting<Job>>) {
        for waiting in expired {
            let retry_after = self.shared.lock().backlog(waiting.entry.level, self.shared.instances());
            fail(vec![waiting], &NotServed::Expired { retry_after });
        }
    }

    /// Runs a batch and answers its requests.
    fn serve(&mut self, batch: Batch<'_>) {
        let Batch { jobs, ready, place, permit, plan } = batch;
        let elements: u64 = jobs.iter().map(|waiting| u64::from(waiting.entry.elements)).sum();
        let answers = self.compute(jobs, ready, plan.as_ref());
        self.shared.lock().running -= elements;
        permit.into_iter().for_each(Permit::spend);
        let (Some(order), Some(place)) = (&self.shared.in_order, place) else { return send(answers) };
        // Answers are sent while the order is locked, or two instances might overtake each other.
        let mut order = order.lock().unwrap_or_else(PoisonError::into_inner);
        order.fill(place, answers).into_iter().for_each(send);
    }

    /// The answers of a batch. When it fails, each of its requests is tried alone, so that one that the model cannot
    /// compute fails alone.
    fn compute(&mut self, jobs: Vec<Waiting<Job>>, ready: Instant, plan: Option<&Plan>) -> Answers {
        let (jobs, mut answers) = self.still_wanted(jobs);
        if jobs.is_empty() {
            return answers;
        }
        let (requests, replies): (Vec<_>, Vec<_>) =
            jobs.into_iter().map(|Waiting { job, .. }| (job.request, job.reply)).unzip();
        match self.execute(&requests, ready, plan) {
            Ok(served) => answers.extend(replies.into_iter().zip(served.into_iter().map(Ok))),
            Err(broken) if requests.len() == 1 => {
                answers.extend(replies.into_iter().map(|reply| (reply, Err(broken.clone().into()))));
            }
            Err(_) => answers.extend(self.one_by_one(&requests, replies, ready)),
        }
        answers
    }

    fn one_by_one(&mut self, requests: &[Request], replies: Vec<Reply>, ready: Instant) -> Answers {
        let mut answers = Answers::with_capacity(replies.len());
        // Somebody may have gone away while all were tried together.
        for (request, reply) in requests.iter().zip(replies).filter(|(_, reply)| !reply.is_closed()) {
            let alone = self.execute(std::slice::from_ref(request), ready, None).map_err(NotServed::from);
            answers.push((reply, alone.and_then(|mut served| served.pop().ok_or(NotServed::Stopped))));
        }
        if answers.len() == requests.len() && answers.iter().all(|(_, answer)| answer.is_ok()) {
            let elements = requests.iter().map(|request| request.elements).sum();
            self.shared.lock().adaptive.iter_mut().for_each(|adaptive: &mut Adaptive| adaptive.too_large(elements));
        }
        answers
    }

    /// Nothing is computed for nobody: drops requests whose clients went away, and turns away those whose deadlines
    /// have passed since they left the queue.
    fn still_wanted(&self, jobs: Vec<Waiting<Job>>) -> (Vec<Waiting<Job>>, Answers) {
        let (wanted, late) = screen(jobs, Instant::now());
        let turn_away = |waiting: Waiting<Job>| {
            let retry_after = self.shared.lock().backlog(waiting.entry.level, self.shared.instances());
            (waiting.job.reply, Err(NotServed::Expired { retry_after }))
        };
        (wanted, late.into_iter().map(turn_away).collect())
    }

    fn execute(
        &mut self,
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
        self.observe(took, requests.len(), elements, plan.filter(|_| result.is_ok()));
        self.shared.usage[self.index].executed(elements, took);
        (self.shared.observer)(&Execution { elements, timeline, succeeded: result.is_ok() });
        let served = |outputs| Served { outputs, timeline, batch_elements: elements };
        let outputs = result.map_err(|error| Box::new(Broken { error, timeline, batch_elements: elements }))?;
        Ok(outputs.into_iter().map(served).collect())
    }

    /// Learns from an execution, of a batch that was made by `plan` if it is one.
    fn observe(&self, took: Duration, requests: usize, elements: u32, plan: Option<&Plan>) {
        let mut state = self.shared.lock();
        state.service.observe(took, requests);
        let in_system = state.running + state.queue.elements();
        if let (Some(adaptive), Some(plan)) = (&mut state.adaptive, plan) {
            adaptive.observe(plan, elements, in_system, took);
        }
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
