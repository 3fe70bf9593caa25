//! Where figures are going. `methods` forecast, `origins` says what such forecasts were worth before, `growth` holds a growing
//! demand against a capacity, `history` reads series of the past, `within` takes those of a long run.
//!
//! A forecast is advice only where it did better than saying that the last value stays, with the interval of that. The other
//! accuracy that people ask for, 1 − MAPE, stands beside it: of memory it is 99 % for a forecast that says nothing.

mod growth;
mod history;
mod methods;
mod origins;
mod within;

use proofload_run::findings::{Ahead, Forecast};
use proofload_run::units::significant;

pub use growth::{Demand, Growth, Missed, MonthAhead, growth_of, missed};
pub use history::{HistoryError, of_runs, read_csv};
pub(crate) use within::forecasts;

use methods::{LEAST, Method};

/// Points of the past that are kept for a chart.
const SHOWN: usize = 240;
/// Values that are used of a series: what is longer is taken together first.
pub const MOST_VALUES: usize = 480;

/// Values at equal times.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Time of the first value, seconds on any clock.
    pub start_s: f64,
    /// Time between two values, seconds, above 0.
    pub step_s: f64,
    /// The values, all finite.
    pub values: Vec<f64>,
    /// Values that a season has; `None` without seasons.
    pub period: Option<usize>,
}

/// Forecasts a series so many steps ahead. At least three steps of the past are needed for each of the future.
pub fn forecast(series: &Series, horizon: usize) -> Forecast {
    let values = &series.values;
    let time = |at: usize| series.start_s + at as f64 * series.step_s;
    let history = values.iter().enumerate().map(|(at, value)| (time(at), *value));
    let mut found = Forecast {
        name: series.name.clone(),
        unit: series.unit.clone(),
        step_s: series.step_s,
        n: values.len() as u64,
        history: history.skip(values.len().saturating_sub(SHOWN)).collect(),
        method: String::new(),
        ahead: Vec::new(),
        skill: None,
        offered: false,
        sentence: String::new(),
    };
    if values.len() < (3 * horizon).max(2 * LEAST) || horizon == 0 {
        let needed = (3 * horizon).max(2 * LEAST);
        found.sentence = format!("{}: not enough data, {} values where {needed} are needed", series.name, values.len());
        return found;
    }
    let judged = origins::judged(values, horizon, series.period);
    let ahead = judged.method.ahead(values, horizon).into_iter().zip(&judged.half).enumerate();
    let ahead = ahead.map(|(step, (value, half))| Ahead {
        t_s: time(values.len() + step),
        value,
        interval: half.map(|half| [value - half, value + half]),
    });
    found.ahead = ahead.collect();
    found.method = judged.method.as_str().to_owned();
    found.offered = judged.method != Method::Last && judged.skill.is_some_and(|skill| skill.interval[0] > 0.0);
    found.skill = judged.skill;
    found.sentence = sentence(&found, values.last().copied().unwrap_or_default());
    found
}

fn sentence(found: &Forecast, last: f64) -> String {
    let Some(end) = found.ahead.last() else { return String::new() };
    let (name, unit) = (&found.name, &found.unit);
    let length = proofload_run::units::format_duration_ns(found.step_s * found.ahead.len() as f64 * 1e9);
    let interval = end.interval.map_or_else(String::new, |[low, high]| {
        format!(" ({} to {} with 90 % probability)", significant(low), significant(high))
    });
    let will = format!("{} {unit}{interval} in {length}, now {}", significant(end.value), significant(last));
    match (&found.skill, found.offered) {
        (Some(skill), true) => {
            let [low, high] = skill.interval;
            let (value, low, high) = (significant(skill.value), significant(low), significant(high));
            format!(
                "{name}: {will}; such forecasts had a skill of {value} ({low} to {high}) over saying that nothing changes"
            )
        }
        (Some(skill), false) => {
            let [low, high] = skill.interval;
            let (value, low, high) = (significant(skill.value), significant(low), significant(high));
            format!(
                "{name}: no forecast is offered: none was surely better than the last value (skill {value}, {low} to {high})"
            )
        }
        (None, _) => {
            format!("{name}: no forecast is offered: too little data, or no change, to say what one would be worth")
        }
    }
}

#[cfg(test)]
mod tests;
