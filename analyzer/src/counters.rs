//! What a server counts about a model itself: successes, and the time that they spent in each phase. From its
//! statistics, or from its Prometheus page where it gives no statistics. Reads series and judges nothing.

use std::collections::BTreeMap;

use proofload_run::series::Source;

use crate::lines::Line;
use crate::series::label_value;

/// The counts of successes, then the times of these: whole request, queue, input, compute, output.
const COUNTERS: usize = 6;

/// One way in which servers state these counters.
#[derive(Debug, PartialEq, Eq)]
struct Family {
    source: Source,
    /// What a reader knows it by.
    known_as: &'static str,
    names: [&'static str; COUNTERS],
    /// Nanoseconds in the unit of the times.
    unit_ns: u32,
}

const STATISTICS: Family = Family {
    source: Source::Statistics,
    known_as: "v2/models/stats",
    names: [
        "inference_success_count",
        "inference_success_ns",
        "inference_queue_ns",
        "inference_compute_input_ns",
        "inference_compute_infer_ns",
        "inference_compute_output_ns",
    ],
    unit_ns: 1,
};

const METRICS: Family = Family {
    source: Source::Target,
    known_as: "nv_inference_* metrics",
    names: [
        "nv_inference_request_success",
        "nv_inference_request_duration_us",
        "nv_inference_queue_duration_us",
        "nv_inference_compute_input_duration_us",
        "nv_inference_compute_infer_duration_us",
        "nv_inference_compute_output_duration_us",
    ],
    unit_ns: 1000,
};

/// What the server had counted when it was asked, all versions of the model together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Count {
    pub(crate) t_ns: u64,
    pub(crate) successes: f64,
    /// Whole request, queue, input, compute, output: summed over these successes. A whole request is counted from
    /// its arrival to its answer, so it is more than the sum of the others.
    pub(crate) times_ns: [f64; COUNTERS - 1],
}

/// The counters of a model over time, as one shard saw them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Counters {
    /// Where they come from, as a reader knows it; empty when there are none.
    pub(crate) source: &'static str,
    /// Whether there are times beside the successes.
    pub(crate) has_times: bool,
    /// In order of time.
    pub(crate) counts: Vec<Count>,
}

/// Whether a target's metric of this name is such a counter.
pub(crate) fn is_counted(name: &str) -> bool {
    METRICS.names.contains(&name)
}

/// The counters of a model, from whichever source has them.
pub(crate) fn counters(series: &[Line], model: &str) -> Counters {
    let found = [&STATISTICS, &METRICS].map(|family| of_family(family, series, model));
    found.into_iter().find(|counters| !counters.counts.is_empty()).unwrap_or_default()
}

fn of_family(family: &Family, series: &[Line], model: &str) -> Counters {
    let lines = || {
        series.iter().filter(|line| {
            line.source == family.source
                && family.names.contains(&line.name.as_str())
                && label_value(&line.labels, "model") == Some(model)
        })
    };
    let shard = lines().map(|line| line.shard).min();
    // One scrape has one time, so that what is counted at the same time belongs together.
    let mut sums: BTreeMap<u64, [Option<f64>; COUNTERS]> = BTreeMap::new();
    for line in lines().filter(|line| Some(line.shard) == shard) {
        let Some(which) = family.names.iter().position(|name| *name == line.name) else { continue };
        for (t_ns, value) in &line.points {
            *sums.entry(*t_ns).or_default()[which].get_or_insert(0.0) += value;
        }
    }
    let has_times = family.names.iter().all(|name| lines().any(|line| line.name == *name));
    let counts = sums.into_iter().filter_map(|(t_ns, sums)| count(family, t_ns, sums, has_times)).collect();
    Counters { source: family.known_as, has_times, counts }
}

/// Nothing where a scrape was cut short between the counters.
fn count(family: &Family, t_ns: u64, sums: [Option<f64>; COUNTERS], has_times: bool) -> Option<Count> {
    let [successes, times @ ..] = sums;
    if has_times && times.iter().any(Option::is_none) {
        return None;
    }
    let times_ns = times.map(|time| time.unwrap_or(0.0) * f64::from(family.unit_ns));
    Some(Count { t_ns, successes: successes?, times_ns })
}

impl Count {
    /// What was counted since; `None` where a counter went backwards: the server was restarted, or its counters reset.
    pub(crate) fn since(&self, before: &Self) -> Option<Self> {
        let successes = self.successes - before.successes;
        let times_ns: [f64; COUNTERS - 1] = std::array::from_fn(|which| self.times_ns[which] - before.times_ns[which]);
        let forwards = successes >= 0.0 && times_ns.iter().all(|time| *time >= 0.0);
        forwards.then_some(Self { t_ns: self.t_ns, successes, times_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(source: Source, name: &str, version: u32, points: &[(u64, f64)]) -> Line {
        let labels = format!("model=\"m\",version=\"{version}\"");
        Line { shard: 0, source, name: name.to_owned(), labels, points: points.to_vec() }
    }

    fn whole(family: &Family, version: u32, t_ns: u64) -> Vec<Line> {
        let value = |which: usize| (t_ns * 10 + which as u64) as f64;
        let names = family.names.iter().enumerate();
        names.map(|(which, name)| line(family.source, name, version, &[(t_ns, value(which))])).collect()
    }

    #[test]
    fn statistics_come_before_metrics_and_versions_are_one_model() {
        let series = [whole(&METRICS, 1, 2), whole(&STATISTICS, 1, 1), whole(&STATISTICS, 2, 1)].concat();
        let check = |series: &[Line], source: &str, has_times: bool, expected: &[Count]| {
            let found = counters(series, "m");
            assert_eq!((found.source, found.has_times, &found.counts[..]), (source, has_times, expected));
        };
        let both = Count { t_ns: 1, successes: 20.0, times_ns: [22.0, 24.0, 26.0, 28.0, 30.0] };
        check(&series, "v2/models/stats", true, &[both]);
        let in_us = Count { t_ns: 2, successes: 20.0, times_ns: [21e3, 22e3, 23e3, 24e3, 25e3] };
        check(&series[..6], "nv_inference_* metrics", true, &[in_us]);
        let alone = Count { t_ns: 2, successes: 20.0, times_ns: [21e3, 0.0, 0.0, 0.0, 0.0] };
        check(&series[..2], "nv_inference_* metrics", false, &[alone]);
        check(&series[1..2], "", false, &[]);
        check(&[], "", false, &[]);
    }

    #[test]
    fn a_scrape_that_lacks_a_counter_is_left_out() {
        let mut series = whole(&STATISTICS, 1, 1);
        series.iter_mut().skip(1).for_each(|line| line.points.push((2, 1e6)));
        assert_eq!(counters(&series, "m").counts.len(), 1);
        assert_eq!(counters(&series, "another").counts.len(), 0);
    }

    #[test]
    fn a_counter_that_goes_backwards_says_nothing() {
        let count = |t_ns, successes, time| Count { t_ns, successes, times_ns: [time; COUNTERS - 1] };
        let check = |from, to: Count, expected| assert_eq!(to.since(&from), expected);
        check(count(1, 5.0, 50.0), count(2, 8.0, 90.0), Some(count(2, 3.0, 40.0)));
        check(count(1, 5.0, 50.0), count(2, 5.0, 50.0), Some(count(2, 0.0, 0.0)));
        check(count(1, 5.0, 50.0), count(2, 4.0, 90.0), None);
        check(count(1, 5.0, 50.0), count(2, 8.0, 40.0), None);
    }
}
