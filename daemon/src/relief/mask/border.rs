//! Foreground by the colours of the border: the colours along the picture's edge are gathered into a few, every sample
//! is as much foreground as it differs from the nearest of them, Otsu's threshold parts the two (Otsu 1979), and of what
//! looks like the border only what hangs together with it is background.
//!
//! It finds a subject before a background of few colours: a sheet, a table, a studio. It knows colours and not things: a
//! busy background, a subject of the background's colours or one that fills the border has no mask, which is said; of a
//! subject that has colours of the background where it touches it, that part is lost; unevenly lit, a part of the
//! background may stay.

use super::regions::Field;
use crate::relief::picture::Raster;

/// Colours that a background may have.
const COLOURS: usize = 3;
/// Rounds of gathering; the few colours of a border settle in fewer.
const ROUNDS: usize = 8;
/// A colour with a smaller share of the border belongs to a subject that reaches it.
const LEAST_COLOUR_SHARE: f64 = 0.15;
/// Light counts less than hue: a background is often lit unevenly.
const LIGHT_WEIGHT: f32 = 0.6;
/// Bins of the histogram of distances.
const BINS: usize = 64;
/// Foreground and background must explain this share of the variance of distances, or there are no two of them. Of an
/// even spread any cut explains three quarters.
const LEAST_SEPARATION: f64 = 0.77;
/// Distances below this are shades of the same colour, of 1 for black to white.
const LEAST_THRESHOLD: f32 = 0.07;
/// Shares of the picture that a subject may have.
const FOREGROUND_SHARES: std::ops::RangeInclusive<f64> = 0.02..=0.9;
/// Share of the border that must be background.
const LEAST_BORDER_SHARE: f64 = 0.8;
/// Regions smaller than this share of the largest are specks.
const LEAST_REGION_SHARE: f64 = 0.05;

type Colour = [f32; 3];

/// How much each sample belongs to the subject, 0 or 1. `None` when there is no clear subject.
pub(super) fn foreground(raster: &Raster) -> Option<Vec<f32>> {
    let colours: Vec<Colour> = (0..raster.columns * raster.rows).map(|at| opponent(raster, at)).collect();
    let everything = Field { columns: raster.columns, holds: vec![true; colours.len()] };
    let ring: Vec<usize> = everything.ring().collect();
    let background = main_colours(&ring.iter().map(|&at| colours[at]).collect::<Vec<_>>());
    let distances: Vec<f32> = colours.iter().map(|&colour| to_nearest(&background, colour)).collect();
    let threshold = otsu(&distances).filter(|threshold| *threshold >= LEAST_THRESHOLD)?;
    let alike = Field { columns: raster.columns, holds: distances.iter().map(|at| *at < threshold).collect() };
    let behind = alike.reached_from_ring();
    let subject = Field { columns: raster.columns, holds: behind.holds.iter().map(|behind| !behind).collect() };
    let subject = subject.without_specks(LEAST_REGION_SHARE);
    let on_border = ring.iter().filter(|&&at| !subject.holds[at]).count();
    let share = subject.holds.iter().filter(|holds| **holds).count() as f64 / colours.len() as f64;
    let clear = on_border as f64 >= LEAST_BORDER_SHARE * ring.len() as f64 && FOREGROUND_SHARES.contains(&share);
    clear.then(|| subject.holds.iter().map(|&holds| if holds { 1.0 } else { 0.0 }).collect())
}

/// Light, red against green, and yellow against blue.
fn opponent(raster: &Raster, at: usize) -> Colour {
    let size = raster.columns * raster.rows;
    let [red, green, blue] = [0, 1, 2].map(|plane| raster.planes[plane * size + at]);
    [LIGHT_WEIGHT * (red + green + blue) / 3.0, red - green, (red + green) / 2.0 - blue]
}

fn distance(a: Colour, b: Colour) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
}

fn to_nearest(colours: &[Colour], colour: Colour) -> f32 {
    colours.iter().map(|&other| distance(other, colour)).fold(f32::INFINITY, f32::min)
}

/// The few colours that samples gather around (k-means, begun with colours far apart), without the rare ones.
fn main_colours(samples: &[Colour]) -> Vec<Colour> {
    let mut centres = vec![mean(samples)];
    while centres.len() < COLOURS {
        let by_distance = |a: &&Colour, b: &&Colour| to_nearest(&centres, **a).total_cmp(&to_nearest(&centres, **b));
        let Some(&farthest) = samples.iter().max_by(by_distance) else { break };
        centres.push(farthest);
    }
    let mut gathered = Vec::new();
    for _ in 0..ROUNDS {
        gathered = vec![Vec::new(); centres.len()];
        for &sample in samples {
            gathered[nearest(&centres, sample)].push(sample);
        }
        for (centre, samples) in centres.iter_mut().zip(&gathered).filter(|(_, samples)| !samples.is_empty()) {
            *centre = mean(samples);
        }
    }
    let least = LEAST_COLOUR_SHARE * samples.len() as f64;
    let usual = centres.iter().zip(&gathered).filter(|(_, samples)| samples.len() as f64 >= least);
    usual.map(|(centre, _)| *centre).collect()
}

fn nearest(centres: &[Colour], colour: Colour) -> usize {
    let by_distance = |a: &usize, b: &usize| distance(centres[*a], colour).total_cmp(&distance(centres[*b], colour));
    (0..centres.len()).min_by(by_distance).unwrap_or_default()
}

