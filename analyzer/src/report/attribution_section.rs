//! The section on why the slow requests were slow.

use proofload_run::findings::{Attribution, Findings, SlowExample, SlowPart, SlowState, SlowTrait};

use super::chart::{Axis, Chart, Ink};
use super::charts::latency_unit;
use super::format::{count, duration, number, percent, seconds};
use super::page::sentence;
use super::sections::Section;
use super::tables::{Cell, Table, head, num, text};

const INKS: [Ink; 6] = [Ink::Slate, Ink::Teal, Ink::Red, Ink::Violet, Ink::Blue, Ink::Amber];
/// Parts that have the colour that they have in the other charts.
const OWN_INKS: [(&str, Ink); 5] = [
    ("queue", Ink::Amber),
    ("copy-in", Ink::Violet),
    ("compute", Ink::Blue),
    ("copy-out", Ink::Red),
    ("unexplained / network", Ink::Teal),
];
/// Parts that are drawn apart; the smallest are one.
const APART: usize = 5;

/// Without charts and rows where there were too few requests to say.
pub(super) fn slow(findings: &Findings) -> Section {
    let Some(whole) = findings.attribution.iter().find(|found| found.entry.is_none()) else {
        return Section::new("slow", "Why the slow ones are slow", [], []);
    };
    let entries: Vec<&Attribution> = findings.attribution.iter().filter(|found| found.entry.is_some()).collect();
    let tables = [parts(whole), traits(whole), state(whole), by_entry(&entries), examples(whole)];
    let told = std::iter::once(&whole.sentence).chain(&whole.notes);
    let note = told.map(|told| format!("{}.", sentence(told))).collect::<Vec<_>>().join(" ");
    Section { note, ..Section::new("slow", "Why the slow ones are slow", [Some(bars(whole))], tables) }
}

/// The sentence for a comment on a change; `None` where there is none.
pub(super) fn line(findings: &Findings) -> Option<&str> {
    findings.attribution.iter().find(|found| found.entry.is_none()).map(|found| found.sentence.as_str())
}

/// Two bars: a typical request, and a slow one.
fn bars(found: &Attribution) -> Chart {
    let longest = found.slow.mean_latency_ns;
    let (unit, scale) = latency_unit(longest);
    let mut y = Axis::range("", 0.0, 2.0);
    y.ticks = 0;
    y.words = vec![(1.5, "typical".to_owned()), (0.5, "slow".to_owned())];
    let x = Axis { label: format!("mean latency, {unit}"), ..Axis::from_zero("", longest / scale) };
    let note = format!(
        "Mean of each part, of requests around the median (n {}) and of the slowest (n {}), in the order in which the time is spent.",
        count(found.typical.n),
        count(found.slow.n)
    );
    let mut chart = Chart::new(&format!("A typical and a slow request, {unit}"), &note, x, y);
    let mut before = [0.0; 2];
    let drawn = drawn(&found.parts);
    let inks = inks(&drawn.iter().map(|(label, _)| label.as_str()).collect::<Vec<_>>());
    for ((label, times), ink) in drawn.into_iter().zip(inks) {
        let block = |(row, ns): (usize, f64)| {
            let from = before[row];
            before[row] += ns.max(0.0);
            let middle = 1.5 - row as f64;
            (from / scale, before[row] / scale, middle - 0.32, middle + 0.32)
        };
        let blocks = times.into_iter().enumerate().map(block).collect();
        chart.blocks.push((label, ink, blocks));
    }
    let say = |part: &SlowPart| format!("{} {} and {}", part.name, duration(part.typical_ns), duration(part.slow_ns));
    let parts: Vec<String> = found.parts.iter().map(say).collect();
    chart.summary = format!("Parts of a typical and of a slow request: {}", parts.join(", "));
    chart
}

/// A colour for each part: its own, or the first that no part has.
fn inks(labels: &[&str]) -> Vec<Ink> {
    let own = |label: &str| OWN_INKS.iter().find(|(name, _)| *name == label).map(|(_, ink)| *ink);
    let owned: Vec<Ink> = labels.iter().filter_map(|label| own(label)).collect();
    let mut free = INKS.iter().filter(|ink| !owned.contains(ink)).cycle();
    labels.iter().map(|label| own(label).or_else(|| free.next().copied()).unwrap_or(Ink::Slate)).collect()
}

/// The parts with their mean times, typical and slow; the smallest together at the end.
fn drawn(parts: &[SlowPart]) -> Vec<(String, [f64; 2])> {
    let mut by_size: Vec<&SlowPart> = parts.iter().collect();
    by_size.sort_by(|a, b| (b.slow_ns + b.typical_ns).total_cmp(&(a.slow_ns + a.typical_ns)));
    // One more is drawn itself instead of being the only one of the rest.
    let apart = if parts.len() <= APART + 1 { parts.len() } else { APART };
    let (large, small) = by_size.split_at(apart);
    let is_large = |part: &&SlowPart| large.iter().any(|large| large.name == part.name);
    let mut drawn: Vec<(String, [f64; 2])> =
        parts.iter().filter(is_large).map(|part| (part.name.clone(), [part.typical_ns, part.slow_ns])).collect();
    if !small.is_empty() {
        let sum = |of: fn(&SlowPart) -> f64| small.iter().map(|part| of(part)).sum();
        drawn.push(("the rest".to_owned(), [sum(|part| part.typical_ns), sum(|part| part.slow_ns)]));
    }
    drawn
}

