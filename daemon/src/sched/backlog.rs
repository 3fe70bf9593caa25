//! How long the work that waits will take: what a refused client is told to wait before it tries again, and whether it
//! is worth letting a request in that will not wait for so long. An estimate from measured executions, never a promise.

use std::time::{Duration, Instant};

/// The weight of the newest execution: about the last twenty count.
const NEWEST: f64 = 0.1;

/// The measured service time of a request, smoothed exponentially over executions.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServiceTime {
    per_request_s: Option<f64>,
}

impl ServiceTime {
    /// Takes in an execution that served `requests` in `took`.
    pub fn observe(&mut self, took: Duration, requests: usize) {
        let newest = took.as_secs_f64() / requests.max(1) as f64;
        self.per_request_s = Some(self.per_request_s.map_or(newest, |mean| mean + NEWEST * (newest - mean)));
    }

    /// What one takes; nothing while nothing has been measured.
    pub fn mean(&self) -> Option<Duration> {
        self.per_request_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// When the place behind `waiting` requests will be free, with `instances` serving side by side. Zero while
    /// nothing has been measured.
    pub fn until_served(&self, waiting: usize, instances: usize) -> Duration {
        let seconds = self.per_request_s.unwrap_or(0.0) * waiting as f64 / instances.max(1) as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// Of the estimated wait, the part that has to fit: a request that may just be served in time is let in.
const SURE: f64 = 0.8;

/// Whether a request that comes at `now`, has to wait for about `wait` and is given up at `until` is worth letting in.
/// Whoever is turned away at the door can go elsewhere at once, and those who stay wait less for work that is wasted.
pub fn admit(now: Instant, wait: Duration, until: Option<Instant>) -> bool {
    until.is_none_or(|until| wait.mul_f64(SURE) <= until.saturating_duration_since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backlog_is_queue_times_service_over_instances() {
        let mut service = ServiceTime::default();
        assert_eq!(service.until_served(100, 1), Duration::ZERO);
        for _ in 0..50 {
            service.observe(Duration::from_millis(40), 4);
        }
        let until = service.until_served(100, 2);
        assert!((until.as_secs_f64() - 0.5).abs() < 1e-9, "{until:?}");
    }

    #[test]
    fn it_follows_a_server_that_slows_down() {
        let mut service = ServiceTime::default();
        service.observe(Duration::from_millis(1), 1);
        for _ in 0..40 {
            service.observe(Duration::from_millis(100), 1);
        }
        assert!(service.until_served(1, 1) > Duration::from_millis(95));
    }

    #[test]
    fn who_would_wait_for_nothing_is_not_let_in() {
        let check = |wait_ms, until_ms: Option<u64>, expected| {
            let now = Instant::now();
            let until = until_ms.map(|ms| now + Duration::from_millis(ms));
            assert_eq!(admit(now, Duration::from_millis(wait_ms), until), expected, "{wait_ms} {until_ms:?}");
        };
        check(1_000_000, None, true);
        check(0, Some(0), true);
        check(100, Some(100), true);
        check(120, Some(100), true);
        check(130, Some(100), false);
        check(1, Some(0), false);
    }
}
