//! The generator's own fitness: whether its lateness or its losses changed the figures so much that they say more
//! about it than about the target. Waiting for a free connection is not its lateness: that is the target's doing.

use std::ops::Range;

use proofload_run::criteria::Metric;
use proofload_run::findings::{Audit, Fault, LateEffect};
use proofload_run::manifest::{End, EndReason, LoadModel, Manifest};
use proofload_run::sample::Outcome;
use proofload_run::series::Source;
use proofload_run::units::{NS_PER_S, format_duration_ns};

use crate::lines::Line;
use crate::rates::Outcomes;
use crate::samples::Row;
use crate::scope::{Scope, Seen};
use crate::stats::{Hits, Percentiles, enough};
use crate::vitals::{self, Behind};

/// A figure that the generator's lateness changed by more than this share of it …
const NOTED_SHARE: f64 = 0.10;
/// … and by more than this is noted. Below a millisecond no service level of inference is stated, and the timers of
/// a shared machine are no better.
const NOTED_NS: u64 = 1_000_000;
/// It is not to be believed when most of it is the generator's own time …
const MOST: f64 = 0.50;
/// … or when the change is more than this share of the tightest bound on latency, so that it may turn the judgement.
/// Without a bound every noted change is too much: then the figures themselves are all there is.
const SHARE_OF_BOUND: f64 = 0.05;
/// The generator must send at least 99 % of what the plan intends.
const MAX_DROPPED_SHARE: f64 = 0.01;
/// A thread that ran, or wanted to, for more than this share of the time set the pace itself.
const SATURATED: f64 = 0.95;
/// The least time over which that is judged; it is looked at once a second.
const WATCHED_NS: u64 = 1_900_000_000;
/// Processor time of the thread that runs the users, in seconds, cumulative.
const USERS_CPU: &str = "users_thread_cpu_seconds_total";
/// How long that thread wanted a processor and had none, in nanoseconds, cumulative.
const USERS_DELAY: &str = "users_thread_run_delay_ns_total";
const MORE_CPU: &str = "give the generator more processor time: another machine than the target's, fewer other \
                        processes, or a lower rate";
/// The percentiles that are always compared with and without the generator's lateness, besides those that a bound
/// asks for.
const COMPARED: [f64; 2] = [50.0, 95.0];

/// The percentiles that are stated of what requests waited for before they were sent.
const OF_WAITING: [f64; 2] = [50.0, 99.0];

/// What the samples say of the generator, while they are looked at.
#[derive(Debug, Clone)]
pub(crate) struct Auditor {
    bounds: Bounds,
    late: Percentiles,
    waits: Percentiles,
    whole: Lateness,
    /// Those of each step and of each entry, which are judged on their own, too.
    steps: Vec<Lateness>,
    entries: Vec<Lateness>,
    /// Until when an arrival that was never sent is the generator's fault.
    sent_until_ns: u64,
    dropped: Hits,
    outcomes: Outcomes,
    behind: Behind,
}

impl Auditor {
    pub(crate) fn new(scope: &Scope<'_>) -> Self {
        let (manifest, bounds) = (scope.manifest(), Bounds::of(scope.manifest()));
        let lateness = Lateness::new(&bounds.percentiles);
        Self {
            late: Percentiles::of_whole(&OF_WAITING),
            waits: Percentiles::of_whole(&OF_WAITING),
            steps: vec![lateness.clone(); manifest.steps.len()],
            entries: vec![lateness.clone(); manifest.entries.len()],
            whole: lateness,
            bounds,
            sent_until_ns: sent_until_ns(scope),
            dropped: Hits::default(),
            outcomes: Outcomes::default(),
            behind: Behind::default(),
        }
    }

    /// Counts a sample, in the first look only.
    pub(crate) fn count(&mut self, seen: &Seen<'_>) {
        let row = seen.row;
        self.outcomes.add(row.outcome);
        if row.intended_ns < self.sent_until_ns {
            self.dropped.add(seen.block, row.outcome == Outcome::Dropped);
        }
        if seen.measured_in().is_some() {
            self.behind.add(seen);
        }
    }

