//! What explains the metrics of a second: a row of numbers, made of this second and of moving averages and peaks of
//! those before it. Knows no weights.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::metric::{Metric, Role};
use crate::recording::{Recording, Second};
use crate::robust::quantile;

/// Time constants of moving averages of the load, seconds; 0 is the second itself.
const LOAD_TAUS_S: [f64; 5] = [0.0, 1.5, 6.0, 30.0, 90.0];
/// Where, as a share of the highest load, a metric's course may bend.
const BENDS: [f64; 5] = [0.3, 0.5, 0.7, 0.85, 0.95];
/// Columns of one moving average.
const PER_TAU: usize = 1 + BENDS.len();
/// Columns of a load.
const PER_LOAD: usize = LOAD_TAUS_S.len() * PER_TAU;
/// Time constants of what heats up, seconds.
const HEAT_TAUS_S: [f64; 5] = [12.0, 30.0, 55.0, 90.0, 150.0];
/// Peaks that memory follows: of what is in flight or of the load, forgotten over so many seconds, and counted up to
/// this share of the highest that healthy runs had. Memory that was taken at a peak is given back slowly, if ever; what
/// serves has an end; and what a fault did to a peak must not be what is expected from then on.
const PEAKS: [(Of, f64, f64); 9] = [
    (Of::InFlight, 3600.0, 0.5),
    (Of::InFlight, 3600.0, 0.7),
    (Of::InFlight, 3600.0, 0.85),
    (Of::InFlight, 3600.0, 1.0),
    (Of::InFlight, 3600.0, 1.15),
    (Of::InFlight, f64::INFINITY, 1.1),
    (Of::InFlight, 900.0, 1.1),
    (Of::Load, 3600.0, 1.1),
    (Of::Load, f64::INFINITY, 1.1),
];
/// What there is now of either counts up to this share.
const HIGHEST_NOW: f64 = 1.1;
/// Memory grows less than what is in flight: buffers are shared.
const IN_FLIGHT_POWER: f64 = 0.7;
/// Of the level by which spreads are told apart.
const LEVEL_TAU_S: f64 = 6.0;

/// What a peak is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    InFlight,
    Load,
}

/// The size of things in the training runs, by which they become numbers about 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Scales {
    offered: f64,
    demand: f64,
    in_flight: f64,
    power: f64,
    utilisation: f64,
}

impl Scales {
    pub(super) fn of(runs: &[&Recording], warm_up_s: usize) -> Self {
        let metrics = runs.first().map(|run| run.metrics().to_vec()).unwrap_or_default();
        let mut so_far = Vec::new();
        for run in runs {
            let mut inputs = Inputs::new(&metrics);
            for (t_s, second) in run.seconds().enumerate() {
                inputs.push(second);
                if t_s >= warm_up_s {
                    so_far.push(inputs.measures(second.offered));
                }
            }
        }
        let large = |of: fn(&Measures) -> f64| {
            let found =
                quantile(&mut so_far.iter().map(of).filter(|value| value.is_finite()).collect::<Vec<f64>>(), 0.995);
            if found > 0.0 { found } else { 1.0 }
        };
        Self {
            offered: large(|m| m.offered),
            demand: large(|m| m.demand),
            in_flight: large(|m| m.in_flight),
            power: large(|m| m.power),
            utilisation: large(|m| m.utilisation),
        }
    }
}

/// What the covariates are made of, in its own units.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measures {
    offered: f64,
    /// What a cache leaves over; what was offered, where there is none.
    demand: f64,
    in_flight: f64,
    power: f64,
    utilisation: f64,
    hit_rate: f64,
}

/// The latest values, each until a newer one is measured.
#[derive(Debug, Clone, PartialEq)]
struct Inputs {
    values: Vec<f64>,
    /// The last three of the latency: one wild second must not count as a peak.
    latency: [f64; 3],
    places: Places,
}

/// Which metrics explain others: the first of each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Places {
    hit_rate: Option<usize>,
    goodput: Option<usize>,
    latency: Option<usize>,
    power: Option<usize>,
    utilisation: Option<usize>,
}

