//! Conservation: what the server says it answered against what we say we got. The server's count of successes must
//! lie between our successes and our successes plus what we gave up on without knowing how it ended.

use std::collections::BTreeSet;

use proofload_run::findings::{Balance, Conservation};
use proofload_run::sample::Outcome;

use crate::counters::counters;
use crate::load::Row;
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
        None => scope.run.rows.iter().map(|row| row.done_ns).max().unwrap_or(0).saturating_sub(FLUSH_NS),
    }
}

/// Compares the counts of every model that the mix names.
pub(crate) fn conservation(scope: &Scope<'_>) -> Vec<Conservation> {
    let models: BTreeSet<&str> = scope.manifest().entries.iter().map(|entry| entry.model.as_str()).collect();
    models.into_iter().filter(|model| !model.is_empty()).map(|model| compare(scope, model)).collect()
}

fn compare(scope: &Scope<'_>, model: &str) -> Conservation {
    let mut counts = counters(&scope.run.series, model).counts;
    counts.retain(|count| count.t_ns <= last_comparable_ns(scope));
    let (Some(first), Some(last)) = (counts.first(), counts.last()) else {
        return finding(model, 0, 0, 0, Balance::NotCounted);
    };
    // Only a count that was taken after the load had ended has everything in it.
    let after_all = scope.manifest().end.as_ref().is_some_and(|end| last.t_ns >= end.at_ns);
    let edge = if after_all { 0 } else { SCRAPE_EDGE_NS };
    let ours = |row: &&Row| scope.manifest().entries.get(usize::from(row.entry)).is_some_and(|e| e.model == model);
    let (mut certain, mut possible) = (0, 0);
    for row in scope.run.rows.iter().filter(ours).filter(|row| row.sent_ns > 0) {
        let inside = row.sent_ns >= first.t_ns && row.done_ns.saturating_add(edge) <= last.t_ns;
        let entry = &scope.manifest().entries[usize::from(row.entry)];
        certain += u64::from(inside && row.outcome == Outcome::Ok);
        possible += u64::from(may_count(row.outcome, &entry.protocol) && !(inside && row.outcome == Outcome::Ok))
            + u64::from(row.retry);
    }
    let server = (last.successes - first.successes).max(0.0).round() as u64;
    let balance = if counts.windows(2).any(|pair| pair[1].successes < pair[0].successes) {
        Balance::Reset
    } else if server < certain {
        Balance::Deficit
    } else if server > certain + possible {
        Balance::Surplus
    } else {
        Balance::Balanced
    };
    finding(model, certain, possible, server, balance)
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
