//! What a long run shows that a short one cannot: memory that grows, latency and the share of cache hits that drift or change at
//! once, and errors that come together. Counts samples beside the other analyses and reads the timeline; judges no threshold and
//! turns no verdict, since none of it was promised.
//!
//! Everything is judged within the measured time. Series are thinned to at most [`MOST_POINTS`] points of equal length, each the
//! median of its buckets, so that a day takes as long as ten minutes.

mod bursts;
mod chance;
mod change_points;
mod drift;
mod held;
mod hits;
mod memory;
mod unevenness;

use proofload_run::findings::{Bucket, Drift, Endurance, Held, Timeline, Trend};
use proofload_run::manifest::{LoadModel, ScenarioKind};
use proofload_run::units::NS_PER_S;
use proofload_statistics::slope::median_of;

use crate::scope::{Scope, Seen};
use bursts::Bursts;
use drift::{Course, Scale, drift};
use held::Load;
use hits::CacheHits;

pub(crate) use memory::{is_watched, long};

/// Points of a series, at most: what is shuffled a thousand times.
const MOST_POINTS: usize = 144;
/// A sustained load of this length and more is looked at, too; ours.
const LASTING_NS: u64 = 600 * NS_PER_S;
/// A bucket with fewer successes has no 95th percentile to speak of.
const LEAST_SUCCESSES: u64 = 10;

/// The counts of a run that lasts, while its samples are looked at.
#[derive(Debug, Clone)]
pub(crate) struct Lasting {
    /// `None` where the run is not of that kind, or too short.
    counts: Option<(Bursts, CacheHits)>,
}

impl Lasting {
    /// Endurance scenarios of any length, and sustained ones from ten measured minutes on.
    pub(crate) fn new(scope: &Scope<'_>) -> Self {
        let lasts = match scope.manifest().scenario.kind {
            ScenarioKind::Endurance => true,
            ScenarioKind::Sustained => scope.windows.measured_ns() >= LASTING_NS,
            ScenarioKind::Stress | ScenarioKind::Spike | ScenarioKind::Ramp => false,
        };
        Self { counts: lasts.then(Default::default) }
    }

    /// Counts a sample, in the first look only.
    pub(crate) fn count(&mut self, seen: &Seen<'_>) {
        if let Some((_, hits)) = self.counts.as_mut().filter(|_| seen.is_measured_success()) {
            hits.count(seen);
        }
    }

    /// Looks at a sample, in every look.
    pub(crate) fn look(&mut self, seen: &Seen<'_>) {
        if let Some((bursts, _)) = self.counts.as_mut().filter(|_| seen.measured_in().is_some()) {
            bursts.look(seen);
        }
    }

    /// A look is over. Says whether another is wanted.
    pub(crate) fn turn(&mut self) -> bool {
        self.counts.as_mut().is_some_and(|(bursts, _)| bursts.turn())
    }

    /// What was found; `None` where the run is not one that lasts, or nothing was measured.
    pub(crate) fn found(&self, scope: &Scope<'_>, timeline: &Timeline) -> Option<Endurance> {
        let (bursts, hits) = self.counts.as_ref()?;
        let (from_ns, to_ns) = measured(scope)?;
        let course = Buckets::of(scope, timeline);
        let load = course.load(scope);
        let held = load.held();
        let explained = |values: &[f64]| (held.held == Held::Explained).then(|| load.explained(values));
        let latency = [("median latency", Percent::P50), ("p95 latency", Percent::P95)];
        let latency = latency.map(|(what, percent)| {
            let found = course.latency(what, percent);
            let logarithms: Vec<f64> = found.points.iter().map(|point| point.1.max(1.0).ln()).collect();
            judged(&found, explained(&logarithms).as_deref(), held.held)
        });
        let hit_share = hits.course(&course.starts_ns(), course.point_ns).map(|found| {
            let values: Vec<f64> = found.points.iter().map(|point| point.1).collect();
            judged(&found, explained(&values).as_deref(), held.held)
        });
        Some(Endurance {
            from_ns,
            to_ns,
            memory: memory::memory(scope.manifest(), &scope.run.series, (from_ns, to_ns)),
            latency: latency.to_vec(),
            hit_share,
            errors: bursts.found(&scope.manifest().entries),
            load: held,
        })
    }
}

