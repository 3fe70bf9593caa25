//! Episodes: odd windows that are near in time and odd in the same metrics (DBSCAN over both), so that a fault of
//! minutes is one finding and two faults at once are two. Judges nothing.

use linfa::ParamGuard as _;
use linfa::traits::Transformer as _;
use linfa_clustering::Dbscan;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::watch::{Watched, ranked};

/// So far apart two windows alike may be, seconds.
const APART_S: f64 = 40.0;
/// At most so many windows are grouped at a time: half a day of nothing but odd ones is more than one episode anyway.
const MOST_AT_A_TIME: usize = 4000;
/// The load before an episode is that of so many seconds before it.
const BEFORE_S: usize = 60;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Its first second.
    pub from_s: usize,
    /// The second after its last.
    pub to_s: usize,
    /// How many windows it has.
    pub windows: usize,
    /// The smallest p-value of them.
    pub p: Option<f64>,
    /// The metrics and how strongly each was off on average, the strongest first.
    pub ranked: Vec<(usize, f64)>,
    /// Load in it, requests per second.
    pub offered: f64,
    /// Load in the minute before; that in it where there is no such minute.
    pub offered_before: f64,
}

/// The episodes of a run, in order of time.
pub fn episodes(windows: &[Watched]) -> Vec<Episode> {
    let odd: Vec<&Watched> = alarmed(windows);
    let near = |before: &&Watched, after: &&Watched| ((after.from_s - before.from_s) as f64) < APART_S;
    let groups = odd.chunk_by(near).flat_map(|group| group.chunks(MOST_AT_A_TIME));
    let mut found: Vec<Episode> = groups.flat_map(clusters).map(|own| episode(&own, windows)).collect();
    found.sort_by_key(|episode| (episode.from_s, episode.to_s));
    found
}

/// The odd windows that have an odd neighbour.
fn alarmed(windows: &[Watched]) -> Vec<&Watched> {
    let rows = windows.chunk_by(|before, after| before.is_odd && after.is_odd);
    rows.filter(|row| row.len() > 1 && row[0].is_odd).flatten().collect()
}

/// Windows alike; one that is like none is an episode of its own.
fn clusters(group: &[&Watched]) -> Vec<Vec<Watched>> {
    let first_s = group.first().map_or(0, |window| window.from_s);
    let metrics = group.first().map_or(0, |window| window.strengths.len());
    let points = Array2::from_shape_fn((group.len(), metrics + 1), |(row, column)| match column.checked_sub(1) {
        None => (group[row].from_s - first_s) as f64 / APART_S,
        Some(metric) => direction(group[row])[metric],
    });
    // Two windows are enough: that is what an alarm is.
    let labels = Dbscan::params(2).tolerance(1.0).check().map(|params| params.transform(&points));
    let labels = labels.map_or_else(|_| vec![Some(0); group.len()], |labels| labels.to_vec());
    let mut found: Vec<Vec<Watched>> = Vec::new();
    let mut places: Vec<(usize, usize)> = Vec::new();
    for (window, label) in group.iter().copied().zip(labels) {
        let place = label.and_then(|label| places.iter().find(|place| place.0 == label)).map(|place| place.1);
        if let Some(place) = place {
            found[place].push(window.clone());
        } else {
            places.extend(label.map(|label| (label, found.len())));
            found.push(vec![window.clone()]);
        }
    }
    found
}

/// Which metrics are off, whatever by how much: of length one.
fn direction(window: &Watched) -> Vec<f64> {
    let beyond: Vec<f64> = window.strengths.iter().map(|strength| strength.max(0.0)).collect();
    let length = beyond.iter().map(|value| value * value).sum::<f64>().sqrt().max(1e-9);
    beyond.iter().map(|value| value / length).collect()
}

fn episode(own: &[Watched], all: &[Watched]) -> Episode {
    let from_s = own.iter().map(|window| window.from_s).min().unwrap_or(0);
    let to_s = own.iter().map(|window| window.to_s).max().unwrap_or(0);
    let offered = own.iter().map(|window| window.offered).sum::<f64>() / own.len().max(1) as f64;
    let before = all.iter().filter(|window| window.to_s <= from_s && window.to_s + BEFORE_S > from_s);
    let (sum, n) = before.fold((0.0, 0_u32), |(sum, n), window| (sum + window.offered, n + 1));
    Episode {
        from_s,
        to_s,
        windows: own.len(),
        p: own.iter().filter_map(|window| window.p).reduce(f64::min),
        ranked: ranked(own),
        offered,
        offered_before: if n == 0 { offered } else { sum / f64::from(n) },
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these figures are exact")]
mod tests {
    use super::*;

    fn window(from_s: usize, strengths: [f64; 3]) -> Watched {
        Watched {
            from_s,
            to_s: from_s + 10,
            p: Some(0.01),
            is_odd: strengths[0] + strengths[1] + strengths[2] > 0.0,
            is_alarm: false,
            is_judged: true,
            offered: from_s as f64,
            strengths: strengths.to_vec(),
        }
    }

    #[test]
    fn what_is_near_and_alike_is_one_episode() {
        let mut run: Vec<Watched> = (0..100).map(|n| window(n * 5, [0.0; 3])).collect();
        let mut odd = |from_s: usize, to_s: usize, strengths: [f64; 3]| {
            (from_s / 5..to_s / 5).for_each(|n| run[n] = window(n * 5, strengths));
        };
        odd(50, 80, [9.0, 0.1, 0.0]);
        odd(90, 120, [7.0, 0.2, 0.0]);
        odd(120, 160, [0.0, 0.1, 8.0]);
        odd(300, 310, [0.0, 5.0, 0.0]);
        odd(400, 405, [0.0, 5.0, 0.0]);
        let found: Vec<(usize, usize, usize)> =
            episodes(&run).iter().map(|found| (found.from_s, found.to_s, found.ranked[0].0)).collect();
        assert_eq!(found, [(50, 125, 0), (120, 165, 2), (300, 315, 1)]);
        assert_eq!(episodes(&run)[0].offered_before, 20.0);
        assert!(episodes(&[]).is_empty());
    }
}
