//! Whether the load was the same all the time, which is what makes a trend one of the target. Where it was not, what the load
//! explains is taken out first, as far as every load came up early and late; otherwise a trend could be the load's.

use proofload_run::findings::{Held, HeldLoad};
use proofload_run::units::significant;
use proofload_statistics::slope::median_of;

/// Loads that differ by less than this, beyond what chance does, are the same; ours.
const SAME: f64 = 0.02;
/// Into how many levels a load that changes is sorted.
const LEVELS: usize = 6;
/// Of the points of a level, this share has to lie in either half of the time.
const IN_EITHER_HALF: f64 = 0.2;
/// With fewer points levels would be too thin.
const LEAST_POINTS: usize = 8 * LEVELS;

/// The load of a run by points of equal length.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Load {
    /// Arrivals in each point.
    pub(super) arrivals: Vec<f64>,
    /// Whether the plan itself has one level only.
    pub(super) one_level: bool,
    /// Whether users wait for answers, so that arrivals are what the target made of them.
    pub(super) closed: bool,
}

impl Load {
    /// Whether the load was held.
    pub(super) fn held(&self) -> HeldLoad {
        let mean = self.arrivals.iter().sum::<f64>() / self.arrivals.len().max(1) as f64;
        let spread = self.spread(mean);
        let around = format!("{} arrivals a point, ± {} %", significant(mean), significant(100.0 * spread));
        let (held, sentence) = match () {
            () if self.closed && self.one_level => {
                (Held::Constant, "the number of users was the same all the time".to_owned())
            }
            () if self.closed => {
                (Held::Changing, "the number of users changed, so a trend could be the load's".to_owned())
            }
            () if self.one_level && !self.varies(mean) => (Held::Constant, format!("the load was held ({around})")),
            () if self.mixes() => {
                let how = "trends are of what the load at each time does not explain";
                (Held::Explained, format!("the load changed ({around}), each load came up early and late: {how}"))
            }
            () => (Held::Changing, format!("the load changed with time ({around}), so a trend could be the load's")),
        };
        HeldLoad { held, sentence }
    }

    /// Standard deviation over the mean.
    fn spread(&self, mean: f64) -> f64 {
        let n = self.arrivals.len() as f64;
        let squares: f64 = self.arrivals.iter().map(|arrivals| (arrivals - mean).powi(2)).sum();
        if mean > 0.0 && n > 1.0 { (squares / (n - 1.0)).sqrt() / mean } else { 0.0 }
    }

    /// Whether it differs more than independent arrivals do.
    fn varies(&self, mean: f64) -> bool {
        mean > 0.0 && self.spread(mean).powi(2) > 2.0 / mean + SAME * SAME
    }

    /// The points of each level of load, the least load first.
    fn levels(&self) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.arrivals.len()).collect();
        order.sort_by(|a, b| self.arrivals[*a].total_cmp(&self.arrivals[*b]));
        order.chunks(order.len().div_ceil(LEVELS).max(1)).map(<[usize]>::to_vec).collect()
    }

    /// Whether every level came up in both halves of the time.
    fn mixes(&self) -> bool {
        let half = self.arrivals.len() / 2;
        let both = |level: &Vec<usize>| {
            let early = level.iter().filter(|index| **index < half).count() as f64 / level.len() as f64;
            (IN_EITHER_HALF..=1.0 - IN_EITHER_HALF).contains(&early)
        };
        self.arrivals.len() >= LEAST_POINTS && self.levels().iter().all(both)
    }

    /// What of these values is the load's doing: the median at its level, a line between the middles of two.
    pub(super) fn explained(&self, values: &[f64]) -> Vec<f64> {
        let median =
            |level: &[usize], of: &[f64]| median_of(level.iter().filter_map(|index| of.get(*index)).copied().collect());
        let levels = self.levels();
        let knots: Vec<(f64, f64)> =
            levels.iter().map(|level| (median(level, &self.arrivals), median(level, values))).collect();
        let Some(first) = knots.first() else { return Vec::new() };
        self.arrivals.iter().map(|arrivals| between(&knots, *arrivals) - first.1).collect()
    }
}

fn between(knots: &[(f64, f64)], at: f64) -> f64 {
    let after = knots.partition_point(|knot| knot.0 <= at);
    match (after.checked_sub(1).map(|before| knots[before]), knots.get(after)) {
        (Some(low), Some(high)) => low.1 + (high.1 - low.1) * (at - low.0) / (high.0 - low.0),
        (Some(only), None) => only.1,
        (None, Some(only)) => only.1,
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::chance::Chance;
    use super::*;

    fn load(arrivals: impl Fn(f64) -> f64, one_level: bool) -> Load {
        let mut chance = Chance::seeded(8);
        let mut point = |at: i32| {
            let mean = arrivals(f64::from(at) / 120.0);
            mean + mean.sqrt() * chance.normal()
        };
        Load { arrivals: (0..120).map(&mut point).collect(), one_level, closed: false }
    }

    #[test]
    fn loads_are_held_or_not() {
        let check = |load: &Load, held: Held, part: &str| {
            let found = load.held();
            assert!(found.held == held && found.sentence.contains(part), "{found:?}");
        };
        check(&load(|_| 3000.0, true), Held::Constant, "was held (300");
        check(&load(|_| 20.0, true), Held::Constant, "was held");
        check(&load(|at| 3000.0 * (1.0 + at), false), Held::Changing, "with time");
        check(&load(|at| 3000.0 + 1000.0 * (at * 60.0).sin(), false), Held::Explained, "early and late");
        // One period: all high loads come first.
        check(&load(|at| 3000.0 + 1000.0 * (at * std::f64::consts::TAU).sin(), false), Held::Changing, "with time");
        let users = Load { closed: true, ..load(|at| 3000.0 * (1.0 + at), true) };
        check(&users, Held::Constant, "users");
        check(&Load { one_level: false, ..users }, Held::Changing, "users changed");
        check(&Load { arrivals: Vec::new(), one_level: true, closed: false }, Held::Constant, "0 arrivals");
    }

    #[test]
    fn what_the_load_explains_is_taken_out() {
        let load = load(|at| 3000.0 + 1000.0 * (at * 60.0).sin(), false);
        // Values that are the load's doing, and a drift of 0.12 beside it.
        let values: Vec<f64> =
            load.arrivals.iter().enumerate().map(|(at, load)| load / 1000.0 + at as f64 * 1e-3).collect();
        let explained = load.explained(&values);
        let left: Vec<f64> = values.iter().zip(&explained).map(|(value, explained)| value - explained).collect();
        let half = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let drift = half(&left[60..]) - half(&left[..60]);
        assert!((drift - 0.06).abs() < 0.02, "{drift}");
        assert!(load.explained(&[]).iter().all(|explained| *explained == 0.0));
    }
}
