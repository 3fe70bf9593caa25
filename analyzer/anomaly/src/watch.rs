//! Watches a run second by second, live or after the fact: after every window it says whether it is odd, and two odd
//! windows in a row are an alarm. Takes what it is given and knows no clock.

use serde::{Deserialize, Serialize};

use crate::model::{Model, SoFar};
use crate::recording::{Recording, Second};

/// So many odd windows in a row are an alarm: chance seldom strikes twice.
const IN_A_ROW: usize = 2;
/// A metric that is off by so much is off, and further makes no difference in ranking.
const STRONG: f64 = 3.0;

/// What is known at the end of a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// Its first second, from the run's beginning.
    pub from_s: usize,
    /// The second after its last.
    pub to_s: usize,
    /// Share of the windows of healthy runs that are as odd; none where the run is compared with itself.
    pub p: Option<f64>,
    /// Whether it is odd.
    pub is_odd: bool,
    /// Whether the one before was odd too.
    pub is_alarm: bool,
    /// Whether the load was near enough to that of the healthy runs; other windows are not judged.
    pub is_judged: bool,
    /// The load at its end, smoothed over ten seconds, requests per second.
    pub offered: f64,
    /// How rare each metric is: 1 is what three healthy windows in a hundred exceed, each further 1 ten times as rare.
    pub strengths: Vec<f64>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Watch<'a> {
    model: &'a Model,
    alpha: f64,
    so_far: SoFar,
    odd_in_a_row: usize,
}

impl<'a> Watch<'a> {
    /// Before a run's first second. Of healthy windows the share `alpha` counts as odd: 0.05 is sensitive, 0.01 is for
    /// waking people.
    pub fn new(model: &'a Model, alpha: f64) -> Self {
        Self { model, alpha, so_far: model.begin(), odd_in_a_row: 0 }
    }

    /// Takes in a second, its metrics in the model's order; speaks when a window ends with it.
    pub fn push(&mut self, second: Second<'_>) -> Option<Watched> {
        let (offered, judged) = self.model.push(&mut self.so_far, second, self.alpha)?;
        let (from_s, to_s) = self.so_far.windows.bounds_s();
        let is_judged = self.model.knows_load(offered);
        let is_odd = is_judged && judged.is_odd;
        self.odd_in_a_row = if is_odd { self.odd_in_a_row + 1 } else { 0 };
        let is_alarm = self.odd_in_a_row >= IN_A_ROW;
        self.so_far.windows.hold(is_alarm);
        let (p, strengths) = (judged.p, judged.strengths);
        Some(Watched { from_s, to_s, p, is_odd, is_alarm, is_judged, offered, strengths })
    }

    /// Watches a whole run.
    pub fn run(model: &'a Model, alpha: f64, run: &Recording) -> Vec<Watched> {
        let run = run.with_metrics(model.metrics());
        let mut watch = Self::new(model, alpha);
        run.seconds().filter_map(|second| watch.push(second)).collect()
    }
}

/// A time in which windows in a row were odd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// From the first second that two odd windows share,
    pub from_s: usize,
    /// to the second after the last one.
    pub to_s: usize,
    /// The smallest p-value of its windows.
    pub p: Option<f64>,
    /// The metrics and how strongly each was off, the strongest first.
    pub ranked: Vec<(usize, f64)>,
}

/// The alerts among the windows of a run.
pub fn alerts(windows: &[Watched]) -> Vec<Alert> {
    let rows = windows.chunk_by(|before, after| before.is_odd && after.is_odd);
    rows.filter(|row| row.len() >= IN_A_ROW && row[0].is_odd).map(alert).collect()
}

fn alert(row: &[Watched]) -> Alert {
    Alert {
        from_s: row[IN_A_ROW - 1].from_s,
        to_s: row[row.len() - IN_A_ROW].to_s,
        p: row.iter().filter_map(|window| window.p).reduce(f64::min),
        ranked: ranked(row),
    }
}

/// The metrics and how strongly they were off on average over the windows, those first that were off all the time: what
/// an anomaly begins with comes before what it drags along for a while, however far.
pub fn ranked(windows: &[Watched]) -> Vec<(usize, f64)> {
    let metrics = windows.iter().map(|window| window.strengths.len()).max().unwrap_or(0);
    let mean = |metric: usize, most: f64| {
        windows.iter().map(|window| window.strengths[metric].min(most)).sum::<f64>() / windows.len() as f64
    };
    let rank = |metric: usize| mean(metric, STRONG) + 0.01 * mean(metric, f64::INFINITY);
    let mut ranked: Vec<usize> = (0..metrics).collect();
    ranked.sort_by(|a, b| rank(*b).total_cmp(&rank(*a)));
    ranked.into_iter().map(|metric| (metric, mean(metric, f64::INFINITY))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_odd_windows_in_a_row_are_an_alert() {
        let check = |odd: &str, expected: &[(usize, usize)]| {
            let windows: Vec<Watched> = odd
                .chars()
                .enumerate()
                .map(|(number, odd)| Watched {
                    from_s: number * 5,
                    to_s: number * 5 + 10,
                    p: Some(0.5),
                    is_odd: odd == 'x',
                    is_alarm: false,
                    is_judged: true,
                    offered: 1.0,
                    strengths: vec![1.0, 2.0],
                })
                .collect();
            let found: Vec<(usize, usize)> = alerts(&windows).iter().map(|alert| (alert.from_s, alert.to_s)).collect();
            assert_eq!(found, expected, "{odd}");
            assert!(alerts(&windows).iter().all(|alert| alert.ranked == [(1, 2.0), (0, 1.0)]));
        };
        check("", &[]);
        check("..x..x.", &[]);
        check(".xx.", &[(10, 15)]);
        check("xxx.xx", &[(5, 15), (25, 30)]);
        check("xxxx", &[(5, 20)]);
    }
}
