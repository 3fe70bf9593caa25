//! Series of the past: from a CSV file with a time and a value a line, brought to equal times. Reads text, no files.

use proofload_run::findings::Findings;

use super::{MOST_VALUES, Series};

/// What is wrong with a file of values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// A line.
    #[error(
        "line {line}: {text:?} is no {what}; write a time (seconds, or 2026-11-22, or 2026-11-22T10:00:00) and a number"
    )]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What it should be.
        what: &'static str,
        /// What stands there.
        text: String,
    },
    /// Too few values.
    #[error("{0} values are too few; a forecast needs 24 at least")]
    TooFew(usize),
    /// Times.
    #[error("too many gaps: of {expected} times only {found} have a value")]
    Gaps {
        /// Times between the first and the last.
        expected: usize,
        /// Of them, those with a value.
        found: usize,
    },
}

/// Reads `time,value` lines; a first line of words is a head, of which the last word is the name.
///
/// # Errors
/// When a line is neither, there are too few, or too many times between have none.
pub fn read_csv(text: &str, name: &str, period: Option<usize>) -> Result<Series, HistoryError> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut name = name.to_owned();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (time, value) = line.split_once(',').unwrap_or((line, ""));
        let value = value.rsplit(',').next().unwrap_or_default().trim();
        let wrong = |what, text: &str| HistoryError::Line { line: at + 1, what, text: text.to_owned() };
        match (seconds(time.trim()), value.parse::<f64>().ok().filter(|value| value.is_finite())) {
            (Some(time), Some(value)) => points.push((time, value)),
            (None, None) if at == 0 => value.clone_into(&mut name),
            (None, _) => return Err(wrong("time", time.trim())),
            (_, None) => return Err(wrong("value", value)),
        }
    }
    even(points, name, String::new(), period)
}

/// A figure of a run: its name, its unit, and where it is.
type Figure<'a> = (&'a str, &'a str, &'a dyn Fn(&Findings) -> Option<f64>);

/// Nanoseconds of a millisecond.
const MS: f64 = 1e6;

/// What runs over time say of each of these figures that all of them have: latency, capacity, hit rate.
///
/// # Errors
/// When the runs are too few, or too far from equal times.
pub fn of_runs(runs: &[Findings], period: Option<usize>) -> Result<Vec<Series>, HistoryError> {
    let p95 = |run: &Findings| Some(run.latency.as_ref()?.percentile(95.0)?.latency_ns as f64 / MS);
    let sustained = |run: &Findings| run.capacity.as_ref()?.sustainable_per_s;
    let hits = |run: &Findings| {
        let (count, n) =
            run.entries.iter().fold((0, 0), |(count, n), e| (count + e.cache_hits.count, n + e.cache_hits.n));
        (count > 0).then(|| 100.0 * count as f64 / n as f64)
    };
    let figures: [Figure<'_>; 3] =
        [("latency p95", "ms", &p95), ("sustainable rate", "/s", &sustained), ("cache hit rate", "%", &hits)];
    let mut found = Vec::new();
    for (name, unit, of) in figures {
        let point = |run: &Findings| Some((run.run.clocks.first()?.zero_unix_ns as f64 / 1e9, of(run)?));
        if let Some(points) = runs.iter().map(point).collect::<Option<Vec<_>>>() {
            found.push(even(points, name.to_owned(), unit.to_owned(), period)?);
        }
    }
    Ok(found)
}

/// Seconds, or a day or a time of the calendar as seconds since 1970 (UTC).
fn seconds(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Some(seconds).filter(|seconds| seconds.is_finite());
    }
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, "0:0"));
    let numbers = |text: &str, by: char| text.split(by).map(|part| part.parse().ok()).collect::<Option<Vec<i64>>>();
    let [year, month, day] = numbers(day, '-')?[..] else { return None };
    let time = numbers(time.trim_end_matches('Z'), ':')?;
    let known = (1..=12).contains(&month) && (1..=31).contains(&day) && (1900..3000).contains(&year);
    known.then(|| {
        let of_day = time.iter().fold((0, 3600), |(sum, unit), part| (sum + part * unit, unit / 60)).0;
        (days(year, month, day) * 86_400 + of_day) as f64
    })
}

