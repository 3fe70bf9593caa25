//! The table behind a chart: what is drawn, as numbers. The page's script reads values for its crosshair from it, and who
//! has no script, or does not see the drawing, reads the table.

use std::collections::BTreeMap;

use super::chart::{Cell, Chart, Scale, Series};
use super::format::{count, number};

/// How the rows of a table lie on the chart's x axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first column is a point.
    Points,
    /// The first two columns are a range.
    Ranges,
    /// The first column is where a column of cells begins; further ones are rows of cells.
    Cells,
}

/// The head of a column; of cells with the range of the y axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    pub(super) text: String,
    pub(super) range: String,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Data {
    pub(super) kind: Kind,
    pub(super) head: Vec<Head>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Data {
    /// The word for the script.
    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Points => "points",
            Kind::Ranges => "ranges",
            Kind::Cells => "cells",
        }
    }
}

/// The word for an axis' scale.
pub(super) fn scale(scale: Scale) -> &'static str {
    match scale {
        Scale::Linear => "linear",
        Scale::Logarithmic => "logarithmic",
        Scale::Nines => "nines",
    }
}

/// What is behind a chart; `None` of one whose bars have names: a table of its section has them.
pub(super) fn data(chart: &Chart) -> Option<Data> {
    let found = if !chart.cells.is_empty() {
        cells(chart)
    } else if chart.series.is_empty() {
        ranges(chart).filter(|_| chart.x.words.is_empty() && chart.y.words.is_empty())?
    } else {
        points(chart)
    };
    (!found.rows.is_empty()).then_some(found)
}

fn head(text: impl Into<String>) -> Head {
    Head { text: text.into(), range: String::new() }
}

/// What the x axis shows, for a column.
fn axis_head(chart: &Chart) -> String {
    let label = chart.x.label.replace(" (logarithmic)", "");
    if label.is_empty() { "x".to_owned() } else { label }
}

