//! Several runs side by side: which machine is cheapest for a demand, what a setting saved, how costs went over the months. Only
//! what was measured is compared, at the limit where the capacity is known. Reads no files.

use std::collections::BTreeMap;

use proofload_run::findings::{Cost, CostBasis, Findings};
use proofload_run::units::format_duration_ns;
use serde::Serialize;

use super::traffic::{Fleet, Month, Traffic};
use super::{Subject, Terms, priced};
use crate::calendar::month;

/// A run that is compared, and what is known of its costs.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// What it is called; of runs that are held against each other, `none` is the one without any of the settings.
    pub label: String,
    /// Its findings; of a search for capacity those of its last step, with what was found.
    pub findings: Findings,
    /// What things cost.
    pub terms: Terms,
}

/// The labels of a run without the settings that others are compared for.
const PLAIN: [&str; 3] = ["none", "base", "baseline"];

/// Several runs side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The runs.
    pub runs: Vec<RunCost>,
    /// Machines for the demand, the cheapest first; empty without one, or without capacities.
    pub sizing: Vec<Sizing>,
    /// What settings saved against the run labelled `none`.
    pub what_if: Vec<WhatIf>,
    /// Costs by month; empty where all are of one.
    pub trend: Vec<MonthCost>,
    /// What should be known of the comparison.
    pub notes: Vec<String>,
}

/// What a run cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunCost {
    /// Its label.
    pub label: String,
    /// Unique name of the run.
    pub run_id: String,
    /// Its scenario.
    pub scenario: String,
    /// Month that it was driven in, `YYYY-MM`; empty where it is not known.
    pub month: String,
    /// Its service level, in words; empty without one.
    pub slo: String,
    /// What is sustainable, requests per second.
    pub sustainable_per_s: Option<f64>,
    /// All figures.
    pub cost: Cost,
}

impl RunCost {
    /// Price of 1,000 good requests, and its interval: at the limit where it is known, else at the run's load.
    fn per_1k(&self) -> Option<(f64, Option<[f64; 2]>)> {
        let named = |key: &str| self.cost.figures.iter().find(|figure| figure.key == key);
        let figure = named("per_1k_good_at_limit").or_else(|| named("per_1k_good"))?;
        Some((figure.value, figure.interval))
    }

    fn at_limit(&self) -> Option<(f64, Option<[f64; 2]>)> {
        let figure = self.cost.figures.iter().find(|figure| figure.key == "per_1k_good_at_limit")?;
        Some((figure.value, figure.interval))
    }
}

/// A kind of machine for a demand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sizing {
    /// Label of the run that measured it.
    pub label: String,
    /// The machine, such as `2 × h200`.
    pub machine: String,
    /// Currency.
    pub currency: String,
    /// What one sustains, requests per second.
    pub sustained_per_s: f64,
    /// How many for the peak, headroom and spares included.
    pub machines: u32,
    /// The same by the ends of the capacity's 90 % interval.
    pub machines_range: Option<[u32; 2]>,
    /// Price of these for an hour.
    pub per_hour: f64,
    /// Price of 1,000 requests of the peak.
    pub per_1k: f64,
    /// Its range by the ends of the capacity's 90 % interval.
    pub per_1k_range: Option<[f64; 2]>,
    /// A month of the demand.
    pub month: Month,
}

/// What a setting saved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WhatIf {
    /// Label of the run with it.
    pub label: String,
    /// Saved share of the price of a good request at the limit; `None` where a capacity is not known. Negative: it costs more.
    pub saved_share: Option<f64>,
    /// Its range: of the ends of both 90 % intervals those that are farthest apart.
    pub saved_range: Option<[f64; 2]>,
    /// Saved share of the time of computing a request; `None` where answers state none.
    pub computing_saved_share: Option<f64>,
    /// Its range, of both 95 % intervals.
    pub computing_saved_range: Option<[f64; 2]>,
}

