//! When a series became another: E-divisive (D. S. Matteson and N. A. James, "A nonparametric approach for multiple change point
//! analysis of multivariate data", 2014): take the stretch whose energy distance from the others is largest, ask by shuffling
//! whether chance gives one as far off, and go on within the parts. Neighbours that resemble each other would make every long wave a
//! change, so whole blocks are shuffled, as long as what is left of a neighbour beyond them is little. Knows numbers alone.

use proofload_statistics::slope::{autocorrelation, median_of};

use super::chance::{Chance, p_value};

/// Chance may do as well this rarely: less than the hundredth of the method, since blocks are as long as what is seen of the likeness of
/// neighbours, which is less than there is.
const MOST_P: f64 = 0.004;
/// The shortest stretch between two changes, in points.
const LEAST_POINTS: usize = 5;
/// What may be left of a value after a block's length.
const LEFT_OVER: f64 = 0.05;
/// What a series of n seems to resemble itself less than it does, times n: because it is short, and because the stretch that was found
/// takes some of it out (by simulation, see the tests).
const TAKEN_OUT: f64 = 8.0;
/// With fewer blocks there is not enough to shuffle: long waves would be told as changes (by simulation, see the tests).
const LEAST_BLOCKS: usize = 12;

/// From this point on the series is another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Change {
    pub(super) at: usize,
    pub(super) p: f64,
}

/// All changes in order, of those by this much and more in the median. Takes time with the square of the length a shuffle.
pub(super) fn change_points(values: &[f64], least_change: f64, seed: u64) -> Vec<Change> {
    let mut chance = Chance::seeded(seed);
    let mut found = Vec::new();
    let mut open = vec![(0, values.len())];
    while let Some((from, to)) = open.pop() {
        let part = &values[from..to];
        let Some((stretch, p)) = change(part, &mut chance) else { continue };
        let moved = median_of(part[stretch.from..stretch.to].to_vec()) - median_of(stretch.rest(part));
        if p <= MOST_P && moved.abs() >= least_change {
            let ends = [from, from + stretch.from, from + stretch.to, to];
            open.extend(ends.windows(2).filter(|ends| ends[0] < ends[1]).map(|ends| (ends[0], ends[1])));
            found.extend(ends[1..3].iter().filter(|at| from < **at && **at < to).map(|at| Change { at: *at, p }));
        }
    }
    found.sort_by_key(|change| change.at);
    found
}

/// Points that differ from the others: up to an end of the series, or there and back.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stretch {
    from: usize,
    to: usize,
    /// Energy distance of both, times what makes those of different lengths alike.
    distance: f64,
}

impl Stretch {
    fn rest(&self, values: &[f64]) -> Vec<f64> {
        [&values[..self.from], &values[self.to..]].concat()
    }
}

/// The stretch of a part that differs most, and how often chance gives one that does as much; `None` of too little.
fn change(part: &[f64], chance: &mut Chance) -> Option<(Stretch, f64)> {
    let found = best_stretch(part)?;
    let block = block_length(part, &found);
    if part.len() < LEAST_BLOCKS * block {
        return None;
    }
    let does_as_well = || {
        let other = best_stretch(&shuffled(part, block, chance));
        other.is_some_and(|other| other.distance >= found.distance)
    };
    Some((found, p_value(does_as_well)))
}

/// The stretch that differs most from the others. One that is there and back is found as a whole: of either of its ends alone, the
/// two sides differ little.
fn best_stretch(values: &[f64]) -> Option<Stretch> {
    let n = values.len();
    let sums = Sums::of(values);
    let mut best: Option<Stretch> = None;
    let may_end = |to: usize| to == n || to + LEAST_POINTS <= n;
    for from in (0..n).filter(|from| *from == 0 || *from >= LEAST_POINTS) {
        // What ends with the series is the rest of what begins with it.
        let last = if from == 0 { n - LEAST_POINTS.min(n) } else { n - 1 };
        for to in (from + LEAST_POINTS..=last).filter(|to| may_end(*to)) {
            let distance = sums.distance(from, to);
            if best.is_none_or(|best| distance > best.distance) {
                best = Some(Stretch { from, to, distance });
            }
        }
    }
    best
}