/// A number for programs as well as for people: no gaps between thousands.
pub(super) fn plain(value: f64) -> String {
    let digits = (4 - value.abs().max(1e-12).log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// An x as something that can be sorted; those that differ by less than the chart's grain are the same.
fn place(x: f64, grain: f64) -> i64 {
    // Nothing that a chart shows comes near the bounds.
    if grain > 0.0 { (x / grain).floor() as i64 } else { (x * 1e6).round() as i64 }
}

fn points(chart: &Chart) -> Data {
    // What has no name repeats another's points, with other marks.
    let labelled = chart.series.iter().filter(|series| !series.points.is_empty() && !series.label.is_empty());
    let all: Vec<&Series> = labelled.collect();
    let mut heads = vec![head(axis_head(chart))];
    let mut rows: BTreeMap<i64, (f64, BTreeMap<usize, String>)> = BTreeMap::new();
    let mut column = 0;
    for series in all {
        heads.push(head(series.label.clone()));
        for (x, y) in &series.points {
            let row = rows.entry(place(*x, chart.grain)).or_insert_with(|| (*x, BTreeMap::new()));
            y.iter().for_each(|y| drop(row.1.insert(column, number(*y))));
        }
        column += 1;
        if !series.intervals.is_empty() {
            heads.push(head(format!("{}, interval", series.label)));
            for (x, low, high) in &series.intervals {
                let row = rows.entry(place(*x, chart.grain)).or_insert_with(|| (*x, BTreeMap::new()));
                row.1.insert(column, format!("{} to {}", number(*low), number(*high)));
            }
            column += 1;
        }
    }
    let filled = rows.into_values().filter(|(_, values)| !values.is_empty());
    let row = |(x, mut values): (f64, BTreeMap<usize, String>)| {
        let first = [plain(x)].into_iter();
        first.chain((0..column).map(|column| values.remove(&column).unwrap_or_default())).collect()
    };
    Data { kind: Kind::Points, head: heads, rows: filled.map(row).collect() }
}

fn ranges(chart: &Chart) -> Option<Data> {
    let [(label, _, blocks)] = &chart.blocks[..] else { return None };
    let x = axis_head(chart);
    let value = if label.is_empty() { "count".to_owned() } else { label.clone() };
    let heads = vec![head(format!("{x}, from")), head("to"), head(value)];
    let rows = blocks.iter().map(|(from, to, _, y)| vec![plain(*from), plain(*to), number(*y)]);
    Some(Data { kind: Kind::Ranges, head: heads, rows: rows.collect() })
}

fn cells(chart: &Chart) -> Data {
    let key = |value: f64| (value * 1e9).round() as i64;
    let across = |cell: &Cell| key(cell.block.0);
    let mut ranges: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    let mut columns: BTreeMap<i64, (f64, BTreeMap<i64, u64>)> = BTreeMap::new();
    for cell in &chart.cells {
        let (from, _, low, high) = cell.block;
        ranges.insert(key(low), (low, high));
        let column = columns.entry(across(cell)).or_insert_with(|| (from, BTreeMap::new()));
        *column.1.entry(key(low)).or_default() += cell.n;
    }
    let range = |(low, high): &(f64, f64)| Head {
        text: format!("{} to {}", number(*low), number(*high)),
        range: format!("{} {}", plain(*low), plain(*high)),
    };
    let heads = [head(format!("{}, from", axis_head(chart)))].into_iter().chain(ranges.values().map(range));
    let row = |(from, counts): &(f64, BTreeMap<i64, u64>)| {
        let counted = ranges.keys().map(|row| counts.get(row).map_or_else(String::new, |n| count(*n)));
        [plain(*from)].into_iter().chain(counted).collect()
    };
    Data { kind: Kind::Cells, head: heads.collect(), rows: columns.values().map(row).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::chart::{Axis, Ink, Mark};
    use super::*;

    fn chart(series: Vec<Series>) -> Chart {
        Chart { series, ..Chart::new("A", "", Axis::range("time, s", 0.0, 9.0), Axis::from_zero("", 9.0)) }
    }

    fn line(label: &str, points: &[(f64, Option<f64>)]) -> Series {
        Series::new(label, Ink::Blue, Mark::Line, points.to_vec())
    }

    #[test]
    fn numbers_are_for_programs_too() {
        let check = |value: f64, expected: &str| assert_eq!(plain(value), expected);
        check(0.0, "0");
        check(12.5, "12.5");
        check(1_234_567.0, "1234567");
        check(0.000_123_456, "0.00012346");
        check(99.995, "99.995");
    }

    #[test]
    fn rows_are_places_and_columns_are_lines() {
        let both = chart(vec![
            line("a", &[(0.5, Some(1.0)), (1.5, None), (2.5, Some(3.0))]),
            line("b", &[(0.5, Some(7.0)), (1.5, Some(8.0))]),
        ]);
        let found = data(&both).unwrap();
        let heads: Vec<&str> = found.head.iter().map(|head| head.text.as_str()).collect();
        assert_eq!(heads, ["time, s", "a", "b"]);
        assert_eq!(found.rows, [["0.5", "1", "7"], ["1.5", "", "8"], ["2.5", "3", ""]]);
    }

    #[test]
    fn lines_that_were_scraped_beside_one_another_share_rows() {
        let mut both = chart(vec![line("a", &[(1.01, Some(1.0))]), line("b", &[(1.4, Some(2.0)), (2.0, Some(4.0))])]);
        both.grain = 1.0;
        assert_eq!(data(&both).unwrap().rows, [["1.01", "1", "2"], ["2", "", "4"]]);
    }

    #[test]
    fn intervals_stand_beside_their_points() {
        let mut steps = chart(vec![line("p95", &[(3.0, Some(5.0))])]);
        steps.series[0].intervals.push((3.0, 4.0, 6.0));
        let found = data(&steps).unwrap();
        assert_eq!(found.head[2].text, "p95, interval");
        assert_eq!(found.rows, [["3", "5", "4 to 6"]]);
    }

    #[test]
    fn cells_are_a_table_of_counts() {
        let mut heat = chart(Vec::new());
        let cell = |x: f64, y: f64, n: u64| Cell { block: (x, x + 1.0, y, y * 2.0), n };
        heat.cells = vec![cell(0.0, 1.0, 5), cell(0.0, 2.0, 6), cell(1.0, 2.0, 7)];
        let found = data(&heat).unwrap();
        let ranges: Vec<&str> = found.head.iter().map(|head| head.range.as_str()).collect();
        assert_eq!((found.kind, ranges), (Kind::Cells, vec!["", "1 2", "2 4"]));
        assert_eq!(found.rows, [["0", "5", "6"], ["1", "", "7"]]);
    }

    #[test]
    fn bars_are_ranges_and_named_bars_have_a_table_elsewhere() {
        let mut bars = chart(Vec::new());
        bars.blocks = vec![(String::new(), Ink::Blue, vec![(1.0, 2.0, 0.0, 9.0)])];
        assert_eq!(data(&bars).unwrap().rows, [["1", "2", "9"]]);
        bars.y.words = vec![(0.5, "relief".to_owned())];
        assert_eq!(data(&bars), None);
        assert_eq!(data(&chart(Vec::new())), None);
    }
}
