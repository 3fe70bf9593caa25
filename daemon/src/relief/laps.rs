//! The steps of a relief request, as they were timed. What lies between two steps is waiting. Pure, but for the clock
//! that `time` reads around a piece of work.

use std::time::{Duration, Instant};

use proofload_wire::phases::Phases;

/// A step on the way from a picture to a mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The file becomes pixels.
    Decode,
    /// Pixels become what the depth model takes.
    Prepare,
    /// The depth model, its queue included.
    Model,
    /// Depths become a closed solid.
    Mesh,
    /// The solid becomes a file.
    Encode,
    /// Pixels go to the GPU.
    Upload,
    /// Depths become heights there.
    Height,
    /// Heights become a mesh file there.
    Emit,
    /// The file comes back.
    Download,
}

impl Step {
    /// Its name in a trace.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Prepare => "prepare",
            Self::Model => "model",
            Self::Mesh => "mesh",
            Self::Encode => "encode",
            Self::Upload => "upload",
            Self::Height => "height",
            Self::Emit => "emit",
            Self::Download => "download",
        }
    }
}

/// What lies before the depth model, and what behind it.
const COMING: [Step; 3] = [Step::Decode, Step::Upload, Step::Prepare];
const GOING: [Step; 5] = [Step::Height, Step::Emit, Step::Download, Step::Mesh, Step::Encode];

/// A step that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lap {
    /// Which.
    pub step: Step,
    /// When it began.
    pub from: Instant,
    /// When it ended.
    pub to: Instant,
}

/// The steps so far, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Laps(Vec<Lap>);

impl Laps {
    /// Does a step's work and takes note of how long it took.
    pub fn time<T>(&mut self, step: Step, work: impl FnOnce() -> T) -> T {
        let from = Instant::now();
        let result = work();
        self.note(step, from, Instant::now());
        result
    }

    /// Takes note of a step.
    pub fn note(&mut self, step: Step, from: Instant, to: Instant) {
        self.0.push(Lap { step, from, to });
    }

    /// Takes the later steps of the same request in.
    pub fn extend(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    /// When the first began.
    pub fn begun(&self) -> Option<Instant> {
        self.0.first().map(|lap| lap.from)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Lap> {
        self.0.iter()
    }

    /// How long all of these steps took.
    pub fn spent(&self, steps: &[Step]) -> Duration {
        self.0
            .iter()
            .filter(|lap| steps.contains(&lap.step))
            .map(|lap| lap.to.saturating_duration_since(lap.from))
            .sum()
    }

    /// The work that was done here, and a share of the batch that the model computed: it runs on the same cores, unless a GPU
    /// does it, which takes far less.
    pub fn work(&self, depth: &Phases) -> Duration {
        let batch_ns = depth.total_ns().saturating_sub(depth.queue_ns);
        let own = self.spent(&[Step::Decode, Step::Prepare, Step::Mesh, Step::Encode]);
        own + Duration::from_nanos(batch_ns / u64::from(depth.batch_size).max(1))
    }

    /// The phases of a request that was received and answered at these times, with what the depth model says of its
    /// part. The work of each step counts as such and everything else as waiting: for a turn in the workshop, in the
    /// model's queue, or for a thread to wake up. So the phases have neither gap nor overlap.
    pub fn phases(&self, depth: &Phases, received: Instant, answered: Instant) -> Phases {
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let total_ns = ns(answered.saturating_duration_since(received));
        let mut phases = Phases {
            queue_ns: 0,
            copy_in_ns: ns(self.spent(&COMING)).saturating_add(depth.copy_in_ns),
            compute_ns: depth.compute_ns,
            copy_out_ns: ns(self.spent(&GOING)).saturating_add(depth.copy_out_ns),
            batch_size: depth.batch_size,
            cache: depth.cache,
        };
        phases.queue_ns = total_ns.saturating_sub(phases.total_ns());
        phases
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steps_on_a_gpu_are_phases_as_those_on_the_cpu() {
        let (begun, mut laps) = (Instant::now(), Laps::default());
        let steps = [Step::Decode, Step::Upload, Step::Prepare, Step::Model, Step::Height, Step::Emit, Step::Download];
        for (at, step) in [&steps[..], &[Step::Mesh]].concat().into_iter().enumerate() {
            let from = begun + Duration::from_nanos(100 * at as u64);
            laps.note(step, from, from + Duration::from_nanos(1 << at));
        }
        let depth = Phases { compute_ns: 8, queue_ns: 5, ..Phases::default() };
        let found = laps.phases(&depth, begun, begun + Duration::from_nanos(1000));
        assert_eq!((found.copy_in_ns, found.compute_ns, found.copy_out_ns), (7, 8, 16 + 32 + 64 + 128));
        assert_eq!(found.total_ns(), 1000);
    }

    #[test]
    fn a_picture_costs_its_share_of_the_batch() {
        let depth = Phases { queue_ns: 99, copy_in_ns: 1, compute_ns: 400, copy_out_ns: 3, ..Phases::default() };
        assert_eq!(Laps::default().work(&depth), Duration::from_nanos(404));
        assert_eq!(Laps::default().work(&Phases { batch_size: 4, ..depth }), Duration::from_nanos(101));
    }

    proptest! {
        /// The phases sum to the time from the request being received to the mesh being ready, exactly, however far
        /// the request came.
        #[test]
        fn phases_sum_to_the_total(steps in proptest::collection::vec(0..10_000_u64, 5), done in 0..6_usize, own in 0..10_000_u64, waited in 0..10_000_u64) {
            let received = Instant::now();
            let depth = match done {
                0..3 => Phases::default(),
                _ => Phases { queue_ns: waited, copy_in_ns: own, compute_ns: own, copy_out_ns: own, ..Phases::default() },
            };
            let (mut laps, mut now) = (Laps::default(), received);
            for (step, ns) in [Step::Decode, Step::Prepare, Step::Model, Step::Mesh, Step::Encode].into_iter().zip(steps).take(done) {
                let ns = if step == Step::Model { depth.total_ns() } else { ns };
                let from = now + Duration::from_nanos(7);
                now = from + Duration::from_nanos(ns);
                laps.note(step, from, now);
            }
            let found = laps.phases(&depth, received, now);
            prop_assert_eq!(u128::from(found.total_ns()), (now - received).as_nanos());
            prop_assert_eq!(found.queue_ns, 7 * done as u64 + if done < 3 { 0 } else { waited });
        }
    }
}
