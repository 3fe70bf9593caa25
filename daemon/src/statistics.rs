//! Counts of one model as Triton keeps them. Requests count under success or fail; batch elements that were computed
//! under `inference_count`, also for a client that went away meanwhile; executions under `execution_count`. Counting
//! only: no clock, no metric registry.

use std::collections::BTreeMap;
use std::time::Instant;

use proofload_wire::phases::{Cache, Phases};
use proofload_wire::types::{BatchStatistics, InferStatistics, ModelStatistics, ResponseStatistics, StatisticDuration};

use crate::backend::Timeline;
use crate::backend::responses::Part;

/// Responses of decoupled models from this number on are counted as one: a stream has no end that is known before.
const MAX_PARTS: usize = 1024;

/// The counts since the model was started.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    last_inference_ms: u64,
    inference_count: u64,
    execution_count: u64,
    requests: InferStatistics,
    batches: BTreeMap<u32, BatchStatistics>,
    /// By the response's number within its request, as far as they are told apart.
    parts: Vec<ResponseStatistics>,
}

impl Counts {
    /// Counts an execution that the backend answered.
    pub fn executed(&mut self, elements: u32, timeline: &Timeline) {
        let phases = phases_of(timeline);
        self.execution_count += 1;
        self.inference_count += u64::from(elements);
        let batch = self.batches.entry(elements).or_default();
        batch.batch_size = u64::from(elements);
        add(&mut batch.compute_input, phases.copy_in_ns);
        add(&mut batch.compute_infer, phases.compute_ns);
        add(&mut batch.compute_output, phases.copy_out_ns);
    }

    /// Counts a request that got its outputs, at `unix_ms`.
    pub fn succeeded(&mut self, phases: &Phases, unix_ms: u64) {
        self.last_inference_ms = self.last_inference_ms.max(unix_ms);
        let requests = &mut self.requests;
        add(&mut requests.success, phases.total_ns());
        add(&mut requests.queue, phases.queue_ns);
        add(&mut requests.compute_input, phases.copy_in_ns);
        add(&mut requests.compute_infer, phases.compute_ns);
        add(&mut requests.compute_output, phases.copy_out_ns);
    }

    /// Counts a request whose answer was not computed, at `unix_ms`. As Triton counts it: it succeeded, it may have
    /// waited, and all the rest was the cache's time.
    pub fn hit(&mut self, phases: &Phases, unix_ms: u64) {
        self.last_inference_ms = self.last_inference_ms.max(unix_ms);
        add(&mut self.requests.success, phases.total_ns());
        add(&mut self.requests.queue, phases.queue_ns);
        add(&mut self.requests.cache_hit, phases.total_ns().saturating_sub(phases.queue_ns));
    }

    /// Counts a request that succeeded and whose answer was looked for before, which took so long, keeping it included.
    pub fn missed(&mut self, ns: u64) {
        add(&mut self.requests.cache_miss, ns);
    }

    /// Counts a request that was let in or refused, and got no outputs after `ns`.
    pub fn failed(&mut self, ns: u64) {
        add(&mut self.requests.fail, ns);
    }

    /// Counts response number `index` of a request to a decoupled model.
    pub fn part(&mut self, index: usize, times: PartTimes, end: PartEnd) {
        let index = index.min(MAX_PARTS);
        if self.parts.len() <= index {
            self.parts.resize_with(index + 1, ResponseStatistics::default);
        }
        let part = &mut self.parts[index];
        let whole = times.infer_ns.saturating_add(times.output_ns);
        match end {
            PartEnd::Sent | PartEnd::Failed => {
                add(&mut part.compute_infer, times.infer_ns);
                add(&mut part.compute_output, times.output_ns);
                add(if end == PartEnd::Sent { &mut part.success } else { &mut part.fail }, whole);
            }
            PartEnd::Empty => add(&mut part.empty_response, whole),
            PartEnd::Cancelled => add(&mut part.cancel, whole),
        }
    }

    /// The counts in the form of the protocol.
    pub fn to_wire(&self, name: &str, version: i64) -> ModelStatistics {
        ModelStatistics {
            name: name.to_owned(),
            version: version.to_string(),
            last_inference: self.last_inference_ms,
            inference_count: self.inference_count,
            execution_count: self.execution_count,
            inference_stats: self.requests.clone(),
            response_stats: self.parts.iter().enumerate().map(|(i, part)| (i.to_string(), part.clone())).collect(),
            batch_stats: self.batches.values().cloned().collect(),
            memory_usage: Vec::new(),
        }
    }
}

/// What became of a response of a decoupled model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartEnd {
    /// It was handed over.
    Sent,
    /// It could not be given as it was asked for.
    Failed,
    /// It says that there are no more.
    Empty,
    /// Its client went away first.
    Cancelled,
}

/// How long a response of a decoupled model took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartTimes {
    infer_ns: u64,
    output_ns: u64,
}

impl PartTimes {
    /// The times of a response.
    pub fn of(part: &Part) -> Self {
        let infer_ns = nanoseconds(part.computing, part.computed);
        Self { infer_ns, output_ns: nanoseconds(part.computed, part.finished) }
    }

    /// Of one that brought nothing, awaited since then.
    pub fn waited(from: Instant, to: Instant) -> Self {
        Self { infer_ns: nanoseconds(from, to), output_ns: 0 }
    }
}

fn phases_of(timeline: &Timeline) -> Phases {
    phases(timeline.started, timeline, timeline.finished, 0)
}

