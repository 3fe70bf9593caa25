//! A part of a run while its samples are looked at: some of the measured arrivals, and the answers that came meanwhile.
//! The whole, an entry or a window.

use proofload_run::criteria::Metric;
use proofload_run::findings::Tokens;
use proofload_run::manifest::Manifest;
use proofload_run::sample::{Outcome, flags};

use crate::rates::{Flow, Outcomes};
use crate::samples::Row;
use crate::scope::Seen;
use crate::slo::{Levels, Tally};
use crate::stats::{Hits, Population};
use crate::tokens::{TokenCounts, TokenTimes};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) outcomes: Outcomes,
    pub(crate) flow: Flow,
    /// Latencies of successes.
    pub(crate) population: Population,
    pub(crate) token_times: TokenTimes,
    pub(crate) slos: Vec<Tally>,
    pub(crate) cache_hits: Hits,
    token_counts: TokenCounts,
    bytes_out: u64,
    bytes_in: u64,
    successes: u64,
}

impl Part {
    /// Of no samples yet, and with the percentiles that the thresholds are about.
    pub(crate) fn new(manifest: &Manifest, levels: &Levels) -> Self {
        let percentile = |metric| if let Metric::Percentile(percentile) = metric { Some(percentile) } else { None };
        let wanted = manifest.thresholds.iter().filter_map(|threshold| percentile(threshold.metric));
        Self {
            outcomes: Outcomes::default(),
            flow: Flow::default(),
            population: Population::new(&wanted.collect::<Vec<_>>()),
            token_times: TokenTimes::new(manifest),
            slos: levels.tallies(),
            cache_hits: Hits::default(),
            token_counts: TokenCounts::default(),
            bytes_out: 0,
            bytes_in: 0,
            successes: 0,
        }
    }

    /// Counts an arrival, in the first look only.
    pub(crate) fn count_arrival(&mut self, seen: &Seen<'_>, levels: &Levels) {
        let row = seen.row;
        self.outcomes.add(row.outcome);
        self.flow.add_arrival(seen);
        self.token_counts.add_arrival(row);
        self.bytes_out += u64::from(row.bytes_out);
        levels.count(&mut self.slos, seen);
        if row.outcome == Outcome::Ok {
            self.successes += 1;
            self.bytes_in += u64::from(row.bytes_in);
            self.cache_hits.add(seen.block, row.flags & flags::CACHE_HIT != 0);
        }
    }

    /// Counts an answer, in the first look only.
    pub(crate) fn count_answer(&mut self, row: &Row, is_in_time: bool) {
        self.flow.add_answer(is_in_time);
        self.token_counts.add_answer(row);
    }

    /// Looks at an arrival that has been counted.
    pub(crate) fn look(&mut self, seen: &Seen<'_>) {
        if seen.row.outcome == Outcome::Ok {
            self.population.add(seen.row.latency_ns(), seen.block);
            self.token_times.add(seen);
        }
    }

    /// A look is over. Says whether another is wanted.
    pub(crate) fn turn(&mut self) -> bool {
        [self.population.turn(), self.token_times.turn()].contains(&true)
    }

    pub(crate) fn tokens(&self, measured_ns: u64) -> Option<Tokens> {
        self.token_counts.tokens(&self.token_times, measured_ns)
    }

    /// Mean body sent.
    pub(crate) fn mean_bytes_out(&self) -> f64 {
        self.bytes_out as f64 / self.flow.arrivals.max(1) as f64
    }

    /// Mean body received, over the successes.
    pub(crate) fn mean_bytes_in(&self) -> f64 {
        self.bytes_in as f64 / self.successes.max(1) as f64
    }
}
