//! Whether computing was slow for a while: longer than at other times of the run with batches of the same size, so that
//! larger batches under more load are none of it. Pure.

use std::collections::BTreeMap;

use proofload_run::findings::{Incident, IncidentKind};
use proofload_run::manifest::Entry;
use proofload_run::sample::{Outcome, flags};
use proofload_run::units::{format_duration_ns, significant};

use super::stretch::{Stretch, at, stretches, usual, window};
use crate::errors::entry_name;
use crate::samples::Row;
use crate::scope::Seen;

/// Computing is slow from this ratio on.
const SLOW: f64 = 1.5;
/// And when the mean of a window's logarithms lies so many of its standard errors above the usual one.
const CLEAR: f64 = 4.0;
/// Executions of a window with fewer say nothing.
const LEAST_EXECUTIONS: f64 = 5.0;
/// Bins of a doubling: a median is good to a twentieth, which is all that is asked of it.
const BINS_PER_DOUBLING: f64 = 16.0;
const BINS: usize = 40 * 16;

/// Computing times by batch sizes from one power of two to the next.
type BySize = BTreeMap<(u16, u32), Vec<u32>>;

/// What one window of an entry saw. Each request counts as its share of an execution.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Seconds {
    executions: f64,
    requests: u64,
    compute_ns: f64,
    log_ratio: f64,
    squares: f64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Compute {
    counts: BySize,
    medians: BTreeMap<(u16, u32), f64>,
    windows: BTreeMap<u16, Vec<Seconds>>,
}

impl Compute {
    /// The first look.
    pub(super) fn count(&mut self, seen: &Seen<'_>) {
        if let Some(row) = computed(seen) {
            let bins = self.counts.entry(class(row)).or_insert_with(|| vec![0; BINS]);
            let bin = ((row.phases_ns[2] as f64).log2() * BINS_PER_DOUBLING) as usize;
            let count = &mut bins[bin.min(BINS - 1)];
            *count = count.saturating_add(1);
        }
    }

    /// The first look is over. Says whether a second is wanted.
    pub(super) fn turn(&mut self) -> bool {
        self.medians =
            std::mem::take(&mut self.counts).into_iter().map(|(class, bins)| (class, median(&bins))).collect();
        !self.medians.is_empty()
    }

    /// The second.
    pub(super) fn look(&mut self, seen: &Seen<'_>) {
        let Some(row) = computed(seen) else { return };
        let Some(median_ns) = self.medians.get(&class(row)) else { return };
        let (share, log_ratio) = (1.0 / f64::from(row.batch_size.max(1)), (row.phases_ns[2] as f64 / median_ns).ln());
        let found = at(self.windows.entry(row.entry).or_default(), window(row.done_ns));
        found.executions += share;
        found.requests += 1;
        found.compute_ns += row.phases_ns[2] as f64;
        found.log_ratio += share * log_ratio;
        found.squares += share * log_ratio * log_ratio;
    }

    pub(super) fn incidents(&self, entries: &[Entry]) -> Vec<Incident> {
        let of_entry = |(entry, windows): (&u16, &Vec<Seconds>)| of_entry(&entry_name(entries, *entry), windows);
        self.windows.iter().flat_map(of_entry).collect()
    }
}

/// A success whose answer says how long it was computed.
fn computed<'a>(seen: &Seen<'a>) -> Option<&'a Row> {
    let states = seen.row.flags & flags::HAS_PHASES != 0 && seen.row.flags & flags::CACHE_HIT == 0;
    (states && seen.row.outcome == Outcome::Ok && seen.row.phases_ns[2] > 0).then_some(seen.row)
}

fn class(row: &Row) -> (u16, u32) {
    (row.entry, u32::from(row.batch_size.max(1)).ilog2())
}

/// The middle of the bin that the median lies in, in ns.
fn median(bins: &[u32]) -> f64 {
    let all: u64 = bins.iter().map(|n| u64::from(*n)).sum();
    let mut before = 0;
    let bin = bins.iter().position(|n| {
        before += u64::from(*n);
        2 * before >= all
    });
    ((bin.unwrap_or(0) as f64 + 0.5) / BINS_PER_DOUBLING).exp2()
}

fn of_entry(name: &str, windows: &[Seconds]) -> Vec<Incident> {
    let enough = |seconds: &&Seconds| seconds.executions >= LEAST_EXECUTIONS;
    let mean = |seconds: &Seconds| seconds.log_ratio / seconds.executions;
    let Some(usual_log) = usual(windows.iter().filter(enough).map(mean)) else { return Vec::new() };
    let odd = |seconds: &Seconds| {
        enough(&seconds).then(|| {
            let above = mean(seconds) - usual_log;
            let variance = (seconds.squares / seconds.executions - mean(seconds).powi(2)).max(0.0);
            above >= SLOW.ln() && above >= CLEAR * (variance / seconds.executions).sqrt()
        })
    };
    let odd: Vec<Option<bool>> = windows.iter().map(odd).collect();
    stretches(&odd).into_iter().map(|stretch| incident(name, windows, stretch, usual_log)).collect()
}

fn incident(name: &str, windows: &[Seconds], stretch: Stretch, usual_log: f64) -> Incident {
    let inside = || windows[stretch.from..stretch.to].iter();
    let sum = |of: fn(&Seconds) -> f64| inside().map(of).sum::<f64>();
    let requests: u64 = inside().map(|seconds| seconds.requests).sum();
    let times = (sum(|s| s.log_ratio) / sum(|s| s.executions) - usual_log).exp();
    let measured = sum(|s| s.compute_ns) / requests.max(1) as f64;
    let (start_ns, end_ns) = stretch.ns();
    let [from, to, mean] = [start_ns as f64, end_ns as f64, measured].map(format_duration_ns);
    Incident {
        kind: IncidentKind::SlowCompute,
        start_ns,
        end_ns,
        entry: Some(name.to_owned()),
        measured,
        usual: measured / times,
        unit: "ns of computing".to_owned(),
        n: requests,
        sentence: format!(
            "computing {name} took {} times as long from {from} to {to} as at other times with batches of the same size: \
             {mean} on average ({requests} requests)",
            significant(times)
        ),
    }
}
