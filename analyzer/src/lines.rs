//! The scraped series in memory: name and labels of each once, and of its points the numbers alone. A run of an hour
//! has half a million points of a few hundred series. Reads no file and picks nothing.

use std::collections::HashMap;

use proofload_run::series::Source;

/// One series as one shard saw it. Fields are those of [`proofload_run::series::SeriesPoint`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) shard: u16,
    pub(crate) source: Source,
    pub(crate) name: String,
    pub(crate) labels: String,
    /// Time and value, in order of time.
    pub(crate) points: Vec<(u64, f64)>,
}

impl Line {
    /// Growth of a counter from its first to its last point that fulfils the condition, and the time between them.
    pub(crate) fn growth(&self, inside: impl Fn(u64) -> bool) -> Option<(f64, u64)> {
        let mut points = self.points.iter().filter(|point| inside(point.0));
        let first = points.next()?;
        let last = points.next_back()?;
        (last.0 > first.0).then(|| (last.1 - first.1, last.0 - first.0))
    }
}

/// Where each series is, by its shard and source, its name and its labels: looked up without a copy of either.
type Places = HashMap<(u16, Source), HashMap<String, HashMap<String, usize>>>;

/// Gathers points into lines.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    lines: Vec<Line>,
    places: Places,
}

impl Gather {
    /// Takes in a point of a series.
    pub(crate) fn add(&mut self, (shard, source, name, labels): (u16, Source, &str, &str), point: (u64, f64)) {
        let names = self.places.entry((shard, source)).or_default();
        let index = if let Some(index) = names.get(name).and_then(|of_name| of_name.get(labels)) {
            *index
        } else {
            let index = self.lines.len();
            names.entry(name.to_owned()).or_default().insert(labels.to_owned(), index);
            let (name, labels) = (name.to_owned(), labels.to_owned());
            self.lines.push(Line { shard, source, name, labels, points: Vec::new() });
            index
        };
        self.lines[index].points.push(point);
    }

    /// All lines, in the order in which they came up, each in order of time.
    pub(crate) fn finish(self) -> Vec<Line> {
        let mut lines = self.lines;
        for line in &mut lines {
            line.points.sort_by_key(|point| point.0);
            line.points.shrink_to_fit();
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_find_their_line_and_their_order() {
        let mut gather = Gather::default();
        let series = [
            (0, Source::Target, "a", ""),
            (0, Source::Target, "a", "model=\"m\""),
            (0, Source::Target, "b", ""),
            (0, Source::Generator, "a", ""),
            (1, Source::Target, "a", ""),
        ];
        for t_ns in [3, 1, 2] {
            for (number, which) in series.iter().enumerate() {
                gather.add(*which, (t_ns, number as f64));
            }
        }
        let found = gather.finish();
        assert_eq!(found.len(), series.len());
        for (number, (line, which)) in found.iter().zip(series).enumerate() {
            assert_eq!((line.shard, line.source, line.name.as_str(), line.labels.as_str()), which);
            assert_eq!(line.points, [1, 2, 3].map(|t_ns| (t_ns, number as f64)));
        }
    }

    #[test]
    fn growth_is_between_the_outermost_points_inside() {
        let points = vec![(1, 10.0), (2, 30.0), (5, 90.0), (9, 91.0)];
        let line = Line { shard: 0, source: Source::Target, name: String::new(), labels: String::new(), points };
        let check = |from, to, expected| assert_eq!(line.growth(|t_ns| (from..to).contains(&t_ns)), expected);
        check(0, 100, Some((81.0, 8)));
        check(2, 9, Some((60.0, 3)));
        check(2, 5, None);
        check(20, 30, None);
    }
}
