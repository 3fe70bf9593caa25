//! Draws a chart with plotters into SVG, and gives its colours back to the theme.
//!
//! Everything is drawn at twice its size: plotters places on whole pixels, and the page scales it down.

use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::element::{Circle, EmptyElement};
use plotters::prelude::{
    AreaSeries, ChartBuilder, ChartContext, DrawingArea, IntoDrawingArea, IntoFont, PathElement, RGBColor, Rectangle,
    SVGBackend, ShapeStyle, Text,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, RGBAColor, TextStyle};

use super::{Axis, Chart, Ink, Mark, Series};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plot<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;
/// Drawing into a string cannot fail but for a mistake in the drawing itself.
type Drawn = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Twice the size it is shown at.
const FONT: i32 = 33;
const DASHES: &str = "stroke-dasharray=\"14 10\"";

/// The number that stands for a theme colour while plotters draws; `variant` marks dashes.
fn code(ink: Ink, dashed: bool) -> RGBColor {
    let index = Ink::ALL.iter().position(|known| *known == ink).unwrap_or(0) as u8;
    RGBColor(1, u8::from(dashed), index)
}

/// The chart as SVG of this width and height, each as it is shown.
///
/// # Errors
/// When plotters cannot draw it.
pub(in crate::report) fn svg(
    chart: &Chart,
    width: u32,
    height: u32,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let mut drawn = String::new();
    draw(chart, &SVGBackend::with_string(&mut drawn, (width * 2, height * 2)).into_drawing_area(), width)?;
    Ok(themed(&drawn, chart))
}

fn draw(chart: &Chart, area: &Area<'_>, width: u32) -> Drawn {
    let narrow = width < 500;
    let (x, y) = (thinned(&chart.x, narrow), chart.y.clone());
    let widest = y.marks().iter().map(|mark| y.words_at(*mark).chars().count()).max().unwrap_or(1);
    let mut plot = ChartBuilder::on(area)
        .margin_top(18)
        .margin_right(30)
        .x_label_area_size(if x.label.is_empty() { 50 } else { 92 })
        .y_label_area_size(30 + 17 * i32::try_from(widest).unwrap_or(10))
        .build_cartesian_2d(x.clone(), y.clone())?;
    mesh(&mut plot, &x, &y)?;
    for (from, to) in &chart.shaded {
        let corners = [(*from, chart.y.from), (*to, chart.y.to)];
        plot.draw_series([Rectangle::new(corners, code(Ink::Slate, false).mix(0.12).filled())])?;
    }
    for (_, ink, blocks) in &chart.blocks {
        let filled = code(*ink, false).filled();
        plot.draw_series(blocks.iter().map(|b| Rectangle::new([(b.0, b.2), (b.1, b.3)], filled)))?;
    }
    for series in &chart.series {
        draw_series(&mut plot, series, chart.y.from)?;
    }
    for (_, limit) in &chart.limits {
        let ends = vec![(chart.x.from, *limit), (chart.x.to, *limit)];
        plot.draw_series([PathElement::new(ends, code(Ink::Red, true).stroke_width(3))])?;
    }
    for (index, (label, at)) in chart.posts.iter().enumerate() {
        draw_post(&mut plot, chart, label, *at, index)?;
    }
    drop(plot);
    area.present().map_err(Into::into)
}

/// A narrow chart has room for fewer ticks.
fn thinned(axis: &Axis, narrow: bool) -> Axis {
    Axis { ticks: if narrow { axis.ticks.div_ceil(2) + 1 } else { axis.ticks }, ..axis.clone() }
}

fn mesh(plot: &mut Plot<'_, '_>, x: &Axis, y: &Axis) -> Drawn {
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

fn draw_series(plot: &mut Plot<'_, '_>, series: &Series, base: f64) -> Drawn {
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
            Mark::Dot => {
                plot.draw_series(run.iter().map(|at| Circle::new(*at, 9, plain.filled())))?;
            }
        }
    }
    let whisker = |i: &(f64, f64, f64)| PathElement::new(vec![(i.0, i.1), (i.0, i.2)], plain.stroke_width(4));
    plot.draw_series(series.intervals.iter().map(whisker))?;
    Ok(())
}

/// A line from top to bottom; neighbours' labels stand at different heights, so that they do not overlap.
fn draw_post(plot: &mut Plot<'_, '_>, chart: &Chart, label: &str, at: f64, index: usize) -> Drawn {
    let ends = vec![(at, chart.y.from), (at, chart.y.to)];
    plot.draw_series([PathElement::new(ends, code(Ink::Text, true).stroke_width(2))])?;
    let ink = code(Ink::Text, false);
    let (side, beside) = if chart.x.place(at) > 0.8 { (HPos::Right, -8) } else { (HPos::Left, 8) };
    let style = TextStyle::from(("sans-serif", FONT).into_font()).color(&ink).pos(Pos::new(side, VPos::Top));
    let lowered = 4 + 36 * i32::try_from(index).unwrap_or(0);
    let text = EmptyElement::at((at, chart.y.to)) + Text::new(label.to_owned(), (beside, lowered), style);
    plot.draw_series([text])?;
    Ok(())
}

/// The stretches between gaps.
fn runs(points: &[(f64, Option<f64>)]) -> Vec<Vec<(f64, f64)>> {
    let stretches = points.split(|point| point.1.is_none()).filter(|stretch| !stretch.is_empty());
    stretches.map(|stretch| stretch.iter().filter_map(|(x, y)| Some((*x, (*y)?))).collect()).collect()
}

/// Replaces the numbers by the theme's variables, and the fixed size by one that follows the page.
fn themed(drawn: &str, chart: &Chart) -> String {
    let mut svg = drawn.to_owned();
    for ink in Ink::ALL {
        let variable = format!("var({})", ink.variable());
        for (attribute, dashed) in [("stroke", true), ("stroke", false), ("fill", false)] {
            let RGBColor(r, g, b) = code(ink, dashed);
            let number = format!("{attribute}=\"#{r:02X}{g:02X}{b:02X}\"");
            let dashes = if dashed { format!(" {DASHES}") } else { String::new() };
            svg = svg.replace(&number, &format!("{attribute}=\"{variable}\"{dashes}"));
        }
    }
    let label = format!("<svg role=\"img\" aria-label=\"{}\"", super::super::format::xml(&chart.summary));
    svg.replacen("<svg", &label, 1)
}

#[cfg(test)]
mod tests {
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
            limits: vec![("limit".to_owned(), 1.5)],
            posts: vec![("p50".to_owned(), 1.0)],
            shaded: vec![(0.0, 0.5)],
            ..Chart::new("A", "", Axis::range("time, s", 0.0, 2.0), Axis::from_zero("", 2.0))
        };
        let drawn = svg(&chart, 400, 200).unwrap();
        assert!(drawn.contains("var(--blue)") && drawn.contains("stroke-dasharray"), "{drawn}");
        let numbers: Vec<&str> = drawn.split("=\"#").skip(1).map(|rest| &rest[..6]).collect();
        assert!(numbers.iter().all(|number| *number == "000000"), "{numbers:?}");
        assert!(drawn.contains("aria-label=\"rises, then &lt;falls&gt;\""));
    }
}
