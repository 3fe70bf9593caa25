//! What is true of a built-in server behind a number of connections: a simulation that knows nothing of the generator,
//! and the figures in which the two are compared.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::law::{Law, Service};

/// Latencies of arrivals (ns on the server's clock, ascending) over so many connections, or over as many as needed. A
/// connection carries one request at a time; whoever finds none free waits for the first that is.
pub fn simulate(law: Law, arrivals_ns: &[u64], connections: Option<u32>) -> Vec<u64> {
    let mut service = Service::new(law);
    let mut free_at: BinaryHeap<Reverse<u64>> = (0..connections.unwrap_or(0)).map(|_| Reverse(0)).collect();
    let mut latencies = Vec::with_capacity(arrivals_ns.len());
    for arrival_ns in arrivals_ns {
        let free_ns = free_at.pop().map_or(0, |Reverse(ns)| ns);
        let done_ns = service.answer_ns(free_ns.max(*arrival_ns));
        if connections.is_some() {
            free_at.push(Reverse(done_ns));
        }
        latencies.push(done_ns - arrival_ns);
    }
    latencies
}

/// First piece (since the arrival) and time between pieces of answers over as many connections as needed.
pub fn simulate_pieces(law: Law, arrivals_ns: &[u64]) -> impl Iterator<Item = (u64, u64)> {
    let mut service = Service::new(law);
    arrivals_ns.iter().map(move |arrival_ns| {
        let pieces = service.pieces(*arrival_ns);
        (pieces.first_ns - arrival_ns, pieces.gap_ns)
    })
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Median, ns.
    pub p50_ns: f64,
    /// 95th percentile, ns.
    pub p95_ns: f64,
    /// 99th percentile, ns.
    pub p99_ns: f64,
    /// Mean, ns.
    pub mean_ns: f64,
    /// Share of answers slower than a bound.
    pub slow: f64,
}

impl Figures {
    /// Of latencies in any order, at least one; slow is what takes longer than `slow_ns`.
    pub fn of(mut latencies_ns: Vec<u64>, slow_ns: u64) -> Self {
        latencies_ns.sort_unstable();
        let n = latencies_ns.len();
        let at = |quantile: f64| latencies_ns[((n as f64 * quantile) as usize).min(n - 1)] as f64;
        Self {
            p50_ns: at(0.5),
            p95_ns: at(0.95),
            p99_ns: at(0.99),
            mean_ns: latencies_ns.iter().map(|ns| *ns as f64).sum::<f64>() / n as f64,
            slow: (n - latencies_ns.partition_point(|ns| *ns <= slow_ns)) as f64 / n as f64,
        }
    }

    /// The largest relative difference from the truth in median, p95, p99, mean and share of slow answers. A latency
    /// that is off by no more than `slack_ns` counts as right: that is what a network and two wake-ups cost, and a
    /// server that answers at once would otherwise never be measured well.
    pub fn worst_error(&self, truth: &Self, slack_ns: f64) -> f64 {
        let latencies = [
            (self.p50_ns, truth.p50_ns),
            (self.p95_ns, truth.p95_ns),
            (self.p99_ns, truth.p99_ns),
            (self.mean_ns, truth.mean_ns),
        ];
        let of_latency = latencies.into_iter().map(|(measured, truth)| {
            let off_ns = (measured - truth).abs();
            if off_ns <= slack_ns { 0.0 } else { off_ns / truth }
        });
        let of_share = if truth.slow > 0.0 { (self.slow / truth.slow - 1.0).abs() } else { self.slow };
        of_latency.fold(of_share, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// The published truth for a server that answers in 1 ms and freezes for 1 s in every 10 s, at 1,000/s.
    #[test]
    fn a_freezing_server_has_the_published_figures() {
        let law = Law::Freezing { service_ns: MS, freeze_ns: 1000 * MS, period_ns: 10_000 * MS, phase_ns: 4000 * MS };
        let arrivals: Vec<u64> = (0..20_000).map(|n| n * MS).collect();
        let check = |connections: Option<u32>, p95_ms: f64, mean_ms: f64, slow: f64| {
            let found = Figures::of(simulate(law, &arrivals, connections), 100 * MS);
            let close = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.01;
            let right = close(found.p95_ns, p95_ms * 1e6) && close(found.mean_ns, mean_ms * 1e6);
            assert!(right && close(found.slow, slow), "{connections:?}: {found:?}");
        };
        check(Some(16), 533.0, 54.4, 0.096);
        check(Some(32), 517.0, 52.6, 0.093);
        check(Some(100), 506.0, 51.5, 0.091);
        check(Some(400), 503.0, 51.2, 0.090);
        check(None, 501.0, 51.0, 0.090);
    }

    /// The mean wait in an M/D/1 queue at load r is r / (2 (1 − r)) services (Pollaczek and Khinchine).
    #[test]
    fn one_slot_is_an_m_d_1_queue() {
        use crate::plan::{Arrivals, Mix, Process, Profile};
        use proofload_run::manifest::Step;
        let step = Step {
            name: String::new(),
            start_ns: 0,
            end_ns: 2_000_000 * MS,
            level_start: 70.0,
            level_end: 70.0,
            settle_ns: 0,
            warm_up: false,
        };
        let arrivals = Arrivals::new(Profile::new(vec![step]), Mix::new([(1.0, 1)]), Process::Poisson, 3);
        let arrivals: Vec<u64> = arrivals.map(|arrival| arrival.intended_ns).collect();
        let law = Law::Slots { slots: 1, service_ns: 10 * MS };
        let found = Figures::of(simulate(law, &arrivals, None), 100 * MS);
        let expected_ms = 10.0 + 10.0 * 0.7 / (2.0 * 0.3);
        assert!((found.mean_ns / 1e6 / expected_ms - 1.0).abs() < 0.02, "{found:?} instead of {expected_ms} ms");
    }

    #[test]
    fn errors_are_relative_beyond_the_slack() {
        let truth = Figures { p50_ns: 100.0, p95_ns: 200.0, p99_ns: 300.0, mean_ns: 100.0, slow: 0.1 };
        let check = |measured: Figures, slack_ns: f64, expected: f64| {
            assert!((measured.worst_error(&truth, slack_ns) - expected).abs() < 1e-9, "{measured:?}");
        };
        check(truth, 0.0, 0.0);
        check(Figures { p95_ns: 230.0, ..truth }, 0.0, 0.15);
        check(Figures { p95_ns: 230.0, ..truth }, 30.0, 0.0);
        check(Figures { p50_ns: 90.0, slow: 0.08, ..truth }, 0.0, 0.2);
    }
}
