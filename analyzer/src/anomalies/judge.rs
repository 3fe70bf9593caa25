//! The anomalies of a run: by the healthy runs that lie in its folder, or by itself where there are none. Reads no file.

use proofload_anomaly::Recording;
use proofload_anomaly::episode::{Episode, episodes};
use proofload_anomaly::metric::Metric;
use proofload_anomaly::model::{ENOUGH_RUNS, Model, ModelError, Options};
use proofload_anomaly::watch::{Watch, Watched};
use proofload_run::findings::{Anomalies, AnomalousMetric, AnomalyEpisode, ComparedWith};
use proofload_run::units::{NS_PER_S, significant};

use super::IN_REPORTS;
use super::seconds::chart_of;
use crate::scope::Scope;

/// The longest warm-up that is left out where the scenario names none, seconds, and the least.
const WARM_UP_S: (usize, usize) = (20, 120);
/// A run that is compared with itself needs so many seconds after its warm-up.
const ALONE_S: usize = 300;
/// Metrics shown of an episode.
const MOST_METRICS: usize = 5;

/// What was odd; `None` where the run was too short to say, or goes beyond what the target can bear by plan and there is
/// no healthy run that did.
pub(crate) fn anomalies(scope: &Scope<'_>, run: &Recording) -> Option<Anomalies> {
    let warm_up_s = warm_up_s(scope, run.len());
    let options = Options { warm_up_s, ..Options::default() };
    let healthy = &scope.run.healthy;
    if healthy.is_empty() {
        let fits = run.len() >= warm_up_s + ALONE_S && !scope.manifest().scenario.kind.overloads();
        return Model::of_itself(run, options).ok().filter(|_| fits).map(|model| judged(&model, run, Vec::new()));
    }
    match learned(healthy, run, options) {
        Ok(model) => Some(judged(&model, run, notes(healthy.len()))),
        Err(error) => {
            let alone = Model::of_itself(run, options).ok()?;
            Some(judged(&alone, run, vec![format!("the healthy runs could not be learned from: {error}")]))
        }
    }
}

/// Learns the metrics that all runs have.
fn learned(healthy: &[Recording], run: &Recording, options: Options) -> Result<Model, ModelError> {
    let has = |other: &Recording, metric: &Metric| other.metrics().iter().any(|own| own.name == metric.name);
    let shared: Vec<Metric> =
        run.metrics().iter().filter(|metric| healthy.iter().all(|other| has(other, metric))).cloned().collect();
    let healthy: Vec<Recording> = healthy.iter().map(|other| other.with_metrics(&shared)).collect();
    Model::fit(&healthy, options)
}

fn notes(healthy: usize) -> Vec<String> {
    let few = format!(
        "{healthy} healthy runs are few: p-values are rough below {ENOUGH_RUNS}; add more with `proofload baseline add`"
    );
    (healthy < ENOUGH_RUNS).then_some(few).into_iter().collect()
}

/// The scenario's warm-up, or a share of the run.
fn warm_up_s(scope: &Scope<'_>, length_s: usize) -> usize {
    let steps = scope.manifest().steps.iter().take_while(|step| step.warm_up);
    let stated = steps.map(|step| usize::try_from(step.end_ns / NS_PER_S).unwrap_or(0)).max().unwrap_or(0);
    stated.max((length_s / 10).clamp(WARM_UP_S.0, WARM_UP_S.1))
}

fn judged(model: &Model, run: &Recording, mut notes: Vec<String>) -> Anomalies {
    let windows = Watch::run(model, IN_REPORTS, run);
    let count = |of: fn(&Watched) -> bool| windows.iter().filter(|window| of(window)).count() as u64;
    let unjudged = count(|window| !window.is_judged);
    let known = (model.runs() > 0).then(|| model.load());
    if let Some((low, high)) = known.filter(|_| unjudged > 0) {
        let (low, high) = (significant(low), significant(high));
        notes.push(format!(
            "{unjudged} of {} windows were not judged: the healthy runs had {low} to {high} requests per second",
            windows.len()
        ));
    }
    let names: Vec<String> = model.metrics().iter().map(|metric| metric.name.clone()).collect();
    Anomalies {
        compared_with: if model.runs() == 0 { ComparedWith::Itself } else { ComparedWith::HealthyRuns },
        healthy_runs: model.runs() as u64,
        warm_up_s: model.warm_up_s() as u64,
        alpha: IN_REPORTS,
        windows: windows.len() as u64,
        windows_unjudged: unjudged,
        windows_odd: count(|window| window.is_odd),
        known_load_per_s: known,
        episodes: episodes(&windows).iter().map(|found| episode(found, &names)).collect(),
        metrics: names,
        notes,
    }
}

fn episode(found: &Episode, names: &[String]) -> AnomalyEpisode {
    let ranked = found.ranked.iter().take(MOST_METRICS);
    let metrics: Vec<AnomalousMetric> = ranked
        .map(|(metric, strength)| AnomalousMetric { name: names[*metric].clone(), strength: *strength })
        .collect();
    AnomalyEpisode {
        start_ns: found.from_s as u64 * NS_PER_S,
        end_ns: found.to_s as u64 * NS_PER_S,
        windows: found.windows as u64,
        p: found.p,
        chart: metrics.first().map_or("", |metric| chart_of(&metric.name)).to_owned(),
        metrics,
        offered_per_s: found.offered,
        offered_before_per_s: found.offered_before,
    }
}
