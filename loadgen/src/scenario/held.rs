//! A scenario at one rate, for as long as somebody else decides: how a search for a target's capacity drives its steps. Pure.

use proofload_run::criteria::Slo;
use proofload_run::manifest::{ScenarioKind, Step};

use super::{Model, Scenario};
use crate::plan::{Process, Timing};

/// A step is looked at after each of these, so that a hopeless one ends early.
const PIECE_NS: u64 = 2_000_000_000;

/// One step of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Held {
    /// Its number in the search, from 1: no two steps send the same contents.
    pub number: u64,
    /// Arrivals per second.
    pub rate_per_s: f64,
    /// Its start, which is not measured.
    pub settle_ns: u64,
    /// What is measured.
    pub hold_ns: u64,
}

impl Scenario {
    /// What keeps it from being driven at one rate, and what would be right.
    pub fn cannot_be_held(&self) -> Option<String> {
        let replayed = matches!(self.load.model, Model::Open { arrivals: Timing::Replayed(_) });
        let burst = matches!(self.load.model, Model::Open { arrivals: Timing::Drawn { burst: Some(_), .. } });
        let why = match () {
            () if !self.journeys.is_empty() => {
                "it has journeys, which need users: list what it sends as [[mix]] entries alone"
            }
            () if replayed => {
                "its arrivals are a recording, whose rate is what it is: set load.arrivals to \"poisson\""
            }
            () if burst => "its arrivals come in bursts: leave [load.burst] out, or raise load.burstiness instead",
            () => return None,
        };
        Some(format!("{}: capacity is searched at steady rates, and {why}", self.source.path.display()))
    }

    /// The rate that it begins with, as a first guess; `None` of users, who have none, and where it begins with none.
    pub fn first_rate_per_s(&self) -> Option<f64> {
        let measured = self.load.steps.iter().find(|step| !step.warm_up);
        matches!(self.load.model, Model::Open { .. })
            .then(|| measured.map(|step| step.level_start).filter(|rate| *rate > 0.0))
            .flatten()
    }

    /// As one step of a search, all of it judged by this level. Users become independent arrivals.
    pub fn held(&self, held: Held, slo: Slo) -> Self {
        let mut scenario = self.clone();
        scenario.kind = ScenarioKind::Stress;
        scenario.load.stop_after_break = true;
        scenario.load.steps = pieces(held);
        if matches!(scenario.load.model, Model::Closed { .. }) {
            scenario.load.model = Model::Open { arrivals: Process::Poisson.into() };
        }
        scenario.seed = self.seed.wrapping_add(held.number);
        scenario.slo = Some(slo);
        scenario.mix.iter_mut().for_each(|entry| entry.slo = None);
        scenario.thresholds.clear();
        scenario.source.overrides.push(format!("load.rate={}/s", held.rate_per_s));
        scenario
    }
}

/// One rate in pieces, the first with the start that is not measured.
fn pieces(held: Held) -> Vec<Step> {
    let count = (held.hold_ns / PIECE_NS).max(1);
    let end_ns = |number: u64| match number == count {
        true => held.settle_ns + held.hold_ns,
        false => held.settle_ns + number * PIECE_NS,
    };
    let piece = |number: u64| Step {
        name: format!("piece {number}"),
        start_ns: if number == 1 { 0 } else { end_ns(number - 1) },
        end_ns: end_ns(number),
        level_start: held.rate_per_s,
        level_end: held.rate_per_s,
        settle_ns: if number == 1 { held.settle_ns } else { 0 },
        warm_up: false,
    };
    (1..=count).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const S: u64 = 1_000_000_000;
    const MIX: &str = "[[mix]]\nname = \"a\"\nprotocol = \"http\"\npath = \"/\"\n";

    fn scenario(load: &str) -> Scenario {
        Scenario::parse(Path::new("a.toml"), &format!("{load}\n{MIX}"), &[]).unwrap()
    }

    #[test]
    fn a_step_has_no_gap_and_its_start_is_not_measured() {
        let check = |settle_ns, hold_ns, pieces_expected| {
            let found = pieces(Held { number: 1, rate_per_s: 10.0, settle_ns, hold_ns });
            assert_eq!(found.len(), pieces_expected);
            assert_eq!((found[0].start_ns, found[0].settle_ns), (0, settle_ns));
            assert!(found.windows(2).all(|pair| pair[0].end_ns == pair[1].start_ns));
            assert!(found.iter().all(|piece| piece.start_ns + piece.settle_ns < piece.end_ns));
            assert_eq!(found.last().unwrap().end_ns, settle_ns + hold_ns);
        };
        check(2 * S, 8 * S, 4);
        check(3 * S / 2, 7 * S / 2, 1);
        check(0, 5 * S, 2);
        check(0, S, 1);
    }

    #[test]
    fn what_can_be_held() {
        let open = "kind = \"sustained\"\n[load]\nrate = \"40/s\"\nduration = \"9s\"\nwarm_up = \"1s\"";
        let users = "kind = \"sustained\"\n[load]\nmodel = \"closed\"\nusers = 4\nduration = \"9s\"";
        let burst = format!("{open}\n[load.burst]\nevery = \"1s\"");
        assert_eq!((scenario(open).cannot_be_held(), scenario(open).first_rate_per_s()), (None, Some(40.0)));
        assert_eq!((scenario(users).cannot_be_held(), scenario(users).first_rate_per_s()), (None, None));
        assert!(scenario(&burst).cannot_be_held().unwrap().contains("leave [load.burst] out"));
        let journey = format!("{users}\n[[journeys]]\nname = \"j\"\nrequests = [\"a\"]");
        assert!(scenario(&journey).cannot_be_held().unwrap().contains("journeys"));
    }

    #[test]
    fn a_climb_from_nothing_is_no_guess() {
        let ramp = scenario("kind = \"ramp\"\n[load]\nduration = \"9s\"\n[load.ramp]\nfrom = 0\nto = 50");
        assert_eq!(ramp.first_rate_per_s(), None);
    }

    #[test]
    fn no_two_steps_send_the_same() {
        let open = scenario("kind = \"sustained\"\n[load]\nrate = \"40/s\"\nduration = \"9s\"");
        let slo = Slo::new(S, 95.0, 0.01);
        let held = |number| open.held(Held { number, rate_per_s: 7.5, settle_ns: S, hold_ns: 8 * S }, slo);
        assert_ne!(held(1).seed, held(2).seed);
        assert_eq!((held(1).slo, held(1).kind), (Some(slo), ScenarioKind::Stress));
        let own = format!("{MIX}slo = {{ latency = \"2s\" }}\n");
        let text = format!("kind = \"sustained\"\n[load]\nrate = 40\nduration = \"9s\"\n{own}");
        let own = Scenario::parse(Path::new("a.toml"), &text, &[]).unwrap();
        assert!(own.mix[0].slo.is_some());
        let held = own.held(Held { number: 1, rate_per_s: 7.5, settle_ns: S, hold_ns: 8 * S }, slo);
        assert_eq!((held.mix[0].slo, held.slo), (None, Some(slo)), "one level for all");
    }
}
