//! Serving on the thread of whoever brings a request, in place of the instance's own: two wake-ups less, which for a
//! model of a few microseconds is most of what a request costs. Only backends that say that they run anywhere are lent,
//! while their executions are short, and for a short time.

use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use super::batch::{Decision, decide, ready_at};
use super::driver::{Shared, State};
use super::instance::{Batch, Instance, take};

/// Whoever brought a request serves those of others for no longer than this; it has connections to look after.
const TURN: Duration = Duration::from_micros(200);

/// Serves what waits, with an instance that was idle, and gives the instance back. What is left then, also what has to
/// wait for company, is for the instance's thread.
pub(super) fn serve<'a>(shared: &'a Shared, mut state: MutexGuard<'a, State>, mut instance: Instance) {
    let begun = Instant::now();
    while let Some(batch) = next(shared, &mut state, begun) {
        drop(state);
        instance.serve(shared, batch);
        state = shared.lock();
    }
    state.idle.push(instance);
    let (work, stopped) = (!state.queue.is_empty(), state.stopped);
    drop(state);
    if stopped {
        // Every thread takes an instance with it when it ends.
        shared.work.notify_all();
    } else if work {
        shared.work.notify_one();
    }
}

/// The next batch, while the turn lasts and the model is as fast as it was.
fn next<'a>(shared: &Shared, state: &mut State, begun: Instant) -> Option<Batch<'a>> {
    let now = Instant::now();
    if state.stopped || !state.brevity.holds() || now.saturating_duration_since(begun) > TURN {
        return None;
    }
    // Whose time has come is turned away by the thread, before anything else is taken.
    if state.queue.next_due().is_some_and(|due| due <= now) {
        return None;
    }
    let Decision::Run(count) = decide(&shared.batching, state.queue.iter(), now) else { return None };
    let ready = ready_at(&shared.batching, state.queue.iter(), count).unwrap_or(now);
    Some(take(shared, state, count, ready))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::thread::{self, ThreadId};

    use proofload_wire::tensor::Tensor;

    use super::super::batch::BatchPolicy;
    use super::super::driver::{Pending, Refusal, Scheduler, Scheduling};
    use super::super::policy::QueueRules;
    use super::super::queue::{Entry, Limits};
    use super::*;
    use crate::backend::{Backend, BackendError, Request, Stages};

    /// Notes which threads it ran on; a request of several elements takes it a while.
    struct Quick {
        anywhere: bool,
        ran_on: Arc<Mutex<Vec<ThreadId>>>,
    }

    impl Backend for Quick {
        fn execute(&mut self, requests: &[Request], _: &mut Stages) -> Result<Vec<Vec<Tensor>>, BackendError> {
            self.ran_on.lock().expect("no panic").push(thread::current().id());
            if requests.iter().any(|request| request.elements > 1) {
                thread::sleep(Duration::from_millis(1));
            }
            Ok(requests.iter().map(|_| Vec::new()).collect())
        }

        fn runs_anywhere(&self) -> bool {
            self.anywhere
        }
    }

    fn scheduler(anywhere: bool, instances: usize) -> (Scheduler, Arc<Mutex<Vec<ThreadId>>>) {
        let ran_on = Arc::default();
        let backend = |_| Box::new(Quick { anywhere, ran_on: Arc::clone(&ran_on) }) as Box<dyn Backend>;
        let scheduling = Scheduling {
            batching: BatchPolicy::alone(),
            queue: QueueRules::without_priorities(Limits { requests: 10_000, bytes: 1000 }),
            preserve_ordering: false,
            rates: Vec::new(),
            adaptive: false,
        };
        let backends = (0..instances).map(backend).collect();
        (Scheduler::start("quick", scheduling, None, backends, Box::new(|_| {})).expect("started"), ran_on)
    }

    fn submit(scheduler: &Scheduler, elements: u32) -> Result<Pending, Refusal> {
        let enqueued = Instant::now();
        let entry = Entry { level: 0, elements, bytes: 0, shape: Vec::new(), enqueued, timeout: None, deadline: None };
        scheduler.submit(entry, Request::new(Vec::new(), elements))
    }

    async fn served(scheduler: &Scheduler, elements: u32) {
        submit(scheduler, elements).expect("there is room").outcome(None).await.expect("served");
    }

    /// Serves short requests until one runs here; says whether one did.
    async fn runs_here(scheduler: &Scheduler, ran_on: &Mutex<Vec<ThreadId>>, patience: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            served(scheduler, 1).await;
            if ran_on.lock().expect("no panic").last() == Some(&thread::current().id()) {
                return true;
            }
        }
        false
    }

    #[tokio::test]
    async fn who_brings_a_short_request_serves_it() {
        let (scheduler, ran_on) = scheduler(true, 1);
        assert!(runs_here(&scheduler, &ran_on, Duration::from_secs(20)).await);
        served(&scheduler, 2).await;
        served(&scheduler, 1).await;
        let here = thread::current().id();
        assert_ne!(ran_on.lock().expect("no panic").last(), Some(&here), "after a long one its thread serves again");
        assert!(runs_here(&scheduler, &ran_on, Duration::from_secs(20)).await, "until they are short again");
    }

    #[tokio::test]
    async fn what_is_tied_to_its_thread_stays_there() {
        let (scheduler, ran_on) = scheduler(false, 1);
        assert!(!runs_here(&scheduler, &ran_on, Duration::from_millis(200)).await);
    }

    /// Clients on several threads, short and long requests mixed: each is answered once, and the model stops while they
    /// come.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn everybody_is_answered_and_it_stops() {
        let (scheduler, ran_on) = scheduler(true, 2);
        let (scheduler, stopped) = (Arc::new(scheduler), Arc::new(AtomicBool::new(false)));
        let clients: Vec<_> = (0..8u32)
            .map(|client| {
                let (scheduler, stopped) = (Arc::clone(&scheduler), Arc::clone(&stopped));
                tokio::spawn(async move {
                    let mut answered = 0;
                    loop {
                        let elements = if (answered + client).is_multiple_of(97) { 2 } else { 1 };
                        let was_stopped = stopped.load(Ordering::Acquire);
                        let outcome = match submit(&scheduler, elements) {
                            Ok(pending) => {
                                let outcome = pending.outcome(None);
                                tokio::time::timeout(Duration::from_secs(20), outcome)
                                    .await
                                    .expect("nobody is forgotten")
                                    .is_ok()
                            }
                            Err(_) => false,
                        };
                        if !outcome {
                            return answered;
                        }
                        assert!(!was_stopped, "served by a model that was stopped");
                        answered += 1;
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let stopping = Arc::clone(&scheduler);
        let joined = tokio::task::spawn_blocking(move || stopping.stop());
        tokio::time::timeout(Duration::from_secs(20), joined).await.expect("its threads end").expect("no panic");
        stopped.store(true, Ordering::Release);
        let mut answered = 0;
        for client in clients {
            answered += client.await.expect("no panic");
        }
        assert_eq!(
            scheduler.usage().iter().map(super::super::usage::Usage::executions).sum::<u64>(),
            u64::from(answered)
        );
        assert!(ran_on.lock().expect("no panic").len() == answered as usize && answered > 0);
    }
}
