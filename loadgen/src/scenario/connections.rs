//! How connections are opened and used again, and whether failed attempts are made again, as a `[load]` says it.

use proofload_run::sample::Outcome;

use super::as_written::{self as written, ModelWord, ReuseWord};
use super::reader::{Located, Problems, complain_missing};
use crate::dispatch::retry::Retries;
use crate::transport::ConnectionPolicy;

/// Most attempts of one request.
const MOST_ATTEMPTS: i64 = 10;
const DEFAULT_ATTEMPTS: u8 = 2;
const DEFAULT_BACKOFF_NS: u64 = 50_000_000;
const LONGEST_BACKOFF_NS: u64 = 3_600_000_000_000;
/// Most requests over one connection at a time; servers allow about a hundred.
const MOST_STREAMS: i64 = 1000;
/// How long nothing may need a connection, where as many are opened as are needed. Longer than what a load that bursts
/// a few times a minute leaves idle in between.
const DEFAULT_IDLE_NS: u64 = 30_000_000_000;
const SHORTEST_IDLE_NS: u64 = 1_000_000_000;
/// Shortest time limit of a connection.
const SHORTEST_NS: u64 = 1_000_000;
/// After what an attempt can be made again.
const RETRIED: [Outcome; 4] = [Outcome::ConnectError, Outcome::TransportError, Outcome::Shed, Outcome::ServerError];

/// Reads them, gathering problems.
pub(super) struct Connections<'a> {
    pub(super) problems: &'a Problems,
}

impl Connections<'_> {
    fn complain<T>(&self, at: &Located<T>, message: impl std::fmt::Display) {
        self.problems.borrow_mut().push(at.problem(message));
    }

    /// `as_needed` says that nothing bounds their number.
    pub(super) fn policy(&self, load: &written::Load, request_timeout_ns: u64, as_needed: bool) -> ConnectionPolicy {
        let per_request = load.reuse.as_ref().is_some_and(|reuse| reuse.value == ReuseWord::PerRequest);
        let vain = "is of no use with reuse = \"per-request\"; remove one of the two";
        if let (Some(requests), true) = (&load.requests_per_connection, per_request) {
            self.complain(requests, vain);
        }
        if let (Some(age), true) = (&load.connection_max_age_ns, per_request) {
            self.complain(age, vain);
        }
        let stated = load.requests_per_connection.as_ref().and_then(|requests| self.requests(requests));
        let streams = load.streams_per_connection.as_ref().map_or(1, |streams| self.streams(streams));
        let limits = stated.is_some() || per_request;
        if let (Some(shared), true) = (&load.streams_per_connection, limits && streams > 1) {
            self.complain(
                shared,
                "does not go with reuse = \"per-request\" and requests_per_connection; remove one of them",
            );
        }
        ConnectionPolicy {
            streams,
            connect_timeout_ns: self.connect_timeout(load, request_timeout_ns),
            requests_per_connection: if per_request { Some(1) } else { stated },
            max_age_ns: load.connection_max_age_ns.as_ref().map(|age| {
                if age.value < SHORTEST_NS {
                    self.complain(age, "write 1ms or more; for a connection for each request, reuse = \"per-request\"");
                }
                age.value
            }),
            idle_timeout_ns: self.idle_timeout(load, as_needed && !per_request),
        }
    }

    /// Slots of the open model let their connections go.
    fn idle_timeout(&self, load: &written::Load, by_default: bool) -> Option<u64> {
        let closed = load.model.as_ref().is_some_and(|model| model.value == ModelWord::Closed);
        let Some(timeout) = &load.connection_idle_timeout_ns else {
            return (by_default && !closed).then_some(DEFAULT_IDLE_NS);
        };
        let per_request = load.reuse.as_ref().is_some_and(|reuse| reuse.value == ReuseWord::PerRequest);
        if closed || per_request {
            let why = if closed {
                "model = \"closed\", whose users keep their connections"
            } else {
                "reuse = \"per-request\", which keeps none"
            };
            self.complain(timeout, format!("is of no use with {why}; remove one of the two"));
        }
        if timeout.value < SHORTEST_IDLE_NS {
            self.complain(timeout, "write 1s or more");
        }
        Some(timeout.value)
    }

    fn requests(&self, requests: &Located<i64>) -> Option<u32> {
        let number = u32::try_from(requests.value).ok().filter(|number| *number > 0);
        if number.is_none() {
            self.complain(requests, "write how many requests a connection carries, 1 or more");
        }
        number
    }

    fn streams(&self, streams: &Located<i64>) -> u32 {
        if !(1..=MOST_STREAMS).contains(&streams.value) {
            self.complain(streams, format!("write 1 to {MOST_STREAMS} requests at a time"));
        }
        u32::try_from(streams.value).map_or(1, |streams| streams.max(1))
    }

    fn connect_timeout(&self, load: &written::Load, request_timeout_ns: u64) -> u64 {
        let Some(timeout) = &load.connect_timeout_ns else { return request_timeout_ns };
        if !(SHORTEST_NS..=request_timeout_ns).contains(&timeout.value) {
            self.complain(timeout, "write 1ms to load.request_timeout, of which it is a part");
        }
        timeout.value
    }

    pub(super) fn retries(&self, load: &written::Load) -> Option<Retries> {
        let retries = load.retries.as_ref()?;
        if retries.on.is_empty() {
            let remedy = "write on = [\"connect_error\", \"shed\"]";
            complain_missing(self.problems, &retries.here, "on", remedy);
        }
        let mut on = Vec::new();
        for word in &retries.on {
            match self.retried(word) {
                Some(outcome) if on.contains(&outcome) => self.complain(word, "is there twice; remove one of them"),
                outcome => on.extend(outcome),
            }
        }
        Some(Retries { attempts: self.attempts(retries), on, backoff_ns: self.backoff(retries) })
    }

    fn retried(&self, word: &Located<String>) -> Option<Outcome> {
        let known = RETRIED.iter().find(|outcome| outcome.as_str() == word.value).copied();
        if known.is_none() {
            let words: Vec<&str> = RETRIED.iter().map(|outcome| outcome.as_str()).collect();
            let why = match word.value.as_str() {
                "timeout" => "a request that has used up its time limit has none left for another attempt",
                _ => "no such failure is tried again",
            };
            self.complain(word, format!("{why}; write {}", words.join(", ")));
        }
        known
    }

    fn attempts(&self, retries: &written::Retries) -> u8 {
        let Some(attempts) = &retries.attempts else { return DEFAULT_ATTEMPTS };
        if !(2..=MOST_ATTEMPTS).contains(&attempts.value) {
            self.complain(
                attempts,
                format!("write 2 to {MOST_ATTEMPTS}, the first included; for none, remove the table"),
            );
        }
        u8::try_from(attempts.value).unwrap_or(DEFAULT_ATTEMPTS)
    }

    fn backoff(&self, retries: &written::Retries) -> u64 {
        let Some(backoff) = &retries.backoff_ns else { return DEFAULT_BACKOFF_NS };
        if backoff.value > LONGEST_BACKOFF_NS {
            self.complain(backoff, "write 1h or less");
        }
        backoff.value
    }
}
