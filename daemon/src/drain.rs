//! The life of the daemon as a pure state machine: Serving, then Draining until a deadline, then Stopped.
//! It owns no signal, no timer and no connection; `app` feeds it events and obeys what it answers.

use std::time::{Duration, Instant};

/// Where the daemon stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Requests are accepted.
    Serving,
    /// No new connection is accepted; what is in flight may finish until the deadline.
    Draining {
        /// When the grace period ends.
        deadline: Instant,
    },
    /// Nothing is served any more.
    Stopped(Outcome),
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every request in flight was answered.
    Finished,
    /// The grace period ended first.
    Exceeded {
        /// How many requests were still unanswered.
        left: usize,
    },
}

/// What happens to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Somebody asked it to stop: a signal, or the end of its standard input.
    StopRequested,
    /// Every connection has been closed after its last answer.
    Idle,
    /// Time has passed, with so many requests in flight.
    Tick {
        /// Requests accepted and not yet answered.
        in_flight: usize,
    },
}

/// The state machine.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    state: State,
    grace: Duration,
}

impl Drain {
    /// A daemon that serves, and that will give its requests `grace` to finish.
    pub fn new(grace: Duration) -> Self {
        Self { state: State::Serving, grace }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes an event at `now` and answers the state it leads to. A second request to stop changes nothing: a Ctrl-C
    /// reaches a child process from the terminal and again from its parent.
    pub fn on(&mut self, event: Event, now: Instant) -> State {
        self.state = match (self.state, event) {
            (State::Serving, Event::StopRequested) => State::Draining { deadline: now + self.grace },
            (State::Serving | State::Draining { .. }, Event::Idle) => State::Stopped(Outcome::Finished),
            (State::Draining { deadline }, Event::Tick { in_flight }) if now >= deadline => {
                State::Stopped(if in_flight == 0 { Outcome::Finished } else { Outcome::Exceeded { left: in_flight } })
            }
            (state, _) => state,
        };
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    fn check(events: &[(Event, u64)], expected: impl Fn(Instant) -> State) {
        let start = Instant::now();
        let mut drain = Drain::new(GRACE);
        for &(event, at_s) in events {
            drain.on(event, start + Duration::from_secs(at_s));
        }
        assert_eq!(drain.state(), expected(start), "{events:?}");
    }

    #[test]
    fn a_life_goes_one_way() {
        use Event::{Idle, StopRequested, Tick};
        let draining_until = |at_s| move |start| State::Draining { deadline: start + Duration::from_secs(at_s) };
        let stopped = |outcome| move |_| State::Stopped(outcome);
        check(&[], |_| State::Serving);
        check(&[(Tick { in_flight: 3 }, 1)], |_| State::Serving);
        check(&[(StopRequested, 1)], draining_until(6));
        check(&[(StopRequested, 1), (StopRequested, 3)], draining_until(6));
        check(&[(StopRequested, 1), (Tick { in_flight: 2 }, 5)], draining_until(6));
        check(&[(StopRequested, 1), (Idle, 2)], stopped(Outcome::Finished));
        check(&[(StopRequested, 1), (Tick { in_flight: 2 }, 6)], stopped(Outcome::Exceeded { left: 2 }));
        check(&[(StopRequested, 1), (Tick { in_flight: 0 }, 6)], stopped(Outcome::Finished));
        check(&[(StopRequested, 1), (Idle, 2), (StopRequested, 3)], stopped(Outcome::Finished));
    }
}
