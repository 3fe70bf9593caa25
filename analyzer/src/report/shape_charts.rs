//! Charts of the shape of latencies and of what depends on the load: the percentile curve, the heat map, latency against
//! rate, batch sizes. As data; drawing is `chart`'s.

use proofload_run::findings::{BatchSizes, CurvePoint, Findings, HeatColumn, Latency, StepFindings};
use proofload_run::units::NS_PER_S;

use super::chart::{Axis, Block, Cell, Chart, Ink, Mark, Series};
use super::charts::{latency_unit, over_time, time_unit};
use super::format::{count, duration, number};

/// Ticks of the percentile axis.
const TICKS: [f64; 8] = [50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999];
/// Entries whose batch sizes are drawn; the table has them all.
const MOST_ENTRIES: usize = 3;

/// Latency against percentile, far into the tail.
pub(super) fn curve(findings: &Findings) -> Option<Chart> {
    // Of few samples the low percentiles have too few below them, which is of no interest.
    let is_shown = |point: &&CurvePoint| point.enough || point.percentile >= 50.0;
    let curve: Vec<CurvePoint> = findings.shape.as_ref()?.curve.iter().filter(is_shown).copied().collect();
    let (first, last) = (curve.first()?, curve.last()?);
    if curve.len() < 3 {
        return None;
    }
    let (unit, scale) = latency_unit(last.latency_ns as f64);
    let low = (first.latency_ns as f64 / scale).max(1e-3);
    // A little further than the last, whose number would be cut off at the edge.
    let end = 100.0 - (100.0 - last.percentile) * 0.75;
    let x = Axis::nines("percentile", first.percentile, end, &TICKS);
    let y = Axis::logarithmic("", low * 0.9, last.latency_ns as f64 / scale * 1.15);
    let note = "Exact, over the measured successes. Dashed where fewer than ten samples lie beyond.";
    let mut chart = Chart::new(&format!("Latency by percentile, {unit} (logarithmic)"), note, x, y);
    let line = |points: &[CurvePoint], label: &str, mark: Mark| {
        let points = points.iter().map(|point| (point.percentile, Some(point.latency_ns as f64 / scale)));
        Series::new(label, Ink::Blue, mark, points.collect())
    };
    let sure = curve.iter().take_while(|point| point.enough).count();
    chart.series = vec![line(&curve[..sure], "latency", Mark::Line)];
    if sure < curve.len() {
        chart.series.push(line(&curve[sure.saturating_sub(1)..], "too few samples beyond", Mark::Dashed));
    }
    chart.series.retain(|series| !series.points.is_empty());
    let limit = findings.run.slo.map(|slo| slo.latency_ns as f64);
    let shown = limit.filter(|ns| (chart.y.from..chart.y.to).contains(&(ns / scale)));
    chart.limits = shown.map(|ns| (format!("service level: {}", duration(ns)), ns / scale)).into_iter().collect();
    let say = |point: &CurvePoint| format!("p{} {}", point.percentile, duration(point.latency_ns as f64));
    chart.summary = format!("Latency by percentile: {}", curve.iter().map(say).collect::<Vec<_>>().join(", "));
    Some(chart)
}

/// Counts over time and latency.
pub(super) fn heat_map(findings: &Findings) -> Option<Chart> {
    let heat = &findings.shape.as_ref()?.heat;
    let edge = |row: u32| 10_f64.powf(f64::from(row) / f64::from(heat.rows_per_decade));
    let above = |column: &HeatColumn| column.first_row + u32::try_from(column.n.len()).unwrap_or(0);
    let low = heat.columns.iter().map(|column| column.first_row).min()?;
    let high = heat.columns.iter().map(above).max()?;
    let (unit, scale) = latency_unit(edge(high));
    let (_, time_scale) = time_unit(findings);
    let driven = findings.run.driven_ns;
    let cells = heat.columns.iter().filter(|column| column.t_ns < driven).flat_map(|column| {
        let (from, to) = (column.t_ns, (column.t_ns + heat.column_ns).min(driven));
        let across = (from as f64 / time_scale, to as f64 / time_scale);
        let filled = (column.first_row..).zip(&column.n).filter(|(_, n)| **n > 0);
        filled.map(move |(row, n)| {
            let block: Block = (across.0, across.1, edge(row) / scale, edge(row + 1) / scale);
            Cell { block, n: *n }
        })
    });
    let cells: Vec<Cell> = cells.collect();
    let y = Axis::logarithmic("", edge(low) / scale, edge(high) / scale);
    let width = heat.column_ns / NS_PER_S;
    let note = format!("Successes in each {width}\u{a0}s by latency, from the intended arrival: the darker, the more.");
    let mut chart = over_time(findings, &format!("Latencies over time, {unit} (logarithmic)"), &note, y);
    chart.shaded = Vec::new();
    chart.cells = cells;
    let limit = findings.run.slo.map(|slo| slo.latency_ns as f64);
    let shown = limit.filter(|ns| (edge(low)..edge(high)).contains(ns));
    chart.limits = shown.map(|ns| (format!("service level: {}", duration(ns)), ns / scale)).into_iter().collect();
    chart.summary = format!(
        "Heat map of latencies over time, from {} to {}; at most {} in a cell",
        duration(edge(low)),
        duration(edge(high)),
        count(chart.fullest())
    );
    Some(chart)
}

