//! What is true of a freezing server behind a number of connections: a simulation that knows nothing of the
//! generator, and the comparison with what the generator measured.

/// How a server freezes. It is frozen from `phase_ms` for `freeze_ms` in every `period_ms`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Freeze {
    pub(crate) service_ms: f64,
    pub(crate) freeze_ms: f64,
    pub(crate) period_ms: f64,
    pub(crate) phase_ms: f64,
}

impl Freeze {
    /// When a request is answered that reaches the server at `at_ms` on the server's clock. Work stands still
    /// while the server is frozen.
    pub(crate) fn answered_ms(&self, at_ms: f64) -> f64 {
        let into = (at_ms - self.phase_ms).rem_euclid(self.period_ms);
        let start_ms = if into < self.freeze_ms { at_ms + self.freeze_ms - into } else { at_ms };
        let until_freeze = self.period_ms - (start_ms - self.phase_ms).rem_euclid(self.period_ms);
        let done_ms = start_ms + self.service_ms;
        if self.service_ms > until_freeze { done_ms + self.freeze_ms } else { done_ms }
    }
}

/// Latencies of arrivals (ms on the server's clock, ascending) over so many connections, or over as many as needed.
pub(crate) fn simulate(freeze: &Freeze, arrivals_ms: &[f64], connections: Option<u32>) -> Vec<f64> {
    let mut free_at = std::collections::VecDeque::from(vec![f64::NEG_INFINITY; connections.unwrap_or(0) as usize]);
    let mut latencies = Vec::new();
    for arrival in arrivals_ms {
        // Answers come in the order of the requests, so the connection that is free first is always in front.
        let start = free_at.pop_front().map_or(*arrival, |free| free.max(*arrival));
        let done = freeze.answered_ms(start);
        if connections.is_some() {
            free_at.push_back(done);
        }
        latencies.push(done - arrival);
    }
    latencies
}

/// The three figures that are compared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) p95_ms: f64,
    pub(crate) mean_ms: f64,
    pub(crate) slow: f64,
}

/// Figures of latencies; slow is what takes longer than `slow_ms`.
pub(crate) fn figures(latencies_ms: &[f64], slow_ms: f64) -> Figures {
    let mut sorted = latencies_ms.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    Figures {
        p95_ms: sorted[(n * 0.95) as usize],
        mean_ms: sorted.iter().sum::<f64>() / n,
        slow: sorted.iter().filter(|ms| **ms > slow_ms).count() as f64 / n,
    }
}

impl Figures {
    /// The largest relative difference from the truth.
    pub(crate) fn worst_error(&self, truth: &Self) -> f64 {
        let pairs = [(self.p95_ms, truth.p95_ms), (self.mean_ms, truth.mean_ms), (self.slow, truth.slow)];
        pairs.into_iter().map(|(measured, truth)| (measured / truth - 1.0).abs()).fold(0.0, f64::max)
    }
}
