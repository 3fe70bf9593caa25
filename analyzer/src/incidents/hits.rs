//! Whether the cache was lost for a while: far fewer answers than usual came from it. The time before it was first filled is
//! none. Pure.

use std::collections::BTreeMap;

use proofload_run::findings::{Incident, IncidentKind};
use proofload_run::manifest::Entry;
use proofload_run::sample::{Outcome, flags};
use proofload_run::units::{format_duration_ns, significant};

use super::stretch::{Stretch, at, stretches, usual, window};
use crate::errors::entry_name;
use crate::scope::Seen;

/// Below so many hits usually, nobody relies on the cache.
const LEAST_USUAL: f64 = 0.1;
/// The share falls below this part of the usual one.
const LOST: f64 = 0.6;
/// And is so many standard errors below it.
const CLEAR: f64 = 4.0;
/// Successes of a window; with fewer it says nothing.
const LEAST: u32 = 10;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Count {
    successes: u32,
    hits: u32,
}

impl Count {
    fn share(self) -> f64 {
        if self.successes < LEAST { f64::NAN } else { f64::from(self.hits) / f64::from(self.successes) }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Hits {
    windows: BTreeMap<u16, Vec<Count>>,
}

impl Hits {
    /// The only look.
    pub(super) fn count(&mut self, seen: &Seen<'_>) {
        let row = seen.row;
        if row.outcome == Outcome::Ok {
            let count = at(self.windows.entry(row.entry).or_default(), window(row.done_ns));
            count.successes += 1;
            count.hits += u32::from(row.flags & flags::CACHE_HIT != 0);
        }
    }

    pub(super) fn incidents(&self, entries: &[Entry]) -> Vec<Incident> {
        let of_entry = |(entry, windows): (&u16, &Vec<Count>)| of_entry(&entry_name(entries, *entry), windows);
        self.windows.iter().flat_map(of_entry).collect()
    }
}

fn of_entry(name: &str, windows: &[Count]) -> Vec<Incident> {
    let usual = usual(windows.iter().map(|count| count.share())).filter(|usual| *usual >= LEAST_USUAL);
    let Some(usual) = usual else { return Vec::new() };
    let odd = |count: &Count| {
        let share = Some(count.share()).filter(|share| share.is_finite())?;
        let error = (usual * (1.0 - usual) / f64::from(count.successes)).sqrt();
        Some(share < LOST * usual && share <= usual - CLEAR * error)
    };
    let odd: Vec<Option<bool>> = windows.iter().map(odd).collect();
    let filled = odd.iter().position(|odd| *odd == Some(false)).unwrap_or(odd.len());
    let lost = stretches(&odd).into_iter().filter(|stretch| stretch.from > filled);
    lost.map(|stretch| incident(name, windows, stretch, usual)).collect()
}

fn incident(name: &str, windows: &[Count], stretch: Stretch, usual: f64) -> Incident {
    let inside = || windows[stretch.from..stretch.to].iter();
    let successes: u64 = inside().map(|count| u64::from(count.successes)).sum();
    let hits: u64 = inside().map(|count| u64::from(count.hits)).sum();
    let measured = hits as f64 / successes.max(1) as f64;
    let (start_ns, end_ns) = stretch.ns();
    let [from, to] = [start_ns, end_ns].map(|ns| format_duration_ns(ns as f64));
    let [share, usually] = [measured, usual].map(|share| format!("{} %", significant(share * 100.0)));
    Incident {
        kind: IncidentKind::CacheCollapse,
        start_ns,
        end_ns,
        entry: Some(name.to_owned()),
        measured,
        usual,
        unit: "share from the cache".to_owned(),
        n: successes,
        sentence: format!(
            "of {name}, {share} of {successes} answers came from the cache from {from} to {to}, usually {usually}: it was \
             cleared, or what it held was"
        ),
    }
}