/// What good requests cost in a month.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MonthCost {
    /// Scenario and machine.
    pub what: String,
    /// `YYYY-MM`.
    pub month: String,
    /// Runs in it.
    pub n: usize,
    /// Median price of 1,000 good requests.
    pub median: f64,
    /// Lowest and highest.
    pub range: [f64; 2],
    /// Against the month before; `None` for the first.
    pub change_share: Option<f64>,
}

/// Puts the runs side by side, for a demand if there is one.
pub fn compare(runs: &[Labelled], demand: Option<&Traffic>) -> Comparison {
    let rows: Vec<RunCost> = runs.iter().filter_map(row).collect();
    let mut notes: Vec<String> = Vec::new();
    for run in runs.iter().filter(|run| run.findings.cost.is_none()) {
        notes.push(format!("{}: nothing was answered, so there is nothing to price", run.label));
    }
    let mut sizing: Vec<Sizing> = Vec::new();
    if let Some(demand) = demand {
        let found = rows.iter().filter_map(|row| {
            let terms = &runs.iter().find(|run| run.label == row.label)?.terms;
            self::sizing(row, terms, demand, runs)
        });
        sizing = found.collect();
        sizing.sort_by(|a, b| a.currency.cmp(&b.currency).then(a.per_1k.total_cmp(&b.per_1k)));
        note_sizing(&rows, &sizing, &mut notes);
    }
    Comparison { what_if: what_if(&rows, &mut notes), trend: trend(&rows), runs: rows, sizing, notes }
}

fn row(run: &Labelled) -> Option<RunCost> {
    let findings = &run.findings;
    let measured: CostBasis = findings.cost.as_ref()?.measured.clone();
    let zero = findings.run.clocks.first().map(|clock| clock.zero_unix_ns);
    let slo =
        findings.run.slo.map(|slo| format!("p{} within {}", slo.percentile, format_duration_ns(slo.latency_ns as f64)));
    Some(RunCost {
        label: run.label.clone(),
        run_id: findings.run.run_id.clone(),
        scenario: findings.run.scenario.clone(),
        month: zero.map(month).unwrap_or_default(),
        slo: slo.unwrap_or_default(),
        sustainable_per_s: findings.capacity.as_ref().and_then(|found| found.sustainable_per_s),
        cost: priced(measured, &Subject::of(findings), &run.terms),
    })
}

fn sizing(row: &RunCost, terms: &Terms, demand: &Traffic, runs: &[Labelled]) -> Option<Sizing> {
    let machine = row.cost.machine.as_ref()?;
    let capacity = runs.iter().find(|run| run.label == row.label)?.findings.capacity.as_ref()?;
    let replicas = f64::from(machine.replicas);
    let fleet = |rate: f64| Fleet {
        sustained_per_s: rate / replicas,
        replica_per_hour: machine.per_hour / replicas,
        headroom: terms.headroom,
        spare: terms.spare,
    };
    let one = fleet(capacity.sustainable_per_s.filter(|rate| *rate > 0.0)?);
    let peak = demand.peak_per_s();
    let per_1k = |machines: u32| 1000.0 * f64::from(machines) * one.replica_per_hour / (3600.0 * peak);
    let ends = capacity.interval_per_s.filter(|ends| ends[0] > 0.0);
    let range = ends.map(|[low, high]| [fleet(high).replicas(peak), fleet(low).replicas(peak)]);
    let machines = one.replicas(peak);
    Some(Sizing {
        label: row.label.clone(),
        machine: format!("{} × {}", proofload_run::units::digits(machine.units), machine.name),
        currency: machine.currency.clone(),
        sustained_per_s: one.sustained_per_s,
        machines,
        machines_range: range,
        per_hour: f64::from(machines) * one.replica_per_hour,
        per_1k: per_1k(machines),
        per_1k_range: range.map(|ends| ends.map(per_1k)),
        month: demand.month(&one),
    })
}