fn parts(found: &Attribution) -> Table {
    let row = |part: &SlowPart| {
        vec![
            text(part.name.clone()),
            num(duration(part.typical_ns)),
            num(duration(part.slow_ns)),
            num(duration(part.slow_ns - part.typical_ns)),
            num(percent(if part.share.abs() < 5e-6 { 0.0 } else { part.share })),
            num(interval(part.low, part.high, |share| number(share * 100.0), " %")),
        ]
    };
    let mut rows: Vec<Vec<Cell>> = found.parts.iter().map(row).collect();
    let [typical, slow] = [found.typical.mean_latency_ns, found.slow.mean_latency_ns];
    rows.push(vec![
        text("latency"),
        num(duration(typical)),
        num(duration(slow)),
        num(duration(slow - typical)),
        num(percent(1.0)),
        num(""),
    ]);
    Table {
        title: "Where slow requests lose their time",
        note: format!(
            "Means. Slow: {} successes from {} on (p{}). Typical: {} between {} and {} (p40 to p60). The parts of each request add up to \
             its latency; what nobody states is unexplained. Failed, refused and timed out requests are not among them.",
            count(found.slow.n),
            duration(found.slow_from_ns as f64),
            number(found.percentile),
            count(found.typical.n),
            duration(found.typical_from_ns as f64),
            duration(found.typical_to_ns as f64),
        ),
        head: head(&["Part", "#Typical", "#Slow", "#Longer by", "#Share of that", "#95 % interval"]),
        rows,
    }
}

fn interval(low: Option<f64>, high: Option<f64>, written: impl Fn(f64) -> String, unit: &str) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!("{} to {}{}", written(low), written(high), unit.replace(' ', "\u{a0}")),
        _ => "too few moments".to_owned(),
    }
}

fn traits(found: &Attribution) -> Table {
    let row = |it: &SlowTrait| {
        vec![
            text(it.kind.clone()),
            text(it.value.clone()),
            num(percent(it.slow_share)),
            num(count(it.slow)),
            num(percent(it.all_share)),
            num(count(it.all)),
            num(number(it.lift)),
            num(interval(it.low, it.high, number, "")),
        ]
    };
    Table {
        title: "What the slow ones have in common",
        note: "Lift: so many times as frequent among the slow ones as among all successes. An interval that holds 1 says nothing."
            .to_owned(),
        head: head(&["Of", "Which", "#Of the slow", "#n", "#Of all", "#n", "#Lift", "#95 % interval"]),
        rows: found.traits.iter().map(row).collect(),
    }
}

fn state(found: &Attribution) -> Table {
    let row = |it: &SlowState| {
        vec![
            text(it.what.clone()),
            text(it.unit.clone()),
            num(number(it.typical)),
            num(number(it.slow)),
            num(interval(it.low, it.high, number, "")),
            num(count(it.moments)),
            text(it.metric.clone()),
        ]
    };
    Table {
        title: "The target meanwhile",
        note: "Means of what was scraped, each request counted once, in the moment in its middle. What goes together need not be cause \
               and effect, and where few moments hold the slow ones it may be chance."
            .to_owned(),
        head: head(&["What", "Unit", "#Typical", "#Slow", "#Difference, 95 % interval", "#Moments", "Read from"]),
        rows: found.state.iter().map(row).collect(),
    }
}

fn by_entry(entries: &[&Attribution]) -> Table {
    let row = |found: &&Attribution| {
        let mut parts: Vec<&SlowPart> = found.parts.iter().collect();
        parts.sort_by(|a, b| b.share.total_cmp(&a.share));
        let mostly = parts.iter().take(2).map(|part| format!("{} {}", part.name, percent(part.share)));
        vec![
            text(found.entry.clone().unwrap_or_default()),
            num(count(found.n)),
            num(duration(found.median_ns as f64)),
            num(format!("{} (p{})", duration(found.slow_from_ns as f64), number(found.percentile))),
            num(duration(found.slow.mean_latency_ns - found.typical.mean_latency_ns)),
            text(mostly.collect::<Vec<_>>().join(", ")),
        ]
    };
    Table {
        title: "Entry by entry",
        note: "The same against the entry's own typical requests.".to_owned(),
        head: head(&["Entry", "#n", "#Median", "#Slow from", "#Longer by", "Mostly"]),
        rows: entries.iter().map(row).collect(),
    }
}

fn examples(found: &Attribution) -> Table {
    let row = |it: &SlowExample| {
        let mut parts: Vec<&(String, i64)> = it.parts.iter().collect();
        parts.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
        let parts = parts.iter().take(3).map(|(name, ns)| format!("{name} {}", duration(*ns as f64)));
        vec![
            num(seconds(it.intended_ns)),
            num(duration(it.latency_ns as f64)),
            text(it.entry.clone()),
            text(it.step.clone()),
            num(if it.batch_size == 0 { "–".to_owned() } else { it.batch_size.to_string() }),
            text(parts.collect::<Vec<_>>().join(", ")),
            text(it.trace_id.clone().unwrap_or_else(|| "–".to_owned())),
        ]
    };
    Table {
        title: "The slowest",
        note: "Sent at, on the run's clock; the three largest parts of each.".to_owned(),
        head: head(&["#Sent at", "#Latency", "Entry", "Step", "#Batch", "Mostly", "Trace id"]),
        rows: found.examples.iter().map(row).collect(),
    }
}
