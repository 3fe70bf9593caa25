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

/// How long something takes from its begin to its end, by what it lately took: the mean, and the mean of what it differed
/// from that. As round trips are estimated in RFC 6298, section 2.
#[derive(Debug, Clone, Copy, Default)]
pub struct Course {
    mean_and_deviation_s: Option<(f64, f64)>,
}

impl Course {
    /// Takes in one that took so long.
    pub fn observe(&mut self, took: Duration) {
        let newest = took.as_secs_f64();
        self.mean_and_deviation_s =
            Some(self.mean_and_deviation_s.map_or((newest, newest / 2.0), |(mean, deviation)| {
                let differs = (newest - mean).abs();
                (mean + (newest - mean) / 8.0, deviation + (differs - deviation) / 4.0)
            }));
    }

    /// What all but a few take; nothing while nothing has been measured.
    pub fn all_but_few(&self) -> Duration {
        let seconds = self.mean_and_deviation_s.map_or(0.0, |(mean, deviation)| mean + 4.0 * deviation);
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
    fn all_but_few_is_the_mean_and_what_varies() {
        let mut course = Course::default();
        assert_eq!(course.all_but_few(), Duration::ZERO);
        course.observe(Duration::from_millis(40));
        assert_eq!(course.all_but_few(), Duration::from_millis(120), "the first says little of what varies");
        (0..100).for_each(|_| course.observe(Duration::from_millis(40)));
        let steady = course.all_but_few().as_secs_f64();
        assert!((steady - 0.040).abs() < 1e-6, "{steady}");
        // Evenly between 20 and 60 ms: the mean is 40 and the mean deviation 10.
        (0..2000).for_each(|n| course.observe(Duration::from_micros(20_000 + (n * 7919) % 40_000)));
        let varied = course.all_but_few().as_secs_f64();
        assert!((0.060..0.110).contains(&varied), "{varied}");
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
