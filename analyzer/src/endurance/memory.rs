//! Memory over a run: which series are memory, what limits each, and whether it grows (`proofload_statistics::growth`). Knows
//! scraped series and no requests.

use proofload_run::findings::{MemoryTrend, Trend, TrendEstimate};
use proofload_run::manifest::Manifest;
use proofload_run::series::Source;
use proofload_run::units::{NS_PER_S, format_bytes, format_duration_ns};
use proofload_statistics::growth::{Fit, Point, fit};

use crate::capacity::is_local;
use crate::lines::Line;
use crate::series::label_value;

/// Blocks whose minima the line is drawn through, in runs that last: half a minute each in twenty minutes (methods measured: minima
/// of 30 s), and half an hour in a day.
const BLOCKS: usize = 40;
/// And in shorter ones.
const FEW_BLOCKS: usize = 20;
/// A run that is shorter than this cannot tell a leak from a cache that fills up, unless the limit is near; ours.
const LEAST_S: f64 = 600.0;
/// How many times as long as it was watched memory may take to its limit to be near.
const NEAR: f64 = 10.0;
/// That memory does not grow is said where any growth that could hide would leave room for this long; ours.
const ROOM_S: f64 = 86_400.0;
/// A limit that is farther away than this matters to nobody.
const FAR_S: f64 = 365.0 * 86_400.0;
/// Points that are kept for a chart.
const MOST_POINTS: usize = 240;
/// Lines of one kind: the fullest.
const MOST_LINES: usize = 8;

/// A kind of memory.
struct Pick {
    what: &'static str,
    source: Source,
    name: &'static str,
    /// The metric that states the limit, with the same labels.
    limit: &'static str,
    of_target: bool,
    is_gpu: bool,
}

const PICKS: [Pick; 5] = [
    pick("target", Source::Target, "process_resident_memory_bytes", ""),
    pick("target's machine", Source::Target, "nv_cpu_memory_used_bytes", "nv_cpu_memory_total_bytes"),
    Pick { is_gpu: true, ..pick("GPU", Source::Target, "nv_gpu_memory_used_bytes", "nv_gpu_memory_total_bytes") },
    Pick { of_target: false, ..pick("generator", Source::Generator, "process_resident_bytes", "") },
    Pick { of_target: false, ..pick("generator's machine", Source::Generator, "host_memory_used_bytes", "") },
];

/// What the generator says that its control group may use.
const GROUP_LIMIT: &str = "cgroup_memory_limit_bytes";

const fn pick(what: &'static str, source: Source, name: &'static str, limit: &'static str) -> Pick {
    Pick { what, source, name, limit, of_target: true, is_gpu: false }
}

/// Whether a series of this name is looked at.
pub(crate) fn is_watched(name: &str) -> bool {
    name == GROUP_LIMIT || PICKS.iter().any(|pick| pick.name == name || pick.limit == name)
}

/// Every series of memory in this time.
pub(super) fn memory(manifest: &Manifest, series: &[Line], (from_ns, to_ns): (u64, u64)) -> Vec<MemoryTrend> {
    let of = |pick: &Pick| {
        let mut lines: Vec<&Line> =
            series.iter().filter(|line| line.source == pick.source && line.name == pick.name).collect();
        lines.sort_by(|a, b| (a.shard, &a.labels).cmp(&(b.shard, &b.labels)));
        if pick.source == Source::Target {
            // Several generators that scrape one target see the same.
            let mut seen: Vec<&str> = Vec::new();
            lines.retain(|line| {
                !seen.contains(&line.labels.as_str()) && {
                    seen.push(&line.labels);
                    true
                }
            });
        }
        let several = lines.len() > 1;
        let trends =
            lines.into_iter().filter_map(|line| trend_of(pick, line, several, (manifest, series), (from_ns, to_ns)));
        let mut trends: Vec<MemoryTrend> = trends.collect();
        trends.sort_by(|a, b| b.last_bytes.total_cmp(&a.last_bytes));
        trends.truncate(MOST_LINES);
        trends
    };
    PICKS.iter().flat_map(of).collect()
}

