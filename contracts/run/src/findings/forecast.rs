//! Where figures are going, and how much such a forecast was worth so far.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A series and where it is going.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Forecast {
    /// What is forecast.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Time between two values, seconds.
    pub step_s: f64,
    /// Values that there are.
    pub n: u64,
    /// They: time in seconds, on the clock that the series has, and value.
    pub history: Vec<(f64, f64)>,
    /// The method that did best so far, and by which the forecast is made; empty where there is too little data for one.
    pub method: String,
    /// The forecast, step by step.
    pub ahead: Vec<Ahead>,
    /// What the same forecasts were worth, made from earlier points of the series; `None` where there is too little data.
    pub skill: Option<Skill>,
    /// Whether it is worth more than saying that all stays as it is: the skill's interval lies above zero.
    pub offered: bool,
    /// All of it in a sentence.
    pub sentence: String,
}

/// A value to come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ahead {
    /// When, on the series' clock.
    pub t_s: f64,
    /// The forecast.
    pub value: f64,
    /// Its 90 % interval, by the errors of earlier forecasts as far ahead; `None` where these were too few.
    pub interval: Option<[f64; 2]>,
}

/// What forecasts were worth, against saying that the last value stays.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Skill {
    /// 1 − mean absolute error / that of the last value: 1 is perfect, 0 is worth nothing, negative is worse.
    pub value: f64,
    /// Its interval (95 %).
    pub interval: [f64; 2],
    /// Earlier points of the series from which forecasts were made.
    pub origins: u64,
    /// Mean absolute error, in the series' unit.
    pub mean_error: f64,
    /// That of the last value.
    pub mean_error_of_last: f64,
    /// 1 − mean absolute percentage error, which people ask for; `None` where a value was zero. Says little: see the next.
    pub one_minus_mape: Option<f64>,
    /// The same of saying that the last value stays.
    pub one_minus_mape_of_last: Option<f64>,
}
