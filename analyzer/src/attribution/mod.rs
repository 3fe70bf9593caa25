//! Why the slow requests of a run were slow. The first looks find from where on a request is slow and which are typical; one
//! more sums up where either kind spent its time, what they have in common and what the target was like meanwhile. Nothing grows
//! with the number of samples: sums are kept by moments of time, of which there are a few thousand at most. Pure.

mod clusters;
mod delay;
mod parts;
mod state;
mod sums;
mod told;
mod traits;

use std::cmp::Reverse;

use proofload_run::findings::{Attribution, ServerPhases, SlowExample, SlowWhen};
use proofload_run::units::NS_PER_S;

use self::delay::Delays;
use self::state::UnderWay;
use self::sums::{Sums, compared};
use self::traits::Traits;
use crate::errors::entry_name;
use crate::samples::Row;
use crate::scope::{Scope, Seen};
use crate::stats::Percentiles;

pub(crate) use self::state::is_watched;

/// A run is cut into about so many moments at most.
const MOST_MOMENTS: u64 = 4096;
/// Slow are the requests beyond the first of these percentiles that leaves enough of them.
const SLOW: [f64; 3] = [99.0, 95.0, 90.0];
/// So many slow ones are enough.
const ENOUGH: f64 = 20.0;
/// Between these percentiles a request is typical.
const TYPICAL: [f64; 2] = [40.0, 60.0];
const MEDIAN: f64 = 50.0;
/// Of the slowest requests so many are told one by one.
const EXAMPLES: usize = 5;
/// Entries that are looked at apart, at most.
const MOST_ENTRIES: usize = 16;

/// The moment of a time on the run's clock.
fn moment(t_ns: u64, moment_ns: u64) -> u32 {
    // What comes long after the load belongs to the last.
    u32::try_from((t_ns / moment_ns).min(2 * MOST_MOMENTS)).unwrap_or(0)
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Slowest<'a> {
    scope: &'a Scope<'a>,
    moment_ns: u64,
    /// How many samples this look has passed.
    passed: u64,
    whole: Kinds,
    /// Of each entry, where there are several.
    entries: Vec<Kinds>,
    delays: Delays,
}

impl<'a> Slowest<'a> {
    pub(crate) fn new(scope: &'a Scope<'a>) -> Self {
        let entries = scope.manifest().entries.len();
        let kinds = Kinds::new(scope.windows.all.len(), entries);
        let apart = if (2..=MOST_ENTRIES).contains(&entries) { entries } else { 0 };
        Self {
            scope,
            moment_ns: (scope.driven_ns / MOST_MOMENTS).next_multiple_of(NS_PER_S).max(NS_PER_S),
            passed: 0,
            whole: Kinds { most_examples: EXAMPLES, ..kinds.clone() },
            entries: vec![kinds; apart],
            delays: Delays::new(scope.manifest()),
        }
    }

    /// Looks at a sample, every sample in every look.
    pub(crate) fn look(&mut self, seen: &Seen<'_>) {
        self.passed += 1;
        let Some(window) = seen.measured_in().filter(|_| seen.is_measured_success()) else { return };
        let row = seen.row;
        let at = At {
            place: self.passed - 1,
            window,
            sent: moment(row.intended_ns, self.moment_ns),
            under_way: moment(u64::midpoint(row.sent_ns, row.done_ns), self.moment_ns),
            delay_ns: self.delays.of(row.entry),
        };
        self.whole.look(row, &at);
        self.entries.get_mut(usize::from(row.entry)).into_iter().for_each(|entry| entry.look(row, &at));
    }

    /// A look is over. Says whether another is wanted.
    pub(crate) fn turn(&mut self) -> bool {
        self.passed = 0;
        self.entries.iter_mut().fold(self.whole.turn(), |open, entry| entry.turn() | open)
    }

    /// The places of the examples among the samples, in their order.
    pub(crate) fn places(&self) -> Vec<u64> {
        self.whole.examples.iter().map(|example| example.place).collect()
    }

