//! Which rate to drive next, in search of the highest one that keeps a service level: warm up, bracket, search by the
//! posterior's quantiles, soak. Pure: the same steps and the same time spent give the same next step, which is how a search
//! that was stopped goes on.

use proofload_run::capacity::{Capacity, Planned, Rules, Seen, StepKind};

use super::belief::{Allowed, Belief};
use super::found::{Bounds, describe};
use super::warm_up::is_steady;

const NS_PER_S: f64 = 1e9;
/// Warm-up and the first bracket step, as a share of the guess.
const BEGIN_AT: f64 = 0.3;
const WARM_UP_S: f64 = 5.0;
/// Warm-up ends at the latest after so many steps, or so much of the budget.
const MOST_WARM_UPS: usize = 6;
const WARM_UP_SHARE: f64 = 0.2;
/// From one bracket step to the next, upwards and downwards.
const RISE: f64 = 1.5;
const FALL: f64 = 0.5;
const BRACKET_S: f64 = 3.5;
/// A step with a larger share of bad requests lies above what is sought, whatever the level.
pub(super) const TOO_MUCH: f64 = 0.3;
/// So it says nothing of a level that allows nearly as much: p75 and above can be searched for.
pub const MOST_ALLOWED: f64 = 0.25 + 1e-9;
/// Downwards, a search gives up at this share of the guess.
const LEAST: f64 = 1e-3;
/// Quantiles of the belief that are driven, in turn: what lies above says more, and costs a longer wait.
const QUANTILES: [f64; 4] = [0.5, 0.75, 0.5, 0.65];
const STEP_S: f64 = 8.0;
const LONGEST_S: f64 = 30.0;
/// A step lasts until so many requests are expected.
const REQUESTS: f64 = 80.0;
/// A step begins with an empty queue, and near the limit it takes seconds until that no longer shows.
const SETTLE_S: f64 = 3.0;
const BRACKET_SETTLE_S: f64 = 1.5;
/// So many steps before the width of the interval ends a search.
const FEWEST: usize = 5;
/// So many steps that kept the level where a bracket step did not show that it was chance.
const REFUTED: usize = 2;
/// After so many steps in which the generator did not keep up, of one rate or of the search, it is the limit: once may be chance.
const UNSOUND: usize = 3;
const MOST_SOAKS: usize = 2;

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Drive this step, wait for what is in flight, and show what was seen.
    Drive(Planned),
    /// The search is over.
    Done(Box<Capacity>),
}

/// A search under way.
#[derive(Debug, Clone)]
pub struct Search {
    rules: Rules,
    steps: Vec<Seen>,
    /// From when there is a bracket, with what it was.
    belief: Option<([f64; 2], Belief)>,
}

impl Search {
    /// Begins, or goes on after these steps.
    pub fn new(rules: Rules, steps: Vec<Seen>) -> Self {
        let mut search = Self { rules, steps: Vec::new(), belief: None };
        steps.into_iter().for_each(|step| search.show(step));
        search
    }

    /// Takes in what a step showed.
    pub fn show(&mut self, seen: Seen) {
        self.steps.push(seen);
        let Some((bracket, mut belief)) =
            self.belief.take().filter(|(bracket, _)| self.bounds().bracket() == Some(*bracket))
        else {
            return;
        };
        self.steps.last().filter(|seen| self.is_evidence(seen)).into_iter().for_each(|seen| belief.add(seen.into()));
        self.belief = Some((bracket, belief));
    }

    /// The steps so far.
    pub fn steps(&self) -> &[Seen] {
        &self.steps
    }

    /// What to do after so much time.
    pub fn next(&mut self, spent_ns: u64) -> Next {
        if let Some(planned) = self.warm_up(spent_ns).or_else(|| self.bracket()) {
            return if self.is_over(spent_ns, &planned) { self.done() } else { Next::Drive(planned) };
        }
        match self.search() {
            Some(planned) if !self.is_over(spent_ns, &planned) => Next::Drive(planned),
            _ => self.soak().map_or_else(|| self.done(), Next::Drive),
        }
    }

    fn is_over(&self, spent_ns: u64, planned: &Planned) -> bool {
        spent_ns.saturating_add(planned.length_ns()) > self.rules.budget_ns
    }

    fn planned(&self, kind: StepKind, rate_per_s: f64, settle_s: f64, hold_s: f64) -> Planned {
        let rate_per_s = self.rules.most_per_s.map_or(rate_per_s, |most| rate_per_s.min(most));
        // Whole milliseconds, so that a step can be written into a scenario as it is.
        let ns = |seconds: f64| (seconds * 1e3).round() as u64 * 1_000_000;
        let patience_s = 2.0 * self.rules.slo.latency_ns as f64 / NS_PER_S;
        Planned { kind, rate_per_s, settle_ns: ns(settle_s.max(patience_s)), hold_ns: ns(hold_s.max(2.0 * patience_s)) }
    }