    /// Looks at a sample that has been counted.
    pub(crate) fn look(&mut self, seen: &Seen<'_>) {
        let row = seen.row;
        if row.sent_ns == 0 || seen.measured_in().is_none() {
            return;
        }
        self.late.add(row.late_ns as f64);
        self.waits.add(row.connection_wait_ns() as f64);
        if row.outcome == Outcome::Ok {
            let step = self.steps.get_mut(usize::from(row.step));
            let entry = self.entries.get_mut(usize::from(row.entry));
            step.into_iter().chain(entry).chain([&mut self.whole]).for_each(|lateness| lateness.add(row));
        }
    }

    /// A look is over. Says whether another is wanted.
    pub(crate) fn turn(&mut self) -> bool {
        let waiting = [self.late.turn(), self.waits.turn()].contains(&true);
        let parts = self.steps.iter_mut().chain(&mut self.entries).chain([&mut self.whole]);
        parts.fold(waiting, |open, lateness| lateness.turn() | open)
    }

    /// Audits the generator.
    pub(crate) fn audit(&self, scope: &Scope<'_>) -> Audit {
        let ns = |value: Option<f64>| value.map_or(0, |ns| ns as u64);
        let mut audit = Audit {
            trustworthy: false,
            n: self.late.n(),
            late_p50_ns: ns(self.late.value(50.0)),
            late_p99_ns: ns(self.late.value(99.0)),
            late_max_ns: ns(self.late.largest()),
            connection_wait_p99_ns: ns(self.waits.value(99.0)),
            effects: self.whole.effects(),
            dropped: self.dropped.share(),
            lost_samples: scope.manifest().end.as_ref().map_or(0, |end| end.lost_samples),
            cpu_cores: cpu_cores(scope),
            faults: Vec::new(),
            cautions: Vec::new(),
            vitals: vitals::vitals(scope, &self.behind),
        };
        audit.faults = self.faults(&audit, scope);
        audit.trustworthy = audit.faults.is_empty();
        let noted = audit.effects.iter().find(|effect| audit.trustworthy && is_noted(effect)).map(tolerable);
        let known = vitals::cautions(&audit.vitals, &audit.faults, &audit.dropped, scope);
        audit.cautions = noted.into_iter().chain(known).collect();
        audit
    }

    fn faults(&self, audit: &Audit, scope: &Scope<'_>) -> Vec<Fault> {
        let lost = scope.manifest().end.as_ref().is_some_and(|end| end.reason == EndReason::TargetLost);
        // A target that has died is dead, however late the generator was.
        let slow = if lost { None } else { self.lateness_fault(audit, scope).or_else(|| saturation_fault(scope)) };
        let befell = vitals::faults(&audit.vitals, scope);
        let accounting = accounting_faults(&self.outcomes, scope);
        slow.into_iter().chain(befell).chain(losses(audit, scope)).chain(accounting).collect()
    }

    /// The first figure that the generator's lateness spoils: of the whole run, of one step, of one entry. What is lost
    /// among all requests may decide what is said of a few.
    fn lateness_fault(&self, audit: &Audit, scope: &Scope<'_>) -> Option<Fault> {
        let tightest_ns = self.bounds.tightest_ns;
        let spoiled = |effects: &[LateEffect]| effects.iter().find(|e| is_too_much(e, tightest_ns)).map(describe);
        let (steps, entries) = (&scope.manifest().steps, &scope.manifest().entries);
        let names = steps.iter().map(|step| &step.name).chain(entries.iter().map(|entry| &entry.name));
        let mut parts = names.zip(self.steps.iter().chain(&self.entries));
        let of_part = |(name, lateness): (&String, &Lateness)| {
            spoiled(&lateness.effects()).map(|sentence| format!("in {name}, {sentence}"))
        };
        let sentence = spoiled(&audit.effects).or_else(|| parts.find_map(of_part))?;
        Some(fault(sentence, MORE_CPU))
    }
}

/// The latencies of some successes, with and without the generator's own lateness.
#[derive(Debug, Clone)]
struct Lateness {
    percentiles: Vec<f64>,
    measured: Percentiles,
    without: Percentiles,
}

