//! How a built-in server takes its time: when a request that reaches it now is answered. Pure, and the same for the
//! server and for the simulation that says what is true of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand_pcg::Pcg64;

use crate::plan::{stream, uniform};

/// Which law; all times in ns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Law {
    /// Every answer takes the same time, however many are asked for.
    Fixed {
        /// The time.
        service_ns: u64,
    },
    /// The same, but in every period nothing happens for a while: nothing is answered, nothing worked on.
    Freezing {
        /// The time of an answer.
        service_ns: u64,
        /// How long it freezes …
        freeze_ns: u64,
        /// … in every period of this length …
        period_ns: u64,
        /// … beginning this long after the period's start.
        phase_ns: u64,
    },
    /// So many requests at a time, each for the same time; the others wait in the order in which they came.
    Slots {
        /// How many at a time, 1 or more.
        slots: u32,
        /// For how long.
        service_ns: u64,
    },
    /// Times of a Pareto law: most are short, a few very long. However many are asked for.
    HeavyTail {
        /// The shortest time.
        least_ns: u64,
        /// The longest: longer ones are cut.
        most_ns: u64,
        /// The exponent: the smaller, the heavier the tail.
        alpha: f64,
    },
    /// An answer that comes in pieces. Its first takes once to twice a time, and the wait between the others is once to
    /// twice another, the same within an answer; evenly drawn. However many are asked for.
    Tokens {
        /// The least time of the first piece.
        first_ns: u64,
        /// The least time between two.
        gap_ns: u64,
        /// How many there are, 1 or more.
        tokens: u32,
    },
}

/// When the pieces of an answer are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pieces {
    /// The first.
    pub first_ns: u64,
    /// Time between two.
    pub gap_ns: u64,
    /// How many there are.
    pub count: u32,
}

impl Pieces {
    /// When a piece is sent, counted from 0.
    pub fn due_ns(&self, piece: u32) -> u64 {
        self.first_ns + u64::from(piece) * self.gap_ns
    }
}

/// A law at work. Times must not go back from call to call.
#[derive(Debug, Clone)]
pub struct Service {
    law: Law,
    /// When each busy slot is free again.
    busy_until: BinaryHeap<Reverse<u64>>,
    draws: Pcg64,
}

impl Service {
    /// A service that has done nothing yet.
    pub fn new(law: Law) -> Self {
        Self { law, busy_until: BinaryHeap::new(), draws: stream(1, 7) }
    }

    /// When the pieces of an answer are sent to a request that comes now; most laws have one piece.
    pub fn pieces(&mut self, now_ns: u64) -> Pieces {
        match self.law {
            Law::Tokens { first_ns, gap_ns, tokens } => {
                let mut drawn = |least_ns: u64| (least_ns as f64 * (1.0 + uniform(&mut self.draws))) as u64;
                Pieces { first_ns: now_ns + drawn(first_ns), gap_ns: drawn(gap_ns), count: tokens }
            }
            _ => Pieces { first_ns: self.answer_ns(now_ns), gap_ns: 0, count: 1 },
        }
    }

    /// When the whole answer is there to a request that comes now.
    pub fn answer_ns(&mut self, now_ns: u64) -> u64 {
        match self.law {
            Law::Tokens { tokens, .. } => self.pieces(now_ns).due_ns(tokens - 1),
            Law::Fixed { service_ns } => now_ns + service_ns,
            Law::Freezing { service_ns, freeze_ns, period_ns, phase_ns } => {
                // One period ahead, so that the phase cannot make it negative.
                let since = |t_ns: u64| (t_ns + period_ns - phase_ns) % period_ns;
                let begun_ns = now_ns + freeze_ns.saturating_sub(since(now_ns));
                let until_freeze_ns = period_ns - since(begun_ns);
                let interrupted = service_ns > until_freeze_ns;
                begun_ns + service_ns + if interrupted { freeze_ns } else { 0 }
            }
            Law::Slots { slots, service_ns } => self.queue(slots, service_ns, now_ns),
            Law::HeavyTail { least_ns, most_ns, alpha } => {
                let time_ns = least_ns as f64 * libm::pow(1.0 - uniform(&mut self.draws), -1.0 / alpha);
                now_ns + (time_ns as u64).min(most_ns)
            }
        }
    }

    fn queue(&mut self, slots: u32, service_ns: u64, now_ns: u64) -> u64 {
        let full = self.busy_until.len() >= slots as usize;
        let freed_ns = if full { self.busy_until.pop().map_or(0, |Reverse(ns)| ns) } else { 0 };
        let done_ns = freed_ns.max(now_ns) + service_ns;
        self.busy_until.push(Reverse(done_ns));
        done_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_when_the_law_says() {
        let check = |law: Law, times: &[u64], expected: &[u64]| {
            let mut service = Service::new(law);
            let found: Vec<u64> = times.iter().map(|t| service.answer_ns(*t)).collect();
            assert_eq!(found, expected, "{law:?}");
        };
        check(Law::Fixed { service_ns: 5 }, &[0, 1, 7], &[5, 6, 12]);
        let freezing = Law::Freezing { service_ns: 2, freeze_ns: 10, period_ns: 100, phase_ns: 40 };
        check(freezing, &[0, 38, 39, 40, 49, 50, 138, 139], &[2, 40, 51, 52, 52, 52, 140, 151]);
        let mut tokens = Service::new(Law::Tokens { first_ns: 100, gap_ns: 10, tokens: 4 });
        for _ in 0..100 {
            let pieces = tokens.pieces(7);
            assert!((107..207).contains(&pieces.first_ns) && (10..20).contains(&pieces.gap_ns), "{pieces:?}");
            assert_eq!(pieces.due_ns(3), pieces.first_ns + 3 * pieces.gap_ns);
        }
        let slots = Law::Slots { slots: 2, service_ns: 10 };
        check(slots, &[0, 1, 2, 3, 40, 40, 40], &[10, 11, 20, 21, 50, 50, 60]);
    }

    /// Its quantiles are least / (1 − q)^(1/alpha).
    #[test]
    fn a_heavy_tail_has_the_quantiles_of_a_pareto_law() {
        let mut service = Service::new(Law::HeavyTail { least_ns: 1_000_000, most_ns: u64::MAX, alpha: 1.5 });
        let mut times: Vec<u64> = (0..200_000).map(|_| service.answer_ns(0)).collect();
        times.sort_unstable();
        for (q, tolerance) in [(0.5, 0.01), (0.95, 0.02), (0.99, 0.04)] {
            let expected = 1e6 * (1.0_f64 - q).powf(-1.0 / 1.5);
            let found = times[(q * times.len() as f64) as usize] as f64;
            assert!((found / expected - 1.0).abs() < tolerance, "{q}: {found} {expected}");
        }
    }
}
