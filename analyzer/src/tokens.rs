//! When the tokens of streamed answers came, and how many there were. Times count in the window of the arrival, as
//! latencies do; tokens per second count when the answers came, as throughput does.

use proofload_run::criteria::Metric;
use proofload_run::findings::Tokens;
use proofload_run::manifest::Manifest;
use proofload_run::sample::{Outcome, flags};
use proofload_run::units::NS_PER_S;

use crate::samples::Row;
use crate::scope::Seen;
use crate::stats::Population;

/// Times of tokens, as percentiles are taken of them.
#[derive(Debug, Clone)]
pub(crate) struct TokenTimes {
    /// From the intended arrival to the first token.
    pub(crate) ttft: Population,
    /// Mean time between the tokens of an answer.
    pub(crate) itl: Population,
    /// Longest wait between two pieces of an answer.
    pub(crate) longest_gap: Population,
}

impl TokenTimes {
    /// Of which the percentiles are wanted that the thresholds are about.
    pub(crate) fn new(manifest: &Manifest) -> Self {
        let thresholds = || manifest.thresholds.iter().map(|threshold| threshold.metric);
        let first = |metric| if let Metric::FirstToken(percentile) = metric { Some(percentile) } else { None };
        let gap = |metric| if let Metric::TokenGap(percentile) = metric { Some(percentile) } else { None };
        Self {
            ttft: Population::new(&thresholds().filter_map(first).collect::<Vec<_>>()),
            itl: Population::new(&thresholds().filter_map(gap).collect::<Vec<_>>()),
            longest_gap: Population::new(&[]),
        }
    }

    /// Looks at an arrival.
    pub(crate) fn add(&mut self, seen: &Seen<'_>) {
        let row = seen.row;
        if row.outcome != Outcome::Ok {
            return;
        }
        if let Some(ns) = row.ttft_ns() {
            self.ttft.add(ns, seen.block);
        }
        if let Some(ns) = row.itl_ns() {
            self.itl.add(ns.round() as u64, seen.block);
        }
        if row.last_token_ns > row.first_token_ns {
            self.longest_gap.add(row.longest_gap_ns, seen.block);
        }
    }

    /// A look is over. Says whether another is wanted.
    pub(crate) fn turn(&mut self) -> bool {
        let open = [self.ttft.turn(), self.itl.turn(), self.longest_gap.turn()];
        open.contains(&true)
    }
}

/// How many tokens there were.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TokenCounts {
    n: u64,
    stated_n: u64,
    prompt: u64,
    out: u64,
    /// Of the answers that came meanwhile.
    answered: u64,
}

impl TokenCounts {
    pub(crate) fn add_arrival(&mut self, row: &Row) {
        if row.outcome == Outcome::Ok && (row.first_token_ns > 0 || row.tokens_out > 0) {
            self.n += 1;
            self.stated_n += u64::from(row.flags & flags::TOKENS_STATED != 0);
            self.prompt += u64::from(row.tokens_in);
            self.out += u64::from(row.tokens_out);
        }
    }

    pub(crate) fn add_answer(&mut self, row: &Row) {
        self.answered += u64::from(row.tokens_out);
    }

    /// What is known of the tokens; `None` where nothing is.
    pub(crate) fn tokens(&self, times: &TokenTimes, measured_ns: u64) -> Option<Tokens> {
        let mean = |sum: u64| sum as f64 / self.n as f64;
        let per_s = |count: u64| count as f64 * NS_PER_S as f64 / measured_ns as f64;
        (self.n > 0).then(|| Tokens {
            n: self.n,
            stated_n: self.stated_n,
            ttft: times.ttft.summary(),
            itl: times.itl.summary(),
            longest_gap: times.longest_gap.summary(),
            mean_in: mean(self.prompt),
            mean_out: mean(self.out),
            out: self.answered,
            out_per_s: if measured_ns == 0 { 0.0 } else { per_s(self.answered) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::block;
    use crate::window::Place;

    const MS: u64 = 1_000_000;

    fn looked_at(rows: &[Row]) -> TokenTimes {
        let mut times =
            TokenTimes { ttft: Population::new(&[]), itl: Population::new(&[]), longest_gap: Population::new(&[]) };
        loop {
            for row in rows {
                let (place, block) = (Place::Measured(0), block(row.intended_ns));
                times.add(&Seen { row, place, answered_in: None, block, age_ns: 0 });
            }
            if !times.turn() {
                return times;
            }
        }
    }

    #[test]
    fn times_are_those_of_streamed_successes() {
        let row = |outcome, first_ms: u64, last_ms: u64, tokens_out| Row {
            intended_ns: 100 * MS,
            done_ns: 1000 * MS,
            first_token_ns: first_ms * MS,
            last_token_ns: last_ms * MS,
            longest_gap_ns: 7 * MS,
            tokens_in: 5,
            tokens_out,
            outcome,
            ..Row::EMPTY
        };
        let rows = [
            row(Outcome::Ok, 150, 190, 5),
            row(Outcome::Ok, 160, 160, 1),
            // Not streamed, and counted by the server.
            Row { flags: flags::TOKENS_STATED, ..row(Outcome::Ok, 0, 0, 30) },
            // Not generated text at all.
            Row { tokens_in: 0, ..row(Outcome::Ok, 0, 0, 0) },
            row(Outcome::Timeout, 170, 180, 3),
        ];
        let mut counts = TokenCounts::default();
        rows.iter().for_each(|row| counts.add_arrival(row));
        rows[..2].iter().for_each(|row| counts.add_answer(row));
        let found = counts.tokens(&looked_at(&rows), 2 * NS_PER_S).unwrap();
        assert_eq!((found.n, found.stated_n, found.out, found.out_per_s), (3, 1, 6, 3.0));
        assert_eq!((found.mean_in, found.mean_out), (5.0, 12.0));
        let ttft = found.ttft.unwrap();
        assert_eq!((ttft.n, ttft.max_ns, ttft.percentile(50.0).unwrap().latency_ns), (2, 60 * MS, 50 * MS));
        assert_eq!(found.itl.map(|itl| (itl.n, itl.max_ns)), Some((1, 10 * MS)));
        assert_eq!(found.longest_gap.map(|gap| (gap.n, gap.max_ns)), Some((1, 7 * MS)));
        let mut none = TokenCounts::default();
        none.add_arrival(&rows[3]);
        assert_eq!(none.tokens(&looked_at(&rows[3..4]), 1), None);
    }
}
