//! How much patience and room a connection gets. Numbers only; `vigil` and `paced` apply them.

use std::fmt;
use std::time::{Duration, Instant};

/// Bounds on what a connection may keep waiting, or keep in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// From a request's first byte to the end of its head, over HTTP/1.1.
    pub header_timeout: Duration,
    /// Without a request: before the first one, or between two.
    pub idle_timeout: Duration,
    /// For bodies of requests.
    pub body: Pace,
    /// For answers, by those who read them.
    pub write: Pace,
    /// Connections at a time from one address (of IPv6: one /64), if that is bounded.
    pub per_address: Option<usize>,
    /// For the handshake of TLS.
    pub handshake_timeout: Duration,
    /// Bytes of the head of a request.
    pub header_bytes: u32,
    /// Requests at a time on one connection over HTTP/2.
    pub http2_streams: u32,
    /// Requests that one connection may give up within a second.
    pub resets_per_second: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body: Pace { timeout: Duration::from_secs(30), bytes_per_second: 1024 },
            write: Pace { timeout: Duration::from_secs(30), bytes_per_second: 1024 },
            per_address: None,
            handshake_timeout: Duration::from_secs(10),
            header_bytes: 64 * 1024,
            http2_streams: 256,
            resets_per_second: 1000,
        }
    }
}

/// How slowly bytes may come or go: never nothing for the whole timeout, and beyond it at this rate on average.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The longest time without a byte, and the time for which no rate is asked.
    pub timeout: Duration,
    /// Asked of what takes longer.
    pub bytes_per_second: u64,
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { timeout, bytes_per_second } = self;
        write!(f, "the body came too slowly: nothing for {timeout:?}, or less than {bytes_per_second} bytes a second")
    }
}

impl Pace {
    /// When it is too slow that began then, has moved so many bytes, and moved the last of them then.
    pub(crate) fn deadline(self, began: Instant, bytes: u64, last: Instant) -> Instant {
        let earned = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / self.bytes_per_second.max(1));
        (last + self.timeout).min(began + self.timeout + earned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_nothing_for_long_or_little_on_average() {
        let pace = Pace { timeout: Duration::from_secs(10), bytes_per_second: 100 };
        let check = |bytes: u64, last_s: u64, expected_s: u64| {
            let began = Instant::now();
            let deadline = pace.deadline(began, bytes, began + Duration::from_secs(last_s));
            assert_eq!(deadline - began, Duration::from_secs(expected_s), "{bytes} {last_s}");
        };
        check(0, 0, 10);
        check(50_000, 0, 10);
        check(200, 9, 12);
        check(50_000, 60, 70);
    }
}