fn mean(colours: &[Colour]) -> Colour {
    let count = colours.len().max(1) as f32;
    std::array::from_fn(|channel| colours.iter().map(|colour| colour[channel]).sum::<f32>() / count)
}

/// The threshold between two kinds of distances. `None` when they are not of two kinds.
fn otsu(distances: &[f32]) -> Option<f32> {
    let most = distances.iter().copied().fold(0.0, f32::max);
    let width = most / BINS as f32;
    if width <= 0.0 {
        return None;
    }
    let mut bins = [0_u32; BINS];
    distances.iter().for_each(|distance| bins[((distance / width) as usize).min(BINS - 1)] += 1);
    let count = distances.len() as f64;
    let moment = |power: i32| {
        let of = |(bin, count): (usize, &u32)| (bin as f64).powi(power) * f64::from(*count);
        bins.iter().enumerate().map(of).sum::<f64>() / count
    };
    let (mean, variance) = (moment(1), moment(2) - moment(1).powi(2));
    let (mut below, mut sum) = (0.0, 0.0);
    let between = bins.iter().enumerate().map(|(bin, &samples)| {
        below += f64::from(samples) / count;
        sum += bin as f64 * f64::from(samples) / count;
        if below < 1.0 - 1e-9 { (mean * below - sum).powi(2) / (below * (1.0 - below)).max(1e-12) } else { 0.0 }
    });
    let between: Vec<f64> = between.collect();
    let best = between.iter().copied().fold(0.0, f64::max);
    // Between two kinds far apart many thresholds are as good: the middle one is the safest.
    let as_good = || between.iter().enumerate().filter(|(_, value)| **value >= best * (1.0 - 1e-9));
    let (first, last) = (as_good().next()?.0, as_good().next_back()?.0);
    (best >= LEAST_SEPARATION * variance).then_some(((first + last) as f32 / 2.0 + 1.0) * width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relief::mask::tests::raster;
    use proptest::prelude::*;

    fn in_disc(column: usize, row: usize) -> bool {
        (column as f64 - 31.5).powi(2) + (row as f64 - 31.5).powi(2) < 18.0 * 18.0
    }

    /// Intersection over union of what was found and the disc.
    fn overlap(shares: &[f32]) -> f64 {
        let [mut both, mut either] = [0, 0];
        for (at, share) in shares.iter().enumerate() {
            let (found, inside) = (*share > 0.5, in_disc(at % 64, at / 64));
            both += usize::from(found && inside);
            either += usize::from(found || inside);
        }
        f64::from(both as u32) / f64::from(either as u32)
    }

    #[test]
    fn a_disc_before_a_background_is_found() {
        let check = |what: &str, behind: fn(usize, usize) -> [f32; 3], disc: [f32; 3]| {
            let picture = raster(64, 64, |x, y| if in_disc(x, y) { disc } else { behind(x, y) });
            let found = foreground(&picture).unwrap_or_default();
            assert!(overlap(&found) > 0.97, "{what}: {}", overlap(&found));
        };
        check("plain", |_, _| [0.9; 3], [0.2, 0.2, 0.3]);
        check("lit from one side", |x, _| [0.55 + 0.004 * x as f32; 3], [0.1, 0.1, 0.1]);
        check("two colours", |_, y| if y < 32 { [0.4, 0.6, 0.9] } else { [0.8, 0.7, 0.4] }, [0.1, 0.3, 0.1]);
        check("noisy", |x, y| [0.7 + 0.05 * ((x * 7 + y * 13) % 5) as f32 / 5.0; 3], [0.3, 0.1, 0.1]);
    }

    #[test]
    fn what_looks_like_the_background_inside_the_subject_stays() {
        let hole = |x: usize, y: usize| (28..36).contains(&x) && (28..36).contains(&y);
        let picture = raster(64, 64, |x, y| if in_disc(x, y) && !hole(x, y) { [0.1; 3] } else { [0.9; 3] });
        assert!(overlap(&foreground(&picture).unwrap()) > 0.97);
    }

    #[test]
    fn without_a_clear_subject_there_is_no_mask() {
        let check = |what: &str, light: fn(usize, usize) -> [f32; 3]| {
            assert!(foreground(&raster(64, 64, light)).is_none(), "{what}");
        };
        check("one colour", |_, _| [0.5; 3]);
        check("a slope", |x, _| [x as f32 / 64.0; 3]);
        check("a speck", |x, y| if x == 30 && y == 30 { [1.0; 3] } else { [0.2; 3] });
        check("noise", |x, y| [((x * 73 + y * 151 + x * y * 31) % 97) as f32 / 97.0; 3]);
    }

    proptest! {
        /// Whatever the picture: what is found lies within the documented shares.
        #[test]
        fn a_mask_is_neither_nothing_nor_everything(light in proptest::collection::vec(0.0_f32..1.0, 16 * 12 * 3)) {
            let picture = raster(16, 12, |x, y| std::array::from_fn(|channel| light[(y * 16 + x) * 3 + channel]));
            if let Some(found) = foreground(&picture) {
                let share = f64::from(found.iter().sum::<f32>()) / found.len() as f64;
                prop_assert!(FOREGROUND_SHARES.contains(&share), "{}", share);
            }
        }
    }
}
