//! The ways to forecast: a line by Theil and Sen, exponential smoothing (ETS), and the same over what seasons leave (MSTL), both by
//! the crate augurs. The only module that names it.

use augurs::ets::AutoETS;
use augurs::mstl::MSTLModel;
use augurs::prelude::{Fit as _, Predict as _};

use proofload_statistics::slope;

/// Values that a line is put through, at most: pairs grow with the square, and what is long ago says little.
const LINE_POINTS: usize = 120;
/// Fewer values are too few for any.
pub(super) const LEAST: usize = 12;

/// A way to forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// What was last stays.
    Last,
    /// A line through the latest values, from where it is now.
    Line,
    /// Exponential smoothing, the kind chosen by information criterion; no seasons.
    Smoothing,
    /// Seasons of so many values taken off (MSTL), exponential smoothing of the rest.
    Seasons(usize),
}

impl Method {
    /// Those that are tried for a series whose seasons have this many values.
    pub(super) fn tried(period: Option<usize>) -> Vec<Self> {
        let seasons = period.map(Self::Seasons);
        [Some(Self::Last), Some(Self::Line), Some(Self::Smoothing), seasons].into_iter().flatten().collect()
    }

    /// The word for people.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Last => "the last value",
            Self::Line => "a line (Theil-Sen)",
            Self::Smoothing => "exponential smoothing (ETS)",
            Self::Seasons(_) => "seasons and exponential smoothing (MSTL, ETS)",
        }
    }

    /// So many values to come; what was last where the method has no answer.
    pub(super) fn ahead(self, values: &[f64], horizon: usize) -> Vec<f64> {
        let found = match self {
            _ if values.len() < LEAST => None,
            Self::Last => None,
            Self::Line => Some(line(values, horizon)),
            Self::Smoothing => smoothing(values, horizon),
            Self::Seasons(period) => seasons(values, period, horizon),
        };
        let last = || vec![values.last().copied().unwrap_or_default(); horizon];
        found.filter(|ahead| ahead.len() == horizon && ahead.iter().all(|value| value.is_finite())).unwrap_or_else(last)
    }
}

fn line(values: &[f64], horizon: usize) -> Vec<f64> {
    let from = values.len().saturating_sub(LINE_POINTS);
    let points: Vec<slope::Point> =
        values.iter().enumerate().skip(from).map(|(at, value)| (at as f64, *value)).collect();
    let slope = slope::value(&points);
    // From where the line is by the last sixth: what is long ago says how it goes, not where it is.
    let recent = &points[points.len() - (points.len() / 6).max(3)..];
    let base = slope::intercept(recent, slope);
    (0..horizon).map(|step| base + slope * (values.len() + step) as f64).collect()
}

/// What a method takes and gives is brought to numbers near one, of which single precision is enough, and back.
fn scaled(values: &[f64], ahead: impl Fn(&[f64]) -> Option<Vec<f64>>) -> Option<Vec<f64>> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let spread = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
    // What never changes stays as it is.
    if spread <= 1e-12 * mean.abs() || spread == 0.0 {
        return None;
    }
    let near_one: Vec<f64> = values.iter().map(|value| (value - mean) / spread + 10.0).collect();
    let found = ahead(&near_one)?;
    Some(found.into_iter().map(|value| (value - 10.0) * spread + mean).collect())
}

fn smoothing(values: &[f64], horizon: usize) -> Option<Vec<f64>> {
    scaled(values, |values| Some(AutoETS::non_seasonal().fit(values).ok()?.predict(horizon, None).ok()?.point))
}

fn seasons(values: &[f64], period: usize, horizon: usize) -> Option<Vec<f64>> {
    // Two whole seasons, or the method has nothing to compare.
    (period >= 2 && values.len() >= 2 * period + LEAST).then_some(())?;
    scaled(values, |values| {
        let model = MSTLModel::new(vec![period], AutoETS::non_seasonal().into_trend_model());
        Some(model.fit(values).ok()?.predict(horizon, None).ok()?.point)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_follows_what_it_is_made_for() {
        let check = |method: Method, value: fn(usize) -> f64, within: f64| {
            let values: Vec<f64> = (0..120).map(value).collect();
            let ahead = method.ahead(&values, 8);
            for (step, found) in ahead.iter().enumerate() {
                let expected = value(120 + step);
                assert!((found - expected).abs() <= within, "{method:?}, step {step}: {found}, not {expected}");
            }
        };
        let wave = |at: usize| 50.0 + 10.0 * (at as f64 / 12.0 * std::f64::consts::TAU).sin();
        check(Method::Last, |_| 7.0, 0.0);
        check(Method::Line, |at| 3e9 + 2e6 * at as f64, 1.0);
        check(Method::Line, |at| if at % 13 == 0 { 900.0 } else { at as f64 }, 1.0);
        check(Method::Smoothing, |at| 1e9 + 5e6 * at as f64, 2e6);
        check(Method::Smoothing, |_| 7.0, 0.0);
        check(Method::Seasons(12), wave, 0.5);
    }

    #[test]
    fn what_has_no_answer_says_what_was_last() {
        for method in Method::tried(Some(12)) {
            assert_eq!(method.ahead(&[1.0, 2.0, 3.0], 2), [3.0, 3.0], "{method:?}");
            assert_eq!(method.ahead(&[], 1), [0.0], "{method:?}");
        }
    }
}
