//! Which charts a report has, as data: what goes on which axis. Drawing is `chart`'s.

use proofload_run::findings::{Bucket, Findings, Kept, Percentile, SeriesFindings, StepFindings};
use proofload_run::units::NS_PER_S;

use super::chart::{Axis, Chart, Ink, Mark, Series};
use super::format::{duration, number, percent};

/// Above this ratio of the largest to the smallest a latency axis is logarithmic.
const WIDE_RANGE: f64 = 40.0;

const LINE_INKS: [Ink; 6] = [Ink::Blue, Ink::Teal, Ink::Amber, Ink::Violet, Ink::Red, Ink::Slate];

/// The unit that a set of latencies is shown in, and nanoseconds in it.
pub(super) fn latency_unit(largest_ns: f64) -> (&'static str, f64) {
    match largest_ns {
        ns if ns < 1e6 => ("µs", 1e3),
        ns if ns < 20e9 => ("ms", 1e6),
        _ => ("s", 1e9),
    }
}

/// The unit of the time axis, and nanoseconds in it.
pub(super) fn time_unit(findings: &Findings) -> (&'static str, f64) {
    if findings.run.driven_ns > 900 * NS_PER_S { ("min", 60e9) } else { ("s", 1e9) }
}

/// A chart over the driven time of the run: what is not measured is shaded, steps and what happened have lines.
pub(super) fn over_time(findings: &Findings, title: &str, note: &str, y: Axis) -> Chart {
    let (unit, scale) = time_unit(findings);
    let x = Axis::range(format!("time, {unit}"), 0.0, findings.run.driven_ns as f64 / scale);
    let part = |from: u64, to: u64| (to > from).then_some((from as f64 / scale, to as f64 / scale));
    let shaded = findings.steps.iter().filter_map(|step| {
        part(step.start_ns, if step.warm_up { step.end_ns } else { step.measured_from_ns.min(step.end_ns) })
    });
    let driven = |t_ns: u64| t_ns < findings.run.driven_ns;
    let happened = (1..).zip(&findings.happenings).filter(|(_, one)| driven(one.t_ns));
    Chart {
        shaded: shaded.collect(),
        steps: steps(findings)
            .filter(|step| driven(step.start_ns))
            .map(|s| (shortened(&s.name), s.start_ns as f64 / scale))
            .collect(),
        happened: happened.map(|(number, one): (u64, _)| (number.to_string(), one.t_ns as f64 / scale)).collect(),
        grain: findings.timeline.bucket_ns as f64 / scale,
        ..Chart::new(title, note, x, y)
    }
}

/// The steps, ramps as a whole, where there are several.
fn steps(findings: &Findings) -> impl Iterator<Item = &StepFindings> {
    let steps = &findings.steps;
    let several = steps.last().is_some_and(|last| last.step > 0);
    let begins = |at: usize| at == 0 || steps[at - 1].step != steps[at].step;
    (0..steps.len()).filter(move |at| several && begins(*at)).map(|at| &steps[at])
}

/// One line over the driven part of the timeline, each bucket at its middle.
pub(super) fn line(
    findings: &Findings,
    label: &str,
    ink: Ink,
    mark: Mark,
    value: impl Fn(&Bucket) -> Option<f64>,
) -> Series {
    let (_, scale) = time_unit(findings);
    let half = findings.timeline.bucket_ns as f64 / 2.0;
    let driven = findings.timeline.buckets.iter().filter(|bucket| bucket.t_ns < findings.run.driven_ns);
    let points = driven.map(|bucket| ((bucket.t_ns as f64 + half) / scale, value(bucket))).collect();
    Series::new(label, ink, mark, points)
}

fn largest(findings: &Findings, values: impl Fn(&Bucket) -> [f64; 3]) -> f64 {
    findings.timeline.buckets.iter().flat_map(values).fold(0.0, f64::max)
}

pub(super) fn load(findings: &Findings) -> Chart {
    let top = largest(findings, |b| [b.intended_per_s, b.throughput_per_s, b.goodput_per_s]);
    let note = "Arrivals that the plan wants, successful answers, and those within the service level.";
    let mut chart = over_time(findings, "Load, requests per second", note, Axis::from_zero("", top));
    chart.series = vec![
        line(findings, "within the service level", Ink::Teal, Mark::Area, |b| Some(b.goodput_per_s)),
        line(findings, "answered", Ink::Blue, Mark::Line, |b| Some(b.throughput_per_s)),
        line(findings, "intended", Ink::Slate, Mark::Dashed, |b| Some(b.intended_per_s)),
    ];
    let rates = &findings.rates;
    chart.summary = format!(
        "Load over time: on average {} intended, {} answered and {} within the service level per second",
        number(rates.intended_per_s),
        number(rates.throughput_per_s),
        number(rates.goodput_per_s),
    );
    chart
}

