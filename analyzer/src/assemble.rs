//! Puts the analyses together: the only module that knows all of them.

use proofload_run::FORMAT_VERSION;
use proofload_run::findings::{
    BreakingPoint, EntryFindings, Findings, Kept, RunSummary, SloResult, StepFindings, ThresholdResult, Tokens,
};
use proofload_run::sample::{Outcome, flags};
use proofload_run::verdict::Verdict;

use crate::breaking::{Judged, breaking_point};
use crate::load::{Row, Run};
use crate::rates::{outcomes, rates, totals};
use crate::scope::Scope;
use crate::sliding;
use crate::slo::Levels;
use crate::stats::{Population, block, share};
use crate::thresholds::{Subject, judge};
use crate::tokens::{TokenTimes, tokens};
use crate::window::Window;
use crate::{audit, conservation, errors, gate, phases, series, server_phases, timeline, warnings};

/// Some of the measured arrivals, and the answers that came meanwhile.
struct Part<'a> {
    arrivals: Vec<&'a Row>,
    answers: Vec<&'a Row>,
    population: Population,
    token_times: TokenTimes,
}

impl<'a> Part<'a> {
    fn new(arrivals: Vec<&'a Row>, answers: Vec<&'a Row>) -> Self {
        let successes = arrivals.iter().filter(|row| row.outcome == Outcome::Ok);
        let population = successes.map(|row| (row.latency_ns(), block(row.intended_ns))).collect();
        let token_times = TokenTimes::of(&arrivals);
        Self { arrivals, answers, population, token_times }
    }

    fn tokens(&self, measured_ns: u64) -> Option<Tokens> {
        tokens(&self.token_times, &self.arrivals, &self.answers, measured_ns)
    }

    /// The parts of a run by some key of the window and the sample.
    fn split(scope: &Scope<'a>, count: usize, key: impl Fn(usize, &Row) -> usize) -> Vec<Self> {
        let (mut arrivals, mut answers) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        let put = |parts: &mut Vec<Vec<&'a Row>>, (window, row): (usize, &'a Row)| {
            if let Some(part) = parts.get_mut(key(window, row)) {
                part.push(row);
            }
        };
        scope.measured().for_each(|found| put(&mut arrivals, found));
        scope.answered().for_each(|found| put(&mut answers, found));
        arrivals.into_iter().zip(answers).map(|(arrivals, answers)| Self::new(arrivals, answers)).collect()
    }
}

/// Everything that can be said about a run.
pub(crate) fn findings(run: &Run) -> Findings {
    let scope = Scope::new(run);
    let levels = Levels::new(&run.manifest);
    let mut findings = figures(&scope, &levels);
    findings.reasons = gate::reasons(&findings, run);
    findings.verdict = findings.reasons.iter().map(|reason| reason.verdict).max().unwrap_or(Verdict::Inconclusive);
    findings.warnings = warnings::warnings(&findings, run);
    findings
}

/// All figures; the verdict is still to come.
fn figures(scope: &Scope<'_>, levels: &Levels) -> Findings {
    let measured_ns = scope.windows.measured_ns();
    let whole = Part::split(scope, 1, |_, _| 0).swap_remove(0);
    let entries = Part::split(scope, scope.manifest().entries.len(), |_, row| usize::from(row.entry));
    let whole_rates = rates(&whole.arrivals, &whole.answers, measured_ns, levels);
    let whole_tokens = whole.tokens(measured_ns);
    let steps = steps(scope, levels);
    let broken = breaking(scope, levels, &steps);
    let entry_findings: Vec<EntryFindings> =
        entries.iter().enumerate().map(|(index, part)| entry(scope, levels, index, part)).collect();
    let slos = levels.judge(&whole.arrivals, scope);
    let entry_slos: Vec<Vec<SloResult>> = entries.iter().map(|part| levels.judge(&part.arrivals, scope)).collect();
    let subject = |name: Option<&String>| -> Option<Subject<'_>> {
        let (part, rates, tokens, slos) = match name {
            None => (&whole, &whole_rates, whole_tokens.as_ref(), &slos),
            Some(name) => {
                let index = entry_findings.iter().position(|entry| entry.name == *name)?;
                let found = &entry_findings[index];
                (&entries[index], &found.rates, found.tokens.as_ref(), &entry_slos[index])
            }
        };
        Some(Subject {
            population: &part.population,
            token_times: &part.token_times,
            rates,
            tokens,
            slos,
            arrivals: part.arrivals.len() as u64,
            breaking_point: broken.as_ref().filter(|_| name.is_none()),
        })
    };
    let thresholds = thresholds(scope, subject);
    Findings {
        format_version: FORMAT_VERSION,
        verdict: Verdict::Inconclusive,
        reasons: Vec::new(),
        warnings: Vec::new(),
        run: summary(scope, measured_ns),
        totals: totals(scope),
        rates: whole_rates,
        latency: whole.population.summary(),
        tokens: whole_tokens,
        distribution: whole.population.distribution(),
        slos,
        thresholds,
        steps,
        entries: entry_findings,
        timeline: timeline::timeline(scope, levels),
        errors: errors::errors(scope),
        phases: phases::phases(scope),
        server_phases: server_phases::server_phases(scope),
        batches: phases::batches(scope),
        series: series::series(&scope.run.series),
        audit: audit::audit(scope),
        breaking_point: broken,
        conservation: conservation::conservation(scope),
    }
}

