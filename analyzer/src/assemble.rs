//! Puts the analyses together: the only module that knows all of them. Looks at the samples of a run as often as one of
//! them asks for it: the first look counts, further ones are for percentiles.

use proofload_anomaly::Recording;
use proofload_run::FORMAT_VERSION;
use proofload_run::capacity::Capacity;
use proofload_run::criteria::Threshold;
use proofload_run::findings::{
    BreakingPoint, Cost, EntryFindings, Findings, Kept, RunSummary, StepFindings, ThresholdResult,
};
use proofload_run::manifest::{LoadModel, ScenarioKind};
use proofload_run::verdict::Verdict;

use crate::AnalyzeError;
use crate::anomalies::{self, Seconds};
use crate::attribution::Slowest;
use crate::audit::Auditor;
use crate::breaking::{Judged, breaking_point};
use crate::budget::budget;
use crate::capacity::from_steps;
use crate::conservation::Models;
use crate::cost::{self, Meter, Parts};
use crate::endurance::Lasting;
use crate::errors::Errors;
use crate::incidents::Evidence;
use crate::load::Run;
use crate::model::replicas::{Basis, HEADROOM, SPARE, replicas};
use crate::model::{Services, capacity_model};
use crate::part::Part;
use crate::phases::{Batches, Phases};
use crate::rates::Whereabouts;
use crate::samples::Row;
use crate::scope::{Scope, Seen};
use crate::shape::Shape;
use crate::sliding::Sliding;
use crate::slo::{Level, Levels};
use crate::spike::spike;
use crate::stats::Distribution;
use crate::thresholds::{Subject, judge};
use crate::timeline::Buckets;
use crate::window::Window;
use crate::{forecast, gate, happenings, series, server_phases, warnings};

/// Everything that can be said about a run.
///
/// # Errors
/// When its samples cannot be read.
pub(crate) fn findings(run: &Run) -> Result<Findings, AnalyzeError> {
    analysed(run).map(|(findings, _)| findings)
}

/// The same, and the run second by second.
///
/// # Errors
/// When its samples cannot be read.
pub(crate) fn analysed(run: &Run) -> Result<(Findings, Recording), AnalyzeError> {
    let scope = Scope::new(run);
    let levels = Levels::new(&run.manifest);
    let defaults = gate::default_thresholds(&run.manifest);
    let mut looks = Looks::new(&scope, &levels);
    run.samples.each(|row| looks.count(row))?;
    while looks.turn() {
        run.samples.each(|row| looks.look(row))?;
    }
    let mut findings = looks.figures(&defaults);
    findings.replicas = Basis::of_run(&findings).map(|basis| replicas(&basis, &[], HEADROOM, SPARE));
    if let Some(whole) = findings.attribution.first_mut() {
        let traces = run.samples.trace_ids(&looks.slowest.places())?;
        whole.examples.iter_mut().zip(traces).for_each(|(example, trace)| example.trace_id = trace);
    }
    findings.reasons = gate::reasons(&findings, run);
    findings.verdict = findings.reasons.iter().map(|reason| reason.verdict).max().unwrap_or(Verdict::Inconclusive);
    findings.warnings = warnings::warnings(&findings, run);
    let recording = looks.seconds.recording(&run.latency, &run.series);
    findings.anomalies = anomalies::anomalies(&scope, &recording);
    findings.cost = looks.cost(&findings);
    findings.forecasts = forecast::forecasts(&recording);
    Ok((findings, recording))
}

/// The analyses while samples are looked at.
struct Looks<'a> {
    scope: &'a Scope<'a>,
    levels: &'a Levels,
    whereabouts: Whereabouts,
    whole: Part,
    entries: Vec<Part>,
    windows: Vec<Part>,
    distribution: Distribution,
    buckets: Buckets,
    errors: Errors,
    phases: Phases,
    batches: Batches,
    meter: Meter,
    auditor: Auditor,
    models: Models<'a>,
    sliding: Vec<Sliding<'a>>,
    seconds: Seconds,
    slowest: Slowest<'a>,
    evidence: Evidence<'a>,
    services: Services<'a>,
    lasting: Lasting,
    shape: Shape,
}