impl Lateness {
    fn new(percentiles: &[f64]) -> Self {
        let (measured, without) = (Percentiles::of_whole(percentiles), Percentiles::of_whole(percentiles));
        Self { percentiles: percentiles.to_vec(), measured, without }
    }

    fn add(&mut self, row: &Row) {
        self.measured.add(row.latency_ns() as f64);
        self.without.add(row.latency_ns().saturating_sub(row.late_ns) as f64);
    }

    fn turn(&mut self) -> bool {
        [self.measured.turn(), self.without.turn()].contains(&true)
    }

    /// What the latency percentiles would be had the generator been on time. A percentile with too few samples beyond
    /// it is left out: one late request would decide it.
    fn effects(&self) -> Vec<LateEffect> {
        let pair = |&percentile: &f64| {
            Some(LateEffect {
                percentile,
                measured_ns: self.measured.value(percentile)? as u64,
                without_ns: self.without.value(percentile)? as u64,
            })
        };
        let stated = self.percentiles.iter().filter(|&&percentile| enough(self.measured.n(), percentile));
        stated.filter_map(pair).collect()
    }
}

/// What the run's latency is judged by.
#[derive(Debug, Clone)]
struct Bounds {
    percentiles: Vec<f64>,
    tightest_ns: Option<f64>,
}

impl Bounds {
    fn of(manifest: &Manifest) -> Self {
        let (mut percentiles, mut bounds) = (COMPARED.to_vec(), Vec::new());
        for slo in manifest.entries.iter().filter_map(|entry| entry.slo).chain(manifest.slo) {
            percentiles.push(slo.percentile);
            bounds.push(slo.latency_ns as f64);
        }
        for threshold in &manifest.thresholds {
            match threshold.metric {
                Metric::Percentile(percentile) => percentiles.push(percentile),
                Metric::Mean | Metric::Max => {}
                _ => continue,
            }
            bounds.push(threshold.bound);
        }
        percentiles.sort_by(f64::total_cmp);
        percentiles.dedup();
        Self { percentiles, tightest_ns: bounds.into_iter().reduce(f64::min) }
    }
}

/// What to say of a figure that lateness changed, and not enough to turn the judgement.
fn tolerable(effect: &LateEffect) -> Fault {
    let sentence = format!(
        "{}: too little to turn the judgement, but do not compare this figure with other runs",
        describe(effect)
    );
    fault(sentence, MORE_CPU)
}

/// Whether the generator's lateness changed a figure so much that a reader should know.
fn is_noted(effect: &LateEffect) -> bool {
    let by_ns = effect.measured_ns.saturating_sub(effect.without_ns);
    by_ns > NOTED_NS && by_ns as f64 > NOTED_SHARE * effect.measured_ns as f64
}

/// Whether it changed a figure so much that the run says nothing about the target.
fn is_too_much(effect: &LateEffect, tightest_ns: Option<f64>) -> bool {
    let by_ns = effect.measured_ns.saturating_sub(effect.without_ns) as f64;
    let may_turn = tightest_ns.is_none_or(|bound_ns| by_ns > SHARE_OF_BOUND * bound_ns);
    is_noted(effect) && (may_turn || by_ns > MOST * effect.measured_ns as f64)
}

/// A sentence on such a figure.
fn describe(effect: &LateEffect) -> String {
    format!(
        "the generator's own lateness makes p{} {} instead of {}",
        effect.percentile,
        format_duration_ns(effect.measured_ns as f64),
        format_duration_ns(effect.without_ns as f64),
    )
}

/// Until when arrivals that the generator never sent are its own fault. What a stopped run left behind is nobody's
/// fault: those of its last moments do not count.
fn sent_until_ns(scope: &Scope<'_>) -> u64 {
    match &scope.manifest().end {
        Some(end) if matches!(end.reason, EndReason::Completed | EndReason::LimitFound) => u64::MAX,
        _ => scope.driven_ns.saturating_sub(scope.manifest().load.request_timeout_ns),
    }
}

