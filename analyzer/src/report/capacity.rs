//! The page on a search for capacity: its own charts and tables in the frame of every report.

use std::path::{Path, PathBuf};

use askama::Template as _;
use proofload_run::capacity::{Capacity, CapacitySearch, Seen, StepKind};
use proofload_run::findings::{Findings, Reason};
use proofload_run::folder::write_whole;
use proofload_run::units::{format_duration_ns, significant};
use proofload_run::verdict::Verdict;

use super::chart::{Axis, Chart, Ink, Mark, Series};
use super::format::{number, percent};
use super::model_section;
use super::page::{Fact, Page, class, quote, sentence, show};
use super::sections::Section;
use super::tables::{Cell, Table, num, text};
use super::tiles::Tile;
use crate::AnalyzeError;
use crate::model::replicas::{Basis, HEADROOM, SPARE, replicas};
use crate::model::{capacity_model, together};

/// Writes `report.html` into the folder of a search, replacing an older one.
///
/// # Errors
/// When it cannot be drawn or written, or the search is not over.
pub fn write_capacity(
    folder: &Path,
    search: &CapacitySearch,
    steps: &[Findings],
    verdict: Verdict,
    why: &str,
) -> Result<PathBuf, AnalyzeError> {
    let path = folder.join("report.html");
    let found = search.found.as_ref().ok_or(AnalyzeError::NoReason)?;
    write_whole(&path, html(search, found, steps, verdict, why)?.as_bytes())?;
    Ok(path)
}

fn html(
    search: &CapacitySearch,
    found: &Capacity,
    steps: &[Findings],
    verdict: Verdict,
    why: &str,
) -> Result<String, AnalyzeError> {
    let charts = [bad_over_rate(search, found), latency_over_rate(search, steps)];
    let section = Section::new("search", "The search", charts, [table(search, steps)]);
    let tiles = tiles(search, found);
    let service = together(steps.iter().map(|step| step.service.as_ref()));
    let model = service.map(|service| capacity_model(&service, Some(&search.rules.slo), Some(found)));
    let plan = Basis::of_capacity(found).map(|basis| replicas(&basis, &[], HEADROOM, SPARE));
    let planned = model_section::section(model.as_ref(), plan.as_ref());
    let shown = [section, planned].into_iter().filter(|section| !section.tables.is_empty());
    let page = Page {
        title: format!("{verdict}: capacity of {}", search.scenario),
        verdict,
        class: class(verdict),
        headline: Reason { verdict, sentence: sentence(&found.sentence), remedy: String::new() },
        lead: Vec::new(),
        others: vec![Reason { verdict, sentence: sentence(why), remedy: String::new() }],
        cautions: Vec::new(),
        subtitle: subtitle(search, steps),
        columns: tiles.len(),
        tiles,
        sections: shown.map(show).collect::<Result<_, _>>()?,
        warnings: Vec::new(),
        facts: facts(search, found, steps),
        scenario_path: &search.scenario_path,
        scenario: &search.scenario_as_written,
        reproduce: reproduce(search),
        fine: "Sustainable is the rate that is borne with a probability of 95 %; the interval holds with 90 %. Latency is measured \
               from the intended arrival, over successes.",
    };
    Ok(page.render()?)
}

fn subtitle(search: &CapacitySearch, steps: &[Findings]) -> String {
    let target = steps.first().map(|step| &step.run.target).map(|target| {
        let urls = [&target.http_url, &target.grpc_url];
        urls.into_iter().find(|url| !url.is_empty()).cloned().unwrap_or_default()
    });
    let spent = format_duration_ns(search.spent_ns as f64);
    format!(
        "Capacity of {} · {} · {} steps in {spent}",
        search.scenario,
        target.unwrap_or_default(),
        search.steps.len()
    )
}

fn tiles(search: &CapacitySearch, found: &Capacity) -> Vec<Tile> {
    let rate = |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), number);
    let tile =
        |label: &str, value: String, note: String| Tile { label: label.to_owned(), value, unit: "/s".to_owned(), note };
    let mut tiles = vec![tile("Sustainable", rate(found.sustainable_per_s), "borne with 95 % probability".to_owned())];
    if let Some([low, high]) = found.interval_per_s {
        tiles.push(tile("Estimate", rate(found.estimate_per_s), format!("{} to {} (90 %)", number(low), number(high))));
    }
    let slo = &search.rules.slo;
    tiles.push(Tile {
        label: format!("p{} within", slo.percentile),
        value: format_duration_ns(slo.latency_ns as f64),
        unit: String::new(),
        note: format!("errors within {}", percent(slo.error_rate)),
    });
    tiles
}

