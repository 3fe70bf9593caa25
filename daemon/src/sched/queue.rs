//! The bounded waiting room of a model: levels that are served one after the other, each first in, first out, with a
//! limit on requests and on bytes, times to wait, deadlines, and places that can be given up. It takes the time as an
//! argument and knows no thread. No step looks at more requests than it moves; each costs a logarithm of their number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::policy::{QueueRules, TimeoutAction};

/// Names a place in a queue. Tickets are handed out in order and never twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    level: u32,
    number: u64,
}

/// Where a request stands; they are served in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    level: u32,
    /// Behind all of its level that have not waited for too long.
    delayed: bool,
    number: u64,
}

/// What the queue needs to know of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its priority: 1 is served first, 0 where there are no priorities.
    pub level: u32,
    /// How many batch elements it holds, at least 1.
    pub elements: u32,
    /// How much memory it keeps: that of its tensors, or of the whole body that they are slices of.
    pub bytes: usize,
    /// The dimensions beside the batch dimension, input after input: only requests that agree share a batch.
    pub shape: Vec<i64>,
    /// When it came.
    pub enqueued: Instant,
    /// When it has waited for as long as its level lets it; what happens then is the level's affair.
    pub timeout: Option<Instant>,
    /// When nobody waits for its answer any more.
    pub deadline: Option<Instant>,
}

/// A request that waits.
#[derive(Debug)]
pub struct Waiting<J> {
    /// Its place.
    pub ticket: Ticket,
    /// What it is like.
    pub entry: Entry,
    /// What is to be done.
    pub job: J,
}

/// How much may wait for a model that does not say it itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests of a level, at least 1.
    pub requests: usize,
    /// Bytes that all waiting requests keep in memory. One request is always let into an empty queue.
    pub bytes: usize,
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// As many requests of its level wait as may.
    Requests,
    /// The waiting requests would take more memory than they may.
    Bytes,
}

/// The waiting room.
#[derive(Debug)]
pub struct Queue<J> {
    waiting: BTreeMap<Place, Waiting<J>>,
    /// When something is to happen to whom.
    due: BTreeSet<(Instant, Place)>,
    /// How many wait at each level where somebody waits.
    sizes: BTreeMap<u32, usize>,
    rules: QueueRules,
    bytes: usize,
    elements: u64,
    next: u64,
}

impl<J> Queue<J> {
    /// An empty queue.
    pub fn new(rules: QueueRules) -> Self {
        let (waiting, due, sizes) = Default::default();
        Self { waiting, due, sizes, rules, bytes: 0, elements: 0, next: 0 }
    }

    /// Lets a request in at the end of its level, or says why not.
    ///
    /// # Errors
    /// When one of the limits is reached.
    pub fn push(&mut self, entry: Entry, job: J) -> Result<Ticket, Full> {
        let level = entry.level;
        if self.at(level) >= self.rules.at(level).requests {
            return Err(Full::Requests);
        }
        let bytes = self.bytes.saturating_add(entry.bytes);
        if bytes > self.rules.bytes && !self.waiting.is_empty() {
            return Err(Full::Bytes);
        }
        let ticket = Ticket { level, number: self.next };
        self.next += 1;
        self.put(false, Waiting { ticket, entry, job });
        Ok(ticket)
    }

    /// When a request is turned away that still waits then.
    pub fn gives_up(&self, entry: &Entry) -> Option<Instant> {
        let rejects = self.rules.at(entry.level).action == TimeoutAction::Reject;
        entry.timeout.filter(|_| rejects).into_iter().chain(entry.deadline).min()
    }

    /// Gives a place up. `None` when the request has left the queue already.
    pub fn remove(&mut self, ticket: Ticket) -> Option<Waiting<J>> {
        let Ticket { level, number } = ticket;
        let place = |delayed| Place { level, delayed, number };
        self.pull(place(false)).or_else(|| self.pull(place(true)))
    }

