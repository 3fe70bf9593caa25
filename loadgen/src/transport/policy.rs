//! How connections are opened and used again.

use serde::Serialize;

/// See the module. The default keeps every connection for as long as the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConnectionPolicy {
    /// How long opening one may take, within the request's own time limit.
    pub connect_timeout_ns: u64,
    /// Requests after which it is closed; `None` for never.
    pub requests_per_connection: Option<u32>,
    /// Requests that HTTP/2 carries over one at a time, 1 or more.
    pub streams: u32,
    /// Age after which it is sent nothing more; `None` for never.
    pub max_age_ns: Option<u64>,
    /// Those that nothing has needed for this long are closed; `None` for never.
    pub idle_timeout_ns: Option<u64>,
}

impl Default for ConnectionPolicy {
    fn default() -> Self {
        Self {
            connect_timeout_ns: u64::MAX,
            requests_per_connection: None,
            streams: 1,
            max_age_ns: None,
            idle_timeout_ns: None,
        }
    }
}

impl ConnectionPolicy {
    /// Whether a connection that carried so many requests may carry no other.
    pub(super) fn is_spent(&self, requests: u32) -> bool {
        self.requests_per_connection.is_some_and(|most| requests >= most)
    }

    /// Whether a connection of this age is sent nothing more.
    pub(super) fn is_old(&self, age_ns: u64) -> bool {
        self.max_age_ns.is_some_and(|most_ns| age_ns >= most_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_kept_unless_said_otherwise() {
        let check = |policy: ConnectionPolicy, requests, age_ns, spent, old| {
            assert_eq!((policy.is_spent(requests), policy.is_old(age_ns)), (spent, old), "{policy:?}");
        };
        let kept = ConnectionPolicy::default();
        check(kept, u32::MAX, u64::MAX, false, false);
        check(ConnectionPolicy { requests_per_connection: Some(2), ..kept }, 1, 9, false, false);
        check(ConnectionPolicy { requests_per_connection: Some(2), ..kept }, 2, 9, true, false);
        check(ConnectionPolicy { max_age_ns: Some(9), ..kept }, 7, 8, false, false);
        check(ConnectionPolicy { max_age_ns: Some(9), ..kept }, 7, 9, false, true);
    }
}
