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

/// Puts a warm-up at the first level before everything.
pub(super) fn warmed_up(steps: Vec<Step>, warm_up_ns: u64) -> Vec<Step> {
    let Some(first) = steps.first().filter(|_| warm_up_ns > 0) else { return steps };
    let level = first.level_start;
    let warm_up = Step { warm_up: true, ..step("warm-up", 0, warm_up_ns, level, level) };
    let later = steps.into_iter().map(|step| Step {
        start_ns: step.start_ns + warm_up_ns,
        end_ns: step.end_ns + warm_up_ns,
        ..step
    });
    std::iter::once(warm_up).chain(later).collect()
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
