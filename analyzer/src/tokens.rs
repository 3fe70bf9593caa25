//! When the tokens of streamed answers came, and how many there were. Times count in the window of the arrival, as
//! latencies do; tokens per second count when the answers came, as throughput does.

use proofload_run::findings::Tokens;
use proofload_run::sample::{Outcome, flags};
use proofload_run::units::NS_PER_S;

use crate::load::Row;
use crate::stats::{Population, block};

/// Times of tokens, as percentiles are taken of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TokenTimes {
    /// From the intended arrival to the first token.
    pub(crate) ttft: Population,
    /// Mean time between the tokens of an answer.
    pub(crate) itl: Population,
    /// Longest wait between two pieces of an answer.
    pub(crate) longest_gap: Population,
}

impl TokenTimes {
    /// Of the successes among some arrivals.
    pub(crate) fn of<'a>(arrivals: &[&'a Row]) -> Self {
        let successes = || arrivals.iter().copied().filter(|row| row.outcome == Outcome::Ok);
        let gathered = |time: &dyn Fn(&'a Row) -> Option<u64>| {
            successes().filter_map(|row| Some((time(row)?, block(row.intended_ns)))).collect()
        };
        Self {
            ttft: gathered(&Row::ttft_ns),
            itl: gathered(&|row| row.itl_ns().map(|ns| ns.round() as u64)),
            longest_gap: gathered(&|row| (row.last_token_ns > row.first_token_ns).then_some(row.longest_gap_ns)),
        }
    }
}

/// What is known of the tokens; `None` where nothing is.
pub(crate) fn tokens(times: &TokenTimes, arrivals: &[&Row], answers: &[&Row], measured_ns: u64) -> Option<Tokens> {
    let told = |row: &&&Row| row.outcome == Outcome::Ok && (row.first_token_ns > 0 || row.tokens_out > 0);
    let known: Vec<&&Row> = arrivals.iter().filter(told).collect();
    let out: u64 = answers.iter().map(|row| u64::from(row.tokens_out)).sum();
    if known.is_empty() {
        return None;
    }
    let mean = |of: fn(&Row) -> u32| known.iter().map(|row| f64::from(of(row))).sum::<f64>() / known.len() as f64;
    Some(Tokens {
        n: known.len() as u64,
        stated_n: known.iter().filter(|row| row.flags & flags::TOKENS_STATED != 0).count() as u64,
        ttft: times.ttft.summary(),
        itl: times.itl.summary(),
        longest_gap: times.longest_gap.summary(),
        mean_in: mean(|row| row.tokens_in),
        mean_out: mean(|row| row.tokens_out),
        out,
        out_per_s: if measured_ns == 0 { 0.0 } else { out as f64 * NS_PER_S as f64 / measured_ns as f64 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

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
        let arrivals: Vec<&Row> = rows.iter().collect();
        let times = TokenTimes::of(&arrivals);
        let found = tokens(&times, &arrivals, &arrivals[..2], 2 * NS_PER_S).unwrap();
        assert_eq!((found.n, found.stated_n, found.out, found.out_per_s), (3, 1, 6, 3.0));
        assert_eq!((found.mean_in, found.mean_out), (5.0, 12.0));
        let ttft = found.ttft.unwrap();
        assert_eq!((ttft.n, ttft.max_ns, ttft.percentile(50.0).unwrap().latency_ns), (2, 60 * MS, 50 * MS));
        assert_eq!(found.itl.map(|itl| (itl.n, itl.max_ns)), Some((1, 10 * MS)));
        assert_eq!(found.longest_gap.map(|gap| (gap.n, gap.max_ns)), Some((1, 7 * MS)));
        assert_eq!(tokens(&TokenTimes::default(), &arrivals[3..4], &arrivals[3..4], 1), None);
    }
}