    /// What was found, the whole run first; trace ids are still to come.
    pub(crate) fn found(&self, server: &[ServerPhases]) -> Vec<Attribution> {
        let names = &self.scope.manifest().entries;
        let whole = self.of(&self.whole, None, server);
        let of_entry = |(at, kinds): (u16, &Kinds)| self.of(kinds, Some(entry_name(names, at)), server);
        let entries = (0..).zip(&self.entries).filter_map(of_entry);
        whole.into_iter().chain(entries).collect()
    }

    fn of(&self, kinds: &Kinds, entry: Option<String>, server: &[ServerPhases]) -> Option<Attribution> {
        let (limits, scope) = (kinds.limits?, self.scope);
        let mut found = Attribution {
            entry,
            n: kinds.percentiles.n(),
            percentile: limits.percentile,
            slow_from_ns: limits.slow_from_ns,
            median_ns: limits.median_ns,
            typical_from_ns: limits.typical_ns[0],
            typical_to_ns: limits.typical_ns[1],
            slow: kinds.slow.group(),
            typical: kinds.typical.group(),
            parts: compared(&kinds.slow, &kinds.typical)?,
            traits: kinds.traits.told(&scope.windows, &scope.manifest().entries),
            state: kinds.under_way.state(&scope.run.series, self.moment_ns),
            when: kinds.when(self.moment_ns),
            examples: kinds.examples.iter().map(|example| self.example(example)).collect(),
            sentence: String::new(),
            notes: Vec::new(),
        };
        found.sentence = told::sentence(&found);
        found.notes = told::notes(&found, server, kinds.batch_wait_most_ns);
        Some(found)
    }

    fn example(&self, example: &Example) -> SlowExample {
        let row = &example.row;
        let parts = parts::NAMES.into_iter().zip(parts::parts(row)).filter(|(_, ns)| *ns != 0);
        let whole = |ns: i128| i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX });
        SlowExample {
            intended_ns: row.intended_ns,
            latency_ns: row.latency_ns(),
            entry: entry_name(&self.scope.manifest().entries, row.entry),
            step: self.scope.windows.all.get(example.window).map_or_else(String::new, |window| window.name.clone()),
            batch_size: row.batch_size,
            trace_id: None,
            parts: parts.map(|(name, ns)| (name.to_owned(), whole(ns))).collect(),
        }
    }
}

/// Where a success belongs.
struct At {
    /// Among all samples.
    place: u64,
    window: usize,
    /// The moment that it was intended in.
    sent: u32,
    /// The moment in the middle of it.
    under_way: u32,
    /// How long a batch may wait to fill; `None` where that is not known.
    delay_ns: Option<u64>,
}

/// From where on requests are slow, and which are typical.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Limits {
    percentile: f64,
    slow_from_ns: u64,
    median_ns: u64,
    typical_ns: [u64; 2],
}

/// One of the slowest.
#[derive(Debug, Clone, Copy)]
struct Example {
    place: u64,
    window: usize,
    row: Row,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// For the limits.
    Searching,
    /// The limits are known.
    Summing,
    Done,
}

/// Slow and typical requests while samples are looked at.
#[derive(Debug, Clone)]
struct Kinds {
    percentiles: Percentiles,
    stage: Stage,
    limits: Option<Limits>,
    slow: Sums,
    typical: Sums,
    traits: Traits,
    under_way: UnderWay,
    /// The slowest first.
    examples: Vec<Example>,
    most_examples: usize,
    /// What of the queue of slow ones, and of typical ones, was waiting for a batch to fill, at most; `None` where that is not
    /// known of each that states its queue.
    batch_wait_most_ns: Option<[u128; 2]>,
}

impl Kinds {
    fn new(windows: usize, entries: usize) -> Self {
        let wanted = [&SLOW[..], &TYPICAL, &[MEDIAN]].concat();
        Self {
            percentiles: Percentiles::of_whole(&wanted),
            stage: Stage::Searching,
            limits: None,
            slow: Sums::default(),
            typical: Sums::default(),
            traits: Traits::new(windows, entries),
            under_way: UnderWay::default(),
            examples: Vec::new(),
            most_examples: 0,
            batch_wait_most_ns: Some([0; 2]),
        }
    }

