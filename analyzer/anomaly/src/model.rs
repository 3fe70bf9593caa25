//! What healthy runs look like, and how odd a window must be to be an anomaly.
//!
//! How odd is odd is learned from runs that the detectors have not seen: the runs are dealt out to folds, each fold is
//! scored by a model of the others, and a window's p-value is the share of those healthy windows that scored as high
//! (conformal, by run: Vovk's rule with runs as the unit that is left out). So a share of false alarms can be
//! asked for and holds for runs that are like those learned; what they never showed, such as a higher load, is refused.

use serde::{Deserialize, Serialize};

use crate::detect::{DETECTORS, Detectors, Shape};
use crate::expect::{Covariates, Expectation};
use crate::forest::ForestError;
use crate::metric::{Metric, Role};
use crate::recording::{Recording, Second};
use crate::window::{Feature, HOP_S, Statistic, WINDOW_S, Windows, features};

/// Version of a model's serialised form.
pub const MODEL_VERSION: u32 = 1;
/// From so many healthy runs on, p-values say what they promise.
pub const ENOUGH_RUNS: usize = 8;
/// Into so many folds the runs are dealt at most.
const FOLDS: usize = 5;
/// A run must have so many seconds after its warm-up.
const LEAST_S: usize = 60;
/// The range of load is widened by these factors.
const RANGE: (f64, f64) = (0.75, 1.1);
/// Errors of healthy runs may be so many times as frequent before they surprise.
const ERROR_LEEWAY: f64 = 1.5;
/// A run that is compared with nothing but itself: so many spreads make a window odd.
const ITSELF_LIMIT: f64 = 16.0;

/// Why no model could be made.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Nothing to learn from.
    #[error("there is no healthy run to learn from; give at least two, better eight to ten")]
    NoRuns,
    /// A single run.
    #[error("one healthy run is too few to learn what differs between runs; give at least two, better eight to ten")]
    OneRun,
    /// Runs that are not of one kind.
    #[error(
        "run {run} has other metrics than the first ({found}, not {expected}); learn only from runs of one service"
    )]
    OtherMetrics {
        /// Which run, from 1.
        run: usize,
        /// Its metrics.
        found: String,
        /// Those of the first.
        expected: String,
    },
    /// A run without enough time after its warm-up.
    #[error("run {run} has {seconds} s, and {needed} s are needed; let it go on for longer")]
    TooShort {
        /// Which run, from 1.
        run: usize,
        /// Its length.
        seconds: usize,
        /// The least.
        needed: usize,
    },
    /// The forest could not be grown.
    #[error(transparent)]
    Forest(#[from] ForestError),
}

/// How a model is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Seconds at the beginning of each run that are left out. 120 unless something better is known.
    pub warm_up_s: usize,
    /// Where the forest's chance begins.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { warm_up_s: 120, seed: 0 }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    version: u32,
    options: Options,
    runs: usize,
    /// The lowest and the highest load that was seen, requests per second.
    load: (f64, f64),
    sight: Sight,
    detectors: Detectors,
    judge: Judge,
}

/// From seconds to windows on one scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sight {
    warm_up_s: usize,
    usual_errors: f64,
    expectation: Expectation,
    shape: Shape,
}

/// How scores become a judgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Judge {
    /// By healthy windows that the detectors had not seen: the scores of each, ascending, and of all together.
    Conformal { scores: [Vec<f64>; DETECTORS], together: Vec<f64> },
    /// By a limit, where there is nothing to compare with but the run itself.
    Itself,
}

/// A run as far as it has come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SoFar {
    covariates: Covariates,
    pub(crate) windows: Windows,
}

/// What is said of a window.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    /// Share of healthy windows that are as odd; none where a run is compared with itself.
    pub(crate) p: Option<f64>,
    pub(crate) is_odd: bool,
    /// How rare each metric is.
    pub(crate) strengths: Vec<f64>,
}

impl Sight {
    /// Learns it, and shows the windows it was learned from.
    fn fit(runs: &[&Recording], warm_up_s: usize) -> (Self, Vec<Vec<f64>>) {
        let expectation = Expectation::fit(runs, warm_up_s);
        let usual_errors = usual_errors(runs, warm_up_s);
        let shape = Shape::fit(&[], &[]);
        let mut made = Self { warm_up_s, usual_errors, expectation, shape };
        let raw: Vec<Vec<f64>> = runs.iter().flat_map(|run| made.windows(run)).collect();
        made.shape = Shape::fit(&features(made.metrics()), &raw);
        let shaped = raw.iter().map(|row| made.shape.shaped(row)).collect();
        (made, shaped)
    }