/// Dots of the steps of one kind.
fn dots(
    search: &CapacitySearch,
    kind: StepKind,
    label: &str,
    ink: Ink,
    y: impl Fn(usize, &Seen) -> Option<f64>,
) -> Series {
    let of_kind = search.steps.iter().enumerate().filter(|(_, seen)| seen.planned.kind == kind && seen.sound);
    let points = of_kind.filter_map(|(at, seen)| Some((seen.planned.rate_per_s, Some(y(at, seen)?))));
    let mut points: Vec<(f64, Option<f64>)> = points.collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    Series::new(label, ink, Mark::Dot, points)
}

fn by_kind(search: &CapacitySearch, y: impl Fn(usize, &Seen) -> Option<f64> + Copy) -> Vec<Series> {
    let kinds = [
        (StepKind::Bracket, "bracket", Ink::Slate),
        (StepKind::Search, "search", Ink::Blue),
        (StepKind::Soak, "soak", Ink::Teal),
    ];
    let series = kinds.into_iter().map(|(kind, label, ink)| dots(search, kind, label, ink, y));
    series.filter(|series| !series.points.is_empty()).collect()
}

/// The rates of all steps but warm-ups.
fn rates(search: &CapacitySearch) -> Axis {
    let rates = search.steps.iter().filter(|seen| seen.planned.kind != StepKind::WarmUp);
    let rates: Vec<f64> = rates.map(|seen| seen.planned.rate_per_s).collect();
    let (low, high) = (rates.iter().copied().fold(f64::INFINITY, f64::min), rates.iter().copied().fold(0.0, f64::max));
    let margin = ((high - low) * 0.04).max(high * 0.02);
    Axis::range("arrivals per second".to_owned(), low - margin, high + margin)
}

fn bad_over_rate(search: &CapacitySearch, found: &Capacity) -> Option<Chart> {
    let series = by_kind(search, |_, seen| seen.bad_share().map(|share| share * 100.0));
    let top = series.iter().flat_map(|series| &series.points).filter_map(|(_, y)| *y).reduce(f64::max)?;
    let note = "Share of arrivals that were late, failed or refused, a dot for each step. The interval of the limit is shaded.";
    let y = Axis::from_zero("", top.clamp(1.0, 97.0));
    let mut chart = Chart::new("Bad arrivals against rate, %", note, rates(search), y);
    chart.series = series;
    let allowed = search.rules.slo.bad_fraction();
    chart.limits = vec![(format!("allowed: {}", percent(allowed)), allowed * 100.0)];
    chart.shaded = found.interval_per_s.map(|[low, high]| (low, high)).into_iter().collect();
    chart.shade_label = "interval of the limit";
    chart.posts = found.sustainable_per_s.map(|rate| ("sustainable".to_owned(), rate)).into_iter().collect();
    chart.summary = format!("Bad arrivals per step: {}", found.sentence);
    Some(chart)
}

fn p95_ns(step: &Findings) -> Option<f64> {
    let percentiles = &step.latency.as_ref()?.percentiles;
    percentiles.iter().find(|p| (p.percentile - 95.0).abs() < 1e-9).map(|p| p.latency_ns as f64)
}

fn latency_over_rate(search: &CapacitySearch, steps: &[Findings]) -> Option<Chart> {
    let limit_ns = search.rules.slo.latency_ns as f64;
    let series = by_kind(search, |at, _| Some(p95_ns(steps.get(at)?)? / 1e6));
    let all = || series.iter().flat_map(|series| &series.points).filter_map(|(_, y)| *y).chain([limit_ns / 1e6]);
    let (low, high) = (all().reduce(f64::min)?, all().reduce(f64::max)?);
    let note = "95th percentile of the successes of each step, from the intended arrival.";
    let y = Axis::logarithmic("", low * 0.8, high * 1.25);
    let mut chart = Chart::new("p95 against rate, ms (logarithmic)", note, rates(search), y);
    chart.series = series;
    chart.limits = vec![(format!("service level: {}", format_duration_ns(limit_ns)), limit_ns / 1e6)];
    chart.summary = format!("p95 of each step, from {} to {} ms", number(low), number(high));
    Some(chart)
}

