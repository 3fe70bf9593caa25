//! The level of load over time: piecewise linear, one piece a step. In the open model the level is a rate, in the
//! closed one a number of users.

use proofload_run::manifest::Step;

/// The steps of a plan, in order and without gaps.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    steps: Vec<Step>,
}

impl Profile {
    /// A profile of steps that follow each other without gaps, the first one starting at 0.
    pub fn new(steps: Vec<Step>) -> Self {
        Self { steps }
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// When the last step ends.
    pub fn end_ns(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.end_ns)
    }

    /// The step that contains `t_ns`; the last one after the end.
    pub fn step_at(&self, t_ns: u64) -> u16 {
        let index = self.steps.partition_point(|step| step.end_ns <= t_ns);
        index.min(self.steps.len().saturating_sub(1)) as u16
    }

    /// The level at `t_ns`, 0 after the end.
    pub fn level_at(&self, t_ns: u64) -> f64 {
        if t_ns >= self.end_ns() {
            return 0.0;
        }
        level_in(&self.steps[usize::from(self.step_at(t_ns))], t_ns)
    }

    /// The highest level.
    pub fn peak(&self) -> f64 {
        self.steps.iter().map(|step| step.level_start.max(step.level_end)).fold(0.0, f64::max)
    }

    /// The level integrated over the whole profile: in the open model the expected number of arrivals.
    pub fn area(&self) -> f64 {
        self.steps.iter().map(area).sum()
    }

    /// Whether user number `user` (from 0) is active at `t_ns`.
    pub fn is_active(&self, user: u32, t_ns: u64) -> bool {
        self.level_at(t_ns) > f64::from(user)
    }

    /// The earliest time from `t_ns` on at which user number `user` is active; `None` if never again.
    pub fn next_active(&self, user: u32, t_ns: u64) -> Option<u64> {
        let from = self.steps.partition_point(|step| step.end_ns <= t_ns);
        self.steps[from..].iter().find_map(|step| reaches(step, f64::from(user), t_ns.max(step.start_ns)))
    }
}

/// Expected arrivals of one step.
pub(super) fn area(step: &Step) -> f64 {
    (step.level_start + step.level_end) / 2.0 * ((step.end_ns - step.start_ns) as f64 / 1e9)
}

fn level_in(step: &Step, t_ns: u64) -> f64 {
    let share = (t_ns - step.start_ns) as f64 / (step.end_ns - step.start_ns) as f64;
    step.level_start + (step.level_end - step.level_start) * share
}

/// The earliest time from `from_ns` on, within the step, at which the level exceeds `level`.
fn reaches(step: &Step, level: f64, from_ns: u64) -> Option<u64> {
    if level_in(step, from_ns) > level {
        return Some(from_ns);
    }
    let rise = step.level_end - step.level_start;
    if rise <= 0.0 {
        return None;
    }
    let length_ns = (step.end_ns - step.start_ns) as f64;
    let near_ns = step.start_ns + ((level - step.level_start) / rise * length_ns) as u64;
    // Rounding may have stopped a few nanoseconds short of the crossing.
    (near_ns.max(from_ns)..step.end_ns).take(1000).find(|t_ns| level_in(step, *t_ns) > level)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Steps of (seconds, level at the start, level at the end).
    pub(in super::super) fn steps(pieces: &[(f64, f64, f64)]) -> Vec<Step> {
        let mut at = 0;
        pieces
            .iter()
            .map(|(seconds, level_start, level_end)| {
                let start_ns = at;
                at += (seconds * 1e9) as u64;
                Step {
                    name: String::new(),
                    start_ns,
                    end_ns: at,
                    level_start: *level_start,
                    level_end: *level_end,
                    settle_ns: 0,
                    warm_up: false,
                }
            })
            .collect()
    }

    #[test]
    fn levels_and_steps() {
        let profile = Profile::new(steps(&[(1.0, 5.0, 5.0), (2.0, 5.0, 15.0)]));
        let check = |t: f64, step: u16, level: f64| {
            let t_ns = (t * 1e9) as u64;
            assert_eq!(profile.step_at(t_ns), step);
            assert!((profile.level_at(t_ns) - level).abs() < 1e-9, "{t}");
        };
        check(0.0, 0, 5.0);
        check(0.999, 0, 5.0);
        check(1.0, 1, 5.0);
        check(2.0, 1, 10.0);
        check(3.0, 1, 0.0);
        assert!((profile.area() - 25.0).abs() < 1e-9);
        assert!((profile.peak() - 15.0).abs() < 1e-9);
    }

    #[test]
    fn users_come_and_go_exactly_with_the_level() {
        let profile = Profile::new(steps(&[(1.0, 2.0, 2.0), (1.0, 2.0, 4.0), (1.0, 1.0, 1.0), (1.0, 3.0, 3.0)]));
        let check = |user: u32, from: f64, expected: Option<u64>| {
            assert_eq!(profile.next_active(user, (from * 1e9) as u64), expected, "user {user} from {from}");
        };
        check(0, 0.0, Some(0));
        check(1, 2.5, Some(3_000_000_000));
        check(2, 0.0, Some(1_000_000_001));
        check(3, 0.0, Some(1_500_000_001));
        check(3, 1.7, Some(1_700_000_000));
        check(3, 2.0, None);
        check(4, 0.0, None);
        assert!(profile.is_active(1, 500_000_000) && !profile.is_active(2, 500_000_000));
    }
}