/// Average use of processors by the generator's processes, from their CPU time.
fn cpu_cores(scope: &Scope<'_>) -> Option<f64> {
    let is_cpu = |line: &&Line| {
        line.source == Source::Generator && line.name.trim_end_matches("_total") == "process_cpu_seconds"
    };
    let grown = scope.run.series.iter().filter(is_cpu).filter_map(|line| line.growth(|_| true));
    let cores = grown.map(|(cpu_s, over_ns)| cpu_s * NS_PER_S as f64 / over_ns as f64);
    cores.reduce(|sum, cores| sum + cores)
}

fn fault(sentence: String, remedy: &str) -> Fault {
    Fault { sentence, remedy: remedy.to_owned() }
}

/// In a closed model a generator without processor time is not late, because its users send when it gets round to
/// them: it shows as a thread that is always busy, or always wants to be. Each step is looked at on its own: what
/// saturates it at the highest level is hidden in the whole.
fn saturation_fault(scope: &Scope<'_>) -> Option<Fault> {
    if scope.manifest().load.model != LoadModel::Closed {
        return None;
    }
    let steps = scope.windows.all.iter().filter(|window| !window.warm_up);
    let busy = steps.filter_map(|step| Some((step, busy_share(&scope.run.series, step.start_ns..step.end_ns)?)));
    let (step, busy) = busy.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, busy)| *busy >= SATURATED)?;
    let sentence = format!(
        "in {}, the generator's thread was busy, or waiting for a processor, {:.0} % of the time",
        step.name,
        busy * 100.0
    );
    Some(fault(sentence, MORE_CPU))
}

/// The share of this time in which the thread of the users ran or wanted to, of the shard where it did most. Nothing
/// where it was not looked at for long enough.
fn busy_share(series: &[Line], time_ns: Range<u64>) -> Option<f64> {
    let of =
        |name: &'static str| series.iter().filter(move |line| line.source == Source::Generator && line.name == name);
    let busy = |cpu: &Line| {
        let (cpu_s, over_ns) = cpu.growth(|t_ns| time_ns.contains(&t_ns))?;
        let waited = of(USERS_DELAY).find(|line| line.shard == cpu.shard);
        let waited = waited.and_then(|line| line.growth(|t_ns| time_ns.contains(&t_ns)));
        let waited_ns = waited.map_or(0.0, |(waited_ns, _)| waited_ns);
        (over_ns >= WATCHED_NS).then(|| (cpu_s * NS_PER_S as f64 + waited_ns) / over_ns as f64)
    };
    of(USERS_CPU).filter_map(busy).max_by(f64::total_cmp)
}

fn losses(audit: &Audit, scope: &Scope<'_>) -> impl Iterator<Item = Fault> {
    let mut dropped = Vec::new();
    if audit.dropped.share > MAX_DROPPED_SHARE {
        dropped = vitals::shortages(&audit.dropped, scope);
        if dropped.is_empty() {
            let sentence =
                format!("the generator did not send {} of {} intended arrivals", audit.dropped.count, audit.dropped.n);
            dropped.push(fault(sentence, "see the warnings and the examples of errors for why"));
        }
    }
    let lost = (audit.lost_samples > 0).then(|| {
        let sentence = match audit.lost_samples {
            u64::MAX => "the journal's writer died".to_owned(),
            lost => format!("{lost} samples could not be written"),
        };
        fault(sentence, "free some disk, or choose another folder with --out")
    });
    dropped.into_iter().chain(lost)
}

