//! The report's section on what changed while the run went on: memory with its line and limit, the 95th percentile with its
//! changes, and when errors came.

use proofload_run::findings::{
    Burst, ChangePoint, Drift, Endurance, Findings, MemoryTrend, Pattern, Trend, TrendEstimate,
};

use super::chart::{Axis, Chart, Ink, Mark, Series};
use super::charts::{latency_unit, line, over_time, time_unit};
use super::format::{count, duration, number, percent};
use super::sections::Section;
use super::tables::{Cell, Table, head, num, text};
use crate::endurance::long;

/// Charts of memory: those that grow first, then the target's.
const MOST_CHARTS: usize = 4;
/// What changes by less than this share of itself is not drawn from zero, or nothing would be seen of it.
const SMALL_CHANGE: f64 = 0.25;
/// A limit that is up to so many times as high as the memory is drawn; another is told.
const LIMIT_IN_SIGHT: f64 = 2.0;
const MB: f64 = 1e6;

/// Empty where the run was not one that lasts.
pub(super) fn endurance(findings: &Findings) -> Section {
    let Some(found) = &findings.endurance else { return Section::new("endurance", "Endurance", [], []) };
    let mut memory: Vec<&MemoryTrend> =
        found.memory.iter().filter(|trend| trend.of_target || trend.trend == Trend::Rises).collect();
    memory.sort_by_key(|trend| trend.trend != Trend::Rises);
    let charts = memory.into_iter().take(MOST_CHARTS).map(|trend| memory_chart(findings, trend));
    let charts = charts.chain([latency_chart(findings, found)]).collect::<Vec<Option<Chart>>>();
    let tables = [drifts(found), memory_table(found), changes(found), errors(found), bursts(found)];
    let note = format!(
        "Trends of the measured time, {} long: {}. A trend here turns no verdict; a threshold does.",
        duration((found.to_ns - found.from_ns) as f64),
        found.load.sentence
    );
    Section { note, ..Section::new("endurance", "Endurance", charts, tables) }
}

fn memory_chart(findings: &Findings, found: &MemoryTrend) -> Option<Chart> {
    let values = || found.points.iter().chain(&found.line).map(|point| point.1 / MB);
    let (low, high) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
    let limit = found.limit_bytes.map(|bytes| bytes / MB).filter(|limit| *limit <= LIMIT_IN_SIGHT * high);
    let (top, span) = (limit.unwrap_or(high).max(high), high - low);
    let near = limit.is_none() && span < SMALL_CHANGE * high;
    let margin = span.max(0.002 * high);
    let y = if near { Axis::range("", (low - margin).max(0.0), high + margin) } else { Axis::from_zero("", top) };
    let zero = if near { " The axis does not begin at zero." } else { "" };
    let note = format!("Readings, and the line through the minima that growth is judged by.{zero}");
    let mut chart = over_time(findings, &format!("Memory of the {}, MB", found.what), &note, y);
    let (_, scale) = time_unit(findings);
    let placed = |points: &[(u64, f64)]| points.iter().map(|p| (p.0 as f64 / scale, Some(p.1 / MB))).collect();
    chart.series = vec![
        Series::new("used", Ink::Blue, Mark::Line, placed(&found.points)),
        Series::new("line through the minima", Ink::Amber, Mark::Dashed, placed(&found.line)),
    ];
    chart.series.retain(|series| !series.points.is_empty());
    chart.limits = limit.map(|limit| (format!("limit: {} MB", number(limit)), limit)).into_iter().collect();
    chart.summary = found.sentence.clone();
    Some(chart)
}

