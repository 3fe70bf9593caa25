//! Judges a connection by what its counters say from time to time: whether it is idle, keeps a head back, does not read
//! its answers, or gives up more than is decent. Pure: it owns no timer and closes nothing.
//!
//! A slow reader is told by what stays with us: a socket that takes no more, parts of answers that the connection has no
//! room to take, or bytes that it has taken and that did not leave, because a window of HTTP/2 is closed. The last is
//! told from sums: it may be hidden by as much as heads and frames took since the last look.

use std::time::{Duration, Instant};

use super::limits::Limits;
use super::pulse::Seen;

/// A connection is looked at so often within its shortest limit, within these bounds.
const LOOKS: u32 = 4;
const SHORTEST_LOOK: Duration = Duration::from_millis(50);
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Fine,
    /// Close it in good order.
    Idle,
    /// Cut it off, for this reason.
    Cut(Cause),
}

/// Why a connection is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    /// A request's head did not come in time.
    SlowHead,
    /// An answer was not read in time.
    SlowReader,
    /// It gave up too many requests.
    Resets,
}

/// What is remembered between two looks.
#[derive(Debug, Clone)]
pub(super) struct Vigil {
    limits: Limits,
    looked: Instant,
    last: Seen,
    /// Since when there was no request.
    quiet_since: Instant,
    /// Since when a head has been coming without its end.
    head_since: Option<Instant>,
    /// Since when bytes have waited for the client, and what it has taken since.
    stuck: Option<Stuck>,
    /// Where bytes handed over and bytes sent were level: heads and frames make more leave than was handed over.
    level: Seen,
}

#[derive(Debug, Clone, Copy)]
struct Stuck {
    since: Instant,
    sent: u64,
    moved: Instant,
}

