//! Whether errors came evenly or in bursts, and where the bursts were. If every request failed with the same chance, errors would
//! be dealt out over the time as the arrivals are; the variance of their number in windows, over what it would be then (Fano's
//! index), is held against runs with as many errors at random. Counts by second in the first look, kinds of errors in the next.

use std::collections::BTreeMap;
use std::ops::Range;

use proofload_run::findings::{Burst, BurstClass, ErrorBursts, Pattern};
use proofload_run::manifest::Entry;
use proofload_run::sample::Outcome;
use proofload_run::units::{NS_PER_S, format_duration_ns, significant};

use super::chance::{Chance, p_value};
use super::unevenness::{Count, Unevenness, spikes, unevenness};
use crate::errors::entry_name;
use crate::scope::Seen;
use crate::stats::BySecond;

/// With fewer errors it is not said whether they come in bursts.
const LEAST_ERRORS: u64 = 10;
/// Chance may be as uneven this rarely.
const MOST_P: f64 = 0.01;
/// Bursts that are shown: those with most errors.
const MOST_SHOWN: usize = 20;
/// Kinds of errors that are kept of one.
const MOST_CLASSES: usize = 5;
/// Errors that are dealt out at random: thinned at random, even ones stay even and bursts stay bursts.
const MOST_DEALT: u64 = 2000;
const SEED: u64 = 0xb0057;

/// A kind of error: entry, outcome, status.
type Class = (u16, Outcome, u16);

/// Errors while samples are looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Bursts {
    seconds: BySecond<Count>,
    state: State,
}

#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    Counting,
    Sorting(Vec<Found>),
    Done(Vec<Found>),
}

/// A burst by its seconds.
#[derive(Debug, Clone)]
struct Found {
    seconds: Range<u32>,
    classes: BTreeMap<Class, u64>,
}

impl Bursts {
    /// Looks at a measured arrival, once in every look.
    pub(super) fn look(&mut self, seen: &Seen<'_>) {
        let row = seen.row;
        match &mut self.state {
            State::Counting => self.seconds.at(seen.block).add(row.outcome.is_error()),
            State::Sorting(bursts) if row.outcome.is_error() => {
                let after = bursts.partition_point(|burst| burst.seconds.end <= seen.block);
                let burst = bursts.get_mut(after).filter(|burst| burst.seconds.contains(&seen.block));
                let class = (row.entry, row.outcome, row.status);
                burst.into_iter().for_each(|burst| *burst.classes.entry(class).or_default() += 1);
            }
            State::Sorting(_) | State::Done(_) => {}
        }
    }

    /// A look is over. Says whether another is wanted.
    pub(super) fn turn(&mut self) -> bool {
        self.state = match std::mem::take(&mut self.state) {
            State::Counting => {
                let ranges = spikes(&self.counts());
                let found = ranges.into_iter().map(|seconds| Found { seconds, classes: BTreeMap::new() });
                let found: Vec<Found> = found.collect();
                if found.is_empty() { State::Done(found) } else { State::Sorting(found) }
            }
            State::Sorting(found) | State::Done(found) => State::Done(found),
        };
        matches!(self.state, State::Sorting(_))
    }

    fn counts(&self) -> Vec<(u32, Count)> {
        self.seconds.iter().filter(|(_, count)| count.arrivals > 0).map(|(second, count)| (second, *count)).collect()
    }

    /// What there is to say; `None` where nothing failed.
    pub(super) fn found(&self, entries: &[Entry]) -> Option<ErrorBursts> {
        let counts = self.counts();
        let all = counts.iter().fold(Count::default(), |all, (_, count)| all.plus(*count));
        if all.errors == 0 {
            return None;
        }
        let Unevenness { dispersion, window_s, .. } = unevenness(&counts);
        let p = (all.errors >= LEAST_ERRORS).then(|| p_of_chance(&counts));
        let pattern = match p {
            None => Pattern::Unknown,
            Some(p) if p <= MOST_P => Pattern::Bursts,
            Some(_) => Pattern::Even,
        };
        let bursts = if pattern == Pattern::Bursts { self.bursts(&counts, entries) } else { Vec::new() };
        let mut found = ErrorBursts {
            pattern,
            errors: all.errors,
            arrivals: all.arrivals,
            dispersion,
            window_ns: window_s * NS_PER_S,
            p,
            in_bursts: bursts.iter().map(|burst| burst.errors).sum(),
            bursts_n: bursts.len() as u64,
            bursts,
            sentence: String::new(),
        };
        found.sentence = sentence(&found);
        found.bursts.sort_by_key(|burst| std::cmp::Reverse(burst.errors));
        found.bursts.truncate(MOST_SHOWN);
        found.bursts.sort_by_key(|burst| burst.from_ns);
        Some(found)
    }

