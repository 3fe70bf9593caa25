//! Draws a chart with plotters into SVG.
//!
//! Everything is drawn at twice its size: plotters places on whole pixels, and the page scales it down.

use plotters::coord::cartesian::Cartesian2d;
use plotters::element::{Circle, Cross, EmptyElement, TriangleMarker};
use plotters::prelude::{
    AreaSeries, ChartBuilder, ChartContext, IntoDrawingArea, IntoFont, PathElement, Rectangle, SVGBackend, ShapeStyle,
    Text,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, RGBAColor, TextStyle};

use super::posts::{Side, Spot, rows, spots};
use super::signs::{Sign, carriers, signs};
use super::svg::{code, themed};
use super::{Axis, Chart, Ink, Mark, SHADES, Series, darkness, shade};

type Plot<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;
type Failure = Box<dyn std::error::Error + Send + Sync>;
/// Drawing into a string cannot fail but for a mistake in the drawing itself.
type Done = Result<(), Failure>;

/// Twice the size it is shown at.
const FONT: i32 = 33;
/// Height of a row of words above the plot.
const ROW: i32 = 40;
const MARGIN_TOP: i32 = 18;
const MARGIN_RIGHT: i32 = 30;
/// Rows of words at most: of posts, of steps, of what happened.
const MOST_ROWS: [usize; 3] = [3, 1, 2];

/// A chart as SVG.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Drawn {
    pub(in crate::report) svg: String,
    /// Where the axes lie: left, top, right, bottom, as shares of the drawing.
    pub(in crate::report) plot: [f64; 4],
}

/// The words above a plot.
struct Strip {
    posts: Vec<Spot>,
    steps: Vec<Spot>,
    happened: Vec<Spot>,
}

impl Strip {
    fn new(chart: &Chart, width: f64) -> Self {
        let of = |lines: &[(String, f64)], rows: usize, centred: bool| {
            let words: Vec<(f64, &str)> =
                lines.iter().map(|(word, at)| (chart.x.place(*at) * width, word.as_str())).collect();
            spots(&words, width, rows, centred)
        };
        Self {
            posts: of(&chart.posts, MOST_ROWS[0], false),
            steps: of(&chart.steps, MOST_ROWS[1], false),
            happened: of(&chart.happened, MOST_ROWS[2], true),
        }
    }

    fn rows(&self) -> usize {
        rows(&self.posts) + rows(&self.steps) + rows(&self.happened)
    }
}

/// The chart as SVG of this width and about this height, each as it is shown: words above the plot come on top.
///
/// # Errors
/// When plotters cannot draw it.
pub(in crate::report) fn svg(chart: &Chart, width: u32, height: u32) -> Result<Drawn, Failure> {
    let (x, y) = (thinned(&chart.x, width < 500), chart.y.clone());
    let widest = y.marks().iter().map(|mark| y.words_at(*mark).chars().count()).max().unwrap_or(1);
    let left = 30 + 17 * i32::try_from(widest).unwrap_or(10);
    let below = if x.label.is_empty() { 50 } else { 92 };
    let wide = i32::try_from(width * 2).unwrap_or(i32::MAX);
    let strip = Strip::new(chart, f64::from(wide - left - MARGIN_RIGHT));
    let above = MARGIN_TOP + ROW * i32::try_from(strip.rows()).unwrap_or(0);
    let high = i32::try_from(height * 2).unwrap_or(i32::MAX) + above - MARGIN_TOP;

    let mut drawn = String::new();
    let area = SVGBackend::with_string(&mut drawn, (width * 2, high.unsigned_abs())).into_drawing_area();
    let plot = ChartBuilder::on(&area)
        .margin_top(above)
        .margin_right(MARGIN_RIGHT)
        .x_label_area_size(below)
        .y_label_area_size(left)
        .build_cartesian_2d(x.clone(), y.clone())?;
    let ((from_x, to_x), (from_y, to_y)) = {
        let (across, down) = plot.plotting_area().get_pixel_range();
        ((across.start, across.end), (down.start, down.end))
    };
    draw(chart, plot, &strip, (&x, &y))?;
    area.present()?;
    drop(area);
    let of = |part: i32, whole: i32| f64::from(part) / f64::from(whole);
    let plot = [of(from_x, wide), of(from_y, high), of(to_x, wide), of(to_y, high)];
    Ok(Drawn { svg: themed(&drawn, chart), plot })
}