impl Places {
    fn of(metrics: &[Metric]) -> Self {
        let first = |role: Role| metrics.iter().position(|metric| metric.role == role);
        Self {
            hit_rate: first(Role::HitRate),
            goodput: first(Role::Goodput),
            latency: first(Role::Latency).or_else(|| first(Role::TailLatency)),
            power: first(Role::Power),
            utilisation: first(Role::Utilisation),
        }
    }
}

impl Inputs {
    fn new(metrics: &[Metric]) -> Self {
        Self { values: vec![f64::NAN; metrics.len()], latency: [0.0; 3], places: Places::of(metrics) }
    }

    fn push(&mut self, second: Second<'_>) {
        for (held, value) in self.values.iter_mut().zip(second.values) {
            if value.is_finite() {
                *held = *value;
            }
        }
        self.latency = [self.latency[1], self.latency[2], self.value(self.places.latency)];
    }

    fn value(&self, place: Option<usize>) -> f64 {
        place.map(|place| self.values[place]).filter(|value| value.is_finite()).unwrap_or(0.0)
    }

    fn measures(&self, offered: f64) -> Measures {
        let hit_rate = self.value(self.places.hit_rate).clamp(0.0, 1.0);
        let answered = if self.places.goodput.is_some() { self.value(self.places.goodput) } else { offered };
        let [a, b, c] = self.latency;
        let middle = a.max(b).min(a.min(b).max(c));
        Measures {
            offered,
            demand: offered * (1.0 - hit_rate),
            // Little's law, but for a factor; what the cache answers takes hardly any time.
            in_flight: (answered * middle.max(0.0)).powf(IN_FLIGHT_POWER),
            power: self.value(self.places.power),
            utilisation: self.value(self.places.utilisation),
            hit_rate,
        }
    }
}

/// Which columns there are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    offered: Range<usize>,
    demand: Range<usize>,
    hit_rate: Range<usize>,
    utilisation: Range<usize>,
    heat: Range<usize>,
    peaks: Range<usize>,
}

impl Layout {
    pub(super) fn of(metrics: &[Metric]) -> Self {
        let places = Places::of(metrics);
        let has = |there: bool, columns: usize| if there { columns } else { 0 };
        let (cached, heated) = (places.hit_rate.is_some(), places.power.is_some());
        let mut end = 1;
        let mut take = |columns: usize| {
            end += columns;
            end - columns..end
        };
        Self {
            offered: take(PER_LOAD),
            demand: take(has(cached, PER_LOAD)),
            hit_rate: take(has(cached, 3)),
            utilisation: take(has(places.utilisation.is_some(), 4)),
            heat: take(has(heated, HEAT_TAUS_S.len() + 2)),
            peaks: take(PEAKS.len() + 2),
        }
    }

    pub(super) fn columns(&self) -> usize {
        self.peaks.end
    }