fn note_sizing(rows: &[RunCost], sizing: &[Sizing], notes: &mut Vec<String>) {
    let levels: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.slo.as_str()).collect();
    if levels.len() > 1 && sizing.len() > 1 {
        let levels: Vec<&str> = levels.into_iter().map(|level| if level.is_empty() { "none" } else { level }).collect();
        notes.push(format!(
            "the runs have different service levels ({}): what they sustain is not the same",
            levels.join(", ")
        ));
    }
    for row in rows.iter().filter(|row| !sizing.iter().any(|sized| sized.label == row.label)) {
        notes.push(format!("{}: no machines for the demand, without a machine's price and a capacity", row.label));
    }
    if let [first, second, ..] = sizing
        && first.currency == second.currency
        && first.per_1k_range.zip(second.per_1k_range).is_none_or(|(a, b)| a[1] >= b[0])
    {
        notes.push(format!("{} and {} cannot be told apart: their ranges overlap", first.label, second.label));
    }
}

/// The share that is saved, and its range, where both have an interval.
fn saving(plain: (f64, Option<[f64; 2]>), with: (f64, Option<[f64; 2]>)) -> (Option<f64>, Option<[f64; 2]>) {
    let range = plain.1.zip(with.1).filter(|(plain, _)| plain[0] > 0.0);
    let range = range.map(|(plain, with)| [1.0 - with[1] / plain[0], 1.0 - with[0] / plain[1]]);
    ((plain.0 > 0.0).then(|| 1.0 - with.0 / plain.0), range)
}

fn what_if(rows: &[RunCost], notes: &mut Vec<String>) -> Vec<WhatIf> {
    let Some(plain) = rows.iter().find(|row| PLAIN.contains(&row.label.as_str())) else { return Vec::new() };
    let others = rows.iter().filter(|row| row.label != plain.label);
    let found = others.map(|row| {
        if row.scenario != plain.scenario {
            notes.push(format!(
                "{} drove another scenario than {}: what is saved may be the scenario's",
                row.label, plain.label
            ));
        }
        let same = row.cost.machine.as_ref().map(|m| &m.currency) == plain.cost.machine.as_ref().map(|m| &m.currency);
        let price = plain.at_limit().zip(row.at_limit()).filter(|_| same);
        let (saved_share, saved_range) = price.map_or((None, None), |(plain, with)| saving(plain, with));
        let of = |row: &RunCost| row.cost.measured.computing.map(|c| (c.per_success_s.value, c.per_success_s.interval));
        let computing = of(plain).zip(of(row)).map_or((None, None), |(plain, with)| saving(plain, with));
        WhatIf {
            label: row.label.clone(),
            saved_share,
            saved_range,
            computing_saved_share: computing.0,
            computing_saved_range: computing.1,
        }
    });
    let found: Vec<WhatIf> = found.collect();
    if found.iter().any(|row| row.saved_share.is_none()) {
        notes.push("what a setting saves of the price is seen at the limit: search the capacity of both".to_owned());
    }
    found
}

fn trend(rows: &[RunCost]) -> Vec<MonthCost> {
    let mut groups: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    for row in rows {
        let (Some(machine), Some((value, _))) = (&row.cost.machine, row.per_1k()) else { continue };
        let what = format!("{} on {}, {}", row.scenario, machine.name, machine.currency);
        groups.entry((what, row.month.clone())).or_default().push(value);
    }
    let months: std::collections::BTreeSet<&String> = groups.keys().map(|key| &key.1).collect();
    if months.len() < 2 {
        return Vec::new();
    }
    let mut found: Vec<MonthCost> = Vec::new();
    for ((what, month), mut values) in groups {
        values.sort_by(f64::total_cmp);
        let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        let before = found.last().filter(|before| before.what == what).map(|before| before.median);
        found.push(MonthCost {
            n: values.len(),
            range: [values[0], values[values.len() - 1]],
            change_share: before.filter(|before| *before > 0.0).map(|before| median / before - 1.0),
            what,
            month,
            median,
        });
    }
    found
}