/// The phases of a request that was received and answered at these times: every boundary ends one phase and begins
/// the next, so they sum to the whole.
pub fn phases(received: Instant, timeline: &Timeline, answered: Instant, batch_size: u32) -> Phases {
    Phases {
        queue_ns: nanoseconds(received, timeline.started),
        copy_in_ns: nanoseconds(timeline.started, timeline.computing),
        compute_ns: nanoseconds(timeline.computing, timeline.computed),
        copy_out_ns: nanoseconds(timeline.computed, answered),
        batch_size,
        cache: Cache::Miss,
    }
}

/// When what happened to a request whose answer was found: until `keyed` it was looked at, and then it waited for
/// another's answer, if it did. The rest was making its own ready; nothing was computed.
pub fn timeline_of_a_hit(
    received: Instant,
    keyed: Instant,
    waited_until: Option<Instant>,
    answered: Instant,
) -> Timeline {
    let started = waited_until.unwrap_or(received);
    let computing = keyed.max(started);
    Timeline { started, computing, computed: computing, finished: answered }
}

/// The phases of a request that was turned away at the door: it waited for nobody, and what took time was looking at
/// its inputs.
pub fn phases_at_the_door(received: Instant, answered: Instant) -> Phases {
    Phases { copy_in_ns: nanoseconds(received, answered), ..Phases::default() }
}

/// The phases of a request that did nothing but wait.
pub fn phases_in_the_queue(received: Instant, answered: Instant) -> Phases {
    Phases { queue_ns: nanoseconds(received, answered), ..Phases::default() }
}

fn nanoseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}

fn add(duration: &mut StatisticDuration, ns: u64) {
    duration.count += 1;
    duration.ns = duration.ns.saturating_add(ns);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn timeline(from: Instant, us: [u64; 4]) -> Timeline {
        let at = |us| from + Duration::from_micros(us);
        Timeline { started: at(us[0]), computing: at(us[1]), computed: at(us[2]), finished: at(us[3]) }
    }

    #[test]
    fn a_batch_of_requests_is_one_execution() {
        let start = Instant::now();
        let timeline = timeline(start, [10, 12, 20, 21]);
        let mut counts = Counts::default();
        counts.executed(5, &timeline);
        for _ in 0..2 {
            counts.succeeded(&phases(start, &timeline, timeline.finished, 5), 1000);
        }
        counts.failed(7);
        let wire = counts.to_wire("m", 3);
        assert_eq!((wire.inference_count, wire.execution_count, wire.last_inference), (5, 1, 1000));
        assert_eq!(wire.version, "3");
        let stats = wire.inference_stats;
        assert_eq!(stats.success, StatisticDuration { count: 2, ns: 42_000 });
        assert_eq!(stats.queue, StatisticDuration { count: 2, ns: 20_000 });
        assert_eq!(stats.fail, StatisticDuration { count: 1, ns: 7 });
        assert_eq!(wire.batch_stats.len(), 1);
        assert_eq!(wire.batch_stats[0].compute_infer, StatisticDuration { count: 1, ns: 8_000 });
    }

    #[test]
    fn a_hit_is_a_success_without_an_inference() {
        let mut counts = Counts::default();
        counts.hit(&Phases { queue_ns: 5, copy_in_ns: 2, copy_out_ns: 1, ..Phases::default() }, 1000);
        counts.missed(9);
        let wire = counts.to_wire("m", 1);
        assert_eq!((wire.inference_count, wire.execution_count, wire.last_inference), (0, 0, 1000));
        let of = |count, ns| StatisticDuration { count, ns };
        let InferStatistics { success, queue, compute_infer, cache_hit, cache_miss, .. } = wire.inference_stats;
        assert_eq!((success, queue, compute_infer), (of(1, 8), of(1, 5), of(0, 0)));
        assert_eq!((cache_hit, cache_miss), (of(1, 3), of(1, 9)));
    }

    #[test]
    fn responses_of_decoupled_models_are_counted_by_their_number() {
        let mut counts = Counts::default();
        let times = PartTimes { infer_ns: 5, output_ns: 2 };
        for (index, end) in [(0, PartEnd::Sent), (1, PartEnd::Sent), (2, PartEnd::Empty), (0, PartEnd::Sent)] {
            counts.part(index, times, end);
        }
        counts.part(1, times, PartEnd::Failed);
        counts.part(0, times, PartEnd::Cancelled);
        counts.part(usize::MAX, times, PartEnd::Sent);
        let stats = counts.to_wire("m", 1).response_stats;
        let twice = StatisticDuration { count: 2, ns: 14 };
        let once = StatisticDuration { count: 1, ns: 7 };
        assert_eq!((stats["0"].success, stats["0"].cancel), (twice, once));
        assert_eq!((stats["1"].success, stats["1"].fail, stats["2"].empty_response), (once, once, once));
        assert_eq!(stats["1"].compute_infer, StatisticDuration { count: 2, ns: 10 });
        assert_eq!((stats.len(), stats["1024"].success), (1025, once), "however long a stream is");
    }

    proptest! {
        /// The phases of a request sum to the time between its reception and its answer, to the nanosecond.
        #[test]
        fn phases_sum_to_the_whole(mut ns in proptest::array::uniform5(0u64..10_000_000_000)) {
            ns.sort_unstable();
            let start = Instant::now();
            let at = |index: usize| start + Duration::from_nanos(ns[index]);
            let timeline = Timeline { started: at(1), computing: at(2), computed: at(3), finished: at(3) };
            prop_assert_eq!(phases(at(0), &timeline, at(4), 1).total_ns(), ns[4] - ns[0]);
            prop_assert_eq!(phases_at_the_door(at(0), at(4)).total_ns(), ns[4] - ns[0]);
            prop_assert_eq!(phases_in_the_queue(at(0), at(4)).total_ns(), ns[4] - ns[0]);
        }
    }
}
