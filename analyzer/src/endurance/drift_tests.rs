//! What `drift` claims, on simulated latencies: how often its interval holds the true drift, and that a line is told as a drift and
//! a jump as a jump.

use super::super::chance::Chance;
use super::*;

/// p95 a minute around 20 ms over two hours: noise of 5 %, each `alike` the one before, and what `more` adds in logarithms at a
/// share of the time.
fn course(seed: u64, alike: f64, more: impl Fn(f64) -> f64) -> Course {
    let mut chance = Chance::seeded(seed);
    let mut last = chance.normal();
    let mut point = |minute: u64| {
        last = alike * last + (1.0 - alike * alike).sqrt() * chance.normal();
        (minute * 60 * NS_PER_S, 20e6 * (0.05 * last + more(minute as f64 / 119.0)).exp())
    };
    Course { what: "p95", scale: Scale::Latency, point_ns: 60 * NS_PER_S, points: (0..120).map(&mut point).collect() }
}

#[test]
fn intervals_hold_the_true_drift() {
    let check = |alike: f64, drift: f64, least_covered: usize, least_right: usize| {
        let (mut covered, mut right, mut wrong) = (0, 0, 0);
        for seed in 0..60 {
            let found = super::drift(&course(3000 + seed, alike, |at| drift.ln_1p() * at), None);
            covered +=
                usize::from(found.change.is_none_or(|c| c.low <= drift && c.high.is_some_and(|high| drift <= high)));
            let wanted = if drift > 0.0 { Trend::Rises } else { Trend::Level };
            right += usize::from(found.trend == wanted && found.steps.is_empty());
            let stepped = !found.steps.is_empty();
            wrong += usize::from(if stepped { drift <= 0.0 } else { ![wanted, Trend::Unknown].contains(&found.trend) });
        }
        println!("alike {alike}, drift {drift}: {covered} of 60 in their interval, {right} told right, {wrong} wrong");
        assert!(covered >= least_covered && right >= least_right, "{alike} {drift}: {covered} and {right} of 60");
        assert!(wrong <= 9, "{alike} {drift}: {wrong} of 60 told wrong");
    };
    check(0.0, 0.0, 53, 53);
    check(0.5, 0.0, 52, 40);
    check(0.8, 0.0, 50, 5);
    // A small drift is sometimes told as a step.
    check(0.0, 0.1, 52, 42);
    check(0.5, 0.3, 50, 46);
}

#[test]
fn a_jump_is_told_as_a_jump_and_a_line_as_a_line() {
    // Between two changes less is left to tell a drift by: that it cannot be told is right, too.
    let check = |name: &str, more: &dyn Fn(f64) -> f64, trend: Trend, steps: &[u64]| {
        let right = |seed: &u64| {
            let found = drift(&course(4000 + seed, 0.2, more), None);
            let minutes: Vec<u64> = found.steps.iter().map(|step| step.at_ns / NS_PER_S / 60).collect();
            let close = |(found, wanted): (&u64, &u64)| found.abs_diff(*wanted) <= 2;
            let careful = !steps.is_empty() && found.trend == Trend::Unknown;
            (found.trend == trend || careful) && minutes.len() == steps.len() && minutes.iter().zip(steps).all(close)
        };
        let right = (0..20).filter(right).count();
        println!("{name}: {right} of 20");
        assert!(right >= 17, "{name}: {right} of 20");
    };
    check("level", &|_| 0.0, Trend::Level, &[]);
    check("line", &|at| 0.4 * at, Trend::Rises, &[]);
    check("falling line", &|at| -0.4 * at, Trend::Falls, &[]);
    check("jump", &|at| if at >= 0.5 { 0.3 } else { 0.0 }, Trend::Level, &[59]);
    check("there and back", &|at| if (0.3..0.6).contains(&at) { 0.5 } else { 0.0 }, Trend::Level, &[35, 71]);
}

#[test]
fn sentences_say_when_and_how_much() {
    let jump = drift(&course(1, 0.0, |at| if at >= 0.5 { 0.7 } else { 0.0 }), None);
    let parts = ["p95 changed at once: from 3570 s on ", " instead of ", "p = 0.002"];
    assert!(parts.iter().all(|part| jump.sentence.contains(part)), "{}", jump.sentence);
    let [step] = jump.steps[..] else { panic!("{:?}", jump.steps) };
    assert!((step.after / step.before / 0.7_f64.exp() - 1.0).abs() < 0.05, "{step:?}");
    let rises = drift(&course(2, 0.0, |at| 0.4 * at), None);
    assert!(rises.sentence.starts_with("p95 rises: +"), "{}", rises.sentence);
    let mut few = course(3, 0.0, |_| 0.0);
    few.points.truncate(19);
    let few = drift(&few, None);
    assert_eq!((few.trend, few.change), (Trend::Unknown, None));
    assert!(few.sentence.contains("19 points are too few"), "{}", few.sentence);
}

#[test]
fn shares_change_by_differences() {
    let mut chance = Chance::seeded(5);
    let mut share = |at: u64| 0.9 - 0.002 * at as f64 + 0.003 * chance.normal();
    let points = (0..100).map(|at| (at * NS_PER_S, share(at))).collect();
    let found = drift(&Course { what: "cache hits", scale: Scale::Share, point_ns: NS_PER_S, points }, None);
    assert_eq!(found.trend, Trend::Falls);
    assert!((found.change.unwrap().value + 0.198).abs() < 0.004, "{found:?}");
    assert!(found.sentence.contains(" points (95 % interval -2"), "{}", found.sentence);
}

#[test]
fn what_the_load_explains_is_no_drift() {
    let explained: Vec<f64> = (0..120).map(|at| 0.5 * f64::from(at) / 119.0).collect();
    let course = course(9, 0.0, |at| 0.5 * at);
    assert_eq!(drift(&course, None).trend, Trend::Rises);
    assert_eq!(drift(&course, Some(&explained)).trend, Trend::Level);
}