/// Sums of the distances between the first so many values and the first so many others.
struct Sums {
    n: usize,
    sums: Vec<f64>,
}

impl Sums {
    fn of(values: &[f64]) -> Self {
        let n = values.len();
        let wide = n + 1;
        let mut sums = vec![0.0; wide];
        sums.reserve(n * wide);
        for (row, one) in values.iter().enumerate() {
            let mut along = 0.0;
            sums.push(0.0);
            for (column, other) in values.iter().enumerate() {
                along += (one - other).abs();
                sums.push(sums[row * wide + column + 1] + along);
            }
        }
        Self { n, sums }
    }

    fn at(&self, rows: usize, columns: usize) -> f64 {
        self.sums[rows * (self.n + 1) + columns]
    }

    fn distance(&self, from: usize, to: usize) -> f64 {
        let n = self.n;
        let inside = self.at(to, to) - 2.0 * self.at(from, to) + self.at(from, from);
        let between = self.at(to, n) - self.at(from, n) - inside;
        let outside = self.at(n, n) - inside - 2.0 * between;
        let (k, m) = ((to - from) as f64, (n - (to - from)) as f64);
        let energy = 2.0 * between / (k * m) - inside / (k * (k - 1.0)) - outside / (m * (m - 1.0));
        energy * k * m / n as f64
    }
}

/// How long blocks have to be for one to say little of the next, as if what neighbours have in common fell by the same factor at
/// every further place.
fn block_length(part: &[f64], found: &Stretch) -> usize {
    let alike = left_over(part, found).min(0.99);
    if alike <= LEFT_OVER { 1 } else { (LEFT_OVER.ln() / alike.ln()).ceil() as usize }
}

/// The first autocorrelation of what lies off the medians of the stretch and of what is on either side of it.
fn left_over(part: &[f64], found: &Stretch) -> f64 {
    let off = |side: &[f64]| -> Vec<f64> {
        let middle = median_of(side.to_vec());
        side.iter().map(|value| value - middle).collect()
    };
    let left_over = [off(&part[..found.from]), off(&part[found.from..found.to]), off(&part[found.to..])].concat();
    let n = part.len() as f64;
    (n * autocorrelation(&left_over, 1) + TAKEN_OUT) / (n - 4.0)
}