    fn bursts(&self, counts: &[(u32, Count)], entries: &[Entry]) -> Vec<Burst> {
        let (State::Sorting(found) | State::Done(found)) = &self.state else { return Vec::new() };
        let burst = |found: &Found| {
            let from = counts.partition_point(|(second, _)| *second < found.seconds.start);
            let to = counts.partition_point(|(second, _)| *second < found.seconds.end);
            let all = counts[from..to].iter().fold(Count::default(), |all, (_, count)| all.plus(*count));
            Burst {
                from_ns: u64::from(found.seconds.start) * NS_PER_S,
                to_ns: u64::from(found.seconds.end) * NS_PER_S,
                errors: all.errors,
                arrivals: all.arrivals,
                classes: classes(&found.classes, entries),
            }
        };
        found.iter().map(burst).collect()
    }
}

fn classes(found: &BTreeMap<Class, u64>, entries: &[Entry]) -> Vec<BurstClass> {
    let class = |(&(entry, outcome, status), count): (&Class, &u64)| BurstClass {
        entry: entry_name(entries, entry),
        outcome: outcome.as_str().to_owned(),
        status,
        count: *count,
    };
    let mut classes: Vec<BurstClass> = found.iter().map(class).collect();
    classes.sort_by_key(|class| std::cmp::Reverse(class.count));
    classes.truncate(MOST_CLASSES);
    classes
}

/// The share of runs with as many errors at random that are as uneven.
fn p_of_chance(counts: &[(u32, Count)]) -> f64 {
    let mut chance = Chance::seeded(SEED);
    let thinned = thinned(counts, &mut chance);
    let errors = thinned.iter().map(|(_, count)| count.errors).sum::<u64>();
    let seen = unevenness(&thinned).deviations;
    // Arrivals up to each second: a number below their sum is one of them.
    let mut arrivals = 0;
    let ends: Vec<u64> = counts
        .iter()
        .map(|(_, count)| {
            arrivals += count.arrivals;
            arrivals
        })
        .collect();
    p_value(|| {
        let mut dealt: Vec<(u32, Count)> =
            thinned.iter().map(|(second, count)| (*second, Count { errors: 0, ..*count })).collect();
        for _ in 0..errors {
            let arrival = chance.below(arrivals);
            dealt[ends.partition_point(|end| *end <= arrival)].1.errors += 1;
        }
        unevenness(&dealt).deviations >= seen
    })
}

/// The same with no more errors than are dealt out, chosen at random (D. E. Knuth, "The Art of Computer Programming", 3.4.2,
/// algorithm S).
fn thinned(counts: &[(u32, Count)], chance: &mut Chance) -> Vec<(u32, Count)> {
    let mut left = counts.iter().map(|(_, count)| count.errors).sum::<u64>();
    let mut wanted = left.min(MOST_DEALT);
    let mut thin = |(second, count): &(u32, Count)| {
        let mut errors = 0;
        for _ in 0..count.errors {
            let taken = chance.below(left) < wanted;
            left -= 1;
            wanted -= u64::from(taken);
            errors += u64::from(taken);
        }
        (*second, Count { errors, ..*count })
    };
    counts.iter().map(&mut thin).collect()
}

fn sentence(found: &ErrorBursts) -> String {
    let errors = format!("{} of {} requests failed", found.errors, found.arrivals);
    let window = format_duration_ns(found.window_ns as f64);
    let dispersion = significant(found.dispersion);
    match (found.pattern, found.p) {
        (Pattern::Bursts, Some(p)) => {
            let worst = found.bursts.iter().max_by_key(|burst| burst.errors).map_or_else(String::new, |burst| {
                let (from, long) = (burst.from_ns, burst.to_ns - burst.from_ns);
                let (from, long) = (format_duration_ns(from as f64), format_duration_ns(long as f64));
                format!(", the worst at {from} for {long}: {} of {}", burst.errors, burst.arrivals)
            });
            let share = significant(100.0 * found.in_bursts as f64 / found.errors as f64);
            let many = match found.bursts_n {
                0 => "none of them stands out alone".to_owned(),
                1 => format!("{share} % of them in one burst{worst}"),
                n => format!("{share} % of them in {n} bursts{worst}"),
            };
            format!(
                "{errors}, not evenly: {many} (variance {dispersion} times that of even errors in windows of {window}, p = {})",
                significant(p)
            )
        }
        (Pattern::Even, Some(p)) => format!(
            "{errors}, no less evenly than by chance (variance {dispersion} times that of even errors in windows of {window}, p = {})",
            significant(p)
        ),
        _ => format!("{errors}: too few to say whether they come in bursts"),
    }
}
