//! From depth to heights in millimetres: smoothed, stretched between robust extremes, laid on a base. Pure.

use super::mask::Mask;
use super::parameters::Parameters;

/// Depths below the first and above the second of these shares of all samples are clipped: a few outliers must not
/// flatten everything else.
pub(crate) const ROBUST_RANGE: [f64; 2] = [0.01, 0.99];
/// A picture whose depths differ by less than this has no relief: stretching it would only show rounding.
pub(crate) const LEAST_CONTRAST: f32 = 1e-4;
/// The smoothing kernel ends where its weight is below half a percent of its middle.
const KERNEL_DEVIATIONS: f64 = 3.25;

/// Why depths make no relief. Always the model's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeightError {
    /// Too few or too many samples.
    #[error("{samples} depths are not {columns} by {rows} samples, at least 2 each way")]
    Size {
        /// How many there are.
        samples: usize,
        /// Samples in a row.
        columns: usize,
        /// Rows.
        rows: usize,
    },
    /// Something that is no number.
    #[error("a depth is infinite or no number")]
    NotFinite,
}

/// Heights over a rectangle, in rows from the back (the picture's upper edge) to the front.
#[derive(Debug, Clone, PartialEq)]
pub struct HeightField {
    columns: usize,
    width_mm: f64,
    depth_mm: f64,
    heights_mm: Vec<f32>,
}

/// Depths from a model, in rows from the picture's upper edge, larger is nearer.
#[derive(Debug, Clone, PartialEq)]
pub struct Depths {
    /// Samples in a row.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
    /// The samples.
    pub values: Vec<f32>,
}

impl HeightField {
    /// A field of these heights. `heights_mm` must hold whole rows, at least two, of at least two columns.
    #[cfg(test)]
    pub(super) fn new(columns: usize, width_mm: f64, depth_mm: f64, heights_mm: Vec<f32>) -> Self {
        Self { columns, width_mm, depth_mm, heights_mm }
    }

    /// A field whose heights are known: whole rows, at least two, of at least two columns.
    pub(super) fn of_heights(columns: usize, aspect: f64, heights_mm: Vec<f32>, parameters: &Parameters) -> Self {
        let [width_mm, depth_mm] = parameters.size.plate_mm(aspect);
        Self { columns, width_mm, depth_mm, heights_mm }
    }

    /// Lays depths on a base. `aspect` is the picture's height over its width. What a mask leaves out lies as low as the
    /// lowest of what it lets through.
    ///
    /// # Errors
    /// When the depths are not what a model may give.
    pub fn from_depths(
        depths: Depths,
        aspect: f64,
        mask: Option<&Mask>,
        parameters: &Parameters,
    ) -> Result<Self, HeightError> {
        let Depths { columns, rows, mut values } = depths;
        if columns < 2 || rows < 2 || columns.checked_mul(rows) != Some(values.len()) {
            return Err(HeightError::Size { samples: values.len(), columns, rows });
        }
        if !values.iter().all(|depth| depth.is_finite()) {
            return Err(HeightError::NotFinite);
        }
        smooth(&mut values, columns, parameters.smoothing);
        let shares = mask.map(|mask| {
            let mut shares = mask.resampled(columns, rows);
            smooth(&mut shares, columns, parameters.smoothing);
            shares
        });
        stretch(&mut values, shares.as_deref(), parameters);
        let [width_mm, depth_mm] = parameters.size.plate_mm(aspect);
        Ok(Self { columns, width_mm, depth_mm, heights_mm: values })
    }

    /// Samples in a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.heights_mm.len() / self.columns
    }

    /// Size along a row, in millimetres.
    pub fn width_mm(&self) -> f64 {
        self.width_mm
    }

    /// Size across the rows, in millimetres.
    pub fn depth_mm(&self) -> f64 {
        self.depth_mm
    }

    /// The least height over the underside, in millimetres.
    pub fn thinnest_mm(&self) -> f64 {
        f64::from(self.heights_mm.iter().copied().fold(f32::INFINITY, f32::min))
    }

    /// The heights over the underside, in millimetres, row by row.
    pub fn heights_mm(&self) -> &[f32] {
        &self.heights_mm
    }
}