fn draw(chart: &Chart, mut plot: Plot<'_, '_>, strip: &Strip, (x, y): (&Axis, &Axis)) -> Done {
    mesh(&mut plot, x, y)?;
    for (from, to) in &chart.shaded {
        let corners = [(*from, chart.y.from), (*to, chart.y.to)];
        plot.draw_series([Rectangle::new(corners, code(Ink::Slate, false).mix(0.12).filled())])?;
    }
    draw_cells(&mut plot, chart)?;
    for (_, ink, blocks) in &chart.blocks {
        let filled = code(*ink, false).filled();
        plot.draw_series(blocks.iter().map(|b| Rectangle::new([(b.0, b.2), (b.1, b.3)], filled)))?;
    }
    lines(&mut plot, chart, &chart.steps, code(Ink::Text, false).mix(0.35).stroke_width(2))?;
    let all = signs(&chart.series);
    for (index, (series, sign)) in chart.series.iter().zip(all).enumerate() {
        draw_series(&mut plot, series, chart.y.from)?;
        draw_signs(&mut plot, series, sign, (index, chart.series.len()))?;
    }
    for (_, limit) in &chart.limits {
        let ends = vec![(chart.x.from, *limit), (chart.x.to, *limit)];
        plot.draw_series([PathElement::new(ends, code(Ink::Red, true).stroke_width(3))])?;
    }
    for posts in [&chart.posts, &chart.happened] {
        lines(&mut plot, chart, posts, code(Ink::Text, true).stroke_width(2))?;
    }
    words(&mut plot, chart, strip)
}

/// A narrow chart has room for fewer ticks.
fn thinned(axis: &Axis, narrow: bool) -> Axis {
    Axis { ticks: if narrow { axis.ticks.div_ceil(2) + 1 } else { axis.ticks }, ..axis.clone() }
}

fn mesh(plot: &mut Plot<'_, '_>, x: &Axis, y: &Axis) -> Done {
    let words = ("sans-serif", FONT).into_font().color(&code(Ink::Text, false));
    let clear = RGBAColor(0, 0, 0, 0.0);
    plot.configure_mesh()
        .disable_x_mesh()
        .light_line_style(clear)
        .bold_line_style(code(Ink::Grid, false).stroke_width(2))
        .axis_style(clear)
        .set_all_tick_mark_size(12)
        .label_style(words.clone())
        .axis_desc_style(words)
        .x_desc(x.label.as_str())
        .x_label_formatter(&|value| x.words_at(*value))
        .y_label_formatter(&|value| y.words_at(*value))
        .draw()?;
    Ok(())
}

/// The lightest first, so that those of a shade are one path.
fn draw_cells(plot: &mut Plot<'_, '_>, chart: &Chart) -> Done {
    let fullest = chart.fullest();
    for wanted in 0..SHADES {
        let filled = code(Ink::Blue, false).mix(darkness(wanted)).filled();
        let cells = chart.cells.iter().filter(|cell| shade(cell.n, fullest) == wanted).map(|cell| cell.block);
        plot.draw_series(cells.map(|b| Rectangle::new([(b.0, b.2), (b.1, b.3)], filled)))?;
    }
    Ok(())
}

fn draw_series(plot: &mut Plot<'_, '_>, series: &Series, base: f64) -> Done {
    let plain = code(series.ink, false);
    let thick: ShapeStyle = code(series.ink, series.mark == Mark::Dashed).stroke_width(4);
    for run in runs(&series.points) {
        match series.mark {
            Mark::Area => {
                plot.draw_series(AreaSeries::new(run.iter().copied(), base, plain.mix(0.16)))?;
                plot.draw_series([PathElement::new(run, thick)])?;
            }
            Mark::Line | Mark::Dashed if run.len() == 1 => {
                plot.draw_series(run.iter().map(|at| Circle::new(*at, 4, plain.filled())))?;
            }
            Mark::Line | Mark::Dashed => {
                plot.draw_series([PathElement::new(run, thick)])?;
            }
            Mark::Dot => {}
        }
    }
    let whisker = |i: &(f64, f64, f64)| PathElement::new(vec![(i.0, i.1), (i.0, i.2)], plain.stroke_width(4));
    plot.draw_series(series.intervals.iter().map(whisker))?;
    Ok(())
}

/// Dots, or the signs that tell a line from its neighbours.
fn draw_signs(plot: &mut Plot<'_, '_>, series: &Series, sign: Sign, (index, all): (usize, usize)) -> Done {
    let present: Vec<(f64, f64)> = series.points.iter().filter_map(|(x, y)| Some((*x, (*y)?))).collect();
    let places: Vec<(f64, f64)> = match series.mark {
        Mark::Dot => present,
        _ => carriers(present.len(), index, all).map(|place| present[place]).collect(),
    };
    let filled: ShapeStyle = code(series.ink, false).filled();
    let places = places.into_iter();
    match sign {
        Sign::Plain => {}
        Sign::Disc => drop(plot.draw_series(places.map(|at| Circle::new(at, 9, filled)))?),
        Sign::Ring => {
            let ring = code(series.ink, false).stroke_width(4);
            plot.draw_series(places.map(|at| Circle::new(at, 9, ring)))?;
        }
        Sign::Triangle => drop(plot.draw_series(places.map(|at| TriangleMarker::new(at, 11, filled)))?),
        Sign::Cross => {
            let cross = code(series.ink, false).stroke_width(4);
            plot.draw_series(places.map(|at| Cross::new(at, 8, cross)))?;
        }
        Sign::Square => {
            let square = |at| EmptyElement::at(at) + Rectangle::new([(-8, -8), (8, 8)], filled);
            plot.draw_series(places.map(square))?;
        }
    }
    Ok(())
}

