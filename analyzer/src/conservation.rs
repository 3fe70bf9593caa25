//! Conservation: what the server says it answered against what we say we got. The server's count of successes must
//! lie between our successes and our successes plus what we gave up on without knowing how it ended.

use std::collections::BTreeSet;

use proofload_run::findings::{Balance, Conservation};
use proofload_run::sample::Outcome;

use crate::counters::{Count, counters};
use crate::samples::Row;
use crate::scope::Scope;

/// Protocols in which an error is the model's own.
const UNARY: [&str; 3] = ["kserve_http_json", "kserve_http_binary", "kserve_grpc"];

/// A scrape is given up after about this long: requests answered so shortly before the last count may be in it or not.
const SCRAPE_EDGE_NS: u64 = 1_000_000_000;
/// A journal is flushed several times within this.
const FLUSH_NS: u64 = 250_000_000;

/// In a run that was killed, what the server answered after the journal's last chunk has no sample: only counts
/// from before that can be compared.
fn last_comparable_ns(scope: &Scope<'_>) -> u64 {
    match scope.manifest().end {
        Some(_) => u64::MAX,
        None => scope.run.samples.extent().last_done_ns.saturating_sub(FLUSH_NS),
    }
}

/// The counts of every model that the mix names, beside ours while samples are looked at.
#[derive(Debug, Clone)]
pub(crate) struct Models<'a> {
    models: Vec<Model<'a>>,
    /// For each entry its model and its protocol.
    of_entry: Vec<(Option<usize>, &'a str)>,
}

#[derive(Debug, Clone)]
struct Model<'a> {
    name: &'a str,
    /// The server's, in order of time.
    counts: Vec<Count>,
    /// Answers from so long before the last count may be in it or not.
    edge_ns: u64,
    certain: u64,
    possible: u64,
}

impl<'a> Models<'a> {
    pub(crate) fn new(scope: &Scope<'a>) -> Self {
        let entries = &scope.manifest().entries;
        let names: BTreeSet<&str> = entries.iter().map(|entry| entry.model.as_str()).collect();
        let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
        let index = |model: &str| names.iter().position(|name| *name == model);
        let of_entry = entries.iter().map(|entry| (index(&entry.model), entry.protocol.as_str())).collect();
        Self { models: names.iter().map(|name| Model::new(scope, name)).collect(), of_entry }
    }

    /// Counts a sample.
    pub(crate) fn add(&mut self, row: &Row) {
        let Some(&(Some(model), protocol)) = self.of_entry.get(usize::from(row.entry)) else { return };
        if row.sent_ns > 0 {
            self.models[model].add(row, protocol);
        }
    }

    /// Compares the counts of every model.
    pub(crate) fn compared(&self) -> Vec<Conservation> {
        self.models.iter().map(Model::compared).collect()
    }
}

impl<'a> Model<'a> {
    fn new(scope: &Scope<'_>, name: &'a str) -> Self {
        let mut counts = counters(&scope.run.series, name).counts;
        counts.retain(|count| count.t_ns <= last_comparable_ns(scope));
        // Only a count that was taken after the load had ended has everything in it.
        let end = scope.manifest().end.as_ref();
        let after_all = end.zip(counts.last()).is_some_and(|(end, last)| last.t_ns >= end.at_ns);
        Self { name, counts, edge_ns: if after_all { 0 } else { SCRAPE_EDGE_NS }, certain: 0, possible: 0 }
    }

    fn add(&mut self, row: &Row, protocol: &str) {
        let (Some(first), Some(last)) = (self.counts.first(), self.counts.last()) else { return };
        let inside = row.sent_ns >= first.t_ns && row.done_ns.saturating_add(self.edge_ns) <= last.t_ns;
        let certain = inside && row.outcome == Outcome::Ok;
        self.certain += u64::from(certain);
        self.possible += u64::from(may_count(row.outcome, protocol) && !certain) + u64::from(row.retry);
    }

    fn compared(&self) -> Conservation {
        let (Some(first), Some(last)) = (self.counts.first(), self.counts.last()) else {
            return finding(self.name, 0, 0, 0, Balance::NotCounted);
        };
        let server = (last.successes - first.successes).max(0.0).round() as u64;
        let balance = if self.counts.windows(2).any(|pair| pair[1].successes < pair[0].successes) {
            Balance::Reset
        } else if server < self.certain {
            Balance::Deficit
        } else if server > self.certain + self.possible {
            Balance::Surplus
        } else {
            Balance::Balanced
        };
        finding(self.name, self.certain, self.possible, server, balance)
    }
}

/// Whether the server may have counted this request as a success without our holding a whole, correct answer: it
/// was given up, or the answer was lost or wrong. Unless the answer is the model's own, something after it may have
/// failed: behind plain HTTP, or in Triton's `generate`, which refuses to send two answers of a model as one.
fn may_count(outcome: Outcome, protocol: &str) -> bool {
    match outcome {
        Outcome::Ok | Outcome::InFlight | Outcome::Timeout | Outcome::TransportError | Outcome::BadBody => true,
        Outcome::ServerError => !UNARY.contains(&protocol),
        Outcome::Shed | Outcome::ConnectError | Outcome::Rejected | Outcome::Dropped => false,
    }
}

fn finding(model: &str, ours: u64, abandoned: u64, server: u64, balance: Balance) -> Conservation {
    let range = if abandoned == 0 { format!("{ours}") } else { format!("{ours} to {}", ours + abandoned) };
    let sentence = match balance {
        Balance::Balanced => format!("{model}: the server counted {server} successes and we {range}: they agree"),
        Balance::Surplus => format!(
            "{model}: the server counted {server} successes, more than the {range} that we can have caused: \
             somebody else sends to it too, and shares its capacity"
        ),
        Balance::Deficit => format!(
            "{model}: the server counted {server} successes, fewer than the {range} that we hold answers of: one of \
             the counts is wrong, or the statistics come from one replica of several"
        ),
        Balance::Reset => {
            format!(
                "{model}: the server's count went backwards during the run: it was restarted, or its statistics reset"
            )
        }
        Balance::NotCounted => {
            format!("{model}: the server's own counts are not in the run folder, so nothing was compared")
        }
    };
    Conservation {
        model: model.to_owned(),
        our_successes: ours,
        our_abandoned: abandoned,
        server_successes: server,
        balance,
        sentence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_behind_the_model_may_hide_a_success_of_it() {
        let check = |outcome, protocol, expected| {
            assert_eq!(may_count(outcome, protocol), expected, "{outcome:?} {protocol}");
        };
        check(Outcome::ServerError, "kserve_http_json", false);
        check(Outcome::ServerError, "kserve_grpc", false);
        check(Outcome::ServerError, "http", true);
        check(Outcome::ServerError, "generate", true);
        check(Outcome::ServerError, "kserve_grpc_stream", true);
        check(Outcome::Timeout, "kserve_grpc", true);
        check(Outcome::Shed, "http", false);
        check(Outcome::Rejected, "http", false);
    }
}
