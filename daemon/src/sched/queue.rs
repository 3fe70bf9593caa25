//! The bounded waiting room of a model: first in, first out, with a limit on requests and on bytes, deadlines, and
//! places that can be given up. It takes the time as an argument and knows no thread.

use std::collections::VecDeque;
use std::time::Instant;

/// Names a place in a queue. Tickets are handed out in order and never twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What the queue needs to know of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// How many batch elements it holds, at least 1.
    pub elements: u32,
    /// How much memory it keeps: that of its tensors, or of the whole body that they are slices of.
    pub bytes: usize,
    /// The dimensions beside the batch dimension, input after input: only requests that agree share a batch.
    pub shape: Vec<i64>,
    /// When it came.
    pub enqueued: Instant,
    /// When waiting longer is pointless.
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

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests, at least 1.
    pub requests: usize,
    /// Bytes that all waiting requests keep in memory. One request is always let into an empty queue.
    pub bytes: usize,
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// As many requests wait as may.
    Requests,
    /// The waiting requests would take more memory than they may.
    Bytes,
}

/// The waiting room.
#[derive(Debug)]
pub struct Queue<J> {
    waiting: VecDeque<Waiting<J>>,
    limits: Limits,
    bytes: usize,
    next: u64,
    /// No deadline of a waiting request is earlier: most looks at the clock need no walk through the queue.
    first_deadline: Option<Instant>,
}

impl<J> Queue<J> {
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        Self { waiting: VecDeque::new(), limits, bytes: 0, next: 0, first_deadline: None }
    }

    /// Lets a request in at the end, or says why not.
    ///
    /// # Errors
    /// When one of the limits is reached.
    pub fn push(&mut self, entry: Entry, job: J) -> Result<Ticket, Full> {
        if self.waiting.len() >= self.limits.requests {
            return Err(Full::Requests);
        }
        let bytes = self.bytes.saturating_add(entry.bytes);
        if bytes > self.limits.bytes && !self.waiting.is_empty() {
            return Err(Full::Bytes);
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.bytes = bytes;
        self.first_deadline = earlier(self.first_deadline, entry.deadline);
        self.waiting.push_back(Waiting { ticket, entry, job });
        Ok(ticket)
    }

    /// Gives a place up. `None` when the request has left the queue already.
    pub fn remove(&mut self, ticket: Ticket) -> Option<Waiting<J>> {
        let index = self.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket).ok()?;
        let removed = self.waiting.remove(index)?;
        self.bytes -= removed.entry.bytes;
        Some(removed)
    }

    /// Takes the first `count` requests, in order.
    pub fn take(&mut self, count: usize) -> Vec<Waiting<J>> {
        let taken: Vec<_> = self.waiting.drain(..count.min(self.waiting.len())).collect();
        self.bytes -= taken.iter().map(|waiting| waiting.entry.bytes).sum::<usize>();
        taken
    }

    /// Takes out every request whose deadline has come.
    pub fn expire(&mut self, now: Instant) -> Vec<Waiting<J>> {
        if self.first_deadline.is_none_or(|deadline| deadline > now) {
            return Vec::new();
        }
        let expired = |waiting: &Waiting<J>| waiting.entry.deadline.is_some_and(|deadline| deadline <= now);
        let tickets: Vec<_> = self.waiting.iter().filter(|waiting| expired(waiting)).map(|w| w.ticket).collect();
        let expired = tickets.into_iter().filter_map(|ticket| self.remove(ticket)).collect();
        self.first_deadline = self.waiting.iter().fold(None, |first, waiting| earlier(first, waiting.entry.deadline));
        expired
    }

    /// The requests that wait, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting<J>> + Clone {
        self.waiting.iter()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The memory that the waiting requests hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn entry(bytes: usize, start: Instant, deadline_ms: Option<u64>) -> Entry {
        let deadline = deadline_ms.map(|ms| start + Duration::from_millis(ms));
        Entry { elements: 1, bytes, shape: Vec::new(), enqueued: start, deadline }
    }

    #[test]
    fn limits_hold_and_say_which() {
        let start = Instant::now();
        let mut queue = Queue::new(Limits { requests: 2, bytes: 100 });
        assert!(queue.push(entry(500, start, None), 'a').is_ok(), "an empty queue takes any one request");
        assert_eq!(queue.push(entry(1, start, None), 'b'), Err(Full::Bytes));
        assert_eq!(queue.take(1).len(), 1);
        assert!(queue.push(entry(50, start, None), 'c').is_ok());
        assert!(queue.push(entry(50, start, None), 'd').is_ok());
        assert_eq!(queue.push(entry(0, start, None), 'e'), Err(Full::Requests));
    }

    #[test]
    fn a_deadline_empties_the_place() {
        let start = Instant::now();
        let mut queue = Queue::new(Limits { requests: 9, bytes: 100 });
        for (bytes, deadline_ms) in [(1, Some(10)), (2, None), (3, Some(5)), (4, Some(20))] {
            queue.push(entry(bytes, start, deadline_ms), bytes).expect("there is room");
        }
        let expired: Vec<_> = queue.expire(start + Duration::from_millis(10)).into_iter().map(|w| w.job).collect();
        assert_eq!(expired, [1, 3]);
        assert_eq!((queue.len(), queue.bytes()), (2, 6));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Remove(usize),
        Take(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0usize..40).prop_map(Step::Push),
            (0usize..60).prop_map(Step::Remove),
            (0usize..4).prop_map(Step::Take)
        ]
    }

    proptest! {
        /// Whatever the order of pushes, removals and takes: every request that was let in comes out exactly once,
        /// those taken come out in the order they came, and the limits hold all the while.
        #[test]
        fn nothing_is_lost_and_nothing_comes_twice(steps in proptest::collection::vec(step(), 0..200)) {
            let start = Instant::now();
            let limits = Limits { requests: 8, bytes: 100 };
            let (mut queue, mut let_in, mut taken, mut removed) = (Queue::new(limits), Vec::new(), Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Push(bytes) => {
                        if let Ok(ticket) = queue.push(entry(bytes, start, None), let_in.len()) {
                            let_in.push(ticket);
                        }
                    }
                    Step::Remove(index) => {
                        let gone = let_in.get(index).and_then(|ticket| queue.remove(*ticket));
                        removed.extend(gone.map(|waiting| waiting.job));
                    }
                    Step::Take(count) => taken.extend(queue.take(count).into_iter().map(|waiting| waiting.job)),
                }
                prop_assert!(queue.len() <= limits.requests);
                prop_assert!(queue.bytes() <= limits.bytes || queue.len() == 1);
                prop_assert_eq!(queue.bytes(), queue.iter().map(|waiting| waiting.entry.bytes).sum::<usize>());
            }
            taken.extend(queue.take(usize::MAX).into_iter().map(|waiting| waiting.job));
            prop_assert!(taken.is_sorted());
            let mut all = taken;
            all.extend(removed);
            all.sort_unstable();
            prop_assert_eq!(all, (0..let_in.len()).collect::<Vec<_>>());
        }
    }
}