fn table(search: &CapacitySearch, steps: &[Findings]) -> Table {
    let head = ["Step", "For", "Rate, /s", "Measured", "Bad", "Errors", "p95", "Counts"];
    let rows = search
        .steps
        .iter()
        .zip(steps)
        .zip(1..)
        .map(|((seen, step), at): ((&Seen, &Findings), u64)| row(at, seen, step));
    Table {
        title: "Steps",
        note: "Each step is a run of its own, in steps/N of this folder: proofload report steps/N writes its report."
            .to_owned(),
        head: head.into_iter().enumerate().map(|(at, name)| if at < 2 { text(name) } else { num(name) }).collect(),
        rows: rows.collect(),
    }
}

fn row(at: u64, seen: &Seen, step: &Findings) -> Vec<Cell> {
    let what = match seen.planned.kind {
        StepKind::WarmUp => "warm-up",
        StepKind::Bracket => "bracket",
        StepKind::Search => "search",
        StepKind::Soak => "soak",
    };
    let n: u64 = seen.seconds.iter().map(|second| second.n).sum();
    let errors: u64 = seen.seconds.iter().map(|second| second.errors).sum();
    vec![
        text(at.to_string()),
        text(what),
        num(significant(seen.planned.rate_per_s)),
        num(format!("{} s", seen.seconds.len())),
        num(seen.bad_share().map_or_else(|| "-".to_owned(), percent)),
        num(percent(errors as f64 / n.max(1) as f64)),
        num(p95_ns(step).map_or_else(|| "-".to_owned(), format_duration_ns)),
        num(n.to_string()),
    ]
}

fn facts(search: &CapacitySearch, found: &Capacity, steps: &[Findings]) -> Vec<Fact> {
    let rules = &search.rules;
    let mut facts = vec![
        Fact { name: "First guess", text: format!("{}/s", number(rules.guess_per_s)) },
        Fact { name: "Time", text: format!("{} of {} allowed, soak apart", format_duration_ns(search.spent_ns as f64), format_duration_ns(rules.budget_ns as f64)) },
        Fact {
            name: "Method",
            text: "open model; logistic curve of bad arrivals over the logarithm of the rate, with an effect of each step; \
                   every step is waited for until nothing is in flight"
                .to_owned(),
        },
    ];
    facts.extend(found.saturated.iter().map(|saturated| Fact {
        name: "Saturated",
        text: format!("{}: {}", saturated.what.as_str(), saturated.evidence),
    }));
    if let Some(step) = steps.first() {
        let host = &step.run.host;
        facts.push(Fact {
            name: "Generated on",
            text: format!("{}: {}, {} logical processors", host.name, host.cpu, host.cores),
        });
    }
    facts
}

/// The command that searches again.
fn reproduce(search: &CapacitySearch) -> String {
    let rules = &search.rules;
    let seconds = |ns: u64| format!("{}s", ns as f64 / 1e9);
    let slo = &rules.slo;
    let level = format!("p{}<{}ms,errors<{}%", slo.percentile, slo.latency_ns as f64 / 1e6, slo.error_rate * 100.0);
    let mut words = vec![
        format!("proofload capacity {}", quote(&search.scenario_path)),
        format!("--slo {}", quote(&level)),
        format!("--budget {} --soak {}", seconds(rules.budget_ns), seconds(rules.soak_ns)),
        format!("--from {}/s --width {}%", rules.guess_per_s, rules.half_width_share * 100.0),
    ];
    words.extend(rules.most_per_s.map(|most| format!("--most {most}/s")));
    words.extend(rules.at_least_per_s.map(|least| format!("--at-least {least}/s")));
    words.extend(["--target", "--grpc-target"].iter().zip(&search.target_urls).map(
        |(flag, url)| match url.is_empty() {
            true => String::new(),
            false => format!("{flag} {}", quote(url)),
        },
    ));
    words.extend(search.overrides.iter().map(|set| format!("--set {}", quote(set))));
    words.retain(|word| !word.is_empty());
    words.join(" ")
}