/// Depths to heights: the robust range becomes `height_mm` over `base_mm`, and what lies outside is clipped. With a mask
/// that is the range of what it lets through, and without contrast there it is a silhouette.
fn stretch(values: &mut [f32], mask: Option<&[f32]>, parameters: &Parameters) {
    let [low, high] = robust_range(values, mask);
    let (base, height) = (parameters.base_mm as f32, parameters.height_mm as f32);
    let contrast = high - low;
    let flat = contrast < LEAST_CONTRAST;
    for (at, value) in values.iter_mut().enumerate() {
        let share = match mask {
            None if flat => 0.0,
            Some(mask) if flat => mask[at],
            Some(mask) => mask[at] * ((*value - low) / contrast).clamp(0.0, 1.0),
            None => ((*value - low) / contrast).clamp(0.0, 1.0),
        };
        let inverted = parameters.invert && (mask.is_some() || !flat);
        *value = base + height * if inverted { 1.0 - share } else { share };
    }
}

fn robust_range(values: &[f32], mask: Option<&[f32]>) -> [f32; 2] {
    let seen = |at: usize| mask.is_none_or(|mask| mask[at] >= 0.5);
    let mut sorted: Vec<f32> = values.iter().enumerate().filter(|(at, _)| seen(*at)).map(|(_, value)| *value).collect();
    if sorted.is_empty() {
        return [0.0; 2];
    }
    ROBUST_RANGE.map(|share| {
        let index = (share * (sorted.len() - 1) as f64).round() as usize;
        *sorted.select_nth_unstable_by(index, f32::total_cmp).1
    })
}

/// A Gaussian along rows and then columns. At the border the kernel is cut and weighed anew, so that the relief
/// neither rises nor falls there.
fn smooth(values: &mut [f32], columns: usize, deviation: f64) {
    let kernel = half_kernel(deviation);
    if kernel.len() < 2 {
        return;
    }
    let rows = values.len() / columns;
    let across = row_weights(&kernel, columns);
    let mut line = vec![0.0; columns];
    for row in values.chunks_exact_mut(columns) {
        line.copy_from_slice(row);
        for (column, out) in row.iter_mut().enumerate() {
            *out = weighted(&kernel, column, columns, |at| line[at]) / across[column];
        }
    }
    let down = row_weights(&kernel, rows);
    let source = values.to_vec();
    for (row, out) in values.chunks_exact_mut(columns).enumerate() {
        out.fill(0.0);
        for (at, weight) in reach(&kernel, row, rows) {
            let weight = weight / down[row];
            let from = &source[at * columns..(at + 1) * columns];
            out.iter_mut().zip(from).for_each(|(out, value)| *out += weight * value);
        }
    }
}

/// Weights of the middle and of one side.
pub(crate) fn half_kernel(deviation: f64) -> Vec<f32> {
    let radius = (deviation * KERNEL_DEVIATIONS).floor() as usize;
    (0..=radius).map(|at| (-0.5 * (at as f64 / deviation.max(f64::MIN_POSITIVE)).powi(2)).exp() as f32).collect()
}

/// The places within the kernel's reach, with their weights.
fn reach(kernel: &[f32], centre: usize, count: usize) -> impl Iterator<Item = (usize, f32)> {
    let radius = kernel.len() - 1;
    let last = (centre + radius).min(count - 1);
    (centre.saturating_sub(radius)..=last).map(move |at| (at, kernel[at.abs_diff(centre)]))
}

fn weighted(kernel: &[f32], centre: usize, count: usize, value: impl Fn(usize) -> f32) -> f32 {
    reach(kernel, centre, count).map(|(at, weight)| weight * value(at)).sum()
}