pub(super) fn latency(findings: &Findings) -> Option<Chart> {
    let all = || findings.timeline.buckets.iter().flat_map(|b| [b.p50_ns, b.p95_ns, b.p99_ns]).flatten();
    let (low, high) = (all().min()? as f64, all().max()? as f64);
    let limit = findings.run.slo.map(|slo| slo.latency_ns as f64);
    let (unit, scale) = latency_unit(high.max(limit.unwrap_or(0.0)));
    let top = high.max(limit.unwrap_or(0.0)) / scale;
    let wide = top * scale > WIDE_RANGE * low;
    let axis = if wide { Axis::logarithmic("", low / scale * 0.8, top * 1.25) } else { Axis::from_zero("", top) };
    let note = "Of successes, from the intended arrival, placed at the time of that arrival.";
    let logarithmic = if wide { " (logarithmic)" } else { "" };
    let mut chart = over_time(findings, &format!("Latency, {unit}{logarithmic}"), note, axis);
    let ms = |ns: Option<u64>| ns.map(|ns| ns as f64 / scale);
    chart.series = vec![
        line(findings, "p99", Ink::Violet, Mark::Line, |b| ms(b.p99_ns)),
        line(findings, "p95", Ink::Blue, Mark::Line, |b| ms(b.p95_ns)),
        line(findings, "p50", Ink::Teal, Mark::Line, |b| ms(b.p50_ns)),
    ];
    chart.limits = limit.map(|ns| (format!("service level: {}", duration(ns)), ns / scale)).into_iter().collect();
    chart.summary = format!(
        "Latency percentiles over time, between {} (lowest median) and {} (highest p99)",
        duration(low),
        duration(high),
    );
    Some(chart)
}

pub(super) fn first_token(findings: &Findings) -> Option<Chart> {
    let limit = findings.run.slo.and_then(|slo| slo.ttft_ns);
    let note = "Of streamed successes, from the intended arrival, placed at the time of that arrival.";
    token_times(findings, ("Time to first token", note), limit, |b| (b.ttft_p50_ns, b.ttft_p95_ns))
}

pub(super) fn token_gap(findings: &Findings) -> Option<Chart> {
    let limit = findings.run.slo.and_then(|slo| slo.itl_ns);
    let note = "The mean time between the tokens of an answer, over answers, placed at the time of their arrival.";
    token_times(findings, ("Inter-token latency", note), limit, |b| (b.itl_p50_ns, b.itl_p95_ns))
}

/// Median and 95th percentile of a time that streamed answers have.
fn token_times(
    findings: &Findings,
    (title, note): (&str, &str),
    limit_ns: Option<u64>,
    times: impl Fn(&Bucket) -> (Option<u64>, Option<u64>),
) -> Option<Chart> {
    let highest_ns = findings.timeline.buckets.iter().filter_map(|bucket| times(bucket).1).max()?;
    let top_ns = highest_ns.max(limit_ns.unwrap_or(0)) as f64;
    let (unit, scale) = latency_unit(top_ns);
    let mut chart = over_time(findings, &format!("{title}, {unit}"), note, Axis::from_zero("", top_ns / scale));
    let scaled = |ns: Option<u64>| ns.map(|ns| ns as f64 / scale);
    chart.series = vec![
        line(findings, "p95", Ink::Blue, Mark::Line, |b| scaled(times(b).1)),
        line(findings, "p50", Ink::Teal, Mark::Line, |b| scaled(times(b).0)),
    ];
    let level = |ns: u64| (format!("service level: {}", duration(ns as f64)), ns as f64 / scale);
    chart.limits = limit_ns.map(level).into_iter().collect();
    chart.summary = format!("{title} over time, highest p95 {}", duration(highest_ns as f64));
    Some(chart)
}