impl<'a> Looks<'a> {
    fn new(scope: &'a Scope<'a>, levels: &'a Levels) -> Self {
        let manifest = scope.manifest();
        let part = Part::new(manifest, levels);
        let windowed = manifest.thresholds.iter().filter_map(|threshold| Some((threshold, threshold.window_ns?)));
        Self {
            scope,
            levels,
            whereabouts: Whereabouts::default(),
            entries: vec![part.clone(); manifest.entries.len()],
            windows: vec![part.clone(); scope.windows.all.len()],
            whole: part,
            distribution: Distribution::default(),
            buckets: Buckets::new(scope),
            errors: Errors::default(),
            phases: Phases::default(),
            batches: Batches::default(),
            meter: Meter::default(),
            auditor: Auditor::new(scope),
            models: Models::new(scope),
            seconds: Seconds::new(scope),
            slowest: Slowest::new(scope),
            evidence: Evidence::new(scope),
            services: Services::new(scope),
            lasting: Lasting::new(scope),
            shape: Shape::new(scope),
            sliding: windowed.map(|(threshold, window_ns)| Sliding::new(threshold, window_ns, scope)).collect(),
        }
    }

    /// The first look at a sample.
    fn count(&mut self, row: &Row) {
        let seen = self.scope.see(row);
        let is_in_time = self.levels.in_time(row);
        self.whereabouts.add(&seen);
        self.errors.add(row);
        self.batches.add(&seen);
        self.meter.count(&seen);
        self.models.add(row);
        self.phases.count(&seen);
        self.auditor.count(&seen);
        self.buckets.count(&seen, is_in_time);
        self.seconds.count(&seen);
        self.evidence.count(&seen);
        self.services.count(&seen);
        self.lasting.count(&seen);
        self.shape.count(&seen);
        let entry = usize::from(row.entry);
        if let Some(window) = seen.measured_in() {
            self.each_part(entry, window, |part, levels| part.count_arrival(&seen, levels));
            if seen.is_measured_success() {
                self.distribution.add(row.latency_ns());
            }
        }
        if let Some(window) = seen.answered_in {
            self.each_part(entry, window, |part, _| part.count_answer(row, is_in_time));
        }
        self.look_at(&seen);
    }

    /// A further look at a sample.
    fn look(&mut self, row: &Row) {
        let seen = self.scope.see(row);
        self.evidence.look(&seen);
        self.look_at(&seen);
    }

    fn look_at(&mut self, seen: &Seen<'_>) {
        self.phases.look(seen);
        self.auditor.look(seen);
        self.buckets.look(seen);
        self.slowest.look(seen);
        self.lasting.look(seen);
        self.shape.look(seen);
        self.sliding.iter_mut().for_each(|sliding| sliding.add(seen.row));
        if let Some(window) = seen.measured_in() {
            self.each_part(usize::from(seen.row.entry), window, |part, _| part.look(seen));
        }
    }

    /// The parts of a run that a sample belongs to.
    fn each_part(&mut self, entry: usize, window: usize, mut on: impl FnMut(&mut Part, &Levels)) {
        let parts = self.entries.get_mut(entry).into_iter().chain(self.windows.get_mut(window));
        parts.chain([&mut self.whole]).for_each(|part| on(part, self.levels));
    }

    /// A look is over. Says whether another is wanted.
    fn turn(&mut self) -> bool {
        let open = [self.phases.turn(), self.auditor.turn(), self.buckets.turn(), self.shape.turn()].contains(&true);
        let open = [self.slowest.turn(), self.evidence.turn(), self.lasting.turn(), open].contains(&true);
        let open = self.sliding.iter_mut().fold(open, |open, sliding| sliding.turn() | open);
        let parts = self.entries.iter_mut().chain(&mut self.windows).chain([&mut self.whole]);
        parts.fold(open, |open, part| part.turn() | open)
    }

    /// All figures; the verdict is still to come.
    fn figures(&self, defaults: &[Threshold]) -> Findings {
        let scope = self.scope;
        let (manifest, measured_ns) = (scope.manifest(), scope.windows.measured_ns());
        let steps = self.steps();
        let (broken, capacity) = (self.breaking(&steps), self.capacity(&steps));
        let timeline = self.buckets.timeline();
        let spike = if manifest.scenario.kind == ScenarioKind::Spike { spike(&steps, &timeline) } else { None };
        let lasts = manifest.scenario.kind == ScenarioKind::Endurance;
        let objective = manifest.slo.and_then(|slo| slo.availability);
        let error_budget = if lasts { budget(objective, self.whole.flow.failed(), &timeline) } else { None };
        let server_phases = server_phases::server_phases(scope);
        let service = self.services.found();
        let modelled = service.as_ref().filter(|_| manifest.scenario.kind.seeks_the_limit());
        let model = modelled.map(|service| capacity_model(service, manifest.slo.as_ref(), capacity.as_ref()));
        let endurance = self.lasting.found(scope, &timeline);
        Findings {
            format_version: FORMAT_VERSION,
            verdict: Verdict::Inconclusive,
            reasons: Vec::new(),
            warnings: Vec::new(),
            run: summary(scope, measured_ns),
            totals: self.whereabouts.totals(),
            rates: self.whole.flow.rates(measured_ns),
            latency: self.whole.population.summary(),
            tokens: self.whole.tokens(measured_ns),
            distribution: self.distribution.bins(),
            slos: self.levels.judge(&self.whole.slos, &manifest.entries),
            thresholds: self.thresholds(defaults, broken.as_ref()),
            steps,
            entries: (0..self.entries.len()).map(|index| self.entry(index)).collect(),
            timeline,
            errors: self.errors.classes(&manifest.entries, &scope.run.events),
            phases: self.phases.breakdowns(&manifest.entries),
            attribution: self.slowest.found(&server_phases),
            server_phases,
            batches: self.batches.sizes(&manifest.entries),
            series: series::series(&scope.run.series),
            audit: self.auditor.audit(scope),
            breaking_point: broken,
            capacity,
            service,
            model,
            replicas: None,
            spike,
            error_budget,
            endurance,
            conservation: self.models.compared(),
            incidents: self.evidence.incidents(),
            anomalies: None,
            cost: None,
            happenings: happenings::happenings(scope.run),
            shape: self.shape.found(),
            forecasts: Vec::new(),
        }
    }

