//! Identical work that is wanted by many at once is done by one: the first leads, the others wait for its result. A
//! leader that goes away hands over to the one that has waited longest, so what happens to one request happens to no
//! other. What the work is, and for how long anybody waits, is the callers' affair.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

type Waiting<K, V> = VecDeque<oneshot::Sender<Turn<K, V>>>;

/// The work that is being done.
pub struct Flights<K: Copy + Eq + Hash, V: Clone> {
    waiting: Arc<Mutex<HashMap<K, Waiting<K, V>>>>,
}

/// What is to be done about a piece of work.
pub enum Role<K: Copy + Eq + Hash, V: Clone> {
    /// It is yours.
    Lead(Lead<K, V>),
    /// Somebody does it already; your turn will come.
    Follow(oneshot::Receiver<Turn<K, V>>),
}

/// What came of waiting.
pub enum Turn<K: Copy + Eq + Hash, V: Clone> {
    /// The result.
    Landed(V),
    /// The leader went away, and now the work is yours.
    Lead(Lead<K, V>),
    /// The work failed, for a reason that may hold for everyone. Each is on its own, as if nobody had waited.
    Alone,
}

/// The duty to do the work. Dropping it hands it over.
pub struct Lead<K: Copy + Eq + Hash, V: Clone> {
    flights: Flights<K, V>,
    key: K,
    done: bool,
}

impl<K: Copy + Eq + Hash, V: Clone> Default for Flights<K, V> {
    fn default() -> Self {
        Self { waiting: Arc::default() }
    }
}

impl<K: Copy + Eq + Hash, V: Clone> Clone for Flights<K, V> {
    fn clone(&self) -> Self {
        Self { waiting: Arc::clone(&self.waiting) }
    }
}

impl<K: Copy + Eq + Hash, V: Clone> Flights<K, V> {
    /// Takes part in the work of this key.
    pub fn join(&self, key: K) -> Role<K, V> {
        match self.lock().entry(key) {
            Entry::Vacant(place) => {
                place.insert(VecDeque::new());
                Role::Lead(self.lead(key))
            }
            Entry::Occupied(mut waiting) => {
                let (sender, receiver) = oneshot::channel();
                waiting.get_mut().push_back(sender);
                Role::Follow(receiver)
            }
        }
    }

    /// Pieces of work that are being done.
    pub fn in_the_air(&self) -> usize {
        self.lock().len()
    }

    fn lead(&self, key: K) -> Lead<K, V> {
        Lead { flights: self.clone(), key, done: false }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Waiting<K, V>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, key: K) -> Waiting<K, V> {
        self.lock().remove(&key).unwrap_or_default()
    }

    /// Hands over to the one that has waited longest and still does. With nobody left, the work is over.
    fn hand_over(&self, key: K) {
        while let Some(next) = self.next(key) {
            match next.send(Turn::Lead(self.lead(key))) {
                Ok(()) => return,
                // It has stopped waiting; its duty must not be handed over once more when it is dropped here.
                Err(Turn::Lead(mut refused)) => refused.done = true,
                Err(_) => {}
            }
        }
    }

    fn next(&self, key: K) -> Option<oneshot::Sender<Turn<K, V>>> {
        let mut flights = self.lock();
        let next = flights.get_mut(&key)?.pop_front();
        if next.is_none() {
            flights.remove(&key);
        }
        next
    }
}

impl<K: Copy + Eq + Hash, V: Clone> Lead<K, V> {
    /// Gives the result to all who wait.
    pub fn land(mut self, result: &V) {
        self.done = true;
        for waiting in self.flights.end(self.key) {
            // Who has stopped waiting needs none.
            let _ = waiting.send(Turn::Landed(result.clone()));
        }
    }

    /// Lets all who wait go their own way.
    pub fn scatter(mut self) {
        self.done = true;
        for waiting in self.flights.end(self.key) {
            let _ = waiting.send(Turn::Alone);
        }
    }
}

