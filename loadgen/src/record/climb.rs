//! Whether a climb has passed its break, from the samples as they come in: then higher steps would only repeat it. Pure:
//! the same samples and the same time give the same answer. It ends a climb and decides nothing else: at which step the
//! service level broke is the analyzer's to say, from all samples.

use std::ops::Range;

use proofload_run::criteria::Slo;
use proofload_run::manifest::{ScenarioKind, Step};
use proofload_run::sample::{Outcome, Sample};

use crate::scenario::Scenario;

/// Fewer answers than this say nothing.
const FEWEST: u64 = 20;
/// One step with more than this share of bad answers is enough; otherwise it takes two in a row.
const HOPELESS: f64 = 0.9;
/// A share is clearly above what is allowed when it is so by this many standard deviations of a binomial count, and by
/// as many answers more: where nearly nothing is allowed, a few are no rate yet.
const CLEARLY: f64 = 3.0;

/// Answers within the measured part of one step that one service level covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    n: u64,
    bad: u64,
    settled: u64,
    errors: u64,
}

/// What a step has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    /// Nothing against it, or not enough.
    Nothing,
    /// It clearly misses a service level.
    Missed,
    /// Hardly anything is good.
    Hopeless,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Climb {
    /// The measured part of each step; empty for a warm-up.
    measured_ns: Vec<Range<u64>>,
    levels: Vec<Slo>,
    /// Which level covers an entry.
    of_entry: Vec<Option<usize>>,
    /// By step, then by level.
    tallies: Vec<Vec<Tally>>,
}

impl Climb {
    /// Watches a scenario that wants to stop after its break; `None` for any other.
    pub fn of(scenario: &Scenario) -> Option<Self> {
        let wanted = scenario.kind == ScenarioKind::Stress && scenario.load.stop_after_break;
        let slos: Vec<Option<Slo>> = scenario.mix.iter().map(|entry| entry.slo).collect();
        wanted.then(|| Self::new(&scenario.load.steps, &slos, scenario.slo))
    }

    fn new(steps: &[Step], entries: &[Option<Slo>], common: Option<Slo>) -> Self {
        let mut levels: Vec<Slo> = common.into_iter().collect();
        let mut of_entry = Vec::with_capacity(entries.len());
        for own in entries {
            levels.extend(own);
            of_entry.push(if own.is_some() { Some(levels.len() - 1) } else { common.map(|_| 0) });
        }
        let measured = |step: &Step| if step.warm_up { 0..0 } else { step.start_ns + step.settle_ns..step.end_ns };
        let tallies = vec![vec![Tally::default(); levels.len()]; steps.len()];
        Self { measured_ns: steps.iter().map(measured).collect(), levels, of_entry, tallies }
    }

    /// Takes in a finished sample.
    pub fn add(&mut self, sample: &Sample) {
        let (step, entry) = (usize::from(sample.step), usize::from(sample.entry));
        let Some(level) = self.of_entry.get(entry).copied().flatten() else { return };
        let measured = self.measured_ns.get(step).is_some_and(|measured| measured.contains(&sample.intended_ns));
        let outcome = sample.outcome();
        if !measured || matches!(outcome, Outcome::Dropped | Outcome::InFlight) {
            return;
        }
        let ok = outcome == Outcome::Ok;
        let tally = &mut self.tallies[step][level];
        tally.n += 1;
        let (ttft_ns, itl_ns) = (sample.first_token_latency_ns(), sample.mean_gap_ns());
        tally.bad += u64::from(!ok || !self.levels[level].is_in_time(sample.latency_ns(), ttft_ns, itl_ns));
        tally.settled += u64::from(ok || outcome.is_error());
        tally.errors += u64::from(outcome.is_error());
    }

    /// The step by which the climb had passed its break, if it has and steps are left to skip.
    pub fn broken_by(&self, now_ns: u64) -> Option<u16> {
        // Before this has passed, what is good may be still under way while what is bad came at once.
        let patience_ns = self.levels.iter().map(|slo| slo.latency_ns).max()?;
        let over = |measured: &&Range<u64>| measured.end.saturating_add(patience_ns) <= now_ns;
        let over = self.measured_ns.iter().take_while(over).count().min(self.measured_ns.len().saturating_sub(1));
        let shown: Vec<Shown> = self.tallies[..over].iter().map(|tallies| self.shown(tallies)).collect();
        broken_by(&shown).and_then(|step| u16::try_from(step).ok())
    }

    fn shown(&self, tallies: &[Tally]) -> Shown {
        tallies.iter().zip(&self.levels).map(|(tally, slo)| shown(tally, slo)).max().unwrap_or(Shown::Nothing)
    }
}

fn shown(tally: &Tally, slo: &Slo) -> Shown {
    if tally.n >= FEWEST && tally.bad as f64 > HOPELESS * tally.n as f64 {
        return Shown::Hopeless;
    }
    let missed =
        clearly(tally.bad, tally.n, slo.bad_fraction()) || clearly(tally.errors, tally.settled, slo.error_rate);
    if missed { Shown::Missed } else { Shown::Nothing }
}

/// Whether so many of `n` are clearly more than the share that is allowed.
fn clearly(count: u64, n: u64, allowed: f64) -> bool {
    let expected = n as f64 * allowed;
    let spread = (expected * (1.0 - allowed)).max(0.0).sqrt();
    n >= FEWEST && count as f64 > expected + CLEARLY * (spread + 1.0)
}