    /// What the requests cost, by the figures and the prices that the folder has.
    fn cost(&self, findings: &Findings) -> Option<Cost> {
        let parts = Parts {
            climbs: findings.run.kind.seeks_the_limit(),
            rates: &findings.rates,
            steps: &findings.steps,
            entries: &findings.entries,
            buckets: &findings.timeline.buckets,
            bucket_ns: findings.timeline.bucket_ns,
            driven_ns: self.scope.driven_ns,
            series: &self.scope.run.series,
            meter: &self.meter,
        };
        Some(cost::priced(cost::basis(&parts)?, &cost::Subject::of(findings), &self.scope.run.terms))
    }

    /// Every threshold, stated or by default, judged over its subject.
    fn thresholds(&self, defaults: &[Threshold], broken: Option<&BreakingPoint>) -> Vec<ThresholdResult> {
        let measured_ns = self.scope.windows.measured_ns();
        let (entries, mut sliding) = (&self.scope.manifest().entries, self.sliding.iter());
        let judged = |threshold: &Threshold, default: bool| {
            let part = match &threshold.entry {
                None => Some(&self.whole),
                Some(name) => entries.iter().position(|entry| entry.name == *name).map(|index| &self.entries[index]),
            };
            let Some(part) = part else { return judge(threshold, default, None) };
            let (rates, tokens) = (part.flow.rates(measured_ns), part.tokens(measured_ns));
            let subject = Subject {
                population: &part.population,
                token_times: &part.token_times,
                rates: &rates,
                tokens: tokens.as_ref(),
                slos: &self.levels.judge(&part.slos, entries),
                arrivals: part.flow.arrivals,
                breaking_point: broken.filter(|_| threshold.entry.is_none()),
            };
            judge(threshold, default, Some(subject))
        };
        let stated = self.scope.manifest().thresholds.iter().map(|threshold| match threshold.window_ns {
            Some(_) => sliding.next().map(Sliding::judged),
            None => Some(judged(threshold, false)),
        });
        let stated: Vec<ThresholdResult> = stated.flatten().collect();
        stated.into_iter().chain(defaults.iter().map(|threshold| judged(threshold, true))).collect()
    }

    fn steps(&self) -> Vec<StepFindings> {
        self.scope.windows.all.iter().zip(&self.windows).map(|(window, part)| self.step(window, part)).collect()
    }

    fn step(&self, window: &Window, part: &Part) -> StepFindings {
        let entries = &self.scope.manifest().entries;
        let judged = self.scope.was_run(window).then(|| self.levels.judge(&part.slos, entries));
        let slos = judged.unwrap_or_default();
        StepFindings {
            name: window.name.clone(),
            step: window.step,
            start_ns: window.start_ns,
            end_ns: window.end_ns,
            measured_from_ns: window.measured_from_ns,
            level: window.level,
            warm_up: window.warm_up,
            cut_short: window.cut_short,
            outcomes: part.outcomes.by_word(),
            rates: part.flow.rates(window.measured_ns()),
            latency: part.population.summary(),
            tokens: part.tokens(window.measured_ns()),
            kept: slos.iter().map(|slo| slo.kept).max(),
            slos,
        }
    }

    /// The breaking point, where the scenario seeks it and states a service level. Steps that the run did not reach
    /// take no part.
    fn breaking(&self, steps: &[StepFindings]) -> Option<BreakingPoint> {
        let manifest = self.scope.manifest();
        if !manifest.scenario.kind.seeks_the_limit() || self.levels.all.is_empty() {
            return None;
        }
        let judged: Vec<Judged> = steps.iter().filter_map(judged).collect();
        Some(breaking_point(&judged, manifest.load.model))
    }

