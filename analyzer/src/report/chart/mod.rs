//! Charts as SVG, drawn with plotters. A chart is described as data, and drawn twice: wide, and narrow for a phone.
//! Colours are names of the theme's variables, so that the same drawing serves light and dark; lines of a chart differ in
//! their marks too, for eyes that do not tell the colours apart.
//!
//! Plotters writes numeric colours only: each theme colour is drawn as a number that no theme contains, and replaced
//! by its variable afterwards.

mod axis;
mod draw;
mod posts;
mod signs;
mod svg;

pub(super) use axis::{Axis, Scale};
pub(super) use draw::{Drawn, svg};
pub(super) use signs::signs;

/// A colour of the theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    Blue,
    Teal,
    Violet,
    Amber,
    Red,
    Slate,
    Grid,
    Text,
}

impl Ink {
    const ALL: [Self; 8] =
        [Self::Blue, Self::Teal, Self::Violet, Self::Amber, Self::Red, Self::Slate, Self::Grid, Self::Text];

    /// The theme's variable.
    pub(super) fn variable(self) -> &'static str {
        match self {
            Self::Blue => "--blue",
            Self::Teal => "--teal",
            Self::Violet => "--violet",
            Self::Amber => "--amber",
            Self::Red => "--red",
            Self::Slate => "--slate",
            Self::Grid => "--grid",
            Self::Text => "--muted",
        }
    }
}

/// How the points of a series are shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mark {
    Line,
    Dashed,
    /// A line with what is under it filled.
    Area,
    Dot,
}

/// One series. A `None` is a gap.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) label: String,
    pub(super) ink: Ink,
    pub(super) mark: Mark,
    pub(super) points: Vec<(f64, Option<f64>)>,
    /// Vertical intervals: x, low, high.
    pub(super) intervals: Vec<(f64, f64, f64)>,
}

impl Series {
    pub(super) fn new(label: &str, ink: Ink, mark: Mark, points: Vec<(f64, Option<f64>)>) -> Self {
        Self { label: label.to_owned(), ink, mark, points, intervals: Vec::new() }
    }
}

/// A rectangle: x from, to, y from, to.
pub(super) type Block = (f64, f64, f64, f64);

/// Cells of a heat map: x from, to, y from, to, and how many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    pub(super) block: Block,
    pub(super) n: u64,
}

/// A chart as data.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chart {
    pub(super) title: String,
    /// What it shows, in a sentence.
    pub(super) note: String,
    /// What a person who cannot see it is told.
    pub(super) summary: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
    /// Filled rectangles, each with its legend's place.
    pub(super) blocks: Vec<(String, Ink, Vec<Block>)>,
    /// Cells of a heat map, the fuller the darker.
    pub(super) cells: Vec<Cell>,
    /// Lines across the whole width: a limit.
    pub(super) limits: Vec<(String, f64)>,
    /// Lines from top to bottom, labelled.
    pub(super) posts: Vec<(String, f64)>,
    /// Thin lines from top to bottom where steps begin, labelled where there is room.
    pub(super) steps: Vec<(String, f64)>,
    /// Lines from top to bottom where something happened, with the number that it has in a table.
    pub(super) happened: Vec<(String, f64)>,
    /// Shaded parts of the x axis, and what they are.
    pub(super) shaded: Vec<(f64, f64)>,
    pub(super) shade_label: &'static str,
    /// Points of series whose places differ by less than this stand in one row of the table behind the chart.
    pub(super) grain: f64,
}

impl Chart {
    /// A chart without anything in it yet.
    pub(super) fn new(title: &str, note: &str, x: Axis, y: Axis) -> Self {
        Self {
            title: title.to_owned(),
            note: note.to_owned(),
            summary: title.to_owned(),
            x,
            y,
            series: Vec::new(),
            blocks: Vec::new(),
            cells: Vec::new(),
            limits: Vec::new(),
            posts: Vec::new(),
            steps: Vec::new(),
            happened: Vec::new(),
            shaded: Vec::new(),
            shade_label: "not measured",
            grain: 0.0,
        }
    }

    /// The fullest cell of a heat map.
    pub(super) fn fullest(&self) -> u64 {
        self.cells.iter().map(|cell| cell.n).max().unwrap_or(0)
    }
}

/// Shades of a heat map.
pub(super) const SHADES: u32 = 6;

/// The shade of a cell, from 0 for the lightest: equal factors of the count are equal steps.
pub(super) fn shade(n: u64, fullest: u64) -> u32 {
    let of_all = (n.max(1) as f64).ln() / (fullest.max(2) as f64).ln();
    ((of_all * f64::from(SHADES)) as u32).min(SHADES - 1)
}

/// How dark a shade is, 0 to 1.
pub(super) fn darkness(shade: u32) -> f64 {
    0.16 + 0.84 * f64::from(shade) / f64::from(SHADES - 1)
}