/// The 95th percentile, the medians between its changes, and the changes as posts.
fn latency_chart(findings: &Findings, found: &Endurance) -> Option<Chart> {
    let drift = found.latency.last().filter(|drift| drift.n > 0)?;
    let top_ns = findings.timeline.buckets.iter().filter_map(|bucket| bucket.p95_ns).max()? as f64;
    let (unit, scale) = latency_unit(top_ns);
    let note = "Each bucket's 95th percentile, and the level between changes; a change is told with both levels.";
    let mut chart =
        over_time(findings, &format!("p95 latency and its changes, {unit}"), note, Axis::from_zero("", top_ns / scale));
    let (_, per_time) = time_unit(findings);
    let level = |from_ns: u64, to_ns: u64, ns: f64| {
        [(from_ns as f64 / per_time, Some(ns / scale)), (to_ns as f64 / per_time, Some(ns / scale))]
    };
    let mut from_ns = found.from_ns;
    let mut levels = Vec::new();
    for step in &drift.steps {
        levels.extend(level(from_ns, step.at_ns, step.before));
        levels.push((step.at_ns as f64 / per_time, None));
        from_ns = step.at_ns;
    }
    levels.extend(level(from_ns, found.to_ns, drift.steps.last().map_or(drift.level, |step| step.after)));
    chart.series = vec![
        line(findings, "p95", Ink::Blue, Mark::Line, |bucket| bucket.p95_ns.map(|ns| ns as f64 / scale)),
        Series::new("level", Ink::Amber, Mark::Dashed, levels),
    ];
    let post = |step: &ChangePoint| {
        (format!("{} → {}", duration(step.before), duration(step.after)), step.at_ns as f64 / per_time)
    };
    chart.posts = drift.steps.iter().map(post).collect();
    chart.summary = drift.sentence.clone();
    Some(chart)
}

fn badge(trend: Trend, [rises, falls, level]: [&str; 3]) -> Cell {
    let (word, class) = match trend {
        Trend::Rises => (rises, "badge fail"),
        Trend::Falls => (falls, "badge fail"),
        Trend::Level => (level, "badge pass"),
        Trend::Unknown => ("cannot be said", "badge inconclusive"),
    };
    Cell { text: word.to_owned(), class }
}

/// Whether a figure is a share, by its name: the others are latencies.
fn is_share(drift: &Drift) -> bool {
    drift.what.contains("share")
}

fn figure(drift: &Drift, value: f64) -> String {
    if is_share(drift) { percent(value) } else { duration(value) }
}

fn difference(drift: &Drift, value: f64) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    format!("{sign}{}\u{a0}{}", number(value * 100.0), if is_share(drift) { "points" } else { "%" })
}

fn between(found: &TrendEstimate, said: impl Fn(f64) -> String) -> String {
    format!("{} to {}", said(found.low), found.high.map_or_else(|| "any".to_owned(), &said))
}

fn all_drifts(found: &Endurance) -> impl Iterator<Item = &Drift> {
    found.latency.iter().chain(&found.hit_share)
}

fn drifts(found: &Endurance) -> Table {
    let row = |drift: &Drift| {
        let change = drift.change.as_ref();
        let dash = || "–".to_owned();
        vec![
            text(drift.what.clone()),
            badge(drift.trend, ["rises", "falls", "no drift"]),
            num(if drift.n == 0 { dash() } else { figure(drift, drift.level) }),
            num(change.map_or_else(dash, |change| difference(drift, change.value))),
            num(change.map_or_else(dash, |change| between(change, |value| difference(drift, value)))),
            num(count(drift.steps.len() as u64)),
            num(format!("{} × {}", count(drift.n), duration(drift.point_ns as f64))),
        ]
    };
    Table {
        title: "Drift",
        note: "Steady change over the measured time, between changes at once: the slope of Theil and Sen, with an interval that \
               takes into account what neighbouring points have in common. No drift means that the interval excludes one of 10 %."
            .to_owned(),
        head: head(&["Figure", "Drift", "#Level", "#Change", "#95 % interval", "#Changes at once", "#Points"]),
        rows: all_drifts(found).map(row).collect(),
    }
}