    /// The capacity by the steps of a climb in an open model, where one service level is for all.
    fn capacity(&self, steps: &[StepFindings]) -> Option<Capacity> {
        let manifest = self.scope.manifest();
        let climbs = manifest.scenario.kind == ScenarioKind::Stress && manifest.load.model == LoadModel::Open;
        let [Level { entry: None, slo }] = &self.levels.all[..] else { return None };
        from_steps(steps, slo).filter(|_| climbs)
    }

    fn entry(&self, index: usize) -> EntryFindings {
        let (stated, part) = (&self.scope.manifest().entries[index], &self.entries[index]);
        let measured_ns = self.scope.windows.measured_ns();
        EntryFindings {
            name: stated.name.clone(),
            protocol: stated.protocol.clone(),
            what: if stated.path.is_empty() { stated.model.clone() } else { stated.path.clone() },
            payload_policy: stated.payload_policy.clone(),
            planned_share: stated.share,
            outcomes: part.outcomes.by_word(),
            cache_hits: part.cache_hits.share(),
            rates: part.flow.rates(measured_ns),
            latency: part.population.summary(),
            tokens: part.tokens(measured_ns),
            mean_bytes_out: part.mean_bytes_out(),
            mean_bytes_in: part.mean_bytes_in(),
        }
    }
}

fn judged(step: &StepFindings) -> Option<Judged> {
    let kept = step.kept?;
    let clear = step.slos.iter().any(|slo| slo.kept == Kept::Missed && slo.clear);
    Some(Judged { name: step.name.clone(), level: step.level, kept, clear, goodput_per_s: step.rates.goodput_per_s })
}

fn summary(scope: &Scope<'_>, measured_ns: u64) -> RunSummary {
    let manifest = scope.manifest().clone();
    let (end, end_detail) = manifest.end.map_or((None, String::new()), |end| (Some(end.reason), end.detail));
    RunSummary {
        run_id: manifest.run_id,
        tool: manifest.tool,
        scenario: manifest.scenario.name,
        kind: manifest.scenario.kind,
        description: manifest.scenario.description,
        scenario_path: manifest.scenario.path,
        scenario_as_written: manifest.scenario.as_written,
        overrides: manifest.scenario.overrides,
        seed: manifest.seed,
        plan_fingerprint: manifest.load.plan_fingerprint,
        load_model: manifest.load.model,
        arrivals: manifest.load.arrivals,
        slo: manifest.slo,
        host: manifest.host,
        target: manifest.target,
        clocks: manifest.clocks,
        planned_ns: manifest.load.duration_ns,
        driven_ns: scope.driven_ns,
        measured_ns,
        end,
        end_detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::load;
    use crate::samples::Samples;
    use crate::support::{MS, Recorded, Server, manifest, step};
    use proofload_run::criteria::Slo;
    use proofload_run::folder::RunFolder;
    use proofload_run::table;

    /// The findings as they are written, when so many samples are kept in memory at most.
    fn written(recorded: &Recorded, most_kept: usize) -> String {
        let place = tempfile::tempdir().unwrap();
        recorded.write(place.path());
        let folder = RunFolder::open(place.path()).unwrap();
        table::seal(&folder).unwrap();
        let run = Run { samples: Samples::open(&folder, most_kept).unwrap(), ..load(&folder).unwrap() };
        serde_json::to_string_pretty(&findings(&run).unwrap()).unwrap()
    }

    #[test]
    fn samples_kept_or_read_again_in_any_order_give_the_same_findings() {
        let steps = vec![step("low", 0, 6, 2000.0, 1), step("high", 6, 16, 3900.0, 1)];
        let server =
            Server { slots: 40, service_ns: 10e6, exponential: false, shed_after_ns: Some(30 * MS), down: None };
        let thresholds = ["p95 < 1s", "p12.5 < 1s", "p90 < 20ms over any 3s", "burn_rate < 3 over 4s and 1s"];
        let slo = Slo::new(15 * MS, 95.0, 0.01);
        let plan = manifest(ScenarioKind::Stress, steps, Some(slo), &thresholds);
        let mut recorded = Recorded::simulate(plan, server, false, 77).completed();
        assert!(recorded.samples.len() > 45_000);
        let expected = written(&recorded, usize::MAX);
        assert!(written(&recorded, 0) == expected, "read again");
        recorded.samples.reverse();
        assert!(written(&recorded, usize::MAX) == expected, "in another order");
        assert!(written(&recorded, 0) == expected, "in another order, and read again");
    }
}
