//! The account of one relief request: opened when it gets its place, settled exactly once, whatever happens. One that
//! is dropped unsettled belongs to a client that went away.

use std::sync::Arc;
use std::time::Instant;

use proofload_wire::phases::Phases;

use super::ReliefError;
use super::benches::Haste;
use super::laps::{Laps, Step};
use super::meters::{Meters, Outcome};
use super::workshop::Place;
use crate::cache::Layer;
use crate::engine::{Engine, RequestContext, ServeError};
use crate::statistics;
use crate::telemetry::trace::{Interval, Relief as Record, Slot};

/// Is told of every piece of work that is done, by its last step.
pub type Watcher = Box<dyn Fn(Step) + Send + Sync>;

/// A relief request from its place in the house to its answer.
pub struct Visit {
    engine: Engine,
    meters: Meters,
    settled: bool,
    /// When it was received, and the caller's span; known once the request has been read.
    request: Option<RequestContext>,
    /// The steps so far.
    pub(super) laps: Laps,
    /// Where the time went in the depth model.
    pub(super) depth: Phases,
    /// The depth model's part of the trace.
    pub(super) inference: Slot,
    /// How soon its work should begin.
    pub(super) haste: Haste,
    watcher: Option<Watcher>,
    _place: Place,
}

impl Visit {
    pub(super) fn new(engine: Engine, meters: Meters, place: Place) -> Self {
        let (laps, depth, inference) = (Laps::default(), Phases::default(), Arc::default());
        let (haste, watcher) = (Haste::Usual, None);
        Self { engine, meters, settled: false, request: None, laps, depth, inference, haste, watcher, _place: place }
    }

    /// The same for work that nobody waits for: it goes behind that of all others.
    pub fn spare(mut self, watcher: Watcher) -> Self {
        self.haste = Haste::Spare;
        self.watcher = Some(watcher);
        self
    }

    /// Tells the watcher of the last step.
    pub(super) fn tell(&self) {
        if let (Some(watcher), Some(last)) = (&self.watcher, self.laps.iter().last()) {
            watcher(last.step);
        }
    }

    /// Ends the visit of a request that never became one: it could not be read, or asked for the impossible.
    pub fn unread(mut self, outcome: Outcome) {
        self.settle(outcome, Instant::now(), None);
    }

    /// The request has been read: its phases begin.
    pub(super) fn begin(&mut self, request: RequestContext) {
        self.request = Some(request);
    }

    /// When its caller stops waiting, if it has said so.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.request.as_ref()?.deadline
    }

    /// Takes note of where the time went in one more inference of the depth model.
    pub(super) fn add_depth(&mut self, later: &Phases) {
        let sum = |of: fn(&Phases) -> u64| of(&self.depth).saturating_add(of(later));
        self.depth = Phases {
            queue_ns: sum(|phases| phases.queue_ns),
            copy_in_ns: sum(|phases| phases.copy_in_ns),
            compute_ns: sum(|phases| phases.compute_ns),
            copy_out_ns: sum(|phases| phases.copy_out_ns),
            batch_size: later.batch_size,
            cache: later.cache,
        };
    }

    /// Where the time went until now.
    pub(super) fn phases(&self, now: Instant) -> Phases {
        let received = self.request.as_ref().map_or(now, |request| request.received);
        self.laps.phases(&self.depth, received, now)
    }

    /// Ends the visit of a request whose relief was not made. Until `keyed` it was looked at, and then it waited for
    /// another's, if it did.
    pub(super) fn found(mut self, keyed: Instant, waited_until: Option<Instant>, layer: Layer) -> Phases {
        let answered = Instant::now();
        let received = self.request.as_ref().map_or(keyed, |request| request.received);
        let timeline = statistics::timeline_of_a_hit(received, keyed, waited_until, answered);
        let phases = Phases { cache: layer.into(), ..statistics::phases(received, &timeline, answered, 0) };
        self.meters.phases(&phases);
        self.settle(Outcome::Success, answered, None);
        phases
    }

    /// Ends the visit of a request that is answered at `now`.
    pub(super) fn end(mut self, result: Result<(), &ReliefError>, now: Instant) -> Phases {
        let phases = self.phases(now);
        if result.is_ok() {
            self.meters.phases(&phases);
            self.meters.steps(&self.laps);
        }
        self.settle(result.map_or_else(outcome, |()| Outcome::Success), now, result.err().map(ToString::to_string));
        phases
    }

    fn settle(&mut self, outcome: Outcome, answered: Instant, error: Option<String>) {
        self.settled = true;
        self.meters.outcome(outcome);
        let (Some(traces), Some(request)) = (self.engine.traces(), &self.request) else { return };
        let step = |lap: &super::laps::Lap| Interval { name: lap.step.as_str(), from: lap.from, to: lap.to };
        traces.record(Record {
            parent: request.trace,
            received: request.received,
            answered,
            steps: self.laps.iter().map(step).collect(),
            model: self.inference.get().cloned(),
            error,
        });
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.settled {
            self.settle(Outcome::Cancelled, Instant::now(), Some("the client went away".to_owned()));
        }
    }
}

fn outcome(error: &ReliefError) -> Outcome {
    match error {
        ReliefError::Picture(_) => Outcome::Invalid,
        ReliefError::Serve(error) => match error {
            ServeError::Unavailable { .. } | ServeError::TooManyRequests { .. } => Outcome::Rejected,
            ServeError::Overdue { .. } | ServeError::DeadlineExceeded(_) => Outcome::TimedOut,
            ServeError::NotFound(_)
            | ServeError::InvalidArgument(_)
            | ServeError::AlreadyExists(_)
            | ServeError::Unsupported(_)
            | ServeError::Unauthenticated(_)
            | ServeError::Internal(_) => Outcome::Failed,
        },
    }
}
