//! Capacity searches against simulated batching servers whose capacity is known: how far the estimates are off, and how
//! often the intervals hold. Nothing here opens a socket but `real`; the search is the one that `proofload capacity` runs.

// Helpers of tests are no tests to clippy; what a proof measures is printed.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod model;
mod random;
mod real;
mod server;
#[path = "../support/mod.rs"]
mod support;

use proofload_analyzer::capacity::{Next, Search, verdict};
use proofload_run::capacity::{Capacity, Limit, Planned, Rules, Second, Seen, StepKind};
use proofload_run::criteria::Slo;
use proofload_run::verdict::Verdict;

use random::Random;
use server::{Answered, Law, Server, by_second, truth_per_s};

const NS_PER_S: f64 = 1e9;
/// From one step's end to the next one's start.
const PAUSE_S: f64 = 0.5;

fn law(random: &mut Random) -> Law {
    Law {
        instances: random.between(1.0, 4.99) as usize,
        max_batch: 1 << random.between(2.0, 5.99) as u32,
        delay_s: random.between(0.001, 0.010),
        fixed_s: random.between(0.004, 0.020),
        each_s: random.between(0.000_6, 0.003),
        spread: random.between(0.05, 0.30),
        drift: random.between(0.01, 0.05),
        drift_s: random.between(3.0, 15.0),
        cold: 0.4,
        cold_s: 8.0,
    }
}

/// Drives a step as the real one is driven, and says what it showed.
fn drive(server: &mut Server, planned: Planned, latency_s: f64) -> Seen {
    let (settle_s, hold_s) = (planned.settle_ns as f64 / NS_PER_S, planned.hold_ns as f64 / NS_PER_S);
    let begun_s = server.now_s();
    let hopeless = |passed_s: f64, answered: &[Answered]| {
        let seconds = by_second(answered, begun_s + settle_s, latency_s);
        let last = || seconds.iter().rev().skip(1).take(2);
        let (n, late) = last().fold((0, 0), |(n, late), second| (n + second.0, late + second.1));
        passed_s > settle_s + 3.0 && n > 20 && late as f64 > 0.9 * n as f64
    };
    let answered = server.drive(planned.rate_per_s, settle_s + hold_s, hopeless);
    server.rest(PAUSE_S);
    let seconds = by_second(&answered, begun_s + settle_s, latency_s).into_iter();
    let seconds = seconds.map(|(n, bad)| Second { n, bad, errors: 0 }).collect();
    Seen { planned, seconds, paces_ns: paces(&answered, begun_s + settle_s), sound: true }
}

fn paces(answered: &[Answered], from_s: f64) -> Vec<f64> {
    let mut sums: Vec<(f64, f64)> = Vec::new();
    for request in answered.iter().filter(|request| request.came_s >= from_s) {
        let at = ((request.came_s - from_s) / 0.25) as usize;
        sums.resize(sums.len().max(at + 1), (0.0, 0.0));
        sums[at] = (sums[at].0 + (request.went_s - request.came_s) * NS_PER_S, sums[at].1 + 1.0);
    }
    sums.into_iter().filter(|(_, n)| *n > 0.0).map(|(sum, n)| sum / n).collect()
}

fn rules(slo: Slo, guess_per_s: f64, most_per_s: Option<f64>) -> Rules {
    Rules {
        slo,
        guess_per_s,
        most_per_s,
        budget_ns: 180_000_000_000,
        half_width_share: 0.02,
        soak_ns: 0,
        at_least_per_s: None,
    }
}

/// A whole search, and the time that it took.
fn search(law: Law, seed: u64, latency_s: f64, guess_per_s: f64, most_per_s: Option<f64>) -> (Capacity, f64, Search) {
    let slo = Slo::new((latency_s * NS_PER_S) as u64, 95.0, 0.01);
    let rules = rules(slo, guess_per_s, most_per_s);
    let (mut search, mut server) = (Search::new(rules, Vec::new()), Server::new(law, seed));
    loop {
        match search.next((server.now_s() * NS_PER_S) as u64) {
            Next::Drive(planned) => search.show(drive(&mut server, planned, latency_s)),
            Next::Done(found) => return (*found, server.now_s(), search),
        }
    }
}