    /// Takes the first `count` requests, in order.
    pub fn take(&mut self, count: usize) -> Vec<Waiting<J>> {
        let count = count.min(self.waiting.len());
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            let Some(&first) = self.waiting.keys().next() else { break };
            taken.extend(self.pull(first));
        }
        taken
    }

    /// Takes out every request that is to be turned away by now, and puts those back that are to be delayed.
    pub fn expire(&mut self, now: Instant) -> Vec<Waiting<J>> {
        let mut expired = Vec::new();
        while let Some(&(at, place)) = self.due.first() {
            if at > now {
                break;
            }
            let Some(waiting) = self.pull(place) else { break };
            let gone = waiting.entry.deadline.is_some_and(|deadline| deadline <= now);
            if gone || self.rules.at(place.level).action == TimeoutAction::Reject {
                expired.push(waiting);
            } else {
                self.put(true, waiting);
            }
        }
        expired
    }

    /// When `expire` has something to do next.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The requests that wait, in the order in which they are served.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting<J>> + Clone {
        self.waiting.values()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many wait at one level.
    pub fn at(&self, level: u32) -> usize {
        self.sizes.get(&level).copied().unwrap_or(0)
    }

    /// How many are served before a request that comes now at this level.
    pub fn ahead(&self, level: u32) -> usize {
        self.sizes.range(..=level).map(|(_, size)| size).sum()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The memory that the waiting requests hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The batch elements that wait.
    pub fn elements(&self) -> u64 {
        self.elements
    }

    fn put(&mut self, delayed: bool, waiting: Waiting<J>) {
        let Ticket { level, number } = waiting.ticket;
        let place = Place { level, delayed, number };
        self.due.extend(due(&waiting.entry, delayed).map(|at| (at, place)));
        *self.sizes.entry(level).or_default() += 1;
        self.bytes += waiting.entry.bytes;
        self.elements += u64::from(waiting.entry.elements);
        self.waiting.insert(place, waiting);
    }

    fn pull(&mut self, place: Place) -> Option<Waiting<J>> {
        let waiting = self.waiting.remove(&place)?;
        if let Some(at) = due(&waiting.entry, place.delayed) {
            self.due.remove(&(at, place));
        }
        self.bytes -= waiting.entry.bytes;
        self.elements -= u64::from(waiting.entry.elements);
        if let Some(size) = self.sizes.get_mut(&place.level) {
            *size -= 1;
        }
        if self.at(place.level) == 0 {
            self.sizes.remove(&place.level);
        }
        Some(waiting)
    }
}

