//! Whether a failed attempt is made again, and after how long. Pure: draws and remaining time come as arguments.

use http::header::RETRY_AFTER;
use proofload_run::sample::Outcome;
use serde::{Serialize, Serializer};

use crate::transport::Answer;

/// Doublings of the backoff at most.
const MOST_DOUBLINGS: u32 = 16;

/// When failed attempts are made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retries {
    /// Attempts of a request at most, the first included.
    pub attempts: u8,
    /// After which outcomes.
    #[serde(serialize_with = "words")]
    pub on: Vec<Outcome>,
    /// Wait before the second attempt, on average; doubled for each further one.
    pub backoff_ns: u64,
}

fn words<S: Serializer>(outcomes: &[Outcome], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(outcomes.iter().map(|outcome| outcome.as_str()))
}

/// An attempt that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Attempts of its request so far.
    pub attempts: u8,
    /// How long the target asks to be left alone.
    pub asked_ns: Option<u64>,
    /// What is left of the request's time limit.
    pub left_ns: u64,
    /// A number of the attempt's own, evenly distributed.
    pub draw: u64,
}

impl Retries {
    /// How long to wait before the next attempt. `None` when there is none: the outcome stands, the attempts are used
    /// up, or the request's time would be over.
    pub fn wait_ns(&self, ended: &Ended) -> Option<u64> {
        if ended.attempts >= self.attempts || !self.on.contains(&ended.outcome) {
            return None;
        }
        let doublings = u32::from(ended.attempts.saturating_sub(1)).min(MOST_DOUBLINGS);
        let backoff_ns = self.backoff_ns.saturating_mul(1 << doublings);
        // Half of it to one and a half, so that those which failed together do not come back together.
        let jitter_ns = (u128::from(backoff_ns) * u128::from(ended.draw)) >> 64;
        let wait_ns = (backoff_ns / 2).saturating_add(jitter_ns as u64).max(ended.asked_ns.unwrap_or(0));
        (wait_ns < ended.left_ns).then_some(wait_ns)
    }
}

/// How long an answer asks to be left alone: `Retry-After` in seconds, or gRPC's pushback in milliseconds.
pub fn asked_to_wait_ns(answer: &Answer) -> Option<u64> {
    let text = |name: &str| answer.headers.get(name).or_else(|| answer.trailers.get(name));
    let seconds = text(RETRY_AFTER.as_str()).and_then(|text| text.trim().parse::<f64>().ok());
    let milliseconds = text("grpc-retry-pushback-ms").and_then(|text| text.trim().parse::<f64>().ok());
    let seconds = seconds.or(milliseconds.map(|ms| ms / 1e3)).filter(|seconds| *seconds >= 0.0)?;
    Some((seconds * 1e9) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_failed_is_tried_again_as_long_as_it_may() {
        let retries = Retries { attempts: 3, on: vec![Outcome::Shed, Outcome::ConnectError], backoff_ns: 100 * MS };
        let check = |outcome, attempts, asked_ms: Option<u64>, left_ms: u64, expected_ms: Option<u64>| {
            let (asked_ns, left_ns) = (asked_ms.map(|ms| ms * MS), left_ms * MS);
            let ended = Ended { outcome, attempts, asked_ns, left_ns, draw: 0 };
            assert_eq!(retries.wait_ns(&ended), expected_ms.map(|ms| ms * MS), "{ended:?}");
        };
        check(Outcome::Shed, 1, None, 1000, Some(50));
        check(Outcome::ConnectError, 2, None, 1000, Some(100));
        check(Outcome::Shed, 3, None, 1000, None);
        check(Outcome::Ok, 1, None, 1000, None);
        check(Outcome::ServerError, 1, None, 1000, None);
        check(Outcome::Shed, 1, Some(300), 1000, Some(300));
        check(Outcome::Shed, 1, Some(20), 1000, Some(50));
        check(Outcome::Shed, 1, Some(2000), 1000, None);
        check(Outcome::Shed, 1, None, 50, None);
        check(Outcome::Shed, 1, None, 51, Some(50));
    }

    #[test]
    fn targets_say_when_to_come_back() {
        let check = |name: &'static str, value: &str, trailer: bool, expected: Option<u64>| {
            let mut answer = Answer::default();
            let headers = if trailer { &mut answer.trailers } else { &mut answer.headers };
            headers.push(name, value.as_bytes());
            assert_eq!(asked_to_wait_ns(&answer), expected, "{name}: {value}");
        };
        check("retry-after", "2", false, Some(2000 * MS));
        check("retry-after", "0", false, Some(0));
        check("retry-after", "0.25", false, Some(250 * MS));
        check("retry-after", "-1", false, None);
        check("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT", false, None);
        check("grpc-retry-pushback-ms", "40", true, Some(40 * MS));
        check("other", "40", true, None);
    }

    proptest! {
        /// Jitter stays within half and one and a half of the doubled backoff, and nothing overflows.
        #[test]
        fn jitter_has_bounds(backoff_ns in 0..=u64::MAX, attempts in 1u8..200, draw in any::<u64>()) {
            let retries = Retries { attempts: u8::MAX, on: vec![Outcome::Shed], backoff_ns };
            let ended = Ended { outcome: Outcome::Shed, attempts, asked_ns: None, left_ns: u64::MAX, draw };
            let doubled = backoff_ns.saturating_mul(1 << u32::from(attempts - 1).min(MOST_DOUBLINGS));
            match retries.wait_ns(&ended) {
                Some(wait_ns) => prop_assert!(wait_ns >= doubled / 2 && u128::from(wait_ns) <= u128::from(doubled) * 3 / 2),
                None => prop_assert!(doubled > u64::MAX / 2),
            }
        }
    }
}