/// Every threshold, stated or by default, judged over its subject.
fn thresholds<'a>(scope: &Scope<'_>, subject: impl Fn(Option<&String>) -> Option<Subject<'a>>) -> Vec<ThresholdResult> {
    let defaults = gate::default_thresholds(scope.manifest());
    let stated = scope.manifest().thresholds.iter().map(|threshold| (threshold, false));
    let all = stated.chain(defaults.iter().map(|threshold| (threshold, true)));
    let judged = all.map(|(threshold, default)| match threshold.window_ns {
        Some(window_ns) => sliding::judge(threshold, window_ns, scope),
        None => judge(threshold, default, subject(threshold.entry.as_ref())),
    });
    judged.collect()
}

fn steps(scope: &Scope<'_>, levels: &Levels) -> Vec<StepFindings> {
    let parts = Part::split(scope, scope.windows.all.len(), |window, _| window);
    scope.windows.all.iter().zip(parts).map(|(window, part)| step(scope, levels, window, &part)).collect()
}

fn step(scope: &Scope<'_>, levels: &Levels, window: &Window, part: &Part<'_>) -> StepFindings {
    let slos = if scope.was_run(window) { levels.judge(&part.arrivals, scope) } else { Vec::new() };
    StepFindings {
        name: window.name.clone(),
        step: window.step,
        start_ns: window.start_ns,
        end_ns: window.end_ns,
        measured_from_ns: window.measured_from_ns,
        level: window.level,
        warm_up: window.warm_up,
        cut_short: window.cut_short,
        outcomes: outcomes(part.arrivals.iter().copied()),
        rates: rates(&part.arrivals, &part.answers, window.measured_ns(), levels),
        latency: part.population.summary(),
        tokens: part.tokens(window.measured_ns()),
        kept: slos.iter().map(|slo| slo.kept).max(),
        slos,
    }
}

/// The breaking point, where the scenario seeks it and states a service level. Steps that the run did not reach
/// take no part.
fn breaking(scope: &Scope<'_>, levels: &Levels, steps: &[StepFindings]) -> Option<BreakingPoint> {
    let manifest = scope.manifest();
    if !manifest.scenario.kind.seeks_the_limit() || levels.all.is_empty() {
        return None;
    }
    let judged: Vec<Judged> = steps.iter().filter_map(judged).collect();
    Some(breaking_point(&judged, manifest.load.model))
}

fn judged(step: &StepFindings) -> Option<Judged> {
    let kept = step.kept?;
    let clear = step.slos.iter().any(|slo| slo.kept == Kept::Missed && slo.clear);
    Some(Judged { name: step.name.clone(), level: step.level, kept, clear, goodput_per_s: step.rates.goodput_per_s })
}

fn entry(scope: &Scope<'_>, levels: &Levels, index: usize, part: &Part<'_>) -> EntryFindings {
    let stated = &scope.manifest().entries[index];
    let successes: Vec<&Row> = part.arrivals.iter().copied().filter(|row| row.outcome == Outcome::Ok).collect();
    let mean = |rows: &[&Row], of: fn(&Row) -> u32| {
        rows.iter().map(|row| f64::from(of(row))).sum::<f64>() / (rows.len().max(1) as f64)
    };
    let hit = |row: &&Row| (block(row.intended_ns), row.flags & flags::CACHE_HIT != 0);
    EntryFindings {
        name: stated.name.clone(),
        protocol: stated.protocol.clone(),
        what: if stated.path.is_empty() { stated.model.clone() } else { stated.path.clone() },
        payload_policy: stated.payload_policy.clone(),
        planned_share: stated.share,
        outcomes: outcomes(part.arrivals.iter().copied()),
        cache_hits: share(successes.iter().map(hit)),
        rates: rates(&part.arrivals, &part.answers, scope.windows.measured_ns(), levels),
        latency: part.population.summary(),
        tokens: part.tokens(scope.windows.measured_ns()),
        mean_bytes_out: mean(&part.arrivals, |row| row.bytes_out),
        mean_bytes_in: mean(&successes, |row| row.bytes_in),
    }
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
