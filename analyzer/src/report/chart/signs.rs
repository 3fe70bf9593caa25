//! What tells the lines of a chart apart besides their colour: signs that stand on them here and there. Draws nothing.

use super::{Mark, Series};

/// A sign on a line or in place of a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Sign {
    /// Nothing: the first of several lines, or the only one.
    Plain,
    Disc,
    Triangle,
    Square,
    Cross,
    Ring,
}

impl Sign {
    /// The same in a legend.
    pub(in crate::report) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Disc => "●",
            Self::Triangle => "▲",
            Self::Square => "■",
            Self::Cross => "✕",
            Self::Ring => "○",
        }
    }
}

const OF_LINES: [Sign; 6] = [Sign::Plain, Sign::Disc, Sign::Triangle, Sign::Square, Sign::Cross, Sign::Ring];
const OF_DOTS: [Sign; 5] = [Sign::Disc, Sign::Triangle, Sign::Square, Sign::Cross, Sign::Ring];

/// The sign of each series. Areas and dashes are told apart by what they are.
pub(in crate::report) fn signs(series: &[Series]) -> Vec<Sign> {
    let (mut lines, mut dots) = (OF_LINES.into_iter().cycle(), OF_DOTS.into_iter().cycle());
    let sign = |series: &Series| match series.mark {
        Mark::Line => lines.next(),
        Mark::Dot => dots.next(),
        Mark::Area | Mark::Dashed => None,
    };
    series.iter().map(sign).map(|sign| sign.unwrap_or(Sign::Plain)).collect()
}

/// Which points of a line carry its sign: about so many of them, those of different lines at different places.
pub(super) fn carriers(points: usize, index: usize, lines: usize) -> impl Iterator<Item = usize> {
    const ABOUT: usize = 8;
    let every = (points / ABOUT).max(1);
    let first = every * (2 * index + 1) / (2 * lines.max(1));
    (0..points).skip(first.min(points.saturating_sub(1))).step_by(every)
}

#[cfg(test)]
mod tests {
    use super::super::Ink;
    use super::*;

    #[test]
    fn lines_and_dots_count_apart() {
        let of = |marks: &[Mark]| {
            let all: Vec<Series> = marks.iter().map(|mark| Series::new("", Ink::Blue, *mark, Vec::new())).collect();
            signs(&all)
        };
        let (line, dot) = (Mark::Line, Mark::Dot);
        assert_eq!(of(&[Mark::Area, line, Mark::Dashed]), [Sign::Plain, Sign::Plain, Sign::Plain]);
        assert_eq!(of(&[line, line, dot, line]), [Sign::Plain, Sign::Disc, Sign::Disc, Sign::Triangle]);
    }

    #[test]
    fn signs_are_few_and_apart() {
        for points in [1, 2, 5, 30, 600] {
            let of: Vec<Vec<usize>> = (0..3).map(|index| carriers(points, index, 3).collect()).collect();
            assert!(of.iter().all(|places| (1..=16).contains(&places.len())), "{points}: {of:?}");
            assert!(points < 30 || of[0].iter().all(|place| !of[1].contains(place) && !of[2].contains(place)));
        }
    }
}
