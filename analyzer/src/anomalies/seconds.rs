//! A run second by second, as anomalies are looked for in it: counts of samples, percentiles of latency, scraped series.
//! A day is a few megabytes. Judges nothing.

use std::iter::Peekable;

use proofload_anomaly::Recording;
use proofload_anomaly::metric::Metric;
use proofload_run::RunError;
use proofload_run::folder::RunFolder;
use proofload_run::histogram::{LatencyHistogram, Line as HistogramLine};
use proofload_run::jsonl::LineReader;
use proofload_run::sample::{Outcome, flags};
use proofload_run::series::Source;
use proofload_run::units::NS_PER_S;

use crate::lines::Line;
use crate::scope::{Scope, Seen};

/// A metric is left out when it was measured in a smaller share of the seconds.
const LEAST_MEASURED: f64 = 0.5;

/// Counts of one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    intended: u32,
    begun: u32,
    ended: u32,
    ok: u32,
    errors: u32,
    sheds: u32,
    hits: u32,
}

/// Median and 95th percentile of the latency of the successes that came in within a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Latency {
    second: u64,
    p50_ms: f64,
    p95_ms: f64,
}

/// How several lines of one series are one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Together {
    Sum,
    Mean,
    Max,
}

/// A metric that is scraped: the first of these names that has points.
struct Scraped {
    metric: &'static str,
    names: &'static [&'static str],
    /// A counter, of which the growth counts.
    is_counter: bool,
    scale: f64,
    together: Together,
    /// Title of the report's chart that shows it.
    chart: &'static str,
}

const MIB: f64 = 1.0 / 1_048_576.0;

const SCRAPED: [Scraped; 7] = [
    gauge("gpu_util_pct", &["nv_gpu_utilization"], 100.0, Together::Mean, "GPU utilisation"),
    gauge("gpu_memory_mib", &["nv_gpu_memory_used_bytes"], MIB, Together::Sum, "GPU memory"),
    gauge("gpu_power_w", &["nv_gpu_power_usage"], 1.0, Together::Sum, "GPU power"),
    gauge("gpu_temperature_c", &["proofload_gpu_temperature_celsius", "DCGM_FI_DEV_GPU_TEMP"], 1.0, Together::Max, ""),
    gauge(
        "server_queue",
        &["proofload_queue_requests", "nv_inference_pending_request_count"],
        1.0,
        Together::Sum,
        "Queue of the target",
    ),
    gauge("server_memory_mib", &["process_resident_memory_bytes"], MIB, Together::Sum, "Memory"),
    Scraped {
        is_counter: true,
        ..gauge("server_cpu_cores", &["process_cpu_seconds_total"], 1.0, Together::Sum, "Processor use")
    },
];

const fn gauge(
    metric: &'static str,
    names: &'static [&'static str],
    scale: f64,
    together: Together,
    chart: &'static str,
) -> Scraped {
    Scraped { metric, names, is_counter: false, scale, together, chart }
}

/// Whether a scraped metric of this name is looked at.
pub(crate) fn is_watched(name: &str) -> bool {
    SCRAPED.iter().any(|scraped| scraped.names.contains(&name))
}

/// The beginning of the title of the report's chart that shows a metric; empty where none does.
pub(crate) fn chart_of(metric: &str) -> &'static str {
    match metric {
        "p50_ms" | "p95_ms" => "Latency",
        "answered_per_s" => "Load, requests per second",
        "error_rate" | "shed_rate" => "Errors and sheds per second",
        "in_flight" => "In flight, requests",
        other => SCRAPED.iter().find(|scraped| scraped.metric == other).map_or("", |scraped| scraped.chart),
    }
}

/// The counts of a run while its samples are looked at.
#[derive(Debug, Clone)]
pub(crate) struct Seconds {
    counts: Vec<Count>,
}

impl Seconds {
    pub(crate) fn new(scope: &Scope<'_>) -> Self {
        let seconds = usize::try_from(scope.driven_ns / NS_PER_S).unwrap_or(0);
        Self { counts: vec![Count::default(); seconds] }
    }

    /// Counts a sample, in the first look only. What happens after the load's end is not looked at.
    pub(crate) fn count(&mut self, seen: &Seen<'_>) {
        let row = seen.row;
        let mut at = |t_ns: u64, add: &dyn Fn(&mut Count)| {
            let place = usize::try_from(t_ns / NS_PER_S).ok().and_then(|second| self.counts.get_mut(second));
            place.into_iter().for_each(add);
        };
        at(row.intended_ns, &|count| count.intended += 1);
        if row.outcome == Outcome::Dropped {
            return;
        }
        at(row.intended_ns, &|count| count.begun += 1);
        at(row.intended_ns + seen.age_ns, &|count| {
            count.ended += 1;
            count.ok += u32::from(row.outcome == Outcome::Ok);
            count.errors += u32::from(row.outcome.is_error());
            count.sheds += u32::from(row.outcome == Outcome::Shed);
            count.hits += u32::from(row.flags & flags::CACHE_HIT != 0);
        });
    }

