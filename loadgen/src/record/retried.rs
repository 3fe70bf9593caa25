//! Counts of the attempts that failed and were made again. They leave no samples of their own, and must not be hidden.

use std::sync::atomic::{AtomicU64, Ordering};

use proofload_run::sample::Outcome;

/// See the module.
#[derive(Debug, Default)]
pub struct Retried {
    counts: [AtomicU64; Outcome::ALL.len()],
}

impl Retried {
    /// An attempt ended so and is made again.
    pub fn count(&self, outcome: Outcome) {
        self.counts[usize::from(outcome.code())].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts so far, of outcomes that came.
    pub fn counts(&self) -> Vec<(Outcome, u64)> {
        let all = Outcome::ALL.iter().zip(&self.counts);
        all.map(|(outcome, count)| (*outcome, count.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0).collect()
    }

    /// The counts as values of a series.
    pub(super) fn series(&self) -> impl Iterator<Item = (String, String, f64)> {
        let label = |outcome: Outcome| format!("outcome=\"{}\"", outcome.as_str());
        let counts = self.counts().into_iter();
        counts.map(move |(outcome, count)| ("attempts_retried_total".to_owned(), label(outcome), count as f64))
    }

    /// What to say of them; `None` when there were none.
    pub fn sentence(&self) -> Option<String> {
        let counts = self.counts();
        let all: u64 = counts.iter().map(|(_, count)| count).sum();
        let kinds: Vec<String> =
            counts.iter().map(|(outcome, count)| format!("{count} {}", outcome.as_str())).collect();
        (all > 0).then(|| {
            format!(
                "{all} attempts failed and were made again ({}); they are no samples, and the error and shed rates do \
                 not count them",
                kinds.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_again_is_told_by_kind() {
        let retried = Retried::default();
        assert_eq!(retried.sentence(), None);
        for outcome in [Outcome::Shed, Outcome::ConnectError, Outcome::Shed] {
            retried.count(outcome);
        }
        assert!(
            retried.sentence().unwrap().starts_with("3 attempts failed and were made again (2 shed, 1 connect_error)")
        );
        let labels: Vec<String> = retried.series().map(|(_, labels, _)| labels).collect();
        assert_eq!(labels, ["outcome=\"shed\"", "outcome=\"connect_error\""]);
    }
}