/// The share of bad arrivals against the level of load, for runs that seek the limit.
pub(super) fn breaking(findings: &Findings) -> Option<Chart> {
    let found = findings.breaking_point.as_ref()?;
    let judged: Vec<&StepFindings> = findings.steps.iter().filter(|step| worst(step).is_some()).collect();
    let highest = judged.iter().map(|step| step.level).reduce(f64::max)?;
    let lowest = judged.iter().map(|step| step.level).fold(highest, f64::min);
    let margin = ((highest - lowest) * 0.04).max(highest * 0.02);
    let top = judged.iter().filter_map(|step| worst(step)).map(|slo| slo.1.2).fold(0.0, f64::max);
    let x = Axis::range(found.level_unit.clone(), lowest - margin, highest + margin);
    let note = "Share of arrivals that were slow, failed or refused, per step, with 95 % intervals.";
    let mut chart =
        Chart::new("Bad arrivals against load, %", note, x, Axis::from_zero("", (top * 100.0).clamp(1.0, 97.0)));
    chart.series = [
        (Kept::Met, "met", Ink::Teal),
        (Kept::Inconclusive, "too few samples", Ink::Slate),
        (Kept::Missed, "missed", Ink::Red),
    ]
    .into_iter()
    .map(|(kept, label, ink)| of_kept(&judged, kept, label, ink))
    .filter(|series| !series.points.is_empty())
    .collect();
    let allowed = findings.steps.iter().find_map(|step| step.slos.first()).map(|slo| slo.allowed_share)?;
    chart.limits = vec![(format!("allowed: {}", percent(allowed)), allowed * 100.0)];
    chart.summary = format!("Bad arrivals per step: {}", found.sentence);
    if let Some([low, high]) = findings.capacity.as_ref().and_then(|capacity| capacity.interval_per_s) {
        chart.shaded = vec![(low.max(lowest - margin), high.min(highest + margin))];
        chart.shade_label = "90 % interval of the limit";
    }
    Some(chart)
}

/// Whether the step kept its levels, and the bad share, low and high of the level that decided.
fn worst(step: &StepFindings) -> Option<(Kept, (f64, f64, f64))> {
    let slo = step.slos.iter().max_by(|a, b| a.kept.cmp(&b.kept).then(a.bad.share.total_cmp(&b.bad.share)))?;
    (slo.bad.n > 0).then_some((slo.kept, (slo.bad.low, slo.bad.share, slo.bad.high)))
}

fn of_kept(judged: &[&StepFindings], kept: Kept, label: &str, ink: Ink) -> Series {
    let mut series = Series::new(label, ink, Mark::Dot, Vec::new());
    for step in judged {
        if let Some((_, (low, share, high))) = worst(step).filter(|found| found.0 == kept) {
            series.points.push((step.level, Some(share * 100.0)));
            series.intervals.push((step.level, low * 100.0, high * 100.0));
        }
    }
    series
}

pub(super) fn distribution(findings: &Findings) -> Option<Chart> {
    let latency = findings.latency.as_ref()?;
    let (first, last) = (findings.distribution.first()?, findings.distribution.last()?);
    let (unit, scale) = latency_unit(latency.max_ns as f64);
    let tallest = findings.distribution.iter().map(|bin| bin.n).max()? as f64;
    let x = Axis::logarithmic(format!("latency, {unit} (logarithmic)"), first.from_ns / scale, last.to_ns / scale);
    let note = "Measured successes by latency, in bins of equal width on the logarithmic axis.";
    let mut chart = Chart::new("Latency distribution, successes per bin", note, x, Axis::from_zero("", tallest * 1.1));
    let bins = findings.distribution.iter().filter(|bin| bin.n > 0);
    // A hair of a gap between neighbours keeps bars apart.
    let width = |from: f64, to: f64| (to - from) * 0.94;
    let blocks = bins.map(|bin| {
        let from = bin.from_ns / scale;
        (from, from + width(from, bin.to_ns / scale), 0.0, bin.n as f64)
    });
    chart.blocks = vec![(String::new(), Ink::Blue, blocks.collect())];
    let post = |p: &Percentile| (format!("p{}", p.percentile), p.latency_ns as f64 / scale);
    chart.posts = latency.percentiles.iter().filter(|p| [50.0, 95.0, 99.0].contains(&p.percentile)).map(post).collect();
    chart.summary = format!(
        "Distribution of {} latencies: {}, largest {}",
        latency.n,
        latency
            .percentiles
            .iter()
            .map(|p| format!("p{} {}", p.percentile, duration(p.latency_ns as f64)))
            .collect::<Vec<_>>()
            .join(", "),
        duration(latency.max_ns as f64),
    );
    Some(chart)
}