/// The values with their blocks in another order; where blocks begin is up to chance, too.
fn shuffled(values: &[f64], block: usize, chance: &mut Chance) -> Vec<f64> {
    let from = chance.below(values.len() as u64) as usize;
    let turned = [&values[from..], &values[..from]].concat();
    let mut blocks: Vec<&[f64]> = turned.chunks(block.max(1)).collect();
    chance.shuffle(&mut blocks);
    blocks.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Logarithms of latencies: each `alike` times the one before, with this standard deviation, and moved from a point on.
    fn series(seed: u64, n: usize, (alike, sd): (f64, f64), moves: &[(usize, f64)]) -> Vec<f64> {
        let mut chance = Chance::seeded(seed);
        let mut last = chance.normal();
        let next = |at| {
            last = alike * last + (1.0 - alike * alike).sqrt() * chance.normal();
            let moved: f64 = moves.iter().filter(|(from, _)| at >= *from).map(|(_, by)| by).sum();
            sd * last + moved
        };
        (0..n).map(next).collect()
    }

    #[test]
    fn the_stretch_is_that_of_the_largest_energy_distance() {
        // The definition, without sums that are kept.
        let slow = |values: &[f64], from: usize, to: usize| {
            let mean = |a: &[f64], b: &[f64], pairs: f64| {
                a.iter().flat_map(|x| b.iter().map(move |y| (x - y).abs())).sum::<f64>() / pairs
            };
            let (a, b) = (&values[from..to], &Stretch { from, to, distance: 0.0 }.rest(values)[..]);
            let (n, m) = (a.len() as f64, b.len() as f64);
            (2.0 * mean(a, b, n * m) - mean(a, a, n * (n - 1.0)) - mean(b, b, m * (m - 1.0))) * n * m / (n + m)
        };
        for seed in 0..20 {
            let values = series(seed, 30, (0.3, 1.0), &[(12, 0.8), (22, -0.6)]);
            let found = best_stretch(&values).unwrap();
            assert!((slow(&values, found.from, found.to) - found.distance).abs() < 1e-9, "{seed}");
            for from in (0..30).filter(|from| *from == 0 || *from >= LEAST_POINTS) {
                for to in (from + LEAST_POINTS..=30).filter(|to| *to == 30 || to + LEAST_POINTS <= 30) {
                    assert!(to - from == 30 || slow(&values, from, to) <= found.distance + 1e-9, "{seed} {from} {to}");
                }
            }
        }
        assert_eq!(best_stretch(&[1.0; 9]), None, "no room for two sides");
        assert_eq!(best_stretch(&[]), None);
    }

    #[test]
    fn changes_are_rarely_seen_where_there_are_none() {
        let check = |alike: f64, most: usize| {
            let wrong = (0..200)
                .filter(|seed| !change_points(&series(500 + seed, 120, (alike, 0.05), &[]), 0.02, 1).is_empty());
            let wrong = wrong.count();
            println!("alike {alike}: {wrong} of 100 series without a change have one");
            assert!(wrong <= most, "{alike}: {wrong} of 100");
        };
        check(0.0, 5);
        check(0.5, 9);
        check(0.8, 12);
    }

    #[test]
    fn changes_are_found_where_they_are() {
        let check = |noise: (f64, f64), by: f64, least: usize| {
            let close = |seed: &u64| {
                let found = change_points(&series(900 + seed, 120, noise, &[(70, by)]), 0.02, 1);
                found.len() == 1 && found[0].at.abs_diff(70) <= 3
            };
            let right = (0..40).filter(close).count();
            println!("{noise:?}, moved by {by}: {right} of 40 are found alone and within three points");
            assert!(right >= least, "{noise:?} {by}: {right} of 40");
        };
        check((0.0, 0.05), 0.1, 33);
        check((0.5, 0.05), 0.15, 28);
        check((0.0, 0.05), -0.3, 35);
    }

    #[test]
    fn there_and_back_are_two() {
        let values = series(5, 120, (0.2, 0.05), &[(50, 0.4), (80, -0.4)]);
        let found: Vec<usize> = change_points(&values, 0.02, 1).iter().map(|change| change.at).collect();
        assert!(found.len() == 2 && found[0].abs_diff(50) <= 1 && found[1].abs_diff(80) <= 1, "{found:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

        /// Changes leave stretches that are long enough, whatever the values; blocks in another order are the same values.
        #[test]
        fn changes_keep_their_distance(values in proptest::collection::vec(-5.0_f64..5.0, 0..60), block in 1_usize..9) {
            let mut ends: Vec<usize> = change_points(&values, 0.0, 1).iter().map(|change| change.at).collect();
            ends.push(values.len());
            let mut from = 0;
            for end in ends {
                prop_assert!(end - from >= LEAST_POINTS || values.len() == end - from);
                from = end;
            }
            if !values.is_empty() {
                let mut shuffled = shuffled(&values, block, &mut Chance::seeded(2));
                let mut sorted = values.clone();
                shuffled.sort_by(f64::total_cmp);
                sorted.sort_by(f64::total_cmp);
                prop_assert_eq!(shuffled, sorted);
            }
        }
    }
}
