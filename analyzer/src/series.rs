//! The few scraped series worth showing: load on the target's queue, processors, memory and GPUs, beside the same
//! of the generator. Everything else stays in the run folder.

use proofload_run::findings::SeriesFindings;
use proofload_run::series::Source;
use proofload_run::units::NS_PER_S;

use crate::lines::Line;

/// Points kept of a series: what a chart can show.
const MAX_POINTS: usize = 400;
/// Lines of one chart; of a server with many models the busiest.
const MAX_LINES: usize = 5;

/// How a metric becomes a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// As it is.
    Gauge,
    /// A counter, as its growth per second.
    Growth,
}

/// A line of a chart: the first of these names that has points is taken, so that a server that exports a figure
/// under two names shows it once.
struct Pick {
    chart: &'static str,
    what: &'static str,
    unit: &'static str,
    source: Source,
    names: &'static [&'static str],
    reading: Reading,
    scale: f64,
}

const MIB: f64 = 1.0 / 1_048_576.0;

const PICKS: [Pick; 15] = [
    pick("Queue of the target", "waiting", "requests", Source::Target, QUEUE, Reading::Gauge, 1.0),
    pick("Queue of the target", "in flight", "requests", Source::Target, IN_FLIGHT, Reading::Gauge, 1.0),
    pick("Processor use", "target", "cores", Source::Target, CPU, Reading::Growth, 1.0),
    pick("Processor use", "generator", "cores", Source::Generator, CPU, Reading::Growth, 1.0),
    pick(
        "Processor use",
        "whole machine",
        "cores",
        Source::Generator,
        &["host_cpu_busy_seconds"],
        Reading::Growth,
        1.0,
    ),
    pick("Memory", "target", "MiB", Source::Target, MEMORY, Reading::Gauge, MIB),
    pick("Memory", "generator", "MiB", Source::Generator, MEMORY, Reading::Gauge, MIB),
    pick("Connections of the generator", "open", "count", Source::Generator, &["connections"], Reading::Gauge, 1.0),
    pick(
        "Connections of the generator",
        "arrivals waiting",
        "count",
        Source::Generator,
        &["backlog"],
        Reading::Gauge,
        1.0,
    ),
    pick("Lateness of the generator", "p99", "µs", Source::Generator, &["lateness_p99_ns"], Reading::Gauge, 1e-3),
    pick("Lateness of the generator", "p50", "µs", Source::Generator, &["lateness_p50_ns"], Reading::Gauge, 1e-3),
    pick("GPU utilisation", "GPU", "%", Source::Gpu, GPU_UTILISATION, Reading::Gauge, 100.0),
    pick("GPU utilisation", "GPU", "%", Source::Target, GPU_UTILISATION, Reading::Gauge, 100.0),
    pick("GPU memory", "GPU", "MiB", Source::Target, &["nv_gpu_memory_used_bytes"], Reading::Gauge, MIB),
    pick("GPU power", "GPU", "W", Source::Target, &["nv_gpu_power_usage"], Reading::Gauge, 1.0),
];

const QUEUE: &[&str] = &["proofload_queue_requests", "nv_inference_pending_request_count"];
const IN_FLIGHT: &[&str] = &["proofload_in_flight_requests"];
const CPU: &[&str] = &["process_cpu_seconds_total", "process_cpu_seconds"];
const MEMORY: &[&str] = &["process_resident_memory_bytes", "process_resident_bytes"];
const GPU_UTILISATION: &[&str] = &["nv_gpu_utilization"];

const fn pick(
    chart: &'static str,
    what: &'static str,
    unit: &'static str,
    source: Source,
    names: &'static [&'static str],
    reading: Reading,
    scale: f64,
) -> Pick {
    Pick { chart, what, unit, source, names, reading, scale }
}

/// Whether a metric of this name may be shown.
pub(crate) fn is_shown(name: &str) -> bool {
    PICKS.iter().any(|pick| pick.names.contains(&name))
}

/// The selected series of a run.
pub(crate) fn series(all: &[Line]) -> Vec<SeriesFindings> {
    PICKS.iter().flat_map(|pick| lines(pick, all)).collect()
}

