//! What plotters wrote, made ready for a page: the theme's variables in place of numbers, and rectangles of a colour in
//! one path, or a heat map would be most of the file. Draws nothing.

use plotters::prelude::RGBColor;

use super::{Chart, Ink};
use crate::report::format::xml;

const DASHES: &str = "stroke-dasharray=\"14 10\"";

/// The number that stands for a theme colour while plotters draws; `dashed` marks dashes.
pub(super) fn code(ink: Ink, dashed: bool) -> RGBColor {
    let index = Ink::ALL.iter().position(|known| *known == ink).unwrap_or(0) as u8;
    RGBColor(1, u8::from(dashed), index)
}

/// The drawing as a page takes it, with what is told to who cannot see it.
pub(super) fn themed(drawn: &str, chart: &Chart) -> String {
    let mut svg = packed(drawn);
    for ink in Ink::ALL {
        let variable = format!("var({})", ink.variable());
        for (attribute, dashed) in [("stroke", true), ("stroke", false), ("fill", false)] {
            let RGBColor(r, g, b) = code(ink, dashed);
            let number = format!("{attribute}=\"#{r:02X}{g:02X}{b:02X}\"");
            let dashes = if dashed { format!(" {DASHES}") } else { String::new() };
            svg = svg.replace(&number, &format!("{attribute}=\"{variable}\"{dashes}"));
        }
    }
    let label = format!("<svg role=\"img\" aria-label=\"{}\"", xml(&chart.summary));
    svg.replacen("<svg", &label, 1)
}

/// A filled rectangle: where it is, and the rest of its attributes.
fn rectangle(line: &str) -> Option<([i64; 4], &str)> {
    let rest = line.trim_end().strip_prefix("<rect x=\"")?.strip_suffix(" stroke=\"none\"/>")?;
    let (x, rest) = rest.split_once("\" y=\"")?;
    let (y, rest) = rest.split_once("\" width=\"")?;
    let (width, rest) = rest.split_once("\" height=\"")?;
    let (height, rest) = rest.split_once("\" ")?;
    Some(([x.parse().ok()?, y.parse().ok()?, width.parse().ok()?, height.parse().ok()?], rest))
}

/// Puts neighbouring rectangles of the same colour into one path.
fn packed(drawn: &str) -> String {
    let mut svg = String::with_capacity(drawn.len());
    let mut open: Option<(String, &str)> = None;
    let close = |open: &mut Option<(String, &str)>, svg: &mut String| {
        if let Some((path, style)) = open.take() {
            svg.push_str(&format!("<path d=\"{path}\" {style}/>\n"));
        }
    };
    for line in drawn.lines() {
        let Some(([x, y, width, height], style)) = rectangle(line) else {
            close(&mut open, &mut svg);
            svg.push_str(line);
            svg.push('\n');
            continue;
        };
        if open.as_ref().is_some_and(|open| open.1 != style) {
            close(&mut open, &mut svg);
        }
        let (path, _) = open.get_or_insert_with(|| (String::new(), style));
        path.push_str(&format!("M{x} {y}h{width}v{height}h{}z", -width));
    }
    close(&mut open, &mut svg);
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_rectangles_of_a_colour_become_one_path() {
        let check = |drawn: &str, expected: &str| assert_eq!(packed(drawn), expected);
        let rect = |x: u32, fill: &str| {
            format!(
                "<rect x=\"{x}\" y=\"2\" width=\"3\" height=\"4\" opacity=\"1\" fill=\"{fill}\" stroke=\"none\"/>\n"
            )
        };
        check("<svg>\n</svg>\n", "<svg>\n</svg>\n");
        check(&rect(1, "a"), "<path d=\"M1 2h3v4h-3z\" opacity=\"1\" fill=\"a\"/>\n");
        let two = "<path d=\"M1 2h3v4h-3zM5 2h3v4h-3z\" opacity=\"1\" fill=\"a\"/>\n";
        check(&(rect(1, "a") + &rect(5, "a")), two);
        let other = "<path d=\"M9 2h3v4h-3z\" opacity=\"1\" fill=\"b\"/>\n";
        check(&(rect(1, "a") + &rect(5, "a") + &rect(9, "b")), &format!("{two}{other}"));
        let hollow =
            "<rect x=\"1\" y=\"2\" width=\"3\" height=\"4\" opacity=\"1\" fill=\"none\" stroke=\"#010000\"/>\n";
        check(hollow, hollow);
    }
}