fn trend_of(
    pick: &Pick,
    line: &Line,
    several: bool,
    run: (&Manifest, &[Line]),
    (from_ns, to_ns): (u64, u64),
) -> Option<MemoryTrend> {
    let inside = line.points.iter().filter(|point| (from_ns..=to_ns).contains(&point.0) && point.1.is_finite());
    let readings: Vec<(u64, f64)> = inside.copied().collect();
    let last_bytes = readings.last()?.1;
    let limit = limit(pick, line, run);
    let which = label_value(&line.labels, "gpu_uuid").map(str::to_owned);
    let which = which.or_else(|| several.then(|| format!("{}{}", line.shard, line.labels)));
    let what = which.map_or_else(|| pick.what.to_owned(), |which| format!("{} {which}", pick.what));
    let points: Vec<Point> = readings
        .iter()
        .map(|(t_ns, bytes)| Point { at_s: *t_ns as f64 / NS_PER_S as f64, used_bytes: *bytes })
        .collect();
    let judged = judge(&points, limit.as_ref().map(|limit| limit.0));
    let line_at = |fit: &Fit, t_ns: u64| (t_ns, fit.base_bytes + fit.bytes_per_s.value * t_ns as f64 / NS_PER_S as f64);
    let ends = [readings[0].0, readings[readings.len() - 1].0];
    let mut found = MemoryTrend {
        what,
        name: line.name.clone(),
        of_target: pick.of_target,
        trend: judged.trend,
        n: readings.len() as u64,
        last_bytes,
        limit_bytes: limit.as_ref().map(|limit| limit.0),
        limit_by: limit.map_or_else(String::new, |limit| limit.1.to_owned()),
        bytes_per_s: judged.fit.as_ref().map(|fit| {
            let slope = fit.bytes_per_s;
            TrendEstimate { low: slope.low, value: slope.value, high: Some(slope.high) }
        }),
        limit_in_s: judged.limit_in_s,
        points: thinned(&readings),
        line: judged.fit.iter().flat_map(|fit| ends.map(|t_ns| line_at(fit, t_ns))).collect(),
        sentence: String::new(),
    };
    found.sentence = sentence(&found, judged.why);
    Some(found)
}

/// What a series can be at most, and what sets that: a metric beside it, the GPU, the control group, or the machine.
fn limit(pick: &Pick, line: &Line, (manifest, series): (&Manifest, &[Line])) -> Option<(f64, &'static str)> {
    let stated = |name: &str, source: Source, labels: Option<&str>| {
        let named = series.iter().filter(|other| other.source == source && other.name == name && !name.is_empty());
        let last = named
            .filter(|other| labels.is_none_or(|labels| other.labels == labels))
            .filter_map(|other| other.points.last());
        last.map(|point| point.1).filter(|bytes| *bytes > 0.0).reduce(f64::min)
    };
    let gpu = || {
        let uuid = label_value(&line.labels, "gpu_uuid")?;
        manifest.host.gpus.iter().find(|gpu| gpu.uuid == uuid).map(|gpu| gpu.memory_bytes as f64)
    };
    let by_metric = stated(pick.limit, pick.source, Some(&line.labels)).map(|bytes| (bytes, "as it states"));
    if pick.is_gpu {
        return by_metric.or_else(|| gpu().map(|bytes| (bytes, "the GPU's memory")));
    }
    let here = pick.source == Source::Generator || is_local(&manifest.target);
    let machine =
        (here && manifest.host.memory_bytes > 0).then_some((manifest.host.memory_bytes as f64, "the machine's memory"));
    // A server that was started by us is in our control group; another on this machine need not be.
    let ours = pick.name == "process_resident_bytes" || (pick.source == Source::Target && manifest.target.embedded);
    let group =
        stated(GROUP_LIMIT, Source::Generator, None).filter(|_| ours).map(|bytes| (bytes, "the control group's limit"));
    by_metric.or_else(|| [group, machine].into_iter().flatten().min_by(|a, b| a.0.total_cmp(&b.0)))
}

/// What was found, and why it is said as it is.
struct Judged {
    trend: Trend,
    fit: Option<Fit>,
    limit_in_s: Option<TrendEstimate>,
    why: &'static str,
}