    fn of(&self, kind: StepKind) -> impl DoubleEndedIterator<Item = &Seen> {
        self.steps.iter().filter(move |seen| seen.planned.kind == kind)
    }

    /// One more warm-up, while the target is not warm.
    fn warm_up(&self, spent_ns: u64) -> Option<Planned> {
        if self.steps.iter().any(|seen| seen.planned.kind != StepKind::WarmUp) {
            return None;
        }
        let late = spent_ns as f64 > WARM_UP_SHARE * self.rules.budget_ns as f64;
        let last = self.steps.last();
        let warm = last.is_some_and(|seen| is_steady(&seen.paces_ns) || seen.bad_share() > Some(TOO_MUCH));
        let enough = warm || late || self.steps.len() >= MOST_WARM_UPS;
        (!enough).then(|| self.planned(StepKind::WarmUp, BEGIN_AT * self.rules.guess_per_s, 0.0, WARM_UP_S))
    }

    /// The highest rate below and the lowest above what is sought, as far as is known.
    fn bounds(&self) -> Bounds {
        let sound = || self.steps.iter().filter(|seen| seen.sound && seen.planned.kind != StepKind::WarmUp);
        let rate = |seen: &Seen| seen.planned.rate_per_s;
        let of_bracket = || self.of(StepKind::Bracket).filter(|seen| seen.sound);
        let much = |seen: &&Seen| seen.bad_share() > Some(TOO_MUCH);
        let refuted = |high: &f64| self.is_refuted(*high);
        let high = of_bracket().filter(much).map(rate).filter(|high| !refuted(high)).reduce(f64::min);
        let beside = |found: &f64| high.is_none_or(|high| *found < high);
        let little = |seen: &&Seen| seen.bad_share().is_some_and(|share| share <= TOO_MUCH);
        // What refuted a bracket step is where to go on from.
        let kept = sound().filter(|seen| seen.planned.kind == StepKind::Search && self.kept(seen));
        let refuting = of_bracket().filter(much).map(rate).filter(refuted).reduce(f64::max);
        let from = kept.map(rate).filter(|found| refuting.is_some_and(|refuted| *found >= refuted));
        let low = of_bracket().filter(little).map(rate).chain(from).filter(beside).reduce(f64::max);
        let missed = sound().filter(|seen| !self.kept(seen)).map(rate).filter(|missed| !refuted(missed));
        let missed = missed.reduce(f64::min).unwrap_or(f64::INFINITY);
        let borne = sound().filter(|seen| self.kept(seen)).map(rate).filter(|found| *found < missed).reduce(f64::max);
        let generator = self.unsound_bracket().filter(|(_, times)| *times >= UNSOUND).map(|(rate, _)| rate);
        let is_least = high.is_some_and(|high| high * FALL <= LEAST * self.rules.guess_per_s);
        Bounds { low, high, borne, generator, is_least }
    }

    /// Whether enough search steps have kept the level at or above a rate at which a bracket step did not.
    fn is_refuted(&self, rate_per_s: f64) -> bool {
        let above = self.of(StepKind::Search).filter(|seen| seen.sound && seen.planned.rate_per_s >= rate_per_s);
        above.filter(|seen| self.kept(seen)).count() >= REFUTED
    }

    /// Whether a step says something of the target's limit: what was driven to warm it up is another target, and what was
    /// refuted is chance.
    fn is_evidence(&self, seen: &Seen) -> bool {
        let bracket = seen.planned.kind == StepKind::Bracket && seen.bad_share() > Some(TOO_MUCH);
        let refuted = bracket && self.is_refuted(seen.planned.rate_per_s);
        seen.sound && seen.planned.kind != StepKind::WarmUp && !refuted
    }

    /// The rate of the last bracket step and how often it was driven, where the generator has not kept up.
    fn unsound_bracket(&self) -> Option<(f64, usize)> {
        let last = self.of(StepKind::Bracket).next_back().filter(|seen| !seen.sound)?;
        let rate = last.planned.rate_per_s;
        Some((
            rate,
            self.of(StepKind::Bracket)
                .rev()
                .take_while(|seen| seen.planned.rate_per_s.total_cmp(&rate).is_eq())
                .count(),
        ))
    }