struct Outcome {
    error: f64,
    held: bool,
    took_s: f64,
}

/// Searches for the capacity of one server, from several wrong guesses.
fn outcomes_of(configuration: u64, seeds: u64) -> Vec<Outcome> {
    let mut random = Random(configuration);
    let law = law(&mut random);
    let latency_s = random.between(1.6, 4.0) * law.full_batch_s() + law.delay_s;
    let truth = truth_per_s(law, latency_s, 0.05, 1000.0);
    let one = |seed: u64| {
        let seed = 1000 * configuration + seed;
        let guess = truth * Random(seed).between(0.4_f64.ln(), 2.0_f64.ln()).exp();
        let (found, took_s, done) = search(law, 7 + seed, latency_s, guess, None);
        let estimate = found.estimate_per_s.unwrap_or_else(|| panic!("{}: {law:?}", found.sentence));
        let [low, high] = found.interval_per_s.unwrap();
        let outcome = Outcome { error: estimate / truth - 1.0, held: low <= truth && truth <= high, took_s };
        println!(
            "{seed}: truth {truth:.1}, {estimate:.1} ({:+.1} %), {low:.1} to {high:.1} {} {:?}, {} steps, {took_s:.0} s",
            outcome.error * 100.0,
            if outcome.held { "holds" } else { "DOES NOT HOLD" },
            found.limit,
            done.steps().len(),
        );
        outcome
    };
    (0..seeds).map(one).collect()
}