impl Vigil {
    /// Of a connection that has just been opened.
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        let (last, level) = (Seen::default(), Seen::default());
        Self { limits, looked: now, last, quiet_since: now, head_since: None, stuck: None, level }
    }

    /// How long to wait between two looks.
    pub(super) fn interval(&self) -> Duration {
        let Limits { header_timeout, idle_timeout, write, .. } = self.limits;
        let shortest = header_timeout.min(idle_timeout).min(write.timeout);
        (shortest / LOOKS).clamp(SHORTEST_LOOK, LONGEST_LOOK)
    }

    /// From now on it may be without a request, or with half of one's head, for so long at most.
    pub(super) fn hurry(&mut self, most: Duration, now: Instant) {
        self.limits.idle_timeout = self.limits.idle_timeout.min(most);
        self.limits.header_timeout = self.limits.header_timeout.min(most);
        self.quiet_since = now;
    }

    /// What is to be done about a connection of which this is seen.
    pub(super) fn look(&mut self, now: Instant, seen: Seen) -> Verdict {
        let verdicts = [self.resets(now, seen), self.reader(now, seen), self.requests(now, seen)];
        self.looked = now;
        self.last = seen;
        verdicts.into_iter().find(|verdict| *verdict != Verdict::Fine).unwrap_or(Verdict::Fine)
    }

    /// Requests that come, or do not. Who still reads an answer is neither idle nor expected to ask.
    fn requests(&mut self, now: Instant, seen: Seen) -> Verdict {
        let busy = seen.begun != seen.ended || self.stuck.is_some();
        if busy || seen.begun != self.last.begun {
            self.quiet_since = now;
            self.head_since = None;
            return Verdict::Fine;
        }
        // Over HTTP/2 bytes without a request are nothing special: pings, windows, settings.
        if !seen.http2 && seen.received != self.last.received {
            self.head_since.get_or_insert(now);
        }
        let late = |since: Instant, timeout: Duration| now.saturating_duration_since(since) >= timeout;
        if self.head_since.is_some_and(|since| late(since, self.limits.header_timeout)) {
            return Verdict::Cut(Cause::SlowHead);
        }
        if self.head_since.is_none() && late(self.quiet_since, self.limits.idle_timeout) {
            Verdict::Idle
        } else {
            Verdict::Fine
        }
    }

    /// Answers that leave, or do not.
    fn reader(&mut self, now: Instant, seen: Seen) -> Verdict {
        let (handed, sent) = (seen.handed - self.level.handed, seen.sent - self.level.sent);
        if seen.held_back == 0 && !seen.blocked && handed <= sent {
            (self.level, self.stuck) = (seen, None);
            return Verdict::Fine;
        }
        let stuck = self.stuck.get_or_insert(Stuck { since: now, sent: seen.sent, moved: now });
        if seen.sent != self.last.sent {
            stuck.moved = now;
        }
        let deadline = self.limits.write.deadline(stuck.since, seen.sent - stuck.sent, stuck.moved);
        if now >= deadline { Verdict::Cut(Cause::SlowReader) } else { Verdict::Fine }
    }

    fn resets(&self, now: Instant, seen: Seen) -> Verdict {
        let given_up = seen.given_up - self.last.given_up;
        let since = now.saturating_duration_since(self.looked).max(LONGEST_LOOK);
        let allowed = self.limits.resets_per_second as f64 * since.as_secs_f64();
        if given_up as f64 > allowed { Verdict::Cut(Cause::Resets) } else { Verdict::Fine }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::doors::limits::Pace;

    const LIMITS: Limits = Limits {
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
        body: Pace { timeout: Duration::from_secs(5), bytes_per_second: 100 },
        write: Pace { timeout: Duration::from_secs(5), bytes_per_second: 100 },
        per_address: None,
        handshake_timeout: Duration::from_secs(5),
        header_bytes: 8192,
        http2_streams: 10,
        resets_per_second: 100,
    };

    /// Looks once a second; gives the first verdict and its second.
    fn first(seconds: u64, hurry: Option<u64>, seen: impl Fn(u64) -> Seen) -> Option<(u64, Verdict)> {
        let begun = Instant::now();
        let mut vigil = Vigil::new(LIMITS, begun);
        (1..=seconds).find_map(|second| {
            let now = begun + Duration::from_secs(second);
            if hurry == Some(second) {
                vigil.hurry(Duration::from_secs(2), now);
            }
            let verdict = vigil.look(now, seen(second));
            (verdict != Verdict::Fine).then_some((second, verdict))
        })
    }

    #[test]
    fn silence_is_bounded_and_a_head_comes_sooner() {
        let idle = Seen::default();
        assert_eq!(first(90, None, |_| idle), Some((60, Verdict::Idle)));
        assert_eq!(first(90, Some(5), |_| idle), Some((7, Verdict::Idle)));
        // A byte a second, and no request ever.
        let drips = |second| Seen { received: second, ..idle };
        assert_eq!(first(90, None, drips), Some((11, Verdict::Cut(Cause::SlowHead))));
        assert_eq!(first(90, None, |second| Seen { http2: true, ..drips(second) }), Some((60, Verdict::Idle)));
        // A request every five seconds.
        let busy = |second| Seen { received: second, begun: second / 5, ended: second / 5, ..idle };
        assert_eq!(first(300, None, busy), None);
        // One that is never answered is somebody else's affair.
        assert_eq!(first(300, None, |_| Seen { received: 9, begun: 1, ..idle }), None);
        // After a request, half a head.
        let half = |second: u64| Seen { received: 100 + second.min(20), begun: 1, ended: 1, ..idle };
        assert_eq!(first(90, None, half), Some((12, Verdict::Cut(Cause::SlowHead))));
    }

    #[test]
    fn answers_have_to_be_read() {
        let answered = Seen { begun: 1, ended: 1, handed: 10_000, sent: 10_100, ..Seen::default() };
        let slow = Some(Verdict::Cut(Cause::SlowReader));
        let check = |seen: &dyn Fn(u64) -> Seen, expected: Option<(u64, Option<Verdict>)>| {
            assert_eq!(first(200, None, seen).map(|(second, verdict)| (second, Some(verdict))), expected);
        };
        check(&|_| answered, Some((61, Some(Verdict::Idle))));
        check(&|_| Seen { sent: 5_000, ..answered }, Some((6, slow)));
        check(&|_| Seen { blocked: true, ..answered }, Some((6, slow)));
        check(&|_| Seen { sent: 0, handed: 0, held_back: 1, ended: 0, ..answered }, Some((6, slow)));
        // Faster than the rate, and slower.
        check(&|second| Seen { sent: 200 * second, handed: 100_000, ..answered }, None);
        check(&|second| Seen { sent: 50 * second, ..answered }, Some((11, slow)));
        // What was level before: what left beyond answers' bytes does not hide those that stay.
        let after = |second| {
            if second < 3 {
                Seen { sent: 50_000, ..answered }
            } else {
                Seen { sent: 50_000, handed: 40_000, ..answered }
            }
        };
        check(&after, Some((8, slow)));
    }

    #[test]
    fn giving_up_is_bounded_by_the_second() {
        let gone = |rate: u64| {
            move |second: u64| Seen {
                begun: rate * second,
                ended: rate * second,
                given_up: rate * second,
                ..Seen::default()
            }
        };
        assert_eq!(first(30, None, gone(100)), None);
        assert_eq!(first(30, None, gone(101)), Some((1, Verdict::Cut(Cause::Resets))));
    }

    #[test]
    fn looks_fit_the_shortest_limit() {
        let check = |write_s: f64, expected_ms: u64| {
            let write = Pace { timeout: Duration::from_secs_f64(write_s), ..LIMITS.write };
            let vigil = Vigil::new(Limits { write, ..LIMITS }, Instant::now());
            assert_eq!(vigil.interval(), Duration::from_millis(expected_ms));
        };
        check(30.0, 1000);
        check(0.4, 100);
        check(0.01, 50);
    }
}
