//! The shape of the latency: exact percentiles up to the last that has a sample beyond it, and counts by time and latency
//! for a heat map. Draws nothing.

use proofload_run::findings::{CurvePoint, HeatColumn, HeatMap, LatencyShape};
use proofload_run::sample::Outcome;

use crate::scope::{Scope, Seen};
use crate::stats::{Percentiles, enough};
use crate::timeline::width_ns;

/// Where the curve is drawn: evenly over the number of nines, as far as anybody has samples for.
const CURVE: [f64; 24] = [
    1.0, 5.0, 10.0, 25.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 93.0, 95.0, 97.0, 98.0, 99.0, 99.5, 99.8, 99.9,
    99.95, 99.98, 99.99, 99.995, 99.999,
];

/// Columns of the heat map at most: each is a few points wide on a page.
const MOST_COLUMNS: u64 = 120;
/// Rows for each factor of ten: a row is 26 % higher than the one below it.
const ROWS_PER_DECADE: u32 = 10;
/// 10^19.3 ns is more than 64 bits hold.
const ROWS: usize = 194;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    curve: Percentiles,
    column_ns: u64,
    columns: Vec<[u64; ROWS]>,
}

impl Shape {
    pub(crate) fn new(scope: &Scope<'_>) -> Self {
        let last_ns = scope.run.samples.extent().last_seen_ns.max(scope.driven_ns);
        let column_ns = width_ns(last_ns, MOST_COLUMNS);
        let columns = vec![[0; ROWS]; usize::try_from(last_ns / column_ns + 1).unwrap_or(1)];
        Self { curve: Percentiles::of_many(&CURVE), column_ns, columns }
    }

    /// Counts a sample, in the first look only.
    pub(crate) fn count(&mut self, seen: &Seen<'_>) {
        if seen.row.outcome != Outcome::Ok {
            return;
        }
        let last = self.columns.len() - 1;
        let column = usize::try_from(seen.row.intended_ns / self.column_ns).unwrap_or(last).min(last);
        self.columns[column][row_of(seen.row.latency_ns())] += 1;
    }

    /// Looks at a sample that has been counted.
    pub(crate) fn look(&mut self, seen: &Seen<'_>) {
        if seen.is_measured_success() {
            self.curve.add(seen.row.latency_ns() as f64);
        }
    }

    /// A look is over. Says whether another is wanted.
    pub(crate) fn turn(&mut self) -> bool {
        self.curve.turn()
    }

    /// The shape; `None` without a success.
    pub(crate) fn found(&self) -> Option<LatencyShape> {
        let starts = (0..).map(|index: u64| index * self.column_ns);
        let columns: Vec<HeatColumn> =
            starts.zip(&self.columns).filter_map(|(t_ns, counts)| column(t_ns, counts)).collect();
        if columns.is_empty() {
            return None;
        }
        let heat = HeatMap { column_ns: self.column_ns, rows_per_decade: ROWS_PER_DECADE, columns };
        let n = self.curve.n();
        let has_some_beyond = |percentile: &&f64| n as f64 * (1.0 - **percentile / 100.0) >= 1.0 - 1e-6;
        let point = |percentile: f64| {
            let latency_ns = self.curve.value(percentile)? as u64;
            Some(CurvePoint { percentile, latency_ns, enough: enough(n, percentile) })
        };
        let curve = CURVE.iter().filter(has_some_beyond).filter_map(|percentile| point(*percentile)).collect();
        Some(LatencyShape { curve, heat })
    }
}

fn row_of(latency_ns: u64) -> usize {
    let row = (latency_ns.max(1) as f64).log10() * f64::from(ROWS_PER_DECADE);
    (row as usize).min(ROWS - 1)
}

fn column(t_ns: u64, counts: &[u64; ROWS]) -> Option<HeatColumn> {
    let first = counts.iter().position(|n| *n > 0)?;
    let last = counts.iter().rposition(|n| *n > 0)?;
    Some(HeatColumn { t_ns, first_row: u32::try_from(first).ok()?, n: counts[first..=last].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_are_tenths_of_a_decade() {
        let check = |ns: u64, row: usize| assert_eq!(row_of(ns), row, "{ns} ns");
        check(0, 0);
        check(1, 0);
        check(10, 10);
        check(999_999, 59);
        check(1_000_000, 60);
        check(1_258_926, 61);
        check(u64::MAX, 192);
    }

    proptest! {
        /// Every latency lies between the edges that its row states.
        #[test]
        fn rows_hold_what_they_say(ns in 1_u64..1 << 60) {
            let edge = |row: usize| 10_f64.powf(row as f64 / f64::from(ROWS_PER_DECADE));
            let row = row_of(ns);
            prop_assert!(edge(row) * (1.0 - 1e-9) <= ns as f64 && ns as f64 <= edge(row + 1) * (1.0 + 1e-9));
        }
    }
}
