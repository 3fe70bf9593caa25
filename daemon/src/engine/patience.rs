//! How long a request may wait, and what its client is told when that is over. Pure.
//!
//! Two clocks may run. The queue's limit is the `default_timeout_microseconds` of the request's level or its parameter
//! `timeout`, which overrides it where the model lets it; when it is over, the request goes behind all others of its
//! level, or the answer is Triton's: `UNAVAILABLE`, or 503 over HTTP, with the time after which a retry is worth while.
//! The caller's deadline is its transport's; when it is over, nobody reads an answer any more, and `DEADLINE_EXCEEDED`
//! says so to whoever is between.

use std::time::{Duration, Instant};

use super::ServeError;
use crate::sched::policy::{QueuePolicy, TimeoutAction};

/// When a request is given up while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    queue: Option<Instant>,
    action: TimeoutAction,
    caller: Option<Instant>,
}

impl Patience {
    /// The patience with a request that was received at `received`. `timeout` is its own limit on waiting.
    pub(super) fn new(
        policy: &QueuePolicy,
        timeout: Option<Duration>,
        caller: Option<Instant>,
        received: Instant,
    ) -> Self {
        let own = timeout.filter(|_| policy.timeout_override || policy.default_timeout.is_none());
        let shortest = own.into_iter().chain(policy.default_timeout).min();
        // A limit beyond the end of time is none.
        Self { queue: shortest.and_then(|limit| received.checked_add(limit)), action: policy.action, caller }
    }

    /// When its time in the queue is over, whatever happens then.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.queue
    }

    /// When its caller stops waiting.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.caller
    }

    /// When it ends, if it does.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.rejected().into_iter().chain(self.caller).min()
    }

    /// When the queue turns it away.
    fn rejected(&self) -> Option<Instant> {
        self.queue.filter(|_| self.action == TimeoutAction::Reject)
    }

    /// What the client is told when it has ended.
    pub(super) fn expired(&self, message: String, retry_after: Duration) -> ServeError {
        match (self.rejected(), self.caller) {
            (None, Some(_)) => ServeError::DeadlineExceeded(message),
            (Some(queue), Some(caller)) if caller < queue => ServeError::DeadlineExceeded(message),
            _ => ServeError::Overdue { message, retry_after },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Limits in milliseconds: the model's, whether it may be overridden, the request's own, the caller's. Then when
    /// patience ends, and whether that is the caller's deadline.
    #[test]
    fn the_first_limit_holds_and_says_whose_it_was() {
        let check = |(model, may_override), own: Option<u64>, caller: Option<u64>, expected: Option<(u64, bool)>| {
            let received = Instant::now();
            let ms = |ms| Duration::from_millis(ms);
            let policy = QueuePolicy {
                default_timeout: Option::map(model, ms),
                timeout_override: may_override,
                ..QueuePolicy::bounded(1)
            };
            let patience = Patience::new(&policy, own.map(ms), caller.map(|at| received + ms(at)), received);
            let ends = patience.ends().map(|at| at - received);
            assert_eq!(ends, expected.map(|(at, _)| ms(at)), "{patience:?}");
            let told = patience.expired(String::new(), ms(7));
            let of_caller = told == ServeError::DeadlineExceeded(String::new());
            assert!(expected.is_none_or(|(_, expected)| expected == of_caller), "{patience:?} {told:?}");
        };
        check((None, false), None, None, None);
        check((Some(50), false), None, None, Some((50, false)));
        check((None, false), Some(20), None, Some((20, false)));
        check((Some(50), true), Some(20), None, Some((20, false)));
        check((Some(50), false), Some(20), None, Some((50, false)));
        check((Some(50), true), Some(90), None, Some((50, false)));
        check((None, false), None, Some(30), Some((30, true)));
        check((Some(50), false), None, Some(30), Some((30, true)));
        check((Some(50), false), None, Some(80), Some((50, false)));
        check((Some(50), false), Some(20), Some(30), Some((30, true)));
        check((Some(50), true), Some(20), Some(30), Some((20, false)));
    }

    #[test]
    fn a_delay_ends_no_patience() {
        let received = Instant::now();
        let ms = Duration::from_millis;
        let policy =
            QueuePolicy { default_timeout: Some(ms(5)), action: TimeoutAction::Delay, ..QueuePolicy::bounded(1) };
        let patience = Patience::new(&policy, None, None, received);
        assert_eq!((patience.timeout(), patience.ends()), (Some(received + ms(5)), None));
        let patience = Patience::new(&policy, None, Some(received + ms(9)), received);
        assert_eq!(patience.ends(), Some(received + ms(9)));
        assert!(matches!(patience.expired(String::new(), ms(7)), ServeError::DeadlineExceeded(_)));
    }
}
