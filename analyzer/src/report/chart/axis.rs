//! Axes with the ticks that a person would choose: 1, 2 or 5 times a power of ten.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::Ranged;
use proofload_run::units::significant;

/// How values are spread over an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Scale {
    Linear,
    Logarithmic,
    /// Per cent, spread by the number of nines: from 90 to 99 is as far as from 99 to 99.9.
    Nines,
}

/// One axis.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Axis {
    /// What it shows, with its unit.
    pub(in crate::report) label: String,
    pub(in crate::report) scale: Scale,
    pub(in crate::report) from: f64,
    pub(in crate::report) to: f64,
    /// Ticks with their own words, in place of numbers.
    pub(in crate::report) words: Vec<(f64, String)>,
    /// How many ticks at most.
    pub(in crate::report) ticks: usize,
}

impl Axis {
    /// From zero to a little above the largest value.
    pub(in crate::report) fn from_zero(label: impl Into<String>, largest: f64) -> Self {
        let to = if largest > 0.0 { largest * 1.06 } else { 1.0 };
        Self { label: label.into(), scale: Scale::Linear, from: 0.0, to, words: Vec::new(), ticks: 5 }
    }

    /// Exactly this range.
    pub(in crate::report) fn range(label: impl Into<String>, from: f64, to: f64) -> Self {
        let to = if to > from { to } else { from + 1.0 };
        Self { label: label.into(), scale: Scale::Linear, from, to, words: Vec::new(), ticks: 7 }
    }

    /// A logarithmic axis around positive values.
    pub(in crate::report) fn logarithmic(label: impl Into<String>, from: f64, to: f64) -> Self {
        let from = if from > 0.0 { from } else { 1e-3 };
        let to = if to > from { to } else { from * 10.0 };
        Self { label: label.into(), scale: Scale::Logarithmic, from, to, words: Vec::new(), ticks: 10 }
    }

    /// Percentiles by their nines, with these ticks; all of them below 100.
    pub(in crate::report) fn nines(label: impl Into<String>, from: f64, to: f64, ticks: &[f64]) -> Self {
        let words = ticks.iter().filter(|tick| (from..=to).contains(*tick)).map(|tick| (*tick, tick.to_string()));
        Self { label: label.into(), scale: Scale::Nines, from, to, words: words.collect(), ticks: ticks.len() }
    }

    /// The values that get a tick.
    pub(super) fn marks(&self) -> Vec<f64> {
        if !self.words.is_empty() {
            return self.words.iter().map(|word| word.0).collect();
        }
        match self.scale {
            Scale::Linear => linear_marks(self.from, self.to, self.ticks),
            Scale::Logarithmic => logarithmic_marks(self.from, self.to, self.ticks),
            // Its ticks are its words.
            Scale::Nines => Vec::new(),
        }
    }

    /// What is written at a tick.
    pub(super) fn words_at(&self, value: f64) -> String {
        let word = self.words.iter().find(|(at, _)| (at - value).abs() < 1e-9);
        word.map_or_else(|| plain(value), |(_, word)| word.clone())
    }

    /// The place of a value, 0 at the start of the axis and 1 at its end.
    pub(super) fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Logarithmic => (value.max(self.from * 1e-3) / self.from).log10() / (self.to / self.from).log10(),
            Scale::Nines => (nines(value) - nines(self.from)) / (nines(self.to) - nines(self.from)),
        }
    }
}

/// How many nines a percentile has: 1 for 90, 2 for 99.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-9).log10()
}

/// A tick's number: three significant digits, thousands apart.
fn plain(value: f64) -> String {
    if value.abs() >= 10_000.0 { crate::report::format::number(value) } else { significant(value) }
}

fn linear_marks(from: f64, to: f64, most: usize) -> Vec<f64> {
    let step = nice((to - from) / most.max(1) as f64);
    let first = (from / step - 1e-9).ceil() as i64;
    let last = (to / step + 1e-9).floor() as i64;
    (first..=last).map(|index| index as f64 * step).collect()
}

/// The smallest of 1, 2, 5 times a power of ten that is not below the value.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= value * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

fn logarithmic_marks(from: f64, to: f64, most: usize) -> Vec<f64> {
    let decades = from.log10().floor() as i32..=to.log10().ceil() as i32;
    let within = |factors: &[f64]| -> Vec<f64> {
        let all = decades.clone().flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
        all.filter(|mark| *mark >= from * (1.0 - 1e-9) && *mark <= to * (1.0 + 1e-9)).collect()
    };
    let fine = within(&[1.0, 2.0, 5.0]);
    if fine.len() <= most { fine } else { within(&[1.0]) }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let place = self.place(*value).clamp(-0.5, 1.5);
        limit.0 + ((f64::from(limit.1 - limit.0)) * place).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.marks()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_are_equally_far_apart() {
        let axis = Axis::nines("", 0.0, 99.99, &[50.0, 90.0, 99.0, 99.9, 99.99, 99.999]);
        assert_eq!(axis.marks(), [50.0, 90.0, 99.0, 99.9, 99.99]);
        let check =
            |percentile: f64, place: f64| assert!((axis.place(percentile) - place).abs() < 1e-9, "{percentile}");
        check(0.0, 0.0);
        check(90.0, 0.25);
        check(99.0, 0.5);
        check(99.9, 0.75);
        check(99.99, 1.0);
    }

    #[test]
    fn ticks_are_round_numbers() {
        let check = |axis: Axis, expected: &[f64]| {
            let marks = axis.marks();
            assert_eq!(marks.len(), expected.len(), "{marks:?}");
            assert!(marks.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{marks:?}");
        };
        check(Axis::from_zero("", 43.0), &[0.0, 10.0, 20.0, 30.0, 40.0]);
        check(Axis::from_zero("", 0.0), &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        check(Axis::range("", 0.0, 30.0), &[0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
        check(Axis::logarithmic("", 0.5, 20.0), &[0.5, 1.0, 2.0, 5.0, 10.0, 20.0]);
        check(Axis::logarithmic("", 0.01, 10_000.0), &[0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0]);
    }
}