/// The first step by which it is clear: hopeless itself, or the second in a row that missed.
fn broken_by(steps: &[Shown]) -> Option<usize> {
    let before = std::iter::once(&Shown::Nothing).chain(steps);
    let twice = |before: Shown, now: Shown| before >= Shown::Missed && now >= Shown::Missed;
    steps.iter().zip(before).position(|(now, before)| *now == Shown::Hopeless || twice(*before, *now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofload_run::sample::flags;

    const S: u64 = 1_000_000_000;
    const SLO: Slo = Slo::new(S / 10, 95.0, 0.01);

    #[test]
    fn two_steps_in_a_row_or_one_that_is_hopeless() {
        use Shown::{Hopeless, Missed, Nothing};
        let check = |steps: &[Shown], expected| assert_eq!(broken_by(steps), expected, "{steps:?}");
        check(&[], None);
        check(&[Nothing, Missed], None);
        check(&[Missed, Nothing, Missed, Nothing], None);
        check(&[Nothing, Missed, Missed], Some(2));
        check(&[Missed, Missed, Nothing], Some(1));
        check(&[Hopeless], Some(0));
        check(&[Nothing, Hopeless, Nothing], Some(1));
        check(&[Nothing, Missed, Hopeless, Missed], Some(2));
    }

    #[test]
    fn what_a_step_has_shown() {
        let check = |n, bad, errors, expected| {
            assert_eq!(
                shown(&Tally { n, bad, settled: n, errors }, &SLO),
                expected,
                "{bad} bad, {errors} errors of {n}"
            );
        };
        check(0, 0, 0, Shown::Nothing);
        check(19, 19, 19, Shown::Nothing);
        check(20, 19, 0, Shown::Hopeless);
        check(20, 18, 0, Shown::Missed);
        check(1000, 50, 0, Shown::Nothing);
        // 50 are allowed, 3 standard deviations are 20.7, and 3 more.
        check(1000, 73, 0, Shown::Nothing);
        check(1000, 74, 0, Shown::Missed);
        check(1000, 900, 0, Shown::Missed);
        check(1000, 901, 0, Shown::Hopeless);
        check(1000, 22, 22, Shown::Nothing);
        check(1000, 23, 23, Shown::Missed);
    }

    /// Steps of 10 s, of which 2 s settle, with so many percent of 100 answers a second bad.
    fn climb(bad_percent: &[u64], warm_up: bool) -> Climb {
        let step = |index: usize| Step {
            name: String::new(),
            start_ns: 10 * S * index as u64,
            end_ns: 10 * S * (index as u64 + 1),
            level_start: 100.0,
            level_end: 100.0,
            settle_ns: 2 * S,
            warm_up: warm_up && index == 0,
        };
        let steps: Vec<Step> = (0..bad_percent.len()).map(step).collect();
        let mut climb = Climb::new(&steps, &[Some(SLO), None], None);
        for (index, percent) in bad_percent.iter().enumerate() {
            for n in 0..1000 {
                let intended_ns = steps[index].start_ns + n * S / 100;
                let latency_ns = if n % 100 < *percent { S } else { 1 };
                let done_ns = intended_ns + latency_ns;
                climb.add(&Sample { intended_ns, done_ns, step: index as u16, ..Sample::default() });
                // An entry without a level of its own is nobody's concern.
                climb.add(&Sample {
                    intended_ns,
                    done_ns: intended_ns + 9 * S,
                    step: index as u16,
                    entry: 1,
                    ..Sample::default()
                });
            }
        }
        climb
    }

    #[test]
    fn late_tokens_are_bad_however_soon_the_answer_ends() {
        let steps: Vec<Step> = climb(&[0, 0, 0], false).measured_ns.iter().map(step_of).collect();
        let slo = Slo { ttft_ns: Some(S / 100), ..SLO };
        let mut climb = Climb::new(&steps, &[Some(slo)], None);
        for (index, step) in steps.iter().enumerate() {
            for n in 0..100 {
                let intended_ns = step.start_ns + n * S / 100;
                let (first_token_ns, done_ns) = (intended_ns + S / 50, intended_ns + S / 20);
                let (step, flags) = (index as u16, flags::STREAMED);
                climb.add(&Sample {
                    intended_ns,
                    first_token_ns,
                    done_ns,
                    step,
                    flags,
                    pieces: 2,
                    ..Sample::default()
                });
            }
        }
        assert_eq!(climb.broken_by(60 * S), Some(0));
    }

    fn step_of(measured_ns: &Range<u64>) -> Step {
        Step {
            name: String::new(),
            start_ns: measured_ns.start,
            end_ns: measured_ns.end,
            level_start: 100.0,
            level_end: 100.0,
            settle_ns: 0,
            warm_up: false,
        }
    }

    #[test]
    fn a_climb_is_broken_when_its_steps_are_over_and_some_are_left() {
        let check = |bad: &[u64], warm_up, at_ms: u64, expected| {
            assert_eq!(climb(bad, warm_up).broken_by(at_ms * 1_000_000), expected, "{bad:?} at {at_ms} ms");
        };
        check(&[0, 20, 20, 20], false, 30_099, None);
        check(&[0, 20, 20, 20], false, 30_100, Some(2));
        check(&[0, 20, 20], false, 60_000, None);
        check(&[0, 20, 0, 20, 0], false, 60_000, None);
        check(&[0, 95, 0], false, 20_100, Some(1));
        check(&[95, 20, 0, 0], true, 60_000, None);
        check(&[5, 5, 5], false, 60_000, None);
        check(&[], false, 60_000, None);
    }
}
