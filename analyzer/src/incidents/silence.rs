//! Whether the target fell silent while requests were under way: it froze, or the way to it did. Pure.
//!
//! The first look notes in which hundredths of a second an answer came, and how many came in each second. What lies between
//! two answers is a silence; it counts when many answers were due in it, and when it is far longer than this run's usual
//! longest. The second look counts who waited through half of it or more: without them there was no load.

use proofload_run::events::{Event, EventKind};
use proofload_run::findings::{Incident, IncidentKind};
use proofload_run::sample::Outcome;
use proofload_run::units::{NS_PER_S, format_duration_ns};

use crate::samples::Row;
use crate::scope::Seen;

/// A day is a megabyte of them.
const CELL_NS: u64 = 10_000_000;
const CELLS_PER_S: usize = (NS_PER_S / CELL_NS) as usize;
/// A shorter silence is no freeze worth a name.
const LEAST_CELLS: usize = 25;
/// Answers that were due in it. By chance, with Poisson answers, one silence in e^20 is as long.
const LEAST_DUE: f64 = 20.0;
/// Times the usual longest silence.
const TIMES_USUAL: usize = 4;
/// The usual longest silence is the median of the longest in so many cells each.
const STRETCH: usize = 10 * CELLS_PER_S;
/// How far back answers are counted to say how many were due, seconds.
const BACK_S: usize = 10;
/// Who waited through half of it.
const LEAST_WAITED: u64 = 3;
/// Of the longest.
const MOST: usize = 100;

/// Between two answers, in cells: from the one after the first to the second's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gap {
    from: usize,
    to: usize,
    waited: u64,
}

impl Gap {
    fn cells(self) -> usize {
        self.to - self.from
    }

    fn ns(self) -> (u64, u64) {
        (self.from as u64 * CELL_NS, self.to as u64 * CELL_NS)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Silence {
    answered: Vec<bool>,
    answers: Vec<u32>,
    usual_ns: u64,
    /// In order of time.
    gaps: Vec<Gap>,
}

impl Silence {
    pub(super) fn new(driven_ns: u64) -> Self {
        let seconds = usize::try_from(driven_ns / NS_PER_S).unwrap_or(0);
        let (answered, answers) = (vec![false; seconds * CELLS_PER_S], vec![0; seconds]);
        Self { answered, answers, usual_ns: 0, gaps: Vec::new() }
    }

    /// The first look.
    pub(super) fn count(&mut self, row: &Row) {
        if is_answer(row) {
            let cell = usize::try_from(row.done_ns / CELL_NS).unwrap_or(usize::MAX);
            self.answered.get_mut(cell).into_iter().for_each(|answered| *answered = true);
            self.answers.get_mut(cell / CELLS_PER_S).into_iter().for_each(|answers| *answers += 1);
        }
    }

    /// The second.
    pub(super) fn look(&mut self, seen: &Seen<'_>) {
        let row = seen.row;
        if row.sent_ns == 0 || self.gaps.is_empty() {
            return;
        }
        let until_ns = row.intended_ns + seen.age_ns;
        let first = self.gaps.partition_point(|gap| gap.ns().1 <= row.sent_ns);
        for gap in &mut self.gaps[first..] {
            let (from, to) = gap.ns();
            if from >= until_ns {
                return;
            }
            gap.waited += u64::from(until_ns.min(to) - row.sent_ns.max(from) >= (to - from) / 2);
        }
    }

    /// The first look is over. Says whether a second is wanted.
    pub(super) fn turn(&mut self, events: &[Event]) -> bool {
        let all = gaps(&self.answered);
        let usual = usual_longest(&all, self.answered.len());
        self.usual_ns = usual as u64 * CELL_NS;
        let least = LEAST_CELLS.max(TIMES_USUAL * usual);
        self.gaps = all.into_iter().filter(|gap| gap.cells() >= least && self.due(gap) >= LEAST_DUE).collect();
        self.gaps.retain(|gap| !is_our_own(*gap, events));
        self.gaps.sort_by_key(|gap| std::cmp::Reverse(gap.cells()));
        self.gaps.truncate(MOST);
        self.gaps.sort_by_key(|gap| gap.from);
        !self.gaps.is_empty()
    }

    /// How many answers would have come in it at the rate of the seconds before.
    fn due(&self, gap: &Gap) -> f64 {
        let second = gap.from / CELLS_PER_S;
        let before = &self.answers[second.saturating_sub(BACK_S)..second.min(self.answers.len())];
        let per_s = before.iter().map(|n| f64::from(*n)).sum::<f64>() / before.len().max(1) as f64;
        per_s * gap.cells() as f64 / CELLS_PER_S as f64
    }

    pub(super) fn incidents(&self) -> Vec<Incident> {
        self.gaps.iter().filter(|gap| gap.waited >= LEAST_WAITED).map(|gap| self.incident(*gap)).collect()
    }

    fn incident(&self, gap: Gap) -> Incident {
        let (start_ns, end_ns) = gap.ns();
        let length_ns = end_ns - start_ns;
        let (length, at) = (format_duration_ns(length_ns as f64), format_duration_ns(start_ns as f64));
        let (waited, usual) = (gap.waited, format_duration_ns(self.usual_ns.max(CELL_NS) as f64));
        Incident {
            kind: IncidentKind::Freeze,
            start_ns,
            end_ns,
            entry: None,
            measured: length_ns as f64,
            usual: self.usual_ns as f64,
            unit: "ns without an answer".to_owned(),
            n: gap.waited,
            sentence: format!(
                "nothing was answered for {length} from {at} on while {waited} requests waited: the target froze, or the \
                 way to it; its longest silence is usually {usual}"
            ),
        }
    }
}

/// Whether the target said something.
fn is_answer(row: &Row) -> bool {
    match row.outcome {
        Outcome::Ok | Outcome::Shed | Outcome::ServerError | Outcome::Rejected | Outcome::BadBody => row.done_ns > 0,
        Outcome::Timeout | Outcome::ConnectError | Outcome::TransportError | Outcome::InFlight | Outcome::Dropped => {
            false
        }
    }
}

/// What lies between answers.
fn gaps(answered: &[bool]) -> Vec<Gap> {
    let cells = answered.iter().enumerate().filter(|(_, answered)| **answered).map(|(cell, _)| cell);
    let mut last = None;
    let mut found = Vec::new();
    for cell in cells {
        if let Some(from) = last.replace(cell + 1).filter(|from| *from < cell) {
            found.push(Gap { from, to: cell, waited: 0 });
        }
    }
    found
}

/// The median over stretches of time of the longest gap that begins in each. Those without an answer have none.
fn usual_longest(gaps: &[Gap], cells: usize) -> usize {
    let mut longest = vec![0_usize; cells / STRETCH + 1];
    for gap in gaps {
        let of_stretch = &mut longest[gap.from / STRETCH];
        *of_stretch = (*of_stretch).max(gap.cells());
    }
    let middle = longest.len() / 2;
    *longest.select_nth_unstable(middle).1
}

/// Whether the generator was held up meanwhile.
fn is_our_own(gap: Gap, events: &[Event]) -> bool {
    let (from, to) = gap.ns();
    let held_up = |event: &Event| match event.kind {
        EventKind::Stalled { for_ns } | EventKind::Suspended { for_ns } => {
            (event.t_ns + for_ns).min(to).saturating_sub(event.t_ns.max(from))
        }
        _ => 0,
    };
    events.iter().map(held_up).sum::<u64>() >= (to - from) / 2
}