pub(super) fn phases(findings: &Findings) -> Option<Chart> {
    const INKS: [Ink; 6] = [Ink::Slate, Ink::Amber, Ink::Violet, Ink::Blue, Ink::Red, Ink::Teal];
    let rows = &findings.phases;
    let longest = rows.iter().map(|row| row.mean_latency_ns).reduce(f64::max)?;
    let (unit, scale) = latency_unit(longest);
    let mut y = Axis::range("", 0.0, rows.len() as f64);
    y.ticks = 0;
    y.words =
        rows.iter().enumerate().map(|(i, row)| (rows.len() as f64 - i as f64 - 0.5, shortened(&row.entry))).collect();
    let x = Axis { label: format!("mean latency, {unit}"), ..Axis::from_zero("", longest / scale) };
    let note = "Mean of each part of a success, in the order in which they happen; together they are the mean latency.";
    let mut chart = Chart::new(&format!("Where the time went, {unit}"), note, x, y);
    for (index, part) in rows.first()?.parts.iter().enumerate() {
        let block = |(row, breakdown): (usize, &proofload_run::findings::PhaseBreakdown)| {
            let before: f64 = breakdown.parts[..index].iter().map(|part| part.mean_ns).sum();
            let middle = rows.len() as f64 - row as f64 - 0.5;
            (before / scale, (before + breakdown.parts[index].mean_ns) / scale, middle - 0.3, middle + 0.3)
        };
        chart.blocks.push((part.name.clone(), INKS[index % 6], rows.iter().enumerate().map(block).collect()));
    }
    let say = |row: &proofload_run::findings::PhaseBreakdown| {
        let parts: Vec<String> = row.parts.iter().map(|p| format!("{} {}", p.name, duration(p.mean_ns))).collect();
        format!("{}: {}", row.entry, parts.join(", "))
    };
    chart.summary = format!("Mean latency by part. {}", rows.iter().map(say).collect::<Vec<_>>().join("; "));
    Some(chart)
}

/// A label that fits beside a chart on a phone.
fn shortened(name: &str) -> String {
    if name.chars().count() <= 12 { name.to_owned() } else { name.chars().take(11).chain(['…']).collect() }
}

pub(super) fn trouble(findings: &Findings) -> Option<Chart> {
    let top = largest(findings, |b| [b.errors_per_s, b.sheds_per_s, 0.0]);
    if top <= 0.0 {
        return None;
    }
    let note = "Errors are wrong or missing answers; sheds are honest refusals. Placed when they happened.";
    let mut chart = over_time(findings, "Errors and sheds per second", note, Axis::from_zero("", top));
    chart.series = vec![
        line(findings, "sheds", Ink::Amber, Mark::Area, |b| Some(b.sheds_per_s)),
        line(findings, "errors", Ink::Red, Mark::Area, |b| Some(b.errors_per_s)),
    ];
    chart.summary = format!(
        "Errors and sheds over time: {} errors and {} sheds measured",
        findings.rates.errors.count, findings.rates.sheds.count
    );
    Some(chart)
}

pub(super) fn in_flight(findings: &Findings) -> Chart {
    let top = largest(findings, |b| [b.in_flight_mean, 0.0, 0.0]);
    let note = "Requests under way, on average over each bucket, counted from their intended arrival.";
    let mut chart = over_time(findings, "In flight, requests", note, Axis::from_zero("", top));
    chart.series = vec![line(findings, "in flight", Ink::Violet, Mark::Area, |b| Some(b.in_flight_mean))];
    chart.summary = format!("Requests in flight over time, at most {}", number(top));
    chart
}

/// The scraped series, those of one chart together.
pub(super) fn scraped(findings: &Findings) -> Vec<Chart> {
    let mut titles: Vec<&str> = Vec::new();
    for series in &findings.series {
        if !titles.contains(&series.chart.as_str()) {
            titles.push(&series.chart);
        }
    }
    let of = |title: &str| findings.series.iter().filter(|s| s.chart == title).collect::<Vec<_>>();
    titles.into_iter().filter_map(|title| scraped_chart(findings, title, &of(title))).collect()
}

fn scraped_chart(findings: &Findings, title: &str, lines: &[&SeriesFindings]) -> Option<Chart> {
    let top = lines.iter().map(|line| line.max).fold(0.0, f64::max);
    let unit = &lines.first()?.unit;
    let (_, scale) = time_unit(findings);
    let note = "Scraped once a second while the load went on.";
    let mut chart = over_time(findings, &format!("{title}, {unit}"), note, Axis::from_zero("", top));
    let driven = |t_ns: u64| t_ns <= findings.run.driven_ns;
    chart.series = lines
        .iter()
        .zip(LINE_INKS)
        .map(|(line, ink)| {
            let points = line.points.iter().filter(|point| driven(point.0));
            let points = points.map(|point| (point.0 as f64 / scale, Some(point.1))).collect();
            Series::new(&line.label, ink, Mark::Line, points)
        })
        .collect();
    let say =
        |line: &&SeriesFindings| format!("{} mean {}, largest {}", line.label, number(line.mean), number(line.max));
    chart.summary = format!("{title} in {unit}: {}", lines.iter().map(say).collect::<Vec<_>>().join("; "));
    Some(chart)
}
