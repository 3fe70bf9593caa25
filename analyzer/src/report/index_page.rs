//! The page over many runs: a table with links, and for each scenario how its figures went from run to run.

use std::collections::BTreeMap;
use std::path::Path;

use askama::Template;
use proofload_run::folder::write_whole;
use proofload_run::verdict::Verdict;

use super::chart::{Axis, Chart, Ink, Mark, Series};
use super::format::{calendar, count, duration, number, percent, seconds};
use super::page::{Drawing, class, draw, sentence};
use crate::AnalyzeError;
use crate::index::{Brief, Listed, Told};

/// Scenarios whose figures are drawn, those with the most runs; the table has them all.
const MOST_SCENARIOS: usize = 12;

const DAY_NS: f64 = 86_400e9;

/// A line of the table.
struct Row {
    path: String,
    /// Empty where there is no report.
    link: String,
    /// A verdict, or what stands in its place.
    word: String,
    class: &'static str,
    scenario: String,
    /// Scenario, when, how long, requests, goodput, p95, errors, capacity.
    cells: [String; 7],
    why: String,
}

/// How a scenario's figures went.
struct Trend {
    scenario: String,
    runs: String,
    drawings: Vec<Drawing>,
}

#[derive(Template)]
#[template(path = "index.html")]
struct IndexPage {
    title: String,
    tally: String,
    rows: Vec<Row>,
    trends: Vec<Trend>,
    left_out: usize,
}

/// Writes the page.
///
/// # Errors
/// When it cannot be drawn or written.
pub(crate) fn write_index_page(path: &Path, listed: &[Listed]) -> Result<(), AnalyzeError> {
    let mut order: Vec<&Listed> = listed.iter().collect();
    order.sort_by(|a, b| begun(b).cmp(&begun(a)).then_with(|| a.path.cmp(&b.path)));
    let scenarios = scenarios(listed);
    let trends: Result<Vec<Trend>, AnalyzeError> =
        scenarios.iter().take(MOST_SCENARIOS).map(|(name, runs)| trend(name, runs)).collect();
    let page = IndexPage {
        title: format!("{} runs", listed.len()),
        tally: tally(listed),
        rows: order.into_iter().map(row).collect(),
        trends: trends?,
        left_out: scenarios.len().saturating_sub(MOST_SCENARIOS),
    };
    Ok(write_whole(path, page.render()?.as_bytes())?)
}

fn brief(listed: &Listed) -> Option<&Brief> {
    if let Told::Run(brief) = &listed.told { Some(brief) } else { None }
}

fn begun(listed: &Listed) -> Option<u64> {
    brief(listed)?.begun_unix_ns
}

/// How many of each verdict.
fn tally(listed: &[Listed]) -> String {
    let verdicts = [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive, Verdict::Invalid];
    let of = |wanted: Verdict| {
        listed.iter().filter(|one| brief(one).and_then(|brief| brief.verdict) == Some(wanted)).count()
    };
    let silent = listed.iter().filter(|one| brief(one).is_none()).count();
    let said = verdicts.into_iter().map(|verdict| (of(verdict), verdict.to_string()));
    let all = said.chain([(silent, "not analysed or damaged".to_owned())]).filter(|(n, _)| *n > 0);
    all.map(|(n, what)| format!("{n} {what}")).collect::<Vec<_>>().join(", ")
}

/// A path as a link takes it.
fn link(path: &str) -> String {
    let mut safe = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => safe.push(char::from(byte)),
            other => safe.push_str(&format!("%{other:02X}")),
        }
    }
    safe
}

fn row(listed: &Listed) -> Row {
    let link = if listed.has_report { format!("{}/report.html", link(&listed.path)) } else { String::new() };
    let known = |text: Option<String>| text.unwrap_or_default();
    let path = listed.path.clone();
    match &listed.told {
        Told::Nothing(why) => Row {
            path,
            link,
            word: "no findings".to_owned(),
            class: "badge",
            scenario: String::new(),
            cells: Default::default(),
            why: sentence(why),
        },
        Told::Run(brief) => Row {
            path,
            link,
            word: brief.verdict.map_or_else(|| brief.kind.clone(), |verdict| verdict.to_string()),
            class: brief.verdict.map_or("badge", badge),
            scenario: brief.scenario.clone(),
            cells: [
                known(brief.begun_unix_ns.map(calendar)),
                known(brief.driven_ns.map(seconds)),
                known(brief.requests.map(count)),
                known(brief.goodput_per_s.map(number)),
                known(brief.p95_ns.map(|p95| duration(p95.0 as f64))),
                known(brief.error_share.map(percent)),
                known(brief.capacity_per_s.map(|found| number(found.0))),
            ],
            why: sentence(&brief.why),
        },
    }
}

fn badge(verdict: Verdict) -> &'static str {
    match class(verdict) {
        "pass" => "badge pass",
        "fail" => "badge fail",
        "invalid" => "badge invalid",
        _ => "badge inconclusive",
    }
}

/// Runs by scenario that can be drawn, in order of time; those with the most first. Figures of an invalid run are none.
fn scenarios(listed: &[Listed]) -> Vec<(String, Vec<(u64, &Brief)>)> {
    let mut found: BTreeMap<&str, Vec<(u64, &Brief)>> = BTreeMap::new();
    for brief in listed.iter().filter_map(brief).filter(|brief| brief.verdict != Some(Verdict::Invalid)) {
        if let Some(begun) = brief.begun_unix_ns {
            found.entry(&brief.scenario).or_default().push((begun, brief));
        }
    }
    let mut found: Vec<(String, Vec<(u64, &Brief)>)> =
        found.into_iter().filter(|(_, runs)| runs.len() > 1).map(|(name, runs)| (name.to_owned(), runs)).collect();
    found.iter_mut().for_each(|(_, runs)| runs.sort_by_key(|run| run.0));
    found.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.0.cmp(&b.0)));
    found
}