impl<K: Copy + Eq + Hash, V: Clone> Drop for Lead<K, V> {
    fn drop(&mut self) {
        if !self.done {
            self.flights.hand_over(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Receiver = oneshot::Receiver<Turn<u8, u8>>;

    fn lead(flights: &Flights<u8, u8>) -> Lead<u8, u8> {
        match flights.join(1) {
            Role::Lead(lead) => lead,
            Role::Follow(_) => panic!("somebody leads already"),
        }
    }

    fn follow(flights: &Flights<u8, u8>) -> Receiver {
        match flights.join(1) {
            Role::Lead(_) => panic!("nobody leads"),
            Role::Follow(receiver) => receiver,
        }
    }

    fn said(receiver: &mut Receiver) -> &'static str {
        match receiver.try_recv() {
            Ok(Turn::Landed(9)) => "landed",
            Ok(Turn::Landed(_)) => "landed elsewhere",
            Ok(Turn::Lead(lead)) => {
                lead.land(&9);
                "lead"
            }
            Ok(Turn::Alone) => "alone",
            Err(_) => "nothing",
        }
    }

    #[test]
    fn all_get_the_result() {
        let flights = Flights::default();
        let leader = lead(&flights);
        let mut followers = [follow(&flights), follow(&flights)];
        assert!(matches!(flights.join(2), Role::Lead(_)), "another key is another flight");
        leader.land(&9);
        assert_eq!(followers.each_mut().map(said), ["landed"; 2]);
        assert_eq!(flights.in_the_air(), 0);
    }

    #[test]
    fn a_leader_that_leaves_hands_over() {
        let flights = Flights::default();
        let leader = lead(&flights);
        let gone = follow(&flights);
        let (mut second, mut third) = (follow(&flights), follow(&flights));
        drop(gone);
        drop(leader);
        assert_eq!((said(&mut third), said(&mut second), said(&mut third)), ("nothing", "lead", "landed"));
        assert_eq!(flights.in_the_air(), 0);
    }

    #[test]
    fn who_leaves_between_being_called_and_answering_hands_over_too() {
        let flights = Flights::default();
        let leader = lead(&flights);
        let (called, mut next) = (follow(&flights), follow(&flights));
        drop(leader);
        drop(called);
        assert_eq!(said(&mut next), "lead");
    }

    #[test]
    fn a_failure_scatters() {
        let flights = Flights::default();
        let leader = lead(&flights);
        let mut followers = [follow(&flights), follow(&flights)];
        leader.scatter();
        assert_eq!(followers.each_mut().map(said), ["alone"; 2]);
        assert_eq!(flights.in_the_air(), 0);
    }

    proptest! {
        /// Whoever leaves in whatever order: there is one leader as long as anybody is left, everyone who stays gets
        /// the result, and at the end nothing is kept.
        #[test]
        fn nobody_is_forgotten(leaves in proptest::collection::vec(any::<bool>(), 1..12)) {
            let flights = Flights::default();
            let mut leader = Some(lead(&flights));
            let mut followers: Vec<_> = leaves.iter().map(|_| Some(follow(&flights))).collect();
            // Each in turn: the leader leaves, or a follower does.
            for (index, leader_leaves) in leaves.iter().enumerate() {
                if *leader_leaves {
                    drop(leader.take());
                    let called = followers.iter_mut().find_map(|follower| {
                        let Ok(Turn::Lead(lead)) = follower.as_mut()?.try_recv() else { return None };
                        *follower = None;
                        Some(lead)
                    });
                    leader = called;
                    prop_assert_eq!(leader.is_some(), flights.in_the_air() == 1);
                } else {
                    followers[index] = None;
                }
            }
            let stayed = followers.iter().flatten().count();
            prop_assert!(leader.is_some() || stayed == 0);
            leader.into_iter().for_each(|leader| leader.land(&9));
            for follower in followers.iter_mut().flatten() {
                prop_assert_eq!(said(follower), "landed");
            }
            prop_assert_eq!(flights.in_the_air(), 0);
        }
    }
}