/// Every intended arrival must be accounted for: the samples, the generator's own counts and the plan must agree.
fn accounting_faults(outcomes: &Outcomes, scope: &Scope<'_>) -> impl Iterator<Item = Fault> {
    let end = scope.manifest().end.as_ref();
    let samples = outcomes.n();
    let failed = end.filter(|end| end.reason == EndReason::GeneratorFailed).map(|end| {
        let why = if end.detail.is_empty() { "no reason given" } else { &end.detail };
        fault(format!("the generator itself failed: {why}"), "see events.jsonl in the run folder")
    });
    let found = outcomes.by_word();
    let agrees = |end: &&End| end.outcomes.iter().filter(|(_, count)| **count > 0).eq(found.iter());
    // What was lost was counted and has no sample: that it is lost is a fault already.
    let uncounted = end.filter(|end| end.lost_samples == 0 && !agrees(end)).map(|end| {
        let counted: u64 = end.outcomes.values().fold(0, |sum, count| sum.saturating_add(*count));
        format!("the generator counted {counted} requests by outcome, but the folder's {samples} samples do not agree")
    });
    let unaccounted = end
        .filter(|end| end.intended != samples.saturating_add(end.lost_samples))
        .map(|end| format!("of {} intended arrivals, {samples} are accounted for", end.intended));
    let load = &scope.manifest().load;
    let completed = end.is_some_and(|end| end.reason == EndReason::Completed) && load.model == LoadModel::Open;
    let unplanned = load
        .planned_arrivals
        .filter(|&planned| completed && planned != samples)
        .map(|planned| format!("the plan had {planned} arrivals, {samples} are accounted for"));
    let disagreements = [uncounted, unaccounted.or(unplanned)].into_iter().flatten();
    failed.into_iter().chain(disagreements.map(|s| fault(s, "report this as a bug, with the run folder")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_matters_by_what_it_changes() {
        const MS: f64 = 1e6;
        let check = |measured: f64, without: f64, bound: Option<f64>, expected: (bool, bool)| {
            let (measured_ns, without_ns) = ((measured * MS) as u64, (without * MS) as u64);
            let effect = LateEffect { percentile: 95.0, measured_ns, without_ns };
            let found = (is_noted(&effect), is_too_much(&effect, bound.map(|ms| ms * MS)));
            assert_eq!(found, expected, "{measured} ms instead of {without} ms, bound {bound:?}");
        };
        check(0.9, 0.1, None, (false, false));
        check(100.0, 92.0, None, (false, false));
        check(100.0, 85.0, None, (true, true));
        check(100.0, 85.0, Some(200.0), (true, true));
        check(100.0, 85.0, Some(500.0), (true, false));
        check(100.0, 40.0, Some(10_000.0), (true, true));
    }

    #[test]
    fn a_thread_that_is_always_busy_or_wants_to_be_is_saturated() {
        const STEP: Range<u64> = 10 * NS_PER_S..20 * NS_PER_S;
        let line = |name: &str, points: &[(u64, f64)]| Line {
            shard: 0,
            source: Source::Generator,
            name: name.to_owned(),
            labels: String::new(),
            points: points.iter().map(|(t_s, value)| (t_s * NS_PER_S, *value)).collect(),
        };
        let check = |cpu_s: &[(u64, f64)], delay_ns: &[(u64, f64)], expected: Option<f64>| {
            let series = [line(USERS_CPU, cpu_s), line(USERS_DELAY, delay_ns)];
            let found = busy_share(&series, STEP);
            let same = found.zip(expected).is_none_or(|(a, b)| (a - b).abs() < 1e-9);
            assert!(same && found.is_some() == expected.is_some(), "{found:?} instead of {expected:?}");
        };
        check(&[(10, 3.0), (19, 12.0)], &[], Some(1.0));
        check(&[(10, 3.0), (19, 7.5)], &[(10, 0.0), (19, 4.5e9)], Some(1.0));
        check(&[(10, 3.0), (19, 7.5)], &[(10, 0.0), (19, 0.0)], Some(0.5));
        // Only what was used within the step counts, whatever came before and after it.
        check(&[(0, 0.0), (10, 9.9), (19, 10.8), (25, 16.8)], &[], Some(0.1));
        check(&[(0, 0.0), (10, 0.1), (19, 9.0), (60, 9.1)], &[], Some(8.9 / 9.0));
        check(&[(10, 3.0), (11, 4.0)], &[], None);
        check(&[(15, 3.0)], &[], None);
        check(&[], &[(10, 0.0), (19, 9e9)], None);
        let of_target = Line { source: Source::Target, ..line(USERS_CPU, &[(10, 3.0), (19, 12.0)]) };
        assert_eq!(busy_share(&[of_target], STEP), None);
    }
}
