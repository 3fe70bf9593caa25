//! What forecasts are worth: made again and again from earlier points of a series, and held against what came. The method is
//! chosen at each point by what was known of it then, so that choosing is part of what is judged. Knows no units.

use proofload_run::findings::Skill;

use super::methods::{LEAST, Method};
use crate::interval::half_of_blocks;

/// Points from which forecasts are made, at most.
const MOST_ORIGINS: usize = 60;
/// Before this share of the series there is too little to forecast from.
const FIRST_SHARE: f64 = 0.25;
/// Stretches that count as independent, each at least as long as a forecast: fewer have no spread.
const LEAST_BLOCKS: usize = 6;
/// Share of the values to come that an interval is to hold.
const LEVEL: f64 = 0.9;

/// A forecast of the past.
#[derive(Debug, Clone)]
struct Origin {
    /// Values that were known.
    known: usize,
    /// Absolute errors of each method that was tried, step by step.
    errors: Vec<Vec<f64>>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    /// The method that is best by now.
    pub(super) method: Method,
    /// What choosing and forecasting was worth; `None` of too little data.
    pub(super) skill: Option<Skill>,
    /// Half the interval of each step; `None` where forecasts as far ahead were too few.
    pub(super) half: Vec<Option<f64>>,
}

/// Judges forecasts of a series so many steps ahead, where a season has so many values.
pub(super) fn judged(values: &[f64], horizon: usize, period: Option<usize>) -> Judged {
    let methods = Method::tried(period);
    let origins = origins(values, horizon, &methods);
    let chosen: Vec<usize> = origins.iter().map(|origin| best_known(&origins, origin.known, horizon)).collect();
    // The first have nothing to choose by, and do not count.
    let first = origins.iter().take_while(|origin| !origins.iter().any(|o| o.known + horizon <= origin.known)).count();
    let counted: Vec<(&Origin, usize)> = origins.iter().zip(chosen).skip(first).collect();
    Judged {
        method: methods[best_known(&origins, values.len(), horizon)],
        skill: skill(values, horizon, &counted),
        half: (0..horizon).scan(0.0, |widest, step| Some(half(&counted, step, widest))).collect(),
    }
}

fn origins(values: &[f64], horizon: usize, methods: &[Method]) -> Vec<Origin> {
    let first = ((values.len() as f64 * FIRST_SHARE) as usize).max(LEAST);
    let Some(last) = values.len().checked_sub(horizon).filter(|last| *last >= first) else { return Vec::new() };
    let stride = (last - first + 1).div_ceil(MOST_ORIGINS).max(1);
    // Backwards from the end, so that the latest point of the series is used.
    let mut known: Vec<usize> = (first..=last).rev().step_by(stride).collect();
    known.reverse();
    let origin = |known: usize| {
        let came = &values[known..known + horizon];
        let errors = |method: &Method| {
            let ahead = method.ahead(&values[..known], horizon);
            ahead.iter().zip(came).map(|(ahead, came)| (ahead - came).abs()).collect()
        };
        Origin { known, errors: methods.iter().map(errors).collect() }
    };
    known.into_iter().map(origin).collect()
}

/// The method with the smallest errors of forecasts whose time was over when so many values were known; the first, what was
/// last, where there were none.
fn best_known(origins: &[Origin], known: usize, horizon: usize) -> usize {
    let over: Vec<&Origin> = origins.iter().filter(|origin| origin.known + horizon <= known).collect();
    let methods = over.first().map_or(1, |origin| origin.errors.len());
    let error = |method: usize| over.iter().map(|origin| mean(&origin.errors[method])).sum::<f64>();
    (0..methods).min_by(|a, b| error(*a).total_cmp(&error(*b))).unwrap_or_default()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn skill(values: &[f64], horizon: usize, counted: &[(&Origin, usize)]) -> Option<Skill> {
    let pairs: Vec<(f64, f64)> =
        counted.iter().map(|(origin, chosen)| (mean(&origin.errors[*chosen]), mean(&origin.errors[0]))).collect();
    let stride = counted.get(1)?.0.known - counted.first()?.0.known;
    // Forecasts that overlap share what came: only stretches as long as a forecast are apart.
    let length = horizon.div_ceil(stride.max(1)).max(pairs.len().div_ceil(MOST_ORIGINS / 4));
    let blocks = pairs.len() / length;
    (blocks >= LEAST_BLOCKS).then_some(())?;
    let (error, of_last) = (pairs.iter().map(|p| p.0).sum::<f64>(), pairs.iter().map(|p| p.1).sum::<f64>());
    // Nothing changed at all: there is nothing to be better at.
    (of_last > 0.0).then_some(())?;
    let cut: Vec<(f64, f64)> = pairs[pairs.len() - blocks * length..]
        .chunks(length)
        .map(|block| block.iter().fold((0.0, 0.0), |(a, b), pair| (a + pair.0, b + pair.1)))
        .collect();
    let half = half_of_blocks(&cut)?;
    let value = 1.0 - error / of_last;
    let n = pairs.len() as f64;
    Some(Skill {
        value,
        interval: [value - half, (value + half).min(1.0)],
        origins: counted.len() as u64,
        mean_error: error / n,
        mean_error_of_last: of_last / n,
        one_minus_mape: one_minus_mape(values, counted, |chosen| chosen),
        one_minus_mape_of_last: one_minus_mape(values, counted, |_| 0),
    })
}

fn one_minus_mape(values: &[f64], counted: &[(&Origin, usize)], of: impl Fn(usize) -> usize) -> Option<f64> {
    let (mut sum, mut n) = (0.0, 0.0);
    for (origin, chosen) in counted {
        for (error, came) in origin.errors[of(*chosen)].iter().zip(&values[origin.known..]) {
            (*came != 0.0).then_some(())?;
            sum += error / came.abs();
            n += 1.0;
        }
    }
    (n > 0.0).then(|| 1.0 - sum / n)
}

/// The error that so many earlier forecasts as far ahead did not exceed (split conformal prediction: Vovk et al., 2005), and no
/// less than of nearer steps.
fn half(counted: &[(&Origin, usize)], step: usize, widest: &mut f64) -> Option<f64> {
    let mut errors: Vec<f64> = counted.iter().map(|(origin, chosen)| origin.errors[*chosen][step]).collect();
    errors.sort_unstable_by(f64::total_cmp);
    let rank = ((errors.len() as f64 + 1.0) * LEVEL).ceil() as usize;
    *widest = widest.max(*errors.get(rank.checked_sub(1)?)?);
    Some(*widest)
}