    /// The run as a recording, with the metrics that it has.
    pub(crate) fn recording(&self, latency: &[Latency], series: &[Line]) -> Recording {
        let mut columns: Vec<(&'static str, Vec<f64>)> = self.counted();
        let at = |of: fn(&Latency) -> f64| self.placed(latency.iter().map(|second| (second.second, of(second))));
        columns.push(("p50_ms", at(|second| second.p50_ms)));
        columns.push(("p95_ms", at(|second| second.p95_ms)));
        columns.extend(SCRAPED.iter().map(|scraped| (scraped.metric, self.scraped(scraped, series))));
        columns.retain(|(_, values)| {
            let measured = values.iter().filter(|value| value.is_finite()).count();
            measured as f64 >= LEAST_MEASURED * values.len() as f64
        });
        let mut recording = Recording::new(columns.iter().map(|(name, _)| Metric::named(name)).collect());
        for (second, count) in self.counts.iter().enumerate() {
            let values: Vec<f64> = columns.iter().map(|(_, values)| values[second]).collect();
            recording.push(f64::from(count.intended), &values);
        }
        recording
    }

    /// What the samples say.
    fn counted(&self) -> Vec<(&'static str, Vec<f64>)> {
        let each = |of: &dyn Fn(&Count) -> f64| self.counts.iter().map(of).collect::<Vec<f64>>();
        let share = |part: u32, whole: u32| f64::from(part) / f64::from(whole.max(1));
        let mut under_way = 0.0;
        let in_flight = self.counts.iter().map(|count| {
            under_way += f64::from(count.begun) - f64::from(count.ended);
            f64::max(under_way, 0.0)
        });
        let mut columns = vec![("in_flight", in_flight.collect())];
        columns.push(("answered_per_s", each(&|count| f64::from(count.ok))));
        columns.push(("error_rate", each(&|count| share(count.errors, count.ended - count.sheds))));
        columns.push(("shed_rate", each(&|count| share(count.sheds, count.ended))));
        if self.counts.iter().any(|count| count.hits > 0) {
            let hits = |count: &Count| if count.ok == 0 { f64::NAN } else { share(count.hits, count.ok) };
            columns.push(("cache_hit", each(&hits)));
        }
        columns
    }

    fn placed(&self, values: impl Iterator<Item = (u64, f64)>) -> Vec<f64> {
        let mut column = vec![f64::NAN; self.counts.len()];
        for (second, value) in values {
            usize::try_from(second)
                .ok()
                .and_then(|second| column.get_mut(second))
                .into_iter()
                .for_each(|at| *at = value);
        }
        column
    }

    fn scraped(&self, scraped: &Scraped, series: &[Line]) -> Vec<f64> {
        let is_of_target = |line: &&Line| matches!(line.source, Source::Target | Source::Gpu);
        let named = |name: &'static str| series.iter().filter(is_of_target).filter(move |line| line.name == name);
        let name = scraped.names.iter().copied().find(|name| named(name).next().is_some());
        let mut sums = vec![(f64::NAN, 0_u32); self.counts.len()];
        for line in name.into_iter().flat_map(named) {
            let column = self.placed(readings(line, scraped.is_counter));
            let mut held = f64::NAN;
            for ((sum, n), value) in sums.iter_mut().zip(column) {
                held = if value.is_finite() { value } else { held };
                if held.is_finite() {
                    let before = if *n == 0 { 0.0 } else { *sum };
                    *sum = if scraped.together == Together::Max && *n > 0 { before.max(held) } else { before + held };
                    *n += 1;
                }
            }
        }
        let divided = |(sum, n): (f64, u32)| if scraped.together == Together::Mean { sum / f64::from(n) } else { sum };
        sums.into_iter().map(|sum| divided(sum) * scraped.scale).collect()
    }
}

/// Values of a series by second: as they are, or the growth per second since the point before.
fn readings(line: &Line, is_counter: bool) -> impl Iterator<Item = (u64, f64)> + '_ {
    let skipped = usize::from(is_counter);
    let before = line.points.iter().take(if is_counter { usize::MAX } else { 0 }).map(|point| Some(*point));
    let before = before.chain(std::iter::repeat(None));
    line.points.iter().skip(skipped).zip(before).filter_map(|(&(t_ns, value), before)| {
        let Some((from_ns, from)) = before else { return Some((t_ns / NS_PER_S, value)) };
        let seconds = t_ns.saturating_sub(from_ns) as f64 / NS_PER_S as f64;
        (seconds > 0.0 && value >= from).then(|| (t_ns / NS_PER_S, (value - from) / seconds))
    })
}

/// One shard's histograms, in order of time.
type Histograms = Peekable<LineReader<HistogramLine>>;

/// Latency second by second, all shards and entries together, from the histograms of the folder.
///
/// # Errors
/// When a file of histograms cannot be read, or holds none.
pub(crate) fn latency(folder: &RunFolder) -> Result<Vec<Latency>, RunError> {
    let shards = folder.shards("histograms-", ".jsonl")?;
    let paths = shards.into_iter().map(|shard| folder.histogram_lines(shard));
    let mut readers: Vec<Histograms> =
        paths.map(|path| LineReader::open(&path).map(Iterator::peekable)).collect::<Result<_, _>>()?;
    let mut found = Vec::new();
    // A second's line is written at its end.
    let second_of = |line: &HistogramLine| line.end_ns.saturating_sub(1) / NS_PER_S;
    while let Some(second) = earliest(&mut readers, second_of) {
        let mut merged = LatencyHistogram::default();
        for reader in &mut readers {
            while let Some(line) = reader.next_if(|line| line.as_ref().map_or(true, |line| second_of(line) <= second)) {
                line?.histogram().iter().for_each(|histogram| merged.merge(histogram));
            }
        }
        let ms = |percentile: f64| merged.percentile_ns(percentile).map(|ns| ns as f64 / 1e6);
        if let Some((p50_ms, p95_ms)) = ms(50.0).zip(ms(95.0)) {
            found.push(Latency { second, p50_ms, p95_ms });
        }
    }
    Ok(found)
}

/// The earliest second of which a line is still to be read; a broken line counts as of the first, so that it is met.
fn earliest(readers: &mut [Histograms], second_of: impl Fn(&HistogramLine) -> u64) -> Option<u64> {
    readers.iter_mut().filter_map(|reader| reader.peek().map(|line| line.as_ref().map_or(0, &second_of))).min()
}