fn memory_table(found: &Endurance) -> Table {
    let per_hour = |bytes_per_s: f64| number(bytes_per_s * 3600.0 / MB);
    let row = |trend: &MemoryTrend| {
        let dash = || "–".to_owned();
        let left = trend.limit_in_s.as_ref();
        vec![
            text(trend.what.clone()),
            badge(trend.trend, ["grows", "falls", "does not grow"]),
            num(number(trend.last_bytes / MB)),
            num(trend.bytes_per_s.as_ref().map_or_else(dash, |slope| per_hour(slope.value))),
            num(trend.bytes_per_s.as_ref().map_or_else(dash, |slope| between(slope, per_hour))),
            num(trend.limit_bytes.map_or_else(dash, |bytes| number(bytes / MB))),
            num(left.map_or_else(dash, |left| format!("{} ({})", long(left.value), between(left, long)))),
            num(count(trend.n)),
        ]
    };
    Table {
        title: "Memory",
        note: "Growth of the minima, so that what comes and goes with the load is none; it grows only where it does so in the first \
               two thirds as in the last. Time is from the run's end until the peaks reach the limit, as if nothing else took of it."
            .to_owned(),
        head: head(&["Of", "Grows", "#Last, MB", "#MB/h", "#90 % interval", "#Limit, MB", "#Time to it", "#n"]),
        rows: found.memory.iter().map(row).collect(),
    }
}

fn changes(found: &Endurance) -> Table {
    let row = |(drift, step): (&Drift, &ChangePoint)| {
        let by = if is_share(drift) { step.after - step.before } else { step.after / step.before.max(1.0) - 1.0 };
        vec![
            text(drift.what.clone()),
            num(duration(step.at_ns as f64)),
            num(figure(drift, step.before)),
            num(figure(drift, step.after)),
            num(difference(drift, by)),
            num(number(step.p)),
        ]
    };
    let steps = all_drifts(found).flat_map(|drift| drift.steps.iter().map(move |step| (drift, step)));
    Table {
        title: "Changes at once",
        note:
            "Medians on both sides, up to the next change; p is the share of shuffled series with a stretch as far off."
                .to_owned(),
        head: head(&["Figure", "#From", "#Before", "#After", "#Change", "#p"]),
        rows: steps.map(row).collect(),
    }
}

fn errors(found: &Endurance) -> Table {
    let row = |errors: &proofload_run::findings::ErrorBursts| {
        let (word, class) = match errors.pattern {
            Pattern::Bursts => ("in bursts", "badge fail"),
            Pattern::Even => ("evenly", "badge pass"),
            Pattern::Unknown => ("cannot be said", "badge inconclusive"),
        };
        vec![
            Cell { text: word.to_owned(), class },
            num(count(errors.errors)),
            num(count(errors.arrivals)),
            num(number(errors.dispersion)),
            num(duration(errors.window_ns as f64)),
            num(errors.p.map_or_else(|| "–".to_owned(), number)),
            num(count(errors.in_bursts)),
        ]
    };
    Table {
        title: "How errors came",
        note: "Variance of the number of errors in a window, as a multiple of what it would be if every request failed alike; p is the \
               share of runs with as many errors at random that are as uneven."
            .to_owned(),
        head: head(&["Errors came", "#Errors", "#Of arrivals", "#Variance", "#In windows of", "#p", "#In bursts"]),
        rows: found.errors.iter().map(row).collect(),
    }
}

fn bursts(found: &Endurance) -> Table {
    let row = |burst: &Burst| {
        let class = |class: &proofload_run::findings::BurstClass| {
            let status = if class.status == 0 { String::new() } else { format!(" {}", class.status) };
            format!("{} × {} {}{status}", count(class.count), class.entry, class.outcome)
        };
        let classes: Vec<String> = burst.classes.iter().map(class).collect();
        vec![
            num(duration(burst.from_ns as f64)),
            num(duration((burst.to_ns - burst.from_ns) as f64)),
            num(count(burst.errors)),
            num(count(burst.arrivals)),
            text(classes.join(", ")),
        ]
    };
    let errors = found.errors.as_ref();
    let hidden = errors.map_or(0, |errors| errors.bursts_n.saturating_sub(errors.bursts.len() as u64));
    let more = if hidden > 0 { format!(" {} smaller ones are not shown.", count(hidden)) } else { String::new() };
    Table {
        title: "Bursts of errors",
        note: format!(
            "Windows with more errors than chance puts anywhere in such a run, by when their arrivals were intended.{more}"
        ),
        head: head(&["#From", "#Length", "#Errors", "#Of arrivals", "What"]),
        rows: errors.into_iter().flat_map(|errors| &errors.bursts).map(row).collect(),
    }
}