    fn metrics(&self) -> &[Metric] {
        self.expectation.metrics()
    }

    fn begin(&self) -> SoFar {
        SoFar {
            covariates: self.expectation.covariates(),
            windows: Windows::new(self.metrics(), self.usual_errors, self.warm_up_s),
        }
    }

    /// The features of a window that ends with this second.
    fn push(&self, so_far: &mut SoFar, second: Second<'_>) -> Option<Vec<f64>> {
        let deviations = self.expectation.deviations(&mut so_far.covariates, second);
        so_far.windows.push(second, deviations)
    }

    /// The features of all windows of a run.
    fn windows(&self, run: &Recording) -> Vec<Vec<f64>> {
        let mut so_far = self.begin();
        run.seconds().filter_map(|second| self.push(&mut so_far, second)).collect()
    }
}

impl Model {
    /// Learns from healthy runs of one service.
    ///
    /// # Errors
    /// When there are fewer than two, one is too short, or they have different metrics.
    pub fn fit(runs: &[Recording], options: Options) -> Result<Self, ModelError> {
        check(runs, options.warm_up_s)?;
        if runs.len() == 1 {
            return Err(ModelError::OneRun);
        }
        let all: Vec<&Recording> = runs.iter().collect();
        let (sight, windows) = Sight::fit(&all, options.warm_up_s);
        let detectors = Detectors::fit(&windows, options.seed)?;
        let judge = Judge::learned(&all, options)?;
        Ok(Self {
            version: MODEL_VERSION,
            options,
            runs: runs.len(),
            load: load_range(&all, &sight),
            sight,
            detectors,
            judge,
        })
    }

    /// A model of a run by itself, for want of earlier ones: weaker, since an anomaly that lasts is taken for usual, and
    /// without p-values.
    ///
    /// # Errors
    /// When it is too short.
    pub fn of_itself(run: &Recording, options: Options) -> Result<Self, ModelError> {
        check(std::slice::from_ref(run), options.warm_up_s)?;
        let (sight, windows) = Sight::fit(&[run], options.warm_up_s);
        let detectors = Detectors::fit(&windows, options.seed)?;
        let load = (0.0, f64::INFINITY);
        Ok(Self { version: MODEL_VERSION, options, runs: 0, load, sight, detectors, judge: Judge::Itself })
    }

    /// The metrics that it knows.
    pub fn metrics(&self) -> &[Metric] {
        self.sight.metrics()
    }

    /// How many healthy runs it has seen; 0 where a run is compared with itself.
    pub fn runs(&self) -> usize {
        self.runs
    }

    /// Seconds at the beginning of a run that are not judged.
    pub fn warm_up_s(&self) -> usize {
        self.options.warm_up_s
    }

    /// The lowest and the highest load that the healthy runs had, requests per second.
    pub fn load(&self) -> (f64, f64) {
        self.load
    }

    /// Whether so much load is near enough to what the healthy runs had to be judged by them.
    pub fn knows_load(&self, offered: f64) -> bool {
        (self.load.0 * RANGE.0..=self.load.1 * RANGE.1).contains(&offered)
    }

    pub(crate) fn begin(&self) -> SoFar {
        self.sight.begin()
    }

    /// Takes in a second; judges the window that ends with it, if one does.
    pub(crate) fn push(&self, so_far: &mut SoFar, second: Second<'_>, alpha: f64) -> Option<(f64, Judged)> {
        let raw = self.sight.push(so_far, second)?;
        let row = self.sight.shape.shaped(&raw);
        Some((so_far.covariates.load(), self.judged(&raw, &row, alpha)))
    }

    fn judged(&self, raw: &[f64], row: &[f64], alpha: f64) -> Judged {
        let p = self.judge.p(self.detectors.scores(row));
        let mut strengths = vec![0.0_f64; self.metrics().len()];
        let (mut largest, features) = (0.0_f64, features(self.metrics()));
        for ((feature, strength), value) in features.iter().zip(self.detectors.strengths(&row[..raw.len()])).zip(row) {
            strengths[feature.metric] = strengths[feature.metric].max(strength);
            if self.tells_alone(*feature) {
                largest = largest.max(value.abs());
            }
        }
        Judged { p, is_odd: p.map_or(largest >= ITSELF_LIMIT, |p| p <= alpha), strengths }
    }

    /// Whether a feature means something where a run is compared with itself. Of errors that come now and then, the usual
    /// spread is none, and any would be odd: there only how many are unlikely counts.
    fn tells_alone(&self, feature: Feature) -> bool {
        let is_error = self.metrics()[feature.metric].role == Role::ErrorRate;
        !is_error || matches!(feature.statistic, Statistic::Surprise(_))
    }
}