    /// The columns that explain a metric; the first is the constant.
    pub(super) fn explaining(&self, role: Role) -> Vec<usize> {
        let load = if role.is_behind_the_cache() && !self.demand.is_empty() { &self.demand } else { &self.offered };
        let groups: &[&Range<usize>] = match role {
            Role::Latency | Role::TailLatency | Role::Queue | Role::Utilisation => &[load, &self.hit_rate],
            Role::Power => &[load, &self.utilisation],
            Role::Temperature if !self.heat.is_empty() => &[&self.heat],
            Role::Memory => &[&self.peaks],
            _ => &[load],
        };
        std::iter::once(0).chain(groups.iter().flat_map(|group| (*group).clone())).collect()
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Covariates {
    scales: Scales,
    layout: Layout,
    inputs: Inputs,
    t_s: u64,
    offered: Load,
    demand: Load,
    busy: f64,
    heat: [f64; HEAT_TAUS_S.len()],
    level: f64,
    in_flight: f64,
    peaks: [f64; PEAKS.len()],
    row: Vec<f64>,
    /// The latest deviations.
    deviations: Vec<f64>,
}

/// Moving averages of a load.
#[derive(Debug, Clone, PartialEq)]
struct Load {
    averages: [f64; LOAD_TAUS_S.len()],
    smooth: f64,
}

/// A moving average one second later. The first value stands for all before it.
fn average(before: f64, value: f64, tau_s: f64, is_first: bool) -> f64 {
    if is_first || tau_s <= 0.0 { value } else { before + (1.0 - (-1.0 / tau_s).exp()) * (value - before) }
}

impl Load {
    const NONE: Self = Self { averages: [0.0; LOAD_TAUS_S.len()], smooth: 0.0 };

    fn push(&mut self, value: f64, is_first: bool) {
        for (held, tau_s) in self.averages.iter_mut().zip(LOAD_TAUS_S) {
            *held = average(*held, value, tau_s, is_first);
        }
        self.smooth = average(self.smooth, value, 10.0, is_first);
    }

    fn write(&self, row: &mut Vec<f64>) {
        for held in self.averages {
            row.push(held);
            row.extend(BENDS.map(|bend| (held - bend).max(0.0)));
        }
    }
}

impl Covariates {
    pub(super) fn new(scales: Scales, metrics: &[Metric]) -> Self {
        Self {
            scales,
            layout: Layout::of(metrics),
            inputs: Inputs::new(metrics),
            t_s: 0,
            offered: Load::NONE,
            demand: Load::NONE,
            busy: 0.0,
            heat: [0.0; HEAT_TAUS_S.len()],
            level: 0.0,
            in_flight: 0.0,
            peaks: [0.0; PEAKS.len()],
            row: Vec::new(),
            deviations: vec![0.0; metrics.len()],
        }
    }

    /// Takes in a second.
    pub(crate) fn push(&mut self, second: Second<'_>) {
        let is_first = self.t_s == 0;
        self.inputs.push(second);
        let found = self.inputs.measures(second.offered);
        let scales = &self.scales;
        let demand = found.demand / scales.demand;
        self.offered.push(found.offered / scales.offered, is_first);
        self.demand.push(demand, is_first);
        self.level = average(self.level, demand, LEVEL_TAU_S, is_first);
        let (power, busy) = (found.power / scales.power, found.utilisation / scales.utilisation);
        self.busy = average(self.busy, busy, 3.0, is_first);
        for (held, tau_s) in self.heat.iter_mut().zip(HEAT_TAUS_S) {
            *held = average(*held, power, tau_s, is_first);
        }
        let in_flight = found.in_flight / scales.in_flight;
        self.in_flight = average(self.in_flight, in_flight, 10.0, is_first);
        for (peak, (of, tau_s, highest)) in self.peaks.iter_mut().zip(PEAKS) {
            let value = match of {
                Of::InFlight => in_flight,
                Of::Load => self.demand.smooth,
            };
            *peak = (*peak * (-1.0 / tau_s).exp()).max(value.min(highest));
        }
        self.write(found.hit_rate, busy);
        self.t_s += 1;
    }

    fn write(&mut self, hit_rate: f64, busy: f64) {
        let row = &mut self.row;
        row.clear();
        row.push(1.0);
        self.offered.write(row);
        if !self.layout.demand.is_empty() {
            self.demand.write(row);
            // Once half of the answers come from the cache, the median is one of those.
            let most = f64::from(u8::from(hit_rate >= 0.5));
            row.extend([hit_rate, most, most * hit_rate]);
        }
        if !self.layout.utilisation.is_empty() {
            row.extend([busy, busy * busy, busy * busy * busy, self.busy]);
        }
        if !self.layout.heat.is_empty() {
            // What is left of the time before the first second.
            let before = (-(self.t_s as f64) / 60.0).exp();
            row.extend(self.heat);
            row.extend([before, before * self.heat[2]]);
        }
        row.extend(self.peaks);
        row.extend([self.demand.smooth, self.in_flight].map(|now| now.min(HIGHEST_NOW)));
    }

    /// A metric that was not measured in this second is as far off as it was in the last.
    pub(super) fn hold(&mut self, second: Second<'_>, deviations: &mut [f64]) {
        for ((held, found), value) in self.deviations.iter_mut().zip(deviations).zip(second.values) {
            if value.is_finite() {
                *held = *found;
            } else {
                *found = *held;
            }
        }
    }

    pub(super) fn row(&self) -> &[f64] {
        &self.row
    }

    /// The level of load, by which spreads are told apart.
    pub(super) fn level(&self) -> f64 {
        self.level
    }

    /// Requests offered, smoothed over ten seconds, per second.
    pub(crate) fn load(&self) -> f64 {
        self.offered.smooth * self.scales.offered
    }

    /// The latest value of each metric.
    pub(super) fn values(&self) -> &[f64] {
        &self.inputs.values
    }
}
