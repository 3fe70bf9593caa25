//! The steps of each kind of load, from a few numbers. Pure.

use proofload_run::manifest::Step;

/// Most steps of a plan: the journal counts them in 16 bits, and nobody reads a report of more.
pub(super) const MOST_STEPS: usize = 1000;

/// One level, held.
pub(super) fn hold(level: f64, duration_ns: u64) -> Vec<Step> {
    vec![step("hold", 0, duration_ns, level, level)]
}

/// One level growing into another.
pub(super) fn ramp(from: f64, to: f64, duration_ns: u64) -> Vec<Step> {
    vec![step("ramp", 0, duration_ns, from, to)]
}

/// How levels of a stress scenario grow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Growth {
    /// By this much.
    Add(f64),
    /// By this share of the last.
    Percent(f64),
}

/// The levels of a stress scenario; the last one is `to` or the first beyond it. `None` when there would be more
/// than [`MOST_STEPS`].
pub(super) fn levels(from: f64, to: f64, growth: Growth, whole: bool) -> Option<Vec<f64>> {
    // Adding up 0.1 ten times does not give 1, and must not add an eleventh step.
    let enough = to * (1.0 - 1e-9);
    let mut levels = vec![from];
    while levels[levels.len() - 1] < enough {
        let last = levels[levels.len() - 1];
        let next = match growth {
            Growth::Add(step) => last + step,
            Growth::Percent(share) => last * (1.0 + share),
        };
        // Users come whole; a step that adds less than one would never end.
        levels.push(if whole { next.round().max(last + 1.0) } else { next });
        if levels.len() > MOST_STEPS {
            return None;
        }
    }
    Some(levels)
}

/// One step for each level.
pub(super) fn stairs(levels: &[f64], hold_ns: u64, settle_ns: u64) -> Vec<Step> {
    let numbered = levels.iter().zip(1..).zip((0..).step_by(hold_ns as usize));
    numbered
        .map(|((level, number), start_ns)| Step {
            settle_ns,
            ..step(&format!("step {number}"), start_ns, start_ns + hold_ns, *level, *level)
        })
        .collect()
}

/// A base level, a burst, and the base level again, whose first `settle_ns` are the time to recover.
pub(super) fn spike(base: f64, peak: f64, at_ns: u64, hold_ns: u64, recovery_ns: u64, settle_ns: u64) -> Vec<Step> {
    let (burst_ns, calm_ns) = (at_ns + hold_ns, at_ns + hold_ns + recovery_ns);
    vec![
        step("base", 0, at_ns, base, base),
        step("peak", at_ns, burst_ns, peak, peak),
        Step { settle_ns, ..step("recovery", burst_ns, calm_ns, base, base) },
    ]
}

/// Straight pieces in one period of a sine: the level is within 0.9 % of the amplitude everywhere, and a day's curve has
/// a piece for every hour.
pub(super) const PIECES: u64 = 24;

/// A sine around a mean, from its middle upwards, in straight pieces.
pub(super) fn sine(name: &str, mean: f64, amplitude: f64, period_ns: u64, duration_ns: u64) -> Vec<Step> {
    let level = |at_ns: u64| {
        let turns = (at_ns % period_ns) as f64 / period_ns as f64;
        mean + amplitude * libm::sin(std::f64::consts::TAU * turns)
    };
    let bound_ns = |n: u64| (u128::from(n) * u128::from(period_ns) / u128::from(PIECES)) as u64;
    let pieces = (0..).take_while(|n| bound_ns(*n) < duration_ns);
    pieces
        .map(|n| {
            let (start_ns, end_ns) = (bound_ns(n), bound_ns(n + 1).min(duration_ns));
            step(&format!("{name} {}", n + 1), start_ns, end_ns, level(start_ns), level(end_ns))
        })
        .collect()
}

/// Steps moved to a later time.
pub(super) fn later(steps: Vec<Step>, by_ns: u64) -> impl Iterator<Item = Step> {
    steps.into_iter().map(move |step| Step { start_ns: step.start_ns + by_ns, end_ns: step.end_ns + by_ns, ..step })
}