impl Judge {
    /// Scores each fold by a model of the others.
    fn learned(runs: &[&Recording], options: Options) -> Result<Self, ModelError> {
        let folds = runs.len().min(FOLDS);
        let mut windows: Vec<[f64; DETECTORS]> = Vec::new();
        for fold in 0..folds {
            let dealt = |left_out: bool| {
                let of_fold = runs.iter().enumerate().filter(move |(run, _)| (run % folds == fold) == left_out);
                of_fold.map(|(_, run)| *run).collect::<Vec<&Recording>>()
            };
            let (sight, learned) = Sight::fit(&dealt(false), options.warm_up_s);
            let detectors = Detectors::fit(&learned, options.seed)?;
            for run in dealt(true) {
                let shaped = sight.windows(run).into_iter().map(|row| sight.shape.shaped(&row));
                windows.extend(shaped.map(|row| detectors.scores(&row)));
            }
        }
        let sorted = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values
        };
        let scores = std::array::from_fn(|detector| sorted(windows.iter().map(|window| window[detector]).collect()));
        let together = sorted(windows.iter().map(|window| -smallest_p(&scores, window)).collect());
        Ok(Self::Conformal { scores, together })
    }

    fn p(&self, window: [f64; DETECTORS]) -> Option<f64> {
        match self {
            Self::Conformal { scores, together } => Some(p_value(together, -smallest_p(scores, &window))),
            Self::Itself => None,
        }
    }
}

/// The smallest of the detectors' p-values; of equals, how far beyond all healthy windows the scores are.
fn smallest_p(scores: &[Vec<f64>; DETECTORS], window: &[f64; DETECTORS]) -> f64 {
    scores.iter().zip(window).map(|(healthy, score)| p_value(healthy, *score)).fold(1.0, f64::min)
}

/// The share of healthy windows that score as high, the window itself counted among them.
fn p_value(healthy: &[f64], score: f64) -> f64 {
    let lower = healthy.partition_point(|value| *value < score);
    (healthy.len() - lower + 1) as f64 / (healthy.len() + 1) as f64
}

fn check(runs: &[Recording], warm_up_s: usize) -> Result<(), ModelError> {
    let names = |run: &Recording| run.metrics().iter().map(|metric| metric.name.clone()).collect::<Vec<_>>().join(" ");
    let first = runs.first().ok_or(ModelError::NoRuns)?;
    let needed = warm_up_s + LEAST_S.max(WINDOW_S + HOP_S);
    for (number, run) in (1..).zip(runs) {
        if run.len() < needed {
            return Err(ModelError::TooShort { run: number, seconds: run.len(), needed });
        }
        if run.metrics() != first.metrics() {
            return Err(ModelError::OtherMetrics { run: number, found: names(run), expected: names(first) });
        }
    }
    Ok(())
}

/// Errors as a share of the requests of healthy runs, with some leeway; never none, since none in so many is no proof.
fn usual_errors(runs: &[&Recording], warm_up_s: usize) -> f64 {
    let (mut errors, mut requests) = (1.0, 1.0);
    for run in runs {
        let place = run.metrics().iter().position(|metric| metric.role == Role::ErrorRate);
        for second in run.seconds().skip(warm_up_s) {
            let rate = place.map_or(0.0, |place| second.values[place]);
            errors += if rate.is_finite() { rate * second.offered } else { 0.0 };
            requests += second.offered;
        }
    }
    (ERROR_LEEWAY * errors / requests).min(1.0)
}

/// The lowest and the highest load, smoothed, after the warm-up.
fn load_range(runs: &[&Recording], sight: &Sight) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for run in runs {
        let mut so_far = sight.begin();
        for (t_s, second) in run.seconds().enumerate() {
            so_far.covariates.push(second);
            if t_s >= sight.warm_up_s {
                low = low.min(so_far.covariates.load());
                high = high.max(so_far.covariates.load());
            }
        }
    }
    (low, high)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these figures are exact")]
mod tests {
    use super::*;

    #[test]
    fn p_values_count_what_is_as_high() {
        let healthy: Vec<f64> = (1..=99).map(f64::from).collect();
        let check = |score: f64, expected: f64| assert!((p_value(&healthy, score) - expected).abs() < 1e-12, "{score}");
        check(0.0, 1.0);
        check(1.0, 1.0);
        check(50.0, 0.51);
        check(99.0, 0.02);
        check(1e9, 0.01);
        assert_eq!(p_value(&[], 3.0), 1.0);
    }
}
