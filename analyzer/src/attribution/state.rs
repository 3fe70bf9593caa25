//! What the target and its GPUs were like while slow requests were served, and while typical ones were: scraped series, weighted
//! by how many of each kind were under way. Beside each other is not because of each other.

use proofload_run::findings::SlowState;
use proofload_run::series::Source;

use super::clusters::half_width;
use crate::lines::Line;
use crate::series::label_value;
use crate::stats::BySecond;

/// How several lines of one metric are one figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Together {
    Sum,
    Most,
    Least,
}

/// A figure: the first of these metrics that was scraped.
struct Figure {
    what: &'static str,
    unit: &'static str,
    /// The generator's own, instead of the target's and of GPUs.
    of_generator: bool,
    names: &'static [&'static str],
    /// A counter, of which the growth counts.
    is_counter: bool,
    scale: f64,
    together: Together,
}

const MIB: f64 = 1.0 / 1_048_576.0;
const THROTTLED: &str = "proofload_gpu_throttled";
/// Reasons for lower clocks that are no trouble.
const NO_TROUBLE: [&str; 1] = ["idle"];

const FIGURES: [Figure; 9] = [
    gauge("GPU utilisation", "%", &["nv_gpu_utilization"], 100.0, Together::Most),
    gauge("GPU clock, the slowest", "MHz", &["DCGM_FI_DEV_SM_CLOCK"], 1.0, Together::Least),
    gauge("GPU memory used", "MiB", &["nv_gpu_memory_used_bytes"], MIB, Together::Sum),
    gauge("GPU memory free", "MiB", &["DCGM_FI_DEV_FB_FREE"], 1.0, Together::Least),
    gauge("GPU power", "W", &["nv_gpu_power_usage"], 1.0, Together::Sum),
    gauge("GPU temperature", "°C", &["proofload_gpu_temperature_celsius", "DCGM_FI_DEV_GPU_TEMP"], 1.0, Together::Most),
    gauge(
        "requests in the target's queue",
        "requests",
        &["proofload_queue_requests", "nv_inference_pending_request_count"],
        1.0,
        Together::Sum,
    ),
    Figure {
        is_counter: true,
        ..gauge("processors used by the target", "cores", &["process_cpu_seconds_total"], 1.0, Together::Sum)
    },
    Figure {
        is_counter: true,
        of_generator: true,
        ..gauge("processors busy on the generator's machine", "cores", &["host_cpu_busy_seconds"], 1.0, Together::Sum)
    },
];

const fn gauge(
    what: &'static str,
    unit: &'static str,
    names: &'static [&'static str],
    scale: f64,
    together: Together,
) -> Figure {
    Figure { what, unit, of_generator: false, names, is_counter: false, scale, together }
}

/// Whether a scraped metric of this name is looked at.
pub(crate) fn is_watched(name: &str) -> bool {
    name == THROTTLED || FIGURES.iter().any(|figure| figure.names.contains(&name))
}

/// How many typical and slow requests were under way in each moment, by the middle of each.
#[derive(Debug, Clone, Default)]
pub(super) struct UnderWay(BySecond<(u32, u32)>);

impl UnderWay {
    pub(super) fn add(&mut self, moment: u32, slow: bool) {
        let (typical, slow_ones) = self.0.at(moment);
        *(if slow { slow_ones } else { typical }) += 1;
    }

    /// All figures that were scraped, with one for each reason for which a GPU's clocks were held down.
    pub(super) fn state(&self, series: &[Line], moment_ns: u64) -> Vec<SlowState> {
        let figures = FIGURES.iter().filter_map(|figure| {
            let lines = |name: &'static str| series.iter().filter(move |line| line.name == name);
            let ours = |line: &&Line| (line.source == Source::Generator) == figure.of_generator;
            let name = figure.names.iter().copied().find(|name| lines(name).any(|line| ours(&line)))?;
            let lines: Vec<&Line> = lines(name).filter(ours).collect();
            self.compared(figure, name, &values(&lines, figure, moment_ns))
        });
        let mut found: Vec<SlowState> = figures.collect();
        found.extend(self.throttled(series, moment_ns));
        found
    }

    fn throttled(&self, series: &[Line], moment_ns: u64) -> Vec<SlowState> {
        let all: Vec<&Line> = series.iter().filter(|line| line.name == THROTTLED).collect();
        let mut reasons: Vec<&str> = all.iter().filter_map(|line| label_value(&line.labels, "reason")).collect();
        reasons.sort_unstable();
        reasons.dedup();
        reasons.retain(|reason| !NO_TROUBLE.contains(reason));
        let figure = gauge("", "% of the time", &[], 100.0, Together::Most);
        let found = reasons.into_iter().filter_map(|reason| {
            let of_reason = |line: &&Line| label_value(&line.labels, "reason") == Some(reason);
            let lines: Vec<&Line> = all.iter().copied().filter(of_reason).collect();
            let found = self.compared(&figure, THROTTLED, &values(&lines, &figure, moment_ns))?;
            let what = format!("GPU clocks held down: {}", reason.replace('_', " "));
            (found.slow > 0.0 || found.typical > 0.0).then_some(SlowState { what, ..found })
        });
        found.collect()
    }

