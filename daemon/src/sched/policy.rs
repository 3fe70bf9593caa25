//! How requests wait for a model: priority levels, and what holds at each of them. Triton's `ModelQueuePolicy` and the
//! fields of dynamic batching that name levels, with every default filled in. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::queue::Limits;

/// What becomes of a request that has waited in its queue for as long as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutAction {
    /// It is turned away.
    Reject,
    /// It is served after all others of its level.
    Delay,
}

/// What holds for the requests of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePolicy {
    /// Most requests that wait, at least 1.
    pub requests: usize,
    /// How long a request waits that says nothing about it; `None` is for ever.
    pub default_timeout: Option<Duration>,
    /// Whether a request may ask for a shorter wait.
    pub timeout_override: bool,
    /// What happens at the end of the wait.
    pub action: TimeoutAction,
}

impl QueuePolicy {
    /// At most so many requests, which wait for as long as it takes.
    pub fn bounded(requests: usize) -> Self {
        Self { requests, default_timeout: None, timeout_override: false, action: TimeoutAction::Reject }
    }
}

/// How requests wait for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRules {
    /// How many levels there are, 1 being served first; 0 where requests have no priority.
    pub levels: u32,
    /// The level of a request that names none, or one that is not there.
    pub default_level: u32,
    /// What holds at levels without rules of their own.
    pub default_policy: QueuePolicy,
    /// Levels with rules of their own.
    pub by_level: BTreeMap<u32, QueuePolicy>,
    /// Most bytes that all waiting requests keep in memory. One request is always let into an empty queue.
    pub bytes: usize,
}

impl QueueRules {
    /// One queue for all.
    pub fn without_priorities(limits: Limits) -> Self {
        let default_policy = QueuePolicy::bounded(limits.requests);
        Self { levels: 0, default_level: 0, default_policy, by_level: BTreeMap::new(), bytes: limits.bytes }
    }

    /// The level that a request with this parameter `priority` waits at; 0 is none. As with Triton, a level that is
    /// not there counts as none.
    pub fn level(&self, priority: u32) -> u32 {
        if (1..=self.levels).contains(&priority) { priority } else { self.default_level }
    }

    /// What holds at a level.
    pub fn at(&self, level: u32) -> &QueuePolicy {
        self.by_level.get(&level).unwrap_or(&self.default_policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_not_there_is_the_default_one() {
        let check = |levels, default_level, priority, expected| {
            let rules = QueueRules {
                levels,
                default_level,
                ..QueueRules::without_priorities(Limits { requests: 1, bytes: 1 })
            };
            assert_eq!(rules.level(priority), expected, "{levels} levels, priority {priority}");
        };
        check(0, 0, 0, 0);
        check(0, 0, 7, 0);
        check(3, 2, 0, 2);
        check(3, 2, 1, 1);
        check(3, 2, 3, 3);
        check(3, 2, 4, 2);
        check(3, 2, u32::MAX, 2);
    }
}