    /// One more bracket step, while there is no rate below or none above.
    fn bracket(&self) -> Option<Planned> {
        let Bounds { low, high, generator, .. } = self.bounds();
        let most = |rate: &f64| self.rules.most_per_s.is_none_or(|most| *rate < most);
        let again = self.unsound_bracket().filter(|_| generator.is_none()).map(|(rate, _)| rate);
        let rate = match (low, high) {
            _ if again.is_some() => again,
            (Some(_), Some(_)) => None,
            (None, Some(high)) => Some(high * FALL).filter(|rate| *rate > LEAST * self.rules.guess_per_s),
            (Some(low), None) => Some(low).filter(most).filter(|_| generator.is_none()).map(|low| low * RISE),
            (None, None) if generator.is_some() => None,
            (None, None) => Some(BEGIN_AT * self.rules.guess_per_s),
        };
        rate.map(|rate| {
            self.planned(StepKind::Bracket, rate, BRACKET_SETTLE_S, BRACKET_S.max(40.0 / rate).min(LONGEST_S))
        })
    }

    /// The belief, once there is a bracket.
    fn believe(&mut self) -> Option<&mut Belief> {
        if self.belief.is_none() {
            let bracket = self.bounds().bracket()?;
            let slo = &self.rules.slo;
            let allowed = Allowed { bad_share: slo.bad_fraction(), error_share: slo.error_rate };
            let mut belief = Belief::new([bracket[0] * 0.7, bracket[1] * 1.25], allowed);
            self.steps.iter().filter(|seen| self.is_evidence(seen)).for_each(|seen| belief.add(seen.into()));
            self.belief = Some((bracket, belief));
        }
        self.belief.as_mut().map(|(_, belief)| belief)
    }

    /// One more step where it says most, while the interval is too wide.
    fn search(&mut self) -> Option<Planned> {
        let (driven, stuck) = (self.of(StepKind::Search).count(), self.is_stuck());
        let wide = self.rules.half_width_share;
        let [low, middle, high, next] =
            self.believe()?.quantiles([0.05, 0.5, 0.95, QUANTILES[driven % QUANTILES.len()]]);
        let narrow = driven >= FEWEST && (high - low) / 2.0 < wide * middle;
        // Once a soak was driven, nothing finer is sought.
        if narrow || stuck || self.of(StepKind::Soak).next().is_some() {
            return None;
        }
        Some(self.planned(StepKind::Search, next, SETTLE_S, STEP_S.max(REQUESTS / next).min(LONGEST_S)))
    }

    /// A soak at the rate that is borne for sure, and again where it was not borne, or the generator did not keep up.
    fn soak(&mut self) -> Option<Planned> {
        let searched = self.of(StepKind::Search).filter(|seen| seen.sound).count();
        if self.rules.soak_ns == 0 || searched == 0 || self.is_stuck() {
            return None;
        }
        let [rate] = self.believe()?.quantiles([0.05]);
        let (sound, unsound): (Vec<&Seen>, Vec<&Seen>) = self.of(StepKind::Soak).partition(|seen| seen.sound);
        let missed = sound.last().is_none_or(|seen| !self.kept(seen));
        let wanted = missed && sound.len() < MOST_SOAKS && unsound.len() < UNSOUND;
        wanted.then(|| self.planned(StepKind::Soak, rate, SETTLE_S, self.rules.soak_ns as f64 / NS_PER_S))
    }

    /// Whether the generator fell behind in so many steps near the limit that it is the limit.
    fn is_stuck(&self) -> bool {
        self.of(StepKind::Search).filter(|seen| !seen.sound).count() >= UNSOUND
    }

    /// Whether a step kept the service level.
    fn kept(&self, seen: &Seen) -> bool {
        let slo = &self.rules.slo;
        let n: u64 = seen.seconds.iter().map(|second| second.n).sum();
        let errors: u64 = seen.seconds.iter().map(|second| second.errors).sum();
        let bad = seen.bad_share().is_some_and(|share| share <= slo.bad_fraction());
        bad && errors as f64 <= slo.error_rate * n as f64
    }

    fn done(&mut self) -> Next {
        let soak = self.of(StepKind::Soak).rev().find(|seen| seen.sound);
        let soak = soak.map(|seen| (seen.planned.rate_per_s, self.kept(seen)));
        let mut bounds = self.bounds();
        let (driven, stuck) = (self.of(StepKind::Search).filter(|seen| seen.sound).count(), self.is_stuck());
        if stuck {
            let missed = self.of(StepKind::Search).filter(|seen| !seen.sound).map(|seen| seen.planned.rate_per_s);
            bounds.generator = missed.reduce(f64::min);
        }
        let slo = self.rules.slo;
        let belief = if driven > 0 && !stuck { self.believe().cloned() } else { None };
        Next::Done(Box::new(describe(&slo, &bounds, belief.as_ref(), soak)))
    }
}
