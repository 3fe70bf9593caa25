//! Errands: work on a model's instance that is more than the model. It waits in the model's queue as any request does, counts
//! as one, and shares an execution with no other.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use proofload_wire::phases::Phases;

use super::account::{Account, InFlight};
use super::patience::Patience;
use super::place::Place;
use super::{Engine, Failed, RequestContext};
use crate::backend::Request;
use crate::backend::errand::Errand;
use crate::sched::queue::Entry;

/// What computes models on a GPU: only its instances do errands.
const ON_GPU: &str = "cuda";

/// Of each errand the shape is another, so that it is never put together with others.
static ERRANDS: AtomicI64 = AtomicI64::new(0);

fn shape_of_its_own() -> Vec<i64> {
    // No tensor has a negative dimension.
    vec![-1, ERRANDS.fetch_add(1, Ordering::Relaxed)]
}

impl Engine {
    /// Whether a model's instances do errands: they are on a GPU.
    pub fn does_errands(&self, model: &str) -> bool {
        self.model(model, None).is_ok_and(|model| model.engine() == ON_GPU)
    }

    /// Has an instance of a model do something, one batch element's worth, which keeps `bytes` in memory until then.
    ///
    /// # Errors
    /// When the model does no errands, there is no room, the deadline comes first, or it fails.
    pub async fn errand(
        &self,
        model: &str,
        errand: Errand,
        bytes: usize,
        context: RequestContext,
    ) -> Result<Phases, Failed> {
        let _in_flight = InFlight::enter(&self.inner.parts.in_flight);
        let model = self.model(model, None)?;
        let queue = &model.spec().scheduling.queue;
        let level = queue.level(context.priority);
        let patience = Patience::new(queue.at(level), context.timeout, context.deadline, context.received);
        let place = Place::take(model.concurrency(), level, context.received);
        let account = Account::open(&model, self.traces(), context, String::new());
        if model.engine() != ON_GPU {
            return Err(account.invalid(not_here(&model.spec().name)));
        }
        let mut place = match place {
            Ok(place) => place,
            Err(over) => return Err(account.over(over)),
        };
        let (enqueued, shape) = (Instant::now(), shape_of_its_own());
        let (timeout, deadline) = (patience.timeout(), patience.deadline());
        let entry = Entry { level, elements: 1, bytes, shape, enqueued, timeout, deadline };
        let pending = match model.submit(entry, Request { errand: Some(errand), ..Request::new(Vec::new(), 1) }) {
            Ok(pending) => pending,
            Err(refusal) => return Err(account.refuse(refusal)),
        };
        let outcome = pending.outcome(patience.ends()).await;
        place.iter_mut().for_each(|place| place.learn(&outcome));
        match outcome {
            Ok(served) => Ok(account.complete(&served)),
            Err(why) => Err(account.not_served(&why, patience)),
        }
    }
}

fn not_here(model: &str) -> super::ServeError {
    super::ServeError::Unsupported(format!("model '{model}' does not run on a GPU"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_errands_are_put_together() {
        let shapes: std::collections::HashSet<_> = (0..100).map(|_| shape_of_its_own()).collect();
        assert_eq!(shapes.len(), 100);
        assert!(shapes.iter().all(|shape| shape[0] < 0), "a tensor may have such a shape");
    }
}