/// The kernel's sum at each place of a line.
pub(crate) fn row_weights(kernel: &[f32], count: usize) -> Vec<f32> {
    (0..count).map(|centre| weighted(kernel, centre, count, |_| 1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(columns: usize, values: Vec<f32>, parameters: &Parameters) -> Result<HeightField, HeightError> {
        let rows = values.len() / columns;
        HeightField::from_depths(Depths { columns, rows, values }, 1.0, None, parameters)
    }

    fn plain() -> Parameters {
        Parameters { smoothing: 0.0, ..Parameters::default() }
    }

    #[test]
    fn the_range_is_stretched_over_the_base() {
        let found = field(2, vec![0.25, 0.5, 0.5, 0.75], &plain()).unwrap();
        assert_eq!(found.heights_mm(), [2.0, 6.0, 6.0, 10.0]);
        let inverted = field(2, vec![0.25, 0.5, 0.5, 0.75], &Parameters { invert: true, ..plain() }).unwrap();
        assert_eq!(inverted.heights_mm(), [10.0, 6.0, 6.0, 2.0]);
    }

    #[test]
    fn outliers_are_clipped() {
        let mut values: Vec<f32> = (0..1000).map(|n| n as f32 / 1000.0).collect();
        values[500] = 1e9;
        let found = field(10, values, &plain()).unwrap();
        assert!((found.heights_mm()[400] - 5.2).abs() < 0.2, "{}", found.heights_mm()[400]);
        assert!((found.heights_mm()[500] - 10.0).abs() < 1e-6);
    }

    #[test]
    fn a_flat_picture_gives_a_flat_plate() {
        for invert in [false, true] {
            let found = field(3, vec![0.4; 9], &Parameters { invert, ..Parameters::default() }).unwrap();
            assert!(found.heights_mm().iter().all(|height| (height - 2.0).abs() < 1e-6));
        }
    }

    #[test]
    fn what_a_mask_leaves_out_lies_on_the_base() {
        let mask = Mask::of_shares(2, 2, vec![1.0, 1.0, 1.0, 0.0]);
        let check = |values: [f32; 4], invert: bool, expected: [f32; 4]| {
            let parameters = Parameters { invert, ..plain() };
            let depths = Depths { columns: 2, rows: 2, values: values.to_vec() };
            let found = HeightField::from_depths(depths, 1.0, Some(&mask), &parameters).unwrap();
            assert_eq!(found.heights_mm(), expected, "{values:?} {invert}");
        };
        check([0.25, 0.5, 0.75, 0.9], false, [2.0, 6.0, 10.0, 2.0]);
        check([0.25, 0.5, 0.75, 0.9], true, [10.0, 6.0, 2.0, 10.0]);
        check([0.5, 0.5, 0.5, 0.9], false, [10.0, 10.0, 10.0, 2.0]);
        check([0.5, 0.5, 0.5, 0.9], true, [2.0, 2.0, 2.0, 10.0]);
    }

    #[test]
    fn wrong_depths_are_named() {
        assert_eq!(field(2, vec![0.0, f32::NAN, 0.0, 1.0], &plain()), Err(HeightError::NotFinite));
        assert!(matches!(field(4, vec![0.0; 4], &plain()), Err(HeightError::Size { .. })));
        let short = Depths { columns: 2, rows: 3, values: vec![0.0; 5] };
        assert!(matches!(HeightField::from_depths(short, 1.0, None, &plain()), Err(HeightError::Size { .. })));
    }

    proptest! {
        /// Every height lies between the base and the highest point, and both are reached when there is contrast.
        #[test]
        fn heights_stay_in_range(columns in 2..20_usize, rows in 2..20_usize, seed in proptest::collection::vec(0.0_f32..1.0, 400), smoothing in 0.0..8.0_f64) {
            let values = seed[..columns * rows].to_vec();
            let parameters = Parameters { smoothing, ..Parameters::default() };
            let found = field(columns, values, &parameters).unwrap();
            prop_assert!(found.heights_mm().iter().all(|height| (2.0..=10.0).contains(height)));
        }

        /// Smoothing keeps a constant as it is, up to the border, and never leaves the range of its input.
        #[test]
        fn smoothing_averages(columns in 2..20_usize, rows in 2..20_usize, value in 0.0_f32..1.0, deviation in 0.0..8.0_f64) {
            let mut values = vec![value; columns * rows];
            smooth(&mut values, columns, deviation);
            prop_assert!(values.iter().all(|smoothed| (smoothed - value).abs() < 1e-5));
            values[0] = 1.0;
            smooth(&mut values, columns, deviation);
            prop_assert!(values.iter().all(|smoothed| (value - 1e-5..=1.0 + 1e-5).contains(smoothed)));
        }
    }
}