    /// The means of a figure over both kinds; `None` unless it was scraped for some of both.
    fn compared(&self, figure: &Figure, metric: &str, values: &BySecond<Option<f64>>) -> Option<SlowState> {
        let known = |(moment, count): (u32, &(u32, u32))| {
            let value = values.get(moment).copied().flatten()?;
            (count.0 + count.1 > 0).then_some((value, f64::from(count.0), f64::from(count.1)))
        };
        let known: Vec<(f64, f64, f64)> = self.0.iter().filter_map(known).collect();
        let (n_typical, n_slow) = known.iter().fold((0.0, 0.0), |n, moment| (n.0 + moment.1, n.1 + moment.2));
        if n_typical == 0.0 || n_slow == 0.0 {
            return None;
        }
        let typical = known.iter().map(|(value, n, _)| value * n).sum::<f64>() / n_typical;
        let slow = known.iter().map(|(value, _, n)| value * n).sum::<f64>() / n_slow;
        let influences = known.iter().map(|(value, of_typical, of_slow)| {
            of_slow * (value - slow) / n_slow - of_typical * (value - typical) / n_typical
        });
        let moments = known.iter().filter(|moment| moment.2 > 0.0).count();
        let half = half_width(influences, moments);
        Some(SlowState {
            what: figure.what.to_owned(),
            unit: figure.unit.to_owned(),
            metric: metric.to_owned(),
            typical,
            slow,
            low: half.map(|half| slow - typical - half),
            high: half.map(|half| slow - typical + half),
            moments: moments as u64,
        })
    }
}

/// The mean of a figure in each moment in which it was scraped.
fn values(lines: &[&Line], figure: &Figure, moment_ns: u64) -> BySecond<Option<f64>> {
    let mut together: BySecond<Option<f64>> = BySecond::default();
    for line in lines {
        let mut means: BySecond<(f64, u32)> = BySecond::default();
        for (t_ns, value) in readings(line, figure.is_counter) {
            let (sum, n) = means.at(super::moment(t_ns, moment_ns));
            (*sum, *n) = (*sum + value * figure.scale, *n + 1);
        }
        for (moment, (sum, n)) in means.iter().filter(|(_, mean)| mean.1 > 0) {
            let mean = sum / f64::from(*n);
            let at = together.at(moment);
            *at = Some(at.map_or(mean, |before| match figure.together {
                Together::Sum => before + mean,
                Together::Most => before.max(mean),
                Together::Least => before.min(mean),
            }));
        }
    }
    together
}

/// Values as they are, or the growth per second since the one before; a counter that begins anew has none.
fn readings(line: &Line, is_counter: bool) -> Vec<(u64, f64)> {
    let points = line.points.iter().filter(|point| point.1.is_finite());
    if !is_counter {
        return points.copied().collect();
    }
    let points: Vec<&(u64, f64)> = points.collect();
    let growth = |pair: &[&(u64, f64)]| {
        let seconds = (pair[1].0 - pair[0].0) as f64 / 1e9;
        (seconds > 0.0 && pair[1].1 >= pair[0].1).then(|| (pair[1].0, (pair[1].1 - pair[0].1) / seconds))
    };
    points.windows(2).filter_map(growth).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn line(source: Source, name: &str, labels: &str, values: impl Fn(u64) -> f64) -> Line {
        let points = (0..20).map(|second| (second * S + S / 3, values(second))).collect();
        Line { shard: 0, source, name: name.to_owned(), labels: labels.to_owned(), points }
    }

    /// Typical requests in every second, slow ones in the last eight of twenty.
    fn under_way() -> UnderWay {
        let mut under_way = UnderWay::default();
        for moment in 0..20 {
            (0..10).for_each(|_| under_way.add(moment, false));
            (0..moment.saturating_sub(11)).for_each(|_| under_way.add(moment, true));
        }
        under_way
    }

    #[test]
    fn figures_are_weighted_by_who_was_under_way() {
        let late = |second: u64| second >= 12;
        let gpu = |other: &str| format!("gpu_uuid=\"A\"{other}");
        let reason = |reason: &str| gpu(&format!(",reason=\"{reason}\""));
        let is = |yes: bool| f64::from(u8::from(yes));
        let series = [
            line(Source::Target, "DCGM_FI_DEV_SM_CLOCK", "gpu=\"0\"", |s| if late(s) { 900.0 } else { 1700.0 }),
            line(Source::Target, "DCGM_FI_DEV_SM_CLOCK", "gpu=\"1\"", |_| 1800.0),
            line(Source::Target, THROTTLED, &reason("power_cap"), |s| is(late(s))),
            line(Source::Target, THROTTLED, &reason("idle"), |s| is(!late(s))),
            line(Source::Target, THROTTLED, &reason("thermal_slowdown"), |_| 0.0),
            line(Source::Target, "process_cpu_seconds_total", "", |s| s as f64 * 1.5),
            line(Source::Generator, "process_cpu_seconds_total", "", |s| s as f64 * 99.0),
        ];
        let found = under_way().state(&series, S);
        let told: Vec<(&str, f64, f64)> = found.iter().map(|f| (f.what.as_str(), f.typical, f.slow)).collect();
        let clock = (1700.0 * 12.0 + 900.0 * 8.0) / 20.0;
        let expected = [
            ("GPU clock, the slowest", clock, 900.0),
            ("processors used by the target", 1.5, 1.5),
            ("GPU clocks held down: power cap", 40.0, 100.0),
        ];
        assert_eq!(told, expected);
        assert!(found[0].high.unwrap() < 0.0, "surely slower clocks: {:?}", found[0]);
        assert_eq!(found[0].moments, 8);
    }

    #[test]
    fn what_was_not_scraped_for_both_is_not_told() {
        let mut only_slow = UnderWay::default();
        (0..20).for_each(|moment| only_slow.add(moment, true));
        assert_eq!(only_slow.state(&[line(Source::Target, "nv_gpu_utilization", "", |_| 0.5)], S), []);
        assert_eq!(under_way().state(&[], S), []);
    }
}
