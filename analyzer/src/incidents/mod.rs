//! What happened to a run that its load does not explain, by name: the target froze, computing was slow, the cache was lost,
//! something else used the processors. Each is a rule over evidence that the run folder holds, compared with the rest of
//! the same run; anomalies (`crate::anomalies`) find what has no name. Errors are told elsewhere.

mod compute;
mod hits;
mod neighbour;
mod silence;
mod stretch;

use proofload_run::findings::Incident;

use self::compute::Compute;
use self::hits::Hits;
use self::silence::Silence;
use crate::scope::{Scope, Seen};

/// Of each kind the longest are told.
const MOST_OF_A_KIND: usize = 20;

/// The evidence while samples are looked at: a first look and a second one.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    scope: &'a Scope<'a>,
    silence: Silence,
    compute: Compute,
    hits: Hits,
    looks: u32,
}

impl<'a> Evidence<'a> {
    pub(crate) fn new(scope: &'a Scope<'a>) -> Self {
        let silence = Silence::new(scope.driven_ns);
        Self { scope, silence, compute: Compute::default(), hits: Hits::default(), looks: 0 }
    }

    /// Counts a sample, in the first look only.
    pub(crate) fn count(&mut self, seen: &Seen<'_>) {
        self.silence.count(seen.row);
        self.compute.count(seen);
        self.hits.count(seen);
    }

    /// Looks at a sample that has been counted. Looks after the second are of no use.
    pub(crate) fn look(&mut self, seen: &Seen<'_>) {
        if self.looks == 1 {
            self.silence.look(seen);
            self.compute.look(seen);
        }
    }

    /// A look is over. Says whether another is wanted.
    pub(crate) fn turn(&mut self) -> bool {
        self.looks += 1;
        self.looks == 1 && [self.silence.turn(&self.scope.run.events), self.compute.turn()].contains(&true)
    }

    /// What happened, in order of time.
    pub(crate) fn incidents(&self) -> Vec<Incident> {
        let manifest = self.scope.manifest();
        let kinds = [
            self.silence.incidents(),
            self.compute.incidents(&manifest.entries),
            self.hits.incidents(&manifest.entries),
            neighbour::incidents(self.scope),
        ];
        let mut all: Vec<Incident> = kinds.into_iter().flat_map(longest).collect();
        all.sort_by_key(|incident| (incident.start_ns, incident.end_ns));
        all
    }
}

fn longest(mut incidents: Vec<Incident>) -> Vec<Incident> {
    incidents.sort_by_key(|incident| std::cmp::Reverse(incident.end_ns - incident.start_ns));
    incidents.truncate(MOST_OF_A_KIND);
    incidents
}