    fn look(&mut self, row: &Row, at: &At) {
        let ns = row.latency_ns();
        match (self.stage, self.limits) {
            (Stage::Searching, _) => self.percentiles.add(ns as f64),
            (Stage::Summing, Some(limits)) => self.sum(row, at, &limits),
            _ => {}
        }
    }

    fn sum(&mut self, row: &Row, at: &At, limits: &Limits) {
        let slow = row.latency_ns() >= limits.slow_from_ns;
        let typical = (limits.typical_ns[0]..=limits.typical_ns[1]).contains(&row.latency_ns());
        self.traits.add(row, at.window, at.sent, slow);
        if slow {
            self.slow.add(row, at.sent);
            self.show(row, at);
        } else if typical {
            self.typical.add(row, at.sent);
        }
        if slow || typical {
            self.under_way.add(at.under_way, slow);
            self.batch_wait_most_ns = delay::added(self.batch_wait_most_ns, row, at.delay_ns, slow);
        }
    }

    /// Keeps a slow one that is among the slowest; of equal ones the earliest.
    fn show(&mut self, row: &Row, at: &At) {
        let rank =
            |example: &Example| (Reverse(example.row.latency_ns()), example.row.intended_ns, example.row.sent_ns);
        let new = Example { place: at.place, window: at.window, row: *row };
        let place = self.examples.partition_point(|known| rank(known) <= rank(&new));
        if place < self.most_examples {
            self.examples.insert(place, new);
            self.examples.truncate(self.most_examples);
        }
    }

    fn turn(&mut self) -> bool {
        if self.stage != Stage::Searching {
            self.stage = Stage::Done;
            return false;
        }
        if self.percentiles.turn() {
            return true;
        }
        self.limits = self.limits_found();
        self.stage = if self.limits.is_some() { Stage::Summing } else { Stage::Done };
        self.limits.is_some()
    }

    /// `None` where there are too few requests, or the slow ones are as fast as typical ones.
    fn limits_found(&self) -> Option<Limits> {
        let n = self.percentiles.n() as f64;
        let percentile = SLOW.into_iter().find(|percentile| n * (1.0 - percentile / 100.0) + 1e-6 >= ENOUGH)?;
        let at = |percentile: f64| self.percentiles.value(percentile).map(|ns| ns as u64);
        let typical_ns = [at(TYPICAL[0])?, at(TYPICAL[1])?];
        let found = Limits { percentile, slow_from_ns: at(percentile)?, median_ns: at(MEDIAN)?, typical_ns };
        (found.slow_from_ns > typical_ns[1]).then_some(found)
    }

    /// When slow ones were sent, where there are enough moments to say.
    fn when(&self, moment_ns: u64) -> Option<SlowWhen> {
        let all = self.traits.all();
        let half_in = |of: fn(&(u32, u32)) -> u32| {
            let mut counts: Vec<u64> = all.iter().map(|(_, count)| u64::from(of(count))).collect();
            counts.sort_unstable_by_key(|count| Reverse(*count));
            let half = counts.iter().sum::<u64>().div_ceil(2);
            let held = counts.iter().scan(0, |held, count| {
                *held += count;
                Some(*held)
            });
            held.take_while(|held| *held < half).count() as u64 + 1
        };
        let moments = all.iter().filter(|(_, count)| count.0 > 0).count() as u64;
        let worst = all.iter().max_by_key(|(moment, count)| (count.1, Reverse(*moment)))?;
        (moments >= 10).then_some(SlowWhen {
            moment_ns,
            moments,
            half_in: half_in(|count| count.1),
            half_of_all_in: half_in(|count| count.0),
            worst_at_ns: u64::from(worst.0) * moment_ns,
            worst_n: u64::from(worst.1.1),
        })
    }
}
