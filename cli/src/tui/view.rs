//! What the live view shows: the latest snapshot, what it was over the last minutes, and what happened. A fold over the
//! snapshots of a run. Pure: it reads no clock and draws nothing.

use std::collections::VecDeque;

use proofload_loadgen::progress::{Snapshot, Standing};
use proofload_loadgen::scenario::Scenario;
use proofload_run::manifest::LoadModel;
use proofload_run::sample::Outcome;
use proofload_run::units::significant;

/// Seconds of history that are kept: more than a terminal is wide.
const MOST_HISTORY: usize = 600;
/// Events that are kept.
const MOST_EVENTS: usize = 50;
const NS_PER_S: u64 = 1_000_000_000;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) name: String,
    pub(super) is_open: bool,
    pub(super) snapshot: Snapshot,
    /// Requests that ended per second, the latest at the back; in tenths, so that slow rates show.
    pub(super) rates: VecDeque<u64>,
    /// p95 in µs likewise; 0 where nothing succeeded.
    pub(super) p95_us: VecDeque<u64>,
    /// When what happened, s and words, the latest at the back.
    pub(super) events: VecDeque<(u64, String)>,
    /// Thresholds that can be judged only when the run is over.
    pub(super) at_the_end: Vec<String>,
    /// How often the run was asked to stop.
    pub(super) stops: u32,
    /// The second that was last put into the history.
    pub(super) second: u64,
}

impl View {
    /// Of a run that has not begun.
    pub(super) fn of(scenario: &Scenario) -> Self {
        let unwatched = scenario.thresholds.iter().filter(|t| t.window_ns.is_none() && t.abort_after_ns.is_none());
        Self {
            name: scenario.name.clone(),
            is_open: scenario.load.model.load_model() == LoadModel::Open,
            at_the_end: unwatched.map(ToString::to_string).collect(),
            ..Self::default()
        }
    }

    /// Takes in the latest snapshot, and how often the run was asked to stop.
    pub(super) fn fold(&mut self, snapshot: &Snapshot, stops: u32) {
        let now_s = snapshot.elapsed_ns / NS_PER_S;
        for event in happened(&self.snapshot, snapshot) {
            self.tell(now_s, event);
        }
        if stops > self.stops {
            self.tell(
                now_s,
                if stops == 1 { "asked to stop: draining" } else { "asked again: giving up the rest" }.to_owned(),
            );
        }
        if now_s > self.second {
            self.second = now_s;
            keep(&mut self.rates, (snapshot.finished_per_s * 10.0) as u64, MOST_HISTORY);
            keep(&mut self.p95_us, snapshot.p95_ns.unwrap_or(0) / 1000, MOST_HISTORY);
        }
        self.stops = stops;
        self.snapshot = snapshot.clone();
    }

    fn tell(&mut self, at_s: u64, event: String) {
        keep(&mut self.events, (at_s, event), MOST_EVENTS);
    }

    /// Every outcome that is no success and has come, with its count.
    pub(super) fn failures(&self) -> Vec<(&'static str, u64)> {
        let counted = Outcome::ALL.iter().zip(self.snapshot.outcomes);
        let failures = counted.filter(|(outcome, count)| **outcome != Outcome::Ok && *count > 0);
        failures.map(|(outcome, count)| (outcome.as_str(), count)).collect()
    }
}

fn keep<T>(history: &mut VecDeque<T>, latest: T, most: usize) {
    history.push_back(latest);
    if history.len() > most {
        history.pop_front();
    }
}

/// What is new in a snapshot, in words.
fn happened(before: &Snapshot, now: &Snapshot) -> Vec<String> {
    let mut events = Vec::new();
    if now.step != before.step && now.step.is_some() {
        events.push(format!("{} at {}", now.step_name, significant(now.level)));
    }
    if before.step.is_some() && now.step.is_none() {
        events.push("the plan is over: draining".to_owned());
    }
    let counts = Outcome::ALL.iter().zip(before.outcomes.iter().zip(now.outcomes));
    let first = counts.filter(|(outcome, (before, now))| **outcome != Outcome::Ok && **before == 0 && *now > 0);
    events.extend(first.map(|(outcome, _)| format!("first {}", outcome.as_str())));
    events.extend(
        now.standings.iter().filter(|standing| is_news(before, standing)).map(|s| format!("MISSED {}", s.threshold)),
    );
    let new = [
        (now.target_lost_since_ns.is_some() && before.target_lost_since_ns.is_none(), "THE TARGET DOES NOT ANSWER"),
        (now.unwritable.is_some() && before.unwritable.is_none(), "SAMPLES CANNOT BE WRITTEN"),
        (
            now.broken_by.is_some() && before.broken_by.is_none(),
            "the service level has broken: higher steps are left out",
        ),
        (now.abort.is_some() && before.abort.is_none(), "a missed threshold ends the run"),
    ];
    events.extend(new.into_iter().filter(|(is_new, _)| *is_new).map(|(_, words)| words.to_owned()));
    events
}

fn is_news(before: &Snapshot, now: &Standing) -> bool {
    now.was_missed && !before.standings.iter().any(|known| known.threshold == now.threshold && known.was_missed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_told_once() {
        let mut view = View::default();
        let mut snapshot = Snapshot {
            elapsed_ns: NS_PER_S / 2,
            step: Some(0),
            step_name: "hold".to_owned(),
            level: 40.0,
            ..Snapshot::default()
        };
        let mut check = |snapshot: &Snapshot, stops: u32, expected: &[&str]| {
            view.events.clear();
            view.fold(snapshot, stops);
            let events: Vec<&str> = view.events.iter().map(|(_, event)| event.as_str()).collect();
            assert_eq!(events, expected);
            view.fold(snapshot, stops);
            assert_eq!(view.events.len(), expected.len(), "nothing is told twice");
        };
        check(&snapshot, 0, &["hold at 40"]);
        snapshot.outcomes[usize::from(Outcome::Timeout.code())] = 3;
        check(&snapshot, 0, &["first timeout"]);
        snapshot.outcomes[usize::from(Outcome::Timeout.code())] = 4;
        check(&snapshot, 0, &[]);
        snapshot.standings =
            vec![Standing { threshold: "p95 < 1 s".to_owned(), was_missed: true, ..Standing::default() }];
        check(&snapshot, 0, &["MISSED p95 < 1 s"]);
        snapshot.target_lost_since_ns = Some(1);
        check(&snapshot, 1, &["THE TARGET DOES NOT ANSWER", "asked to stop: draining"]);
        snapshot.step = None;
        check(&snapshot, 2, &["the plan is over: draining", "asked again: giving up the rest"]);
    }

    #[test]
    fn history_has_a_value_a_second_and_an_end() {
        let mut view = View::default();
        for tenth in 0..10 * (MOST_HISTORY as u64 + 50) {
            let rate = (tenth / 10) as f64;
            view.fold(&Snapshot { elapsed_ns: tenth * NS_PER_S / 10, finished_per_s: rate, ..Snapshot::default() }, 0);
        }
        assert_eq!((view.rates.len(), view.p95_us.len()), (MOST_HISTORY, MOST_HISTORY));
        assert_eq!(view.rates.back(), Some(&(10 * (MOST_HISTORY as u64 + 49))));
    }
}