/// A figure of a run, with its interval where it has one.
type Figure = (f64, Option<(f64, f64)>);

fn trend(scenario: &str, runs: &[(u64, &Brief)]) -> Result<Trend, AnalyzeError> {
    let first = runs.first().map_or(0, |run| run.0);
    let p95 = |brief: &Brief| {
        let (value, low, high) = brief.p95_ns?;
        Some((value as f64 / 1e6, Some((low as f64 / 1e6, high.unwrap_or(value) as f64 / 1e6))))
    };
    let capacity = |brief: &Brief| {
        let (estimate, interval) = brief.capacity_per_s?;
        Some((estimate, interval.map(|[low, high]| (low, high))))
    };
    let charts = [
        chart("p95 of the latency, ms", Ink::Blue, runs, p95),
        chart("Goodput, requests per second", Ink::Teal, runs, |brief| Some((brief.goodput_per_s?, None))),
        chart("Errors, % of what was answered or failed", Ink::Red, runs, |brief| {
            Some((brief.error_share? * 100.0, None))
        }),
        chart("Capacity, requests per second", Ink::Violet, runs, capacity),
    ];
    let drawings: Result<Vec<Drawing>, _> = charts.iter().flatten().map(draw).collect();
    Ok(Trend {
        scenario: scenario.to_owned(),
        runs: format!("{} runs since {}", runs.len(), calendar(first)),
        drawings: drawings.map_err(AnalyzeError::Chart)?,
    })
}

/// How one figure went; `None` where fewer than two runs have it.
fn chart(title: &str, ink: Ink, runs: &[(u64, &Brief)], figure: impl Fn(&Brief) -> Option<Figure>) -> Option<Chart> {
    let first = runs.first()?.0;
    let span_ns = (runs.last()?.0 - first) as f64;
    let (unit, scale) = match span_ns {
        ns if ns > 2.0 * DAY_NS => ("days", DAY_NS),
        ns if ns > 2.0 * 3600e9 => ("hours", 3600e9),
        _ => ("minutes", 60e9),
    };
    let at = |begun: u64| (begun - first) as f64 / scale;
    let points: Vec<(f64, Figure)> =
        runs.iter().filter_map(|(begun, brief)| Some((at(*begun), figure(brief)?))).collect();
    if points.len() < 2 {
        return None;
    }
    let top =
        points.iter().map(|(_, (value, interval))| interval.map_or(*value, |interval| interval.1)).fold(0.0, f64::max);
    let margin = (span_ns / scale * 0.03).max(1e-3);
    let x = Axis::range(format!("{unit} since the first run"), -margin, span_ns / scale + margin);
    let mut chart = Chart::new(title, "", x, Axis::from_zero("", top));
    let mut line = Series::new("", ink, Mark::Line, points.iter().map(|(x, figure)| (*x, Some(figure.0))).collect());
    line.label = title.split(',').next().unwrap_or(title).to_owned();
    let dots = Series { mark: Mark::Dot, label: String::new(), ..line.clone() };
    line.intervals =
        points.iter().filter_map(|(x, (_, interval))| interval.map(|(low, high)| (*x, low, high))).collect();
    let (from, to) = (points.first()?.1.0, points.last()?.1.0);
    chart.summary =
        format!("{title} of {} runs: {} in the first, {} in the last", points.len(), number(from), number(to));
    chart.series = vec![line, dots];
    Some(chart)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(scenario: &str, begun_unix_ns: u64, verdict: Verdict) -> Listed {
        let brief = Brief {
            verdict: Some(verdict),
            scenario: scenario.to_owned(),
            begun_unix_ns: Some(begun_unix_ns),
            p95_ns: Some((5_000_000, 4_000_000, None)),
            goodput_per_s: Some(40.0),
            ..Brief::default()
        };
        Listed { path: format!("{scenario}-{begun_unix_ns}"), has_report: true, told: Told::Run(Box::new(brief)) }
    }

    #[test]
    fn links_hold_any_folder() {
        let check = |path: &str, expected: &str| assert_eq!(link(path), expected);
        check("quick-20261120/b", "quick-20261120/b");
        check("a b\"<#?%", "a%20b%22%3C%23%3F%25");
        check("é", "%C3%A9");
    }

    #[test]
    fn scenarios_with_several_believable_runs_are_drawn_in_order_of_time() {
        let all = [
            listed("quick", 30, Verdict::Pass),
            listed("quick", 10, Verdict::Fail),
            listed("quick", 20, Verdict::Invalid),
            listed("stress", 10, Verdict::Pass),
        ];
        let found = scenarios(&all);
        let times: Vec<(&str, Vec<u64>)> =
            found.iter().map(|(name, runs)| (name.as_str(), runs.iter().map(|run| run.0).collect())).collect();
        assert_eq!(times, [("quick", vec![10, 30])]);
        let drawn = trend(&found[0].0, &found[0].1).unwrap();
        assert_eq!(drawn.drawings.len(), 2, "of errors and capacity nothing is known");
        assert_eq!(tally(&all), "2 PASS, 1 FAIL, 1 INVALID");
    }
}