/// Of several servers, on two threads.
fn outcomes(configurations: std::ops::Range<u64>, seeds: u64) -> Vec<Outcome> {
    let of = |odd: u64| configurations.clone().filter(move |configuration| configuration % 2 == odd);
    std::thread::scope(|scope| {
        let threads = [0, 1].map(|odd| {
            let configurations = of(odd);
            scope.spawn(move || configurations.flat_map(|one| outcomes_of(one, seeds)).collect::<Vec<_>>())
        });
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// The value below which so many of them lie.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 * share).ceil() as usize).clamp(1, values.len()) - 1]
}

/// Holds outcomes against what was promised.
fn judge(outcomes: &[Outcome]) {
    let errors: Vec<f64> = outcomes.iter().map(|outcome| outcome.error.abs()).collect();
    let held = outcomes.iter().filter(|outcome| outcome.held).count() as f64 / outcomes.len() as f64;
    let bias = outcomes.iter().map(|outcome| outcome.error).sum::<f64>() / outcomes.len() as f64;
    let (median, p90) = (quantile(errors.clone(), 0.5), quantile(errors, 0.9));
    let took_s = outcomes.iter().map(|outcome| outcome.took_s).fold(0.0, f64::max);
    println!(
        "{} searches: median error {:.2} %, p90 {:.2} %, mean {:+.2} %, {:.0} % of intervals hold, at most {took_s:.0} s",
        outcomes.len(),
        median * 100.0,
        p90 * 100.0,
        bias * 100.0,
        held * 100.0
    );
    assert!(median <= 0.02 && p90 <= 0.05, "median {median}, p90 {p90}");
    assert!(held >= 0.85, "{held} of the intervals hold");
    // What is in flight when the time is up is waited for.
    assert!(took_s <= 200.0, "{took_s}");
}

#[test]
fn twelve_unknown_servers_are_found_in_three_minutes_each() {
    judge(&outcomes(1..13, 3));
}

/// As above, with servers that the method was not made on; `scripts/prove capacity-simulation`.
#[test]
#[ignore = "minutes"]
fn many_unknown_servers_are_found() {
    judge(&outcomes(101..161, 3));
}

#[test]
fn a_search_that_was_stopped_goes_on_as_if_it_had_not_been() {
    let law = law(&mut Random(5));
    let latency_s = 3.0 * law.full_batch_s() + law.delay_s;
    let (found, took_s, done) = search(law, 3, latency_s, law.saturation_per_s() * 0.6, None);
    let slo = Slo::new((latency_s * NS_PER_S) as u64, 95.0, 0.01);
    let rules = rules(slo, law.saturation_per_s() * 0.6, None);
    let spent_ns = (took_s * NS_PER_S) as u64;
    for stopped in 1..done.steps().len() {
        let mut again = Search::new(rules, done.steps()[..stopped].to_vec());
        // Early enough that the time decides nothing.
        assert_eq!(again.next(stopped as u64), Next::Drive(done.steps()[stopped].planned), "after {stopped}");
    }
    assert_eq!(Search::new(rules, done.steps().to_vec()).next(spent_ns), Next::Done(Box::new(found)));
}

#[test]
fn what_cannot_be_found_is_said() {
    let law = law(&mut Random(5));
    let (latency_s, saturation) = (3.0 * law.full_batch_s() + law.delay_s, law.saturation_per_s());
    let check = |latency_s: f64, most: Option<f64>, limit: Limit, part: &str| {
        let (found, ..) = search(law, 3, latency_s, saturation * 0.5, most);
        assert_eq!(found.limit, limit, "{}", found.sentence);
        assert!(found.sentence.contains(part), "{}", found.sentence);
    };
    check(latency_s, Some(saturation * 0.4), Limit::LowerBound, "only a lower bound");
    check(law.fixed_s * 0.5, None, Limit::UpperBound, "cannot be kept at any rate");
}

/// A search of a target of which is known how many of a hundred requests a second are bad, and whether the generator keeps up.
fn by_rule(rules: Rules, mut shows: impl FnMut(&Planned, usize) -> (u64, bool)) -> (Capacity, Search) {
    let (mut search, mut spent_ns) = (Search::new(rules, Vec::new()), 0);
    loop {
        let planned = match search.next(spent_ns) {
            Next::Drive(planned) => planned,
            Next::Done(found) => return (*found, search),
        };
        spent_ns += planned.length_ns();
        let before = search.steps().iter().filter(|seen| seen.planned == planned).count();
        let (bad, sound) = shows(&planned, before);
        let seconds = vec![Second { n: 100, bad, errors: 0 }; 4];
        search.show(Seen { planned, seconds, paces_ns: vec![1.0; 40], sound });
    }
}

fn usual() -> Rules {
    rules(Slo::new(100_000_000, 95.0, 0.01), 100.0, None)
}

/// Bears everything below 300/s and nothing above.
fn cliff(planned: &Planned) -> u64 {
    if planned.rate_per_s < 300.0 { 0 } else { 100 }
}

#[test]
fn a_generator_that_falls_behind_is_no_limit_of_the_target() {
    let (found, search) = by_rule(usual(), |planned, _| {
        let sound = planned.rate_per_s < 200.0;
        (if sound { 0 } else { 100 }, sound)
    });
    assert_eq!((found.limit, found.estimate_per_s), (Limit::Generator, None), "{}", found.sentence);
    assert!(found.sustainable_per_s.unwrap() < 200.0 && found.sentence.contains("could no longer drive"));
    assert!(search.steps().iter().all(|seen| seen.planned.kind != StepKind::Search));
    let (found, _) = by_rule(usual(), |planned, _| (0, planned.kind == StepKind::WarmUp));
    assert_eq!((found.limit, found.sustainable_per_s), (Limit::Generator, None));
    assert!(found.sentence.contains("nothing is known of the target"), "{}", found.sentence);
}

#[test]
fn a_generator_that_falls_behind_near_the_limit_is_said() {
    let with_soak = Rules { soak_ns: 10_000_000_000, ..usual() };
    let (found, search) = by_rule(with_soak, |planned, _| (cliff(planned), planned.kind != StepKind::Search));
    assert_eq!((found.limit, found.estimate_per_s), (Limit::Generator, None), "{}", found.sentence);
    assert!(search.steps().iter().all(|seen| seen.planned.kind != StepKind::Soak), "nothing is left to confirm");
}

#[test]
fn what_the_generator_missed_once_is_driven_again() {
    let (found, search) =
        by_rule(usual(), |planned, before| (cliff(planned), planned.kind != StepKind::Bracket || before > 0));
    assert!(found.limit == Limit::Cliff || found.limit == Limit::Knee, "{}", found.sentence);
    assert!(found.estimate_per_s.is_some_and(|rate| (rate / 300.0 - 1.0).abs() < 0.1), "{}", found.sentence);
    assert!(search.steps().iter().filter(|seen| !seen.sound).count() >= 2);
}

#[test]
fn a_soak_that_the_generator_missed_is_no_judgement() {
    let with_soak = Rules { soak_ns: 10_000_000_000, ..usual() };
    let check = |missed: usize, expected: Option<bool>, soaks: usize| {
        let mut driven = 0;
        let (found, search) = by_rule(with_soak, |planned, _| {
            driven += usize::from(planned.kind == StepKind::Soak);
            (cliff(planned), planned.kind != StepKind::Soak || driven > missed)
        });
        assert_eq!(found.soak_kept, expected, "{}", found.sentence);
        assert_eq!(search.steps().iter().filter(|seen| seen.planned.kind == StepKind::Soak).count(), soaks);
    };
    check(0, Some(true), 1);
    check(2, Some(true), 3);
    check(9, None, 3);
}

/// A step that is not too bad for the bracket has not kept the service level for that.
#[test]
fn what_was_not_kept_is_not_called_borne() {
    let most = Rules { most_per_s: Some(100.0), at_least_per_s: Some(100.0), ..usual() };
    let (found, _) = by_rule(most, |planned, _| (if planned.rate_per_s < 90.0 { 0 } else { 20 }, true));
    assert_eq!(found.limit, Limit::LowerBound, "{}", found.sentence);
    assert!(found.sustainable_per_s.unwrap() < 90.0, "{}", found.sentence);
    assert_ne!(verdict(&found, Some(100.0)).0, Verdict::Pass, "{}", found.sentence);
}

/// One stall in a step of three seconds must not hold a search down for good.
#[test]
fn a_stall_while_bracketing_is_found_out() {
    let mut stalls = 1;
    let (found, _) = by_rule(usual(), |planned, _| {
        let stalled = stalls > 0 && planned.kind == StepKind::Bracket && planned.rate_per_s > 40.0;
        stalls -= u32::from(stalled);
        (if stalled { 35 } else { cliff(planned) }, true)
    });
    assert!(found.estimate_per_s.is_some_and(|rate| (rate / 300.0 - 1.0).abs() < 0.1), "{}", found.sentence);
}

#[test]
fn a_search_that_ends_on_its_way_down_has_not_decided() {
    let short = |budget_s: u64, at_least_per_s: Option<f64>| Rules {
        guess_per_s: 1000.0,
        budget_ns: budget_s * 1_000_000_000,
        at_least_per_s,
        ..usual()
    };
    let check = |budget_s, at_least, expected: Verdict| {
        let (found, _) =
            by_rule(short(budget_s, at_least), |planned, _| (if planned.rate_per_s < 0.1 { 0 } else { 100 }, true));
        assert_eq!(verdict(&found, at_least).0, expected, "{}", found.sentence);
    };
    check(20, None, Verdict::Inconclusive);
    check(20, Some(10.0), Verdict::Inconclusive);
    check(20, Some(900.0), Verdict::Fail);
    check(900, Some(10.0), Verdict::Fail);
}