fn lines(pick: &Pick, all: &[Line]) -> Vec<SeriesFindings> {
    let named = |name: &'static str| all.iter().filter(move |line| line.source == pick.source && line.name == name);
    let Some(name) = pick.names.iter().copied().find(|name| named(name).next().is_some()) else { return Vec::new() };
    let mut found: Vec<&Line> = named(name).collect();
    found.sort_by(|a, b| (a.shard, &a.labels).cmp(&(b.shard, &b.labels)));
    let mut lines: Vec<SeriesFindings> = found.into_iter().filter_map(|line| shown(pick, line)).collect();
    lines.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    // Models that nobody asks for have nothing to show; where all are idle one line says so.
    let busy = lines.iter().filter(|line| line.max > 0.0).count();
    lines.truncate(busy.max(1));
    lines.truncate(MAX_LINES);
    lines
}

fn shown(pick: &Pick, line: &Line) -> Option<SeriesFindings> {
    let points: Vec<(u64, f64)> = match pick.reading {
        Reading::Gauge => line.points.iter().map(|&(t_ns, value)| (t_ns, value * pick.scale)).collect(),
        Reading::Growth => line.points.windows(2).filter_map(|pair| growth(pair[0], pair[1])).collect(),
    };
    let points: Vec<(u64, f64)> = points.into_iter().filter(|point| point.1.is_finite()).collect();
    let max = points.iter().map(|point| point.1).reduce(f64::max)?;
    let which = ["model", "gpu_uuid", "gpu"].iter().find_map(|key| label_value(&line.labels, key));
    Some(SeriesFindings {
        chart: pick.chart.to_owned(),
        label: which.map_or_else(|| pick.what.to_owned(), |which| format!("{} {which}", pick.what)),
        unit: pick.unit.to_owned(),
        source: pick.source.as_str().to_owned(),
        name: line.name.clone(),
        n: points.len() as u64,
        mean: points.iter().map(|point| point.1).sum::<f64>() / points.len() as f64,
        max,
        points: thin(&points),
    })
}

/// Growth per second; nothing where the counter was reset.
fn growth(from: (u64, f64), to: (u64, f64)) -> Option<(u64, f64)> {
    let seconds = to.0.saturating_sub(from.0) as f64 / NS_PER_S as f64;
    (seconds > 0.0 && to.1 >= from.1).then(|| (to.0, (to.1 - from.1) / seconds))
}

/// Keeps the largest of every group of neighbours: a peak is what such a chart is looked at for.
fn thin(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let group = points.len().div_ceil(MAX_POINTS).max(1);
    points.chunks(group).filter_map(|part| part.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))).collect()
}

/// The value of one label in `key="value",…`.
pub(crate) fn label_value<'a>(labels: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = labels;
    while let Some((name, after)) = rest.split_once("=\"") {
        let (value, next) = after.split_once('"')?;
        if name.trim_start_matches([',', ' ']) == key {
            return Some(value);
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_by_their_key() {
        let check = |labels: &str, key: &str, expected: Option<&str>| assert_eq!(label_value(labels, key), expected);
        check(r#"model="a",version="1""#, "model", Some("a"));
        check(r#"model="a",version="1""#, "version", Some("1"));
        check(r#"my_model="a",model="b, c""#, "model", Some("b, c"));
        check(r#"version="1""#, "model", None);
        check("", "model", None);
    }

    #[test]
    fn counters_become_rates_and_survive_a_reset() {
        let points = [(0, 5.0), (1, 6.5), (2, 0.0), (4, 1.0)].map(|(t_s, value)| (t_s * NS_PER_S, value)).to_vec();
        let name = "process_cpu_seconds_total".to_owned();
        let found = series(&[Line { shard: 0, source: Source::Target, name, labels: String::new(), points }]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].points, [(NS_PER_S, 1.5), (4 * NS_PER_S, 0.5)]);
        assert_eq!((found[0].n, found[0].max, found[0].mean), (2, 1.5, 1.0));
    }
}