/// Days from 1970-01-01 (Howard Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Brings points to equal times, the median distance of two apart or as many times that as keeps the values within bounds. Values of the same time
/// are averaged, single gaps filled by a line.
pub(super) fn even(
    mut points: Vec<(f64, f64)>,
    name: String,
    unit: String,
    period: Option<usize>,
) -> Result<Series, HistoryError> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut gaps: Vec<f64> = points.windows(2).map(|pair| pair[1].0 - pair[0].0).filter(|gap| *gap > 0.0).collect();
    gaps.sort_by(f64::total_cmp);
    let (Some(first), Some(last), Some(&gap)) = (points.first(), points.last(), gaps.get(gaps.len() / 2)) else {
        return Err(HistoryError::TooFew(points.len()));
    };
    let whole = ((last.0 - first.0) / gap).round() as usize + 1;
    let together = whole.div_ceil(MOST_VALUES);
    let step_s = gap * together as f64;
    let count = whole.div_ceil(together);
    let mut sums = vec![(0.0, 0_u32); count];
    for (time, value) in &points {
        let at = (((time - first.0) / gap).round() as usize / together).min(count - 1);
        sums[at] = (sums[at].0 + value, sums[at].1 + 1);
    }
    let found = sums.iter().filter(|sum| sum.1 > 0).count();
    if found * 5 < count * 4 {
        return Err(HistoryError::Gaps { expected: count, found });
    }
    if found < 2 * super::LEAST {
        return Err(HistoryError::TooFew(found));
    }
    let known: Vec<Option<f64>> = sums.iter().map(|&(sum, n)| (n > 0).then(|| sum / f64::from(n))).collect();
    let period = period.map(|period| (period / together).max(1)).filter(|period| *period >= 2);
    Ok(Series { name, unit, start_s: first.0, step_s, values: filled(&known), period })
}

/// Gaps filled by a line between their neighbours.
fn filled(known: &[Option<f64>]) -> Vec<f64> {
    let at = |index: usize| -> f64 {
        let before = (0..=index).rev().find_map(|i| Some((i, known[i]?)));
        let after = (index..known.len()).find_map(|i| Some((i, known[i]?)));
        match (before, after) {
            (Some((i, a)), Some((j, b))) if j > i => a + (b - a) * (index - i) as f64 / (j - i) as f64,
            (Some((_, value)), _) | (None, Some((_, value))) => value,
            (None, None) => 0.0,
        }
    };
    (0..known.len()).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_calendar() {
        let check = |text: &str, expected: Option<f64>| assert_eq!(seconds(text), expected, "{text}");
        check("12.5", Some(12.5));
        check("1970-01-02", Some(86_400.0));
        check("2000-02-29T01:02:03Z", Some(951_782_400.0 + 3723.0));
        check("2026-11-20 22:01", Some(1_795_212_060.0));
        check("yesterday", None);
        check("2026-13-01", None);
    }

    #[test]
    fn values_are_brought_to_equal_times() {
        let lines = |count: usize, skip: usize| -> String {
            (0..count).filter(|at| *at != skip).map(|at| format!("{},{}\n", at * 60, at * 2)).collect()
        };
        let found = read_csv(&("t,memory\n".to_owned() + &lines(40, 7)), "x", Some(10)).unwrap();
        assert_eq!((found.name.as_str(), found.step_s, found.period), ("memory", 60.0, Some(10)));
        assert_eq!(found.values, (0..40).map(|at| f64::from(at) * 2.0).collect::<Vec<_>>(), "the gap is filled");
        let long = read_csv(&lines(1000, 2000), "x", Some(24)).unwrap();
        assert_eq!((long.step_s, long.values.len(), long.period), (180.0, 334, Some(8)));
        assert_eq!(long.values[..2], [2.0, 8.0], "taken together by means");
        let days: String = (1..=28).map(|day| format!("2026-02-{day:02},{day}\n")).collect();
        assert!((read_csv(&days, "x", None).unwrap().step_s - 86_400.0).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let check = |text: &str, expected: &str| {
            let found = read_csv(text, "x", None).unwrap_err().to_string();
            assert!(found.contains(expected), "{found}");
        };
        check("t,v\n0,1\nsoon,2\n", "line 3: \"soon\" is no time");
        check("0,1\n1,much\n", "line 2: \"much\" is no value");
        check("0,1\n1,2\n", "2 values are too few");
        check("", "0 values are too few");
        let sparse: String = (0..40).map(|at| format!("{},1\n", if at < 20 { at } else { at * 10 })).collect();
        check(&sparse, "too many gaps");
    }
}