/// Lines from top to bottom.
fn lines(plot: &mut Plot<'_, '_>, chart: &Chart, posts: &[(String, f64)], style: ShapeStyle) -> Done {
    let line = |(_, at): &(String, f64)| PathElement::new(vec![(*at, chart.y.from), (*at, chart.y.to)], style);
    plot.draw_series(posts.iter().map(line))?;
    Ok(())
}

/// The words above the plot, what happened nearest to it.
fn words(plot: &mut Plot<'_, '_>, chart: &Chart, strip: &Strip) -> Done {
    let groups = [(&chart.happened, &strip.happened), (&chart.steps, &strip.steps), (&chart.posts, &strip.posts)];
    let mut below = 0;
    for (posts, spots) in groups {
        for spot in spots {
            let (word, at) = &posts[spot.index];
            word_at(plot, (*at, chart.y.to), (word, spot.side), below + spot.row)?;
        }
        below += rows(spots);
    }
    Ok(())
}

/// A word so many rows above the plot.
fn word_at(plot: &mut Plot<'_, '_>, at: (f64, f64), (word, side): (&str, Side), row: usize) -> Done {
    let ink = code(Ink::Text, false);
    let (anchor, beside) = match side {
        Side::Left => (HPos::Right, -2),
        Side::Right => (HPos::Left, 2),
        Side::Middle => (HPos::Center, 0),
    };
    let up = -ROW * i32::try_from(row).unwrap_or(0) - ROW / 2;
    let style = TextStyle::from(("sans-serif", FONT).into_font()).color(&ink).pos(Pos::new(anchor, VPos::Center));
    let text = EmptyElement::at(at) + Text::new(word.to_owned(), (beside, up), style);
    plot.draw_series([text])?;
    if side == Side::Middle {
        plot.draw_series([EmptyElement::at(at) + Circle::new((0, up), 19, ink.stroke_width(2))])?;
    }
    Ok(())
}

/// The stretches between gaps.
fn runs(points: &[(f64, Option<f64>)]) -> Vec<Vec<(f64, f64)>> {
    let stretches = points.split(|point| point.1.is_none()).filter(|stretch| !stretch.is_empty());
    stretches.map(|stretch| stretch.iter().filter_map(|(x, y)| Some((*x, (*y)?))).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Cell;
    use super::*;

    #[test]
    fn gaps_break_lines() {
        let found = runs(&[(0.0, Some(1.0)), (1.0, Some(2.0)), (2.0, None), (3.0, None), (4.0, Some(3.0))]);
        assert_eq!(found, [vec![(0.0, 1.0), (1.0, 2.0)], vec![(4.0, 3.0)]]);
    }

    #[test]
    fn no_number_of_a_colour_is_left() {
        let line = |ink, mark| Series::new("a", ink, mark, vec![(0.0, Some(1.0)), (1.0, Some(2.0)), (2.0, Some(0.5))]);
        let chart = Chart {
            summary: "rises, then <falls>".to_owned(),
            series: vec![line(Ink::Blue, Mark::Area), line(Ink::Teal, Mark::Dashed), line(Ink::Red, Mark::Dot)],
            blocks: vec![("b".to_owned(), Ink::Amber, vec![(0.0, 1.0, 0.0, 1.0)])],
            cells: vec![Cell { block: (0.0, 1.0, 0.0, 1.0), n: 7 }],
            limits: vec![("limit".to_owned(), 1.5)],
            posts: vec![("p50".to_owned(), 1.0)],
            steps: vec![("low".to_owned(), 0.2)],
            happened: vec![("1".to_owned(), 0.7)],
            shaded: vec![(0.0, 0.5)],
            ..Chart::new("A", "", Axis::range("time, s", 0.0, 2.0), Axis::from_zero("", 2.0))
        };
        let Drawn { svg: drawn, plot } = svg(&chart, 400, 200).unwrap();
        assert!(drawn.contains("var(--blue)") && drawn.contains("stroke-dasharray"), "{drawn}");
        let numbers: Vec<&str> = drawn.split("=\"#").skip(1).map(|rest| &rest[..6]).collect();
        assert!(numbers.iter().all(|number| *number == "000000"), "{numbers:?}");
        assert!(drawn.contains("aria-label=\"rises, then &lt;falls&gt;\""));
        let [left, top, right, bottom] = plot;
        assert!(0.0 < left && left < right && right < 1.0 && 0.0 < top && top < bottom && bottom < 1.0, "{plot:?}");
    }
}