/// The steps of a recording: one, at its mean rate.
pub(super) fn replay(arrivals: usize, duration_ns: u64) -> Vec<Step> {
    let mean_per_s = arrivals as f64 / (duration_ns as f64 / 1e9);
    vec![step("replay", 0, duration_ns, mean_per_s, mean_per_s)]
}

/// Puts a warm-up at the first level before everything.
pub(super) fn warmed_up(steps: Vec<Step>, warm_up_ns: u64) -> Vec<Step> {
    let Some(first) = steps.first().filter(|_| warm_up_ns > 0) else { return steps };
    let level = first.level_start;
    let warm_up = Step { warm_up: true, ..step("warm-up", 0, warm_up_ns, level, level) };
    std::iter::once(warm_up).chain(later(steps, warm_up_ns)).collect()
}

fn step(name: &str, start_ns: u64, end_ns: u64, level_start: f64, level_end: f64) -> Step {
    Step { name: name.to_owned(), start_ns, end_ns, level_start, level_end, settle_ns: 0, warm_up: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_reach_their_end() {
        let check = |from, to, growth, whole, expected: &[f64]| {
            let found = levels(from, to, growth, whole).unwrap();
            assert_eq!(found.len(), expected.len(), "{found:?}");
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        };
        check(100.0, 300.0, Growth::Add(100.0), false, &[100.0, 200.0, 300.0]);
        check(100.0, 250.0, Growth::Add(100.0), false, &[100.0, 200.0, 300.0]);
        check(100.0, 100.0, Growth::Add(5.0), false, &[100.0]);
        check(100.0, 130.0, Growth::Percent(0.1), false, &[100.0, 110.0, 121.0, 133.1]);
        check(1.0, 4.0, Growth::Percent(0.05), true, &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(levels(0.1, 1.0, Growth::Add(0.1), false).unwrap().len(), 10);
        assert_eq!(levels(1.0, 1e9, Growth::Add(1.0), false), None);
    }

    #[test]
    fn a_sine_is_made_of_straight_pieces() {
        let steps = sine("day", 100.0, 40.0, 24_000, 30_500);
        assert_eq!(steps.len(), 31);
        assert_eq!((steps[30].start_ns, steps[30].end_ns, steps[30].name.as_str()), (30_000, 30_500, "day 31"));
        let joined = |w: &[Step]| w[0].end_ns == w[1].start_ns && (w[0].level_end - w[1].level_start).abs() < 1e-9;
        assert!(steps.windows(2).all(joined));
        let check = |n: usize, level: f64| assert!((steps[n].level_start - level).abs() < 1e-9, "{n}");
        check(0, 100.0);
        check(2, 120.0);
        check(6, 140.0);
        check(18, 60.0);
        check(24, 100.0);
        // Straight pieces cut the corners: the mean of the rising half is a little below 2/pi of the amplitude.
        let mean = steps[..12].iter().map(|s| f64::midpoint(s.level_start, s.level_end)).sum::<f64>() / 12.0;
        let exact = 100.0 + 40.0 * 2.0 / std::f64::consts::PI;
        assert!(mean < exact && mean > exact - 0.009 * 40.0, "{mean} {exact}");
    }

    #[test]
    fn steps_follow_each_other_without_gaps() {
        let check = |steps: Vec<Step>, expected: &[(&str, u64, u64, f64)]| {
            let found: Vec<_> = steps.iter().map(|s| (s.name.as_str(), s.start_ns, s.end_ns, s.level_start)).collect();
            assert_eq!(found, expected);
        };
        check(stairs(&[5.0, 6.0], 10, 2), &[("step 1", 0, 10, 5.0), ("step 2", 10, 20, 6.0)]);
        check(spike(1.0, 9.0, 5, 3, 7, 2), &[("base", 0, 5, 1.0), ("peak", 5, 8, 9.0), ("recovery", 8, 15, 1.0)]);
        check(warmed_up(hold(3.0, 10), 4), &[("warm-up", 0, 4, 3.0), ("hold", 4, 14, 3.0)]);
        check(warmed_up(hold(3.0, 10), 0), &[("hold", 0, 10, 3.0)]);
        check(warmed_up(ramp(3.0, 5.0, 10), 1), &[("warm-up", 0, 1, 3.0), ("ramp", 1, 11, 3.0)]);
    }
}