/// When something is to happen to a request. One that is delayed has used up its time to wait.
fn due(entry: &Entry, delayed: bool) -> Option<Instant> {
    entry.timeout.filter(|_| !delayed).into_iter().chain(entry.deadline).min()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::policy::QueuePolicy;
    use super::*;

    fn entry(level: u32, bytes: usize, start: Instant) -> Entry {
        Entry { level, elements: 1, bytes, shape: Vec::new(), enqueued: start, timeout: None, deadline: None }
    }

    fn one_queue(requests: usize, bytes: usize) -> QueueRules {
        QueueRules::without_priorities(Limits { requests, bytes })
    }

    /// Levels 1 to 3. The first rejects, the second delays, the third holds two requests.
    fn levels(bytes: usize) -> QueueRules {
        let plain = QueuePolicy::bounded(8);
        let delaying = QueuePolicy { action: TimeoutAction::Delay, ..plain };
        let by_level = BTreeMap::from([(2, delaying), (3, QueuePolicy::bounded(2))]);
        QueueRules { levels: 3, default_level: 2, default_policy: plain, by_level, bytes }
    }

    #[test]
    fn limits_hold_and_say_which() {
        let start = Instant::now();
        let mut queue = Queue::new(one_queue(2, 100));
        assert!(queue.push(entry(0, 500, start), 'a').is_ok(), "an empty queue takes any one request");
        assert_eq!(queue.push(entry(0, 1, start), 'b'), Err(Full::Bytes));
        assert_eq!(queue.take(1).len(), 1);
        assert!(queue.push(entry(0, 50, start), 'c').is_ok());
        assert!(queue.push(entry(0, 50, start), 'd').is_ok());
        assert_eq!(queue.push(entry(0, 0, start), 'e'), Err(Full::Requests));
    }

    #[test]
    fn each_level_has_its_own_limit_and_all_share_the_memory() {
        let start = Instant::now();
        let mut queue = Queue::new(levels(100));
        for name in ['a', 'b'] {
            assert!(queue.push(entry(3, 1, start), name).is_ok());
        }
        assert_eq!(queue.push(entry(3, 1, start), 'c'), Err(Full::Requests));
        assert!(queue.push(entry(1, 90, start), 'd').is_ok());
        assert_eq!(queue.push(entry(2, 9, start), 'e'), Err(Full::Bytes));
        assert_eq!((queue.ahead(1), queue.ahead(2), queue.ahead(3)), (1, 1, 3));
    }

    /// Pushes (name, level, timeout in ms, deadline in ms), lets the time pass, and expects who expired and how the
    /// others stand.
    fn check(pushed: &[(char, u32, Option<u64>, Option<u64>)], now_ms: u64, expired: &str, in_order: &str) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut queue = Queue::new(levels(100));
        for &(name, level, timeout, deadline) in pushed {
            let entry = Entry { timeout: timeout.map(at), deadline: deadline.map(at), ..entry(level, 1, start) };
            queue.push(entry, name).expect("there is room");
        }
        let gone: String = queue.expire(at(now_ms)).into_iter().map(|waiting| waiting.job).collect();
        let left: String = queue.iter().map(|waiting| waiting.job).collect();
        assert_eq!((gone.as_str(), left.as_str()), (expired, in_order), "{pushed:?} after {now_ms} ms");
        assert_eq!((queue.len(), queue.bytes()), (in_order.len(), in_order.len()));
    }

    #[test]
    fn levels_are_served_in_turn_and_times_kept() {
        check(&[('a', 2, None, None), ('b', 1, None, None), ('c', 2, None, None)], 99, "", "bac");
        check(&[('a', 1, Some(10), None), ('b', 1, None, None), ('c', 1, Some(5), None)], 10, "ca", "b");
        check(&[('a', 1, Some(10), None), ('b', 1, None, None)], 9, "", "ab");
        check(&[('a', 2, Some(5), None), ('b', 2, None, None), ('c', 3, None, None)], 5, "", "bac");
        check(&[('a', 2, Some(5), None), ('b', 2, Some(3), None), ('c', 2, None, None)], 9, "", "cab");
        check(&[('a', 2, Some(5), Some(8)), ('b', 2, None, None)], 7, "", "ba");
        check(&[('a', 2, Some(5), Some(8)), ('b', 2, None, None)], 8, "a", "b");
        check(&[('a', 2, None, Some(8)), ('b', 2, None, Some(9))], 8, "a", "b");
        check(&[('a', 3, Some(2), None), ('b', 1, None, Some(1))], 2, "ba", "");
    }

    #[test]
    fn who_was_delayed_can_still_leave() {
        let start = Instant::now();
        let mut queue = Queue::new(levels(100));
        let timeout = Some(start);
        let ticket = queue.push(Entry { timeout, ..entry(2, 1, start) }, 'a').expect("there is room");
        assert!(queue.expire(start).is_empty());
        assert_eq!(queue.next_due(), None, "a request is delayed once");
        assert_eq!(queue.remove(ticket).map(|waiting| waiting.job), Some('a'));
        assert!(queue.remove(ticket).is_none() && queue.is_empty());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push { level: u32, bytes: usize, timeout_ms: Option<u64>, deadline_ms: Option<u64> },
        Remove(usize),
        Take(usize),
        Pass { ms: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let limit = || proptest::option::of(0u64..40);
        prop_oneof![
            4 => (1u32..4, 0usize..40, limit(), limit()).prop_map(|(level, bytes, timeout_ms, deadline_ms)| {
                Step::Push { level, bytes, timeout_ms, deadline_ms }
            }),
            1 => (0usize..60).prop_map(Step::Remove),
            2 => (0usize..4).prop_map(Step::Take),
            2 => (0u64..10).prop_map(|ms| Step::Pass { ms }),
        ]
    }

    proptest! {
        /// Whatever the order of pushes, removals, takes and passing time: every request that was let in comes out
        /// exactly once; limits hold all the while; a take gives the highest levels first, at each level those that
        /// are not delayed in the order they came, then those that are; nobody is turned away before their time, nor
        /// stays after it.
        #[test]
        fn nothing_is_lost_and_nothing_comes_twice(steps in proptest::collection::vec(step(), 0..200)) {
            let mut now = Instant::now();
            let rules = levels(100);
            let mut queue = Queue::new(rules.clone());
            let (mut let_in, mut came_out) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Push { level, bytes, timeout_ms, deadline_ms } => {
                        let at = |ms| now + Duration::from_millis(ms);
                        let (timeout, deadline) = (timeout_ms.map(at), deadline_ms.map(at));
                        let entry = Entry { timeout, deadline, ..entry(level, bytes, now) };
                        let_in.extend(queue.push(entry, let_in.len()));
                    }
                    Step::Remove(index) => {
                        let gone = let_in.get(index).and_then(|ticket| queue.remove(*ticket));
                        came_out.extend(gone.map(|waiting| waiting.job));
                    }
                    Step::Take(count) => {
                        let before: Vec<_> = queue.iter().map(|waiting| waiting.job).collect();
                        let taken: Vec<_> = queue.take(count).into_iter().map(|waiting| waiting.job).collect();
                        prop_assert_eq!(&taken, &before[..count.min(before.len())]);
                        came_out.extend(taken);
                    }
                    Step::Pass { ms } => {
                        now += Duration::from_millis(ms);
                        for waiting in queue.expire(now) {
                            let Entry { level, timeout, deadline, .. } = waiting.entry;
                            let rejects = rules.at(level).action == TimeoutAction::Reject;
                            let due = timeout.filter(|_| rejects).into_iter().chain(deadline).min();
                            prop_assert!(due.is_some_and(|due| due <= now));
                            came_out.push(waiting.job);
                        }
                        prop_assert!(queue.next_due().is_none_or(|due| due > now));
                        prop_assert!(queue.iter().all(|waiting| waiting.entry.deadline.is_none_or(|at| at > now)));
                    }
                }
                prop_assert!((1..=3).all(|level| queue.at(level) <= rules.at(level).requests));
                prop_assert!(queue.bytes() <= rules.bytes || queue.len() == 1);
                prop_assert_eq!(queue.bytes(), queue.iter().map(|waiting| waiting.entry.bytes).sum::<usize>());
                prop_assert_eq!(queue.elements(), queue.len() as u64, "each holds one");
                let overdue = |entry: &Entry| entry.timeout.is_some_and(|at| at <= now);
                let keys: Vec<_> = queue.iter().map(|w| (w.entry.level, w.ticket.number)).collect();
                let on_time = |level| queue.iter().filter(move |w| w.entry.level == level && !overdue(&w.entry));
                prop_assert!(keys.is_sorted_by_key(|(level, _)| level));
                prop_assert!((1..=3).all(|level| on_time(level).is_sorted_by_key(|w| w.ticket)));
            }
            came_out.extend(queue.take(usize::MAX).into_iter().map(|waiting| waiting.job));
            came_out.sort_unstable();
            prop_assert_eq!(came_out, (0..let_in.len()).collect::<Vec<_>>());
        }

        /// Those that were delayed are served after all others of their level, and before the next level.
        #[test]
        fn the_delayed_come_last_of_their_level(timeouts in proptest::collection::vec(proptest::option::of(0u64..9), 1..8)) {
            let start = Instant::now();
            let mut queue = Queue::new(levels(100));
            queue.push(entry(3, 0, start), usize::MAX).expect("there is room");
            for (index, ms) in timeouts.iter().enumerate() {
                let timeout = ms.map(|ms| start + Duration::from_millis(ms));
                queue.push(Entry { timeout, ..entry(2, 0, start) }, index).expect("there is room");
            }
            prop_assert!(queue.expire(start + Duration::from_millis(4)).is_empty());
            let late = |index: &usize| timeouts[*index].is_some_and(|ms| ms <= 4);
            let (delayed, on_time): (Vec<_>, Vec<_>) = (0..timeouts.len()).partition(late);
            let expected: Vec<_> = on_time.into_iter().chain(delayed).chain([usize::MAX]).collect();
            prop_assert_eq!(queue.take(99).into_iter().map(|w| w.job).collect::<Vec<_>>(), expected);
        }
    }
}