/// Latency of each step against its rate, for runs with steps of different levels.
pub(super) fn latency_against_rate(findings: &Findings) -> Option<Chart> {
    let judged = findings.steps.iter().filter(|step| !step.warm_up);
    let steps: Vec<(&StepFindings, &Latency)> =
        judged.filter_map(|step| Some((step, step.latency.as_ref()?))).collect();
    let levels = || steps.iter().map(|step| step.0.level);
    let (least, most) = (levels().reduce(f64::min)?, levels().reduce(f64::max)?);
    if steps.len() < 3 || most <= least {
        return None;
    }
    let limit_ns = findings.run.slo.map(|slo| slo.latency_ns as f64);
    let all = || {
        let stated = steps.iter().flat_map(|step| &step.1.percentiles).filter(|p| [50.0, 95.0].contains(&p.percentile));
        stated.map(|p| p.latency_ns as f64).chain(limit_ns)
    };
    let (low, high) = (all().reduce(f64::min)?, all().reduce(f64::max)?);
    let (unit, scale) = latency_unit(high);
    let margin = (most - least) * 0.04;
    let rate = findings.breaking_point.as_ref().map_or("level of load", |found| found.level_unit.as_str());
    let x = Axis::range(rate, least - margin, most + margin);
    let y = Axis::logarithmic("", low / scale * 0.8, high / scale * 1.25);
    let note = "Of each step's successes, with 95 % intervals.";
    let mut chart = Chart::new(&format!("Latency against load, {unit} (logarithmic)"), note, x, y);
    chart.series = vec![of_steps(&steps, 95.0, Ink::Blue, scale), of_steps(&steps, 50.0, Ink::Teal, scale)];
    chart.limits = limit_ns.map(|ns| (format!("service level: {}", duration(ns)), ns / scale)).into_iter().collect();
    if let Some([from, to]) = findings.capacity.as_ref().and_then(|capacity| capacity.interval_per_s) {
        let (from, to) = (from.max(chart.x.from), to.min(chart.x.to));
        chart.shaded = (from < to).then_some((from, to)).into_iter().collect();
        chart.shade_label = "90 % interval of the limit";
    }
    chart.summary = format!(
        "Latency of {} steps from {} to {}: p95 and median between {} and {}",
        steps.len(),
        number(least),
        number(most),
        duration(low),
        duration(high)
    );
    Some(chart)
}

/// One percentile of each step, in order of their levels, on one line.
fn of_steps(steps: &[(&StepFindings, &Latency)], percentile: f64, ink: Ink, scale: f64) -> Series {
    let stated = steps.iter().filter_map(|(step, latency)| Some((step.level, latency.percentile(percentile)?)));
    let mut stated: Vec<_> = stated.collect();
    stated.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut series = Series::new(&format!("p{percentile}"), ink, Mark::Line, Vec::new());
    for (level, found) in stated {
        series.points.push((level, Some(found.latency_ns as f64 / scale)));
        let high = found.high_ns.unwrap_or(found.latency_ns);
        series.intervals.push((level, found.low_ns as f64 / scale, high as f64 / scale));
    }
    series
}

/// Shares of requests by the size of the batch that they were computed in, beside one another.
pub(super) fn batch_sizes(findings: &Findings) -> Option<Chart> {
    const INKS: [Ink; MOST_ENTRIES] = [Ink::Blue, Ink::Amber, Ink::Teal];
    let batched: Vec<&BatchSizes> =
        findings.batches.iter().filter(|sizes| sizes.mean > 1.0).take(MOST_ENTRIES).collect();
    let largest = batched.iter().filter_map(|sizes| sizes.counts.keys().max()).max().copied()?;
    let share = |sizes: &BatchSizes, n: u64| n as f64 / sizes.n.max(1) as f64 * 100.0;
    let tallest = batched.iter().flat_map(|sizes| sizes.counts.values().map(|n| share(sizes, *n))).fold(0.0, f64::max);
    let mut x = Axis::range("batch size", 0.4, f64::from(largest) + 0.6);
    let every = usize::from(largest).div_ceil(12);
    let ticks = (1..=largest).filter(|size| usize::from(*size) % every == 0 || *size == 1);
    x.words = ticks.map(|size| (f64::from(size), size.to_string())).collect();
    let note = "Share of requests by the size of their batch, as the server says.";
    let mut chart = Chart::new("Batch sizes, % of requests", note, x, Axis::from_zero("", tallest));
    let wide = 0.8 / batched.len() as f64;
    let blocks = |index: usize, sizes: &BatchSizes| {
        let bar = |(size, n): (&u16, &u64)| {
            let from = f64::from(*size) - 0.4 + wide * index as f64;
            (from, from + wide * 0.94, 0.0, share(sizes, *n))
        };
        sizes.counts.iter().map(bar).collect::<Vec<Block>>()
    };
    chart.blocks = (0..)
        .zip(&batched)
        .map(|(index, sizes)| (sizes.entry.clone(), INKS[index % MOST_ENTRIES], blocks(index, sizes)))
        .collect();
    let say = |sizes: &&BatchSizes| format!("{} on average {}", sizes.entry, number(sizes.mean));
    chart.summary = format!("Batch sizes: {}", batched.iter().map(say).collect::<Vec<_>>().join("; "));
    Some(chart)
}