/// A drift, as far as the load lets one be judged.
fn judged(course: &Course, explained: Option<&[f64]>, held: Held) -> Drift {
    if held != Held::Changing {
        return drift(course, explained);
    }
    let sentence = format!("whether {} drifts cannot be said, since the load changed with time", course.what);
    Drift { trend: Trend::Unknown, change: None, steps: Vec::new(), sentence, ..drift(course, None) }
}

/// From the first measured moment to the last.
fn measured(scope: &Scope<'_>) -> Option<(u64, u64)> {
    let mut windows = scope.windows.all.iter().filter(|window| window.measured_ns() > 0);
    let first = windows.next()?;
    Some((first.measured_from_ns, windows.next_back().unwrap_or(first).end_ns))
}

/// Which percentile of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Percent {
    P50,
    P95,
}

/// The buckets that lie within measured time, in groups of neighbours.
struct Buckets<'a> {
    point_ns: u64,
    groups: Vec<Vec<&'a Bucket>>,
}

impl<'a> Buckets<'a> {
    fn of(scope: &Scope<'_>, timeline: &'a Timeline) -> Self {
        let inside = |bucket: &&Bucket| {
            let end_ns = bucket.t_ns + timeline.bucket_ns;
            let mut windows = scope.windows.all.iter().filter(|window| !window.warm_up);
            windows.any(|window| window.measured_from_ns <= bucket.t_ns && end_ns <= window.end_ns)
        };
        let steady: Vec<&Bucket> = timeline.buckets.iter().filter(inside).collect();
        let each = steady.len().div_ceil(MOST_POINTS).max(1);
        let point_ns = timeline.bucket_ns.max(1) * each as u64;
        let whole = steady.chunk_by(|a, b| a.t_ns / point_ns == b.t_ns / point_ns).filter(|group| group.len() == each);
        Self { point_ns, groups: whole.map(<[&Bucket]>::to_vec).collect() }
    }

    fn starts_ns(&self) -> Vec<u64> {
        self.groups.iter().map(|group| group[0].t_ns).collect()
    }

    fn load(&self, scope: &Scope<'_>) -> Load {
        let seconds = self.point_ns as f64 / NS_PER_S as f64;
        let rate =
            |group: &Vec<&Bucket>| group.iter().map(|bucket| bucket.intended_per_s).sum::<f64>() / group.len() as f64;
        let steps = scope.manifest().steps.iter().filter(|step| !step.warm_up);
        let mut levels = steps.flat_map(|step| [step.level_start, step.level_end]);
        let first = levels.next().unwrap_or(0.0);
        Load {
            arrivals: self.groups.iter().map(|group| rate(group) * seconds).collect(),
            one_level: levels.all(|level| (level - first).abs() <= 0.001 * first),
            closed: scope.manifest().load.model == LoadModel::Closed,
        }
    }

    /// The median of the buckets' percentiles; a group in which too few have one is left out, which only happens where hardly
    /// anything was answered, so that the load's points still fit: all or none.
    fn latency(&self, what: &'static str, percent: Percent) -> Course {
        let value = |bucket: &&Bucket| match percent {
            Percent::P50 => bucket.p50_ns,
            Percent::P95 => bucket.p95_ns.filter(|_| bucket.n >= LEAST_SUCCESSES),
        };
        let point = |group: &Vec<&Bucket>| {
            let values: Vec<f64> = group.iter().filter_map(value).map(|ns| ns as f64).collect();
            let middle_ns = group[0].t_ns + self.point_ns / 2;
            (!values.is_empty()).then(|| (middle_ns, median_of(values)))
        };
        let points: Option<Vec<(u64, f64)>> = self.groups.iter().map(point).collect();
        let points = points.unwrap_or_default();
        Course { what, scale: Scale::Latency, point_ns: self.point_ns, points }
    }
}