fn judge(points: &[Point], limit_bytes: Option<f64>) -> Judged {
    let lasted_s = points.last().map_or(0.0, |last| last.at_s) - points.first().map_or(0.0, |first| first.at_s);
    let blocks = if lasted_s < 2.0 * LEAST_S { FEW_BLOCKS } else { BLOCKS };
    let unknown = |why| Judged { trend: Trend::Unknown, fit: None, limit_in_s: None, why };
    let Some(found) = fit(points, blocks) else { return unknown("a minute and sixty readings are the least") };
    let limit_in_s = limit_bytes.and_then(|limit| found.limit_in_s(limit));
    let limit_in_s = limit_in_s.map(|found| TrendEstimate { low: found.low, value: found.value, high: found.high });
    let (trend, why) = match limit_in_s {
        _ if !found.grows() => flat(&found, points, blocks, limit_bytes),
        Some(limit) if limit.low > FAR_S => {
            (Trend::Level, "it grows so slowly that its limit is more than a year away")
        }
        Some(limit) if lasted_s < LEAST_S && limit.value > NEAR * lasted_s => (Trend::Unknown, FILLING),
        None if lasted_s < LEAST_S => (Trend::Unknown, FILLING),
        _ => (Trend::Rises, ""),
    };
    Judged { trend, fit: Some(found), limit_in_s: limit_in_s.filter(|_| trend == Trend::Rises), why }
}

const FILLING: &str = "in so short a time a leak looks like a cache that fills up: run for ten minutes or longer";

/// Of what does not grow all the time: whether growth that matters could hide in it.
fn flat(found: &Fit, points: &[Point], blocks: usize, limit_bytes: Option<f64>) -> (Trend, &'static str) {
    let last_bytes = points.last().map_or(0.0, |last| last.used_bytes);
    let room_bytes = limit_bytes.map_or(last_bytes, |limit| limit - found.peak_bytes);
    let hides = |high: f64| high * ROOM_S > room_bytes;
    // It rose, but not all the time: what counts is what it does since.
    let late = if found.keeps_on { None } else { fit(&points[points.len() / 2..], blocks / 2) };
    match late {
        Some(late) if late.grows() => (Trend::Unknown, "it rose in the second half, but not by the same all the time"),
        _ if !hides(found.bytes_per_s.high) => (Trend::Level, ""),
        Some(late) if !hides(late.bytes_per_s.high) => (Trend::Level, "it changed, and came to an end"),
        _ => (Trend::Unknown, HIDDEN),
    }
}

const HIDDEN: &str = "a growth that fills what is left within a day could hide in it: run longer";

/// Keeps the largest of every group of neighbours.
fn thinned(readings: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let group = readings.len().div_ceil(MOST_POINTS).max(1);
    readings.chunks(group).filter_map(|part| part.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))).collect()
}

/// Seconds as a person says them: up to years.
pub(crate) fn long(seconds: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(365.0 * 86_400.0, "years"), (86_400.0, "days"), (3600.0, "h"), (60.0, "min")];
    let unit = UNITS.iter().find(|(scale, _)| seconds.abs() >= 2.0 * scale);
    unit.map_or_else(
        || format_duration_ns(seconds * NS_PER_S as f64),
        |(scale, unit)| format!("{} {unit}", proofload_run::units::significant(seconds / scale)),
    )
}

fn per_hour(bytes_per_s: f64) -> String {
    let sign = if bytes_per_s < 0.0 { "-" } else { "" };
    format!("{sign}{}/h", format_bytes(bytes_per_s.abs() * 3600.0))
}

fn sentence(found: &MemoryTrend, why: &str) -> String {
    let what = format!("memory of the {}", found.what);
    let at = format!("{} at the end", format_bytes(found.last_bytes));
    let slope = found.bytes_per_s.map(|slope| {
        let high = slope.high.map_or_else(|| "any".to_owned(), per_hour);
        format!("{} (90 % interval {} to {high})", per_hour(slope.value), per_hour(slope.low))
    });
    let slope = slope.unwrap_or_else(|| "no slope".to_owned());
    let because = if why.is_empty() { String::new() } else { format!("; {why}") };
    match found.trend {
        Trend::Rises => {
            let limit = found.limit_in_s.zip(found.limit_bytes).map_or_else(
                || "; its limit is not known".to_owned(),
                |(limit, bytes)| {
                    let high = limit.high.map_or_else(|| "any time".to_owned(), long);
                    let left = format!("{} left ({} to {high})", long(limit.value), long(limit.low));
                    format!("; at this pace {left} to {} of {}", found.limit_by, format_bytes(bytes))
                },
            );
            format!("{what} grows by {slope}, {at}{limit}")
        }
        Trend::Level | Trend::Falls => format!("{what} does not grow: {slope}, {at}{because}"),
        Trend::Unknown => format!("whether {what} grows cannot be said: {slope}, {at}{because}"),
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
