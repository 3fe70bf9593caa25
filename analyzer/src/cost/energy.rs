//! Power of the target's GPUs by their counters of energy: growth over windows of ten seconds, below which NVML's counter is too
//! coarse. Knows no prices.

use proofload_run::findings::Estimate;
use proofload_run::series::Source;
use proofload_run::units::NS_PER_S;

use crate::interval::half_of_mean;
use crate::lines::Line;

/// A shorter window says too little.
const WINDOW_NS: u64 = 10 * NS_PER_S;

/// Counters of energy since a driver was loaded, and joules in their unit.
const COUNTERS: [(&str, f64); 3] =
    [("nv_energy_consumption", 1.0), ("hw_energy_joules_total", 1.0), ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 1e-3)];

/// Whether a series of this name is a counter of energy.
pub(crate) fn is_metered(name: &str) -> bool {
    COUNTERS.iter().any(|counter| counter.0 == name)
}

/// The counters of a run: those of the first name that is there, of all GPUs.
pub(super) struct Counters<'a> {
    /// What they are called; empty where there are none.
    pub(super) name: &'static str,
    joules: f64,
    lines: Vec<&'a Line>,
}

impl<'a> Counters<'a> {
    pub(super) fn of(series: &'a [Line]) -> Self {
        let of = |name: &str| -> Vec<&Line> {
            let gpus = series.iter().filter(|line| matches!(line.source, Source::Target | Source::Gpu));
            gpus.filter(|line| line.name == name && line.points.len() > 1).collect()
        };
        let found = COUNTERS.iter().map(|(name, joules)| (*name, *joules, of(name)));
        let found = found.filter(|(_, _, lines)| !lines.is_empty());
        found.map(|(name, joules, lines)| Self { name, joules, lines }).next().unwrap_or(Self {
            name: "",
            joules: 1.0,
            lines: Vec::new(),
        })
    }

    /// Mean power of all GPUs together within these times, W; `None` where none of them has ten seconds.
    pub(super) fn power_w(&self, within: &[(u64, u64)]) -> Option<Estimate> {
        let whole: Vec<f64> =
            within.iter().flat_map(|&(from, to)| windows(from, to)).filter_map(|w| self.mean(w)).collect();
        let n = whole.len();
        let value = (n > 0).then(|| whole.iter().sum::<f64>() / n as f64)?;
        let half = half_of_mean(&whole);
        Some(Estimate { value, interval: half.map(|half| [(value - half).max(0.0), value + half]), n: n as u64 })
    }

    /// Mean power within a window; `None` where a GPU was not read or began anew in it.
    fn mean(&self, (from, to): (u64, u64)) -> Option<f64> {
        let of_line = |line: &&Line| {
            let first = line.points.partition_point(|point| point.0 < from);
            let end = line.points.partition_point(|point| point.0 <= to);
            let inside = line.points.get(first..end)?;
            let (first, last) = (inside.first()?, inside.last()?);
            let (joules, ns) = (last.1 - first.1, last.0 - first.0);
            // Two readings that are close together say nothing of ten seconds.
            (joules >= 0.0 && ns * 2 >= WINDOW_NS).then(|| joules * self.joules / (ns as f64 / NS_PER_S as f64))
        };
        let powers: Option<Vec<f64>> = self.lines.iter().map(of_line).collect();
        powers.filter(|powers| !powers.is_empty()).map(|powers| powers.iter().sum())
    }
}

fn windows(from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
    let count = to.saturating_sub(from) / WINDOW_NS;
    (0..count).map(move |index| (from + index * WINDOW_NS, from + (index + 1) * WINDOW_NS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, gpu: &str, watts: f64, seconds: u64) -> Line {
        let points = (0..=seconds).map(|s| (s * NS_PER_S, 1e6 + watts * s as f64)).collect();
        let labels = format!("gpu_uuid=\"{gpu}\"");
        Line { shard: 0, source: Source::Target, name: name.to_owned(), labels, points }
    }

    #[test]
    fn power_is_the_growth_of_all_counters() {
        let check = |lines: &[Line], within: (u64, u64), expected: Option<(f64, u64)>| {
            let found = Counters::of(lines).power_w(&[(within.0 * NS_PER_S, within.1 * NS_PER_S)]);
            let found = found.map(|power| ((power.value * 1000.0).round() / 1000.0, power.n));
            assert_eq!(found, expected, "{within:?}");
        };
        let two = [line(COUNTERS[0].0, "a", 300.0, 100), line(COUNTERS[0].0, "b", 50.0, 100)];
        check(&two, (0, 60), Some((350.0, 6)));
        check(&two, (5, 34), Some((350.0, 2)));
        check(&two, (0, 9), None);
        check(&two, (0, 200), Some((350.0, 10)));
        check(&[line(COUNTERS[2].0, "a", 300_000.0, 100)], (0, 60), Some((300.0, 6)));
        check(&[line("nv_gpu_power_usage", "a", 1.0, 100)], (0, 60), None);
        // The same energy under two names counts once.
        check(&[line(COUNTERS[1].0, "a", 70.0, 100), line(COUNTERS[0].0, "a", 70.0, 100)], (0, 60), Some((70.0, 6)));
        let mut reset = line(COUNTERS[0].0, "a", 300.0, 100);
        reset.points.iter_mut().filter(|point| point.0 > 15 * NS_PER_S).for_each(|point| point.1 -= 1e6);
        check(&[reset], (0, 60), Some((300.0, 5)));
    }
}
