//! What of a picture is raised and what is background: by the picture's own transparency, or by the colours of its
//! border. A picture without a clear background has no mask, and is raised whole. Pure.

mod border;
mod regions;

use super::picture::Raster;

/// A picture counts as having a transparent part from this share of its samples on.
const LEAST_CLEAR_SHARE: f64 = 0.001;

/// Which mask is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// None: the whole picture is raised.
    None,
    /// What is not transparent.
    Alpha,
    /// What is not transparent, or in a picture without transparency what does not look like its border.
    Auto,
}

impl Wanted {
    /// The choice with this name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        let named = [("none", Self::None), ("alpha", Self::Alpha), ("auto", Self::Auto)];
        named.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, wanted)| wanted)
    }
}

/// Where a mask came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The picture's transparency.
    Alpha,
    /// The colours of its border.
    Border,
}

impl Source {
    /// Its name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alpha => "alpha",
            Self::Border => "border",
        }
    }
}

/// How much each sample belongs to the foreground, 0 to 1, in rows from the upper edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    columns: usize,
    rows: usize,
    shares: Vec<f32>,
    source: Source,
}

impl Mask {
    /// The mask of a picture, where one is wanted and there is one.
    pub fn of(raster: &Raster, wanted: Wanted) -> Option<Self> {
        let (columns, rows) = (raster.columns, raster.rows);
        let with = |source: Source| move |shares: Vec<f32>| Self { columns, rows, shares, source };
        let alpha = || transparency(raster).map(with(Source::Alpha));
        match wanted {
            Wanted::None => None,
            Wanted::Alpha => alpha(),
            Wanted::Auto => alpha().or_else(|| border::foreground(raster).map(with(Source::Border))),
        }
    }

    #[cfg(test)]
    pub(super) fn of_shares(columns: usize, rows: usize, shares: Vec<f32>) -> Self {
        Self { columns, rows, shares, source: Source::Alpha }
    }

    /// Where it came from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Share of the picture that it lets through.
    pub fn foreground_share(&self) -> f64 {
        self.shares.iter().map(|&share| f64::from(share)).sum::<f64>() / self.shares.len() as f64
    }

    /// The same mask over another number of samples, each taken from the nearest.
    pub(super) fn resampled(&self, columns: usize, rows: usize) -> Vec<f32> {
        let nearest = |at: usize, count: usize, of: usize| (2 * at + 1) * of / (2 * count);
        let line = |row: usize| &self.shares[nearest(row, rows, self.rows) * self.columns..][..self.columns];
        (0..rows).flat_map(|row| (0..columns).map(move |at| line(row)[nearest(at, columns, self.columns)])).collect()
    }
}

/// The picture's own transparency, when a part of it is transparent and another is not.
fn transparency(raster: &Raster) -> Option<Vec<f32>> {
    let alpha = raster.alpha.as_ref()?;
    let clear = alpha.iter().filter(|share| **share < 0.5).count();
    let least = (LEAST_CLEAR_SHARE * alpha.len() as f64).max(1.0);
    (clear as f64 >= least && clear < alpha.len()).then(|| alpha.clone())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A picture of this light, red, green and blue at each place.
    pub(in super::super) fn raster(columns: usize, rows: usize, light: impl Fn(usize, usize) -> [f32; 3]) -> Raster {
        let places = || (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row)));
        let plane = |channel: usize| places().map(|(column, row)| light(column, row)[channel]).collect::<Vec<_>>();
        let planes = (0..3).flat_map(plane).collect();
        Raster { columns, rows, planes, alpha: None, aspect: rows as f64 / columns as f64 }
    }

    #[test]
    fn names() {
        let check = |name: &str, expected: Option<Wanted>| assert_eq!(Wanted::parse(name), expected, "{name}");
        check("AUTO", Some(Wanted::Auto));
        check("alpha", Some(Wanted::Alpha));
        check("none", Some(Wanted::None));
        check("", None);
    }

    #[test]
    fn transparency_is_a_mask_when_there_is_some() {
        let check = |alpha: Option<Vec<f32>>, expected: Option<f64>| {
            let grey = raster(4, 4, |_, _| [0.5; 3]);
            let found = Mask::of(&Raster { alpha, ..grey }, Wanted::Alpha);
            assert_eq!(found.map(|mask| mask.foreground_share()), expected);
        };
        check(None, None);
        check(Some(vec![1.0; 16]), None);
        check(Some(vec![0.0; 16]), None);
        check(Some([vec![0.0; 4], vec![1.0; 12]].concat()), Some(0.75));
    }

    #[test]
    fn a_mask_fits_depths_of_another_size() {
        let mask = Mask::of_shares(2, 1, vec![0.0, 1.0]);
        let check = |columns: usize, rows: usize, expected: &[f32]| {
            assert_eq!(mask.resampled(columns, rows).as_slice(), expected);
        };
        check(4, 2, &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
        check(1, 1, &[1.0]);
        check(2, 1, &[0.0, 1.0]);
    }
}
