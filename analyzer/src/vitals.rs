//! What befell the generator besides being late: it was held up, its machine slept or ran out of files or ports, its
//! control group was throttled, its clock was set. What spoils the measurement is a fault; what a reader should know
//! before believing a figure is a caution.

use std::ops::Range;

use proofload_run::events::EventKind;
use proofload_run::findings::{BehindSecond, Fault, Share, Vitals};
use proofload_run::series::Source;
use proofload_run::units::{NS_PER_S, format_duration_ns, significant};

use crate::lines::Line;
use crate::scope::{Scope, Seen};
use crate::stats::BySecond;

/// Together longer than this share of the measured time, delays are no accident.
const MOST_STALLED: f64 = 0.10;
/// A control group that was throttled for longer than this share of the run was short of processor time.
const MOST_THROTTLED: f64 = 0.01;
/// An arrival that the generator sent this late, by its own doing, was not sent when it was intended.
const BEHIND_NS: u64 = 100_000_000;
/// A second is behind with this share of its arrivals, and so many at least.
const MOST_BEHIND: f64 = 0.10;
const FEW_BEHIND: u64 = 5;
const KEEP_RUNNING: &str = "see what held it up then (a stopped process, a paused virtual machine, swapping, other load) and \
                            run it again, on a machine with an idle processor for the generator";

/// How many arrivals of each second of the plan were intended, and not sent when they were.
#[derive(Debug, Clone, Default)]
pub(crate) struct Behind {
    seconds: BySecond<(u64, u64)>,
}

impl Behind {
    /// Counts a measured arrival.
    pub(crate) fn add(&mut self, seen: &Seen<'_>) {
        let (intended, behind) = self.seconds.at(seen.block);
        *intended += 1;
        *behind += u64::from(seen.row.sent_ns > 0 && seen.row.late_ns > BEHIND_NS);
    }

    /// The second in which the largest share was not sent when it was intended.
    fn worst(&self, driven_ns: u64) -> Option<BehindSecond> {
        let share = |&(_, (intended, behind)): &(u32, &(u64, u64))| *behind as f64 / *intended as f64;
        let driven = self.seconds.iter().filter(|(second, _)| u64::from(*second) <= driven_ns / NS_PER_S);
        let worst = driven.filter(|(_, (_, behind))| *behind > 0).max_by(|a, b| share(a).total_cmp(&share(b)));
        worst.map(|(second, &(intended, behind))| BehindSecond {
            from_ns: u64::from(second) * NS_PER_S,
            intended,
            behind,
        })
    }
}

/// Reads what the generator noted of itself.
pub(crate) fn vitals(scope: &Scope<'_>, behind: &Behind) -> Vitals {
    let over = |name| growth(&scope.run.series, name);
    let stalls = stalls(scope);
    let longest = stalls.iter().max_by_key(|(_, for_ns)| *for_ns);
    Vitals {
        stalls: stalls.len() as u64,
        stalled_ns: stalls.iter().map(|(_, for_ns)| for_ns).sum(),
        longest_stall_ns: longest.map_or(0, |(_, for_ns)| *for_ns),
        longest_stall_at_ns: longest.map(|(t_ns, _)| *t_ns),
        throttled_s: over("cgroup_throttled_seconds_total"),
        waited_for_cpu_s: over("users_thread_run_delay_ns_total").map(|ns| ns / NS_PER_S as f64),
        preempted: over("users_thread_preempted_total"),
        worst_second: behind.worst(scope.driven_ns),
    }
}

/// How much a counter of the generators grew, all shards together.
fn growth(series: &[Line], name: &str) -> Option<f64> {
    let lines = series.iter().filter(|line| line.source == Source::Generator && line.name == name);
    lines.filter_map(|line| line.growth(|_| true)).map(|(grown, _)| grown).reduce(|sum, grown| sum + grown)
}

/// Start and length of every delay that reached into measured time.
fn stalls(scope: &Scope<'_>) -> Vec<(u64, u64)> {
    let touches = |time: Range<u64>| {
        let windows = scope.windows.all.iter().filter(|window| !window.warm_up && scope.was_run(window));
        windows.into_iter().any(|w| w.measured_from_ns < time.end && time.start < w.end_ns.min(scope.driven_ns))
    };
    let noted = scope.run.events.iter().filter_map(|event| match event.kind {
        EventKind::Stalled { for_ns } => Some((event.t_ns, for_ns)),
        _ => None,
    });
    noted.filter(|(t_ns, for_ns)| touches(*t_ns..t_ns + for_ns)).collect()
}

fn fault(sentence: String, remedy: &str) -> Fault {
    Fault { sentence, remedy: remedy.to_owned() }
}

fn at(t_ns: u64) -> String {
    format!("{} s", significant(t_ns as f64 / NS_PER_S as f64))
}

/// What makes the run say nothing about the target.
pub(crate) fn faults(vitals: &Vitals, scope: &Scope<'_>) -> Vec<Fault> {
    let slept = scope.run.events.iter().filter_map(|event| match event.kind {
        EventKind::Suspended { for_ns } => Some(fault(
            format!("the generator's machine slept for {} at {}", format_duration_ns(for_ns as f64), at(event.t_ns)),
            "keep the machine awake (systemd-inhibit, caffeinate), and do not pause its virtual machine",
        )),
        _ => None,
    });
    let measured_ns = scope.windows.measured_ns();
    let often = vitals.stalled_ns as f64 > MOST_STALLED * measured_ns as f64;
    slept.chain(often.then(|| fault(stalled(vitals), KEEP_RUNNING))).collect()
}

fn stalled(vitals: &Vitals) -> String {
    let longest = format_duration_ns(vitals.longest_stall_ns as f64);
    let when = at(vitals.longest_stall_at_ns.unwrap_or(0));
    match vitals.stalls {
        1 => format!("the generator stalled for {longest} at {when}"),
        n => {
            let all = format_duration_ns(vitals.stalled_ns as f64);
            format!("the generator stalled {n} times, for {all} in all and for {longest} at {when}")
        }
    }
}

/// What a reader should know before believing a figure. Nothing is said twice.
pub(crate) fn cautions(vitals: &Vitals, faults: &[Fault], dropped: &Share, scope: &Scope<'_>) -> Vec<Fault> {
    let mut cautions = Vec::new();
    if vitals.stalls > 0 {
        cautions.push(fault(stalled(vitals), KEEP_RUNNING));
    } else {
        cautions.extend(vitals.worst_second.as_ref().and_then(behind));
    }
    cautions.extend(throttled(vitals, scope));
    cautions.extend(clock_steps(scope));
    cautions.extend(shortages(dropped, scope));
    cautions.retain(|caution| !faults.iter().any(|fault| fault.sentence == caution.sentence));
    cautions
}

fn behind(second: &BehindSecond) -> Option<Fault> {
    let BehindSecond { from_ns, intended, behind } = *second;
    (behind >= FEW_BEHIND && behind as f64 > MOST_BEHIND * intended as f64).then(|| {
        let sentence = format!(
            "in the second from {}, the generator sent {behind} of {intended} arrivals more than {} late",
            at(from_ns),
            format_duration_ns(BEHIND_NS as f64)
        );
        fault(sentence, KEEP_RUNNING)
    })
}

fn throttled(vitals: &Vitals, scope: &Scope<'_>) -> Option<Fault> {
    let throttled_ns = vitals.throttled_s? * NS_PER_S as f64;
    (throttled_ns > MOST_THROTTLED * scope.driven_ns as f64).then(|| {
        let sentence = format!(
            "the generator's control group had used up its processor time and was held back for {}",
            format_duration_ns(throttled_ns)
        );
        fault(sentence, "raise its limit (cpu.max, resources.limits.cpu), or lower the rate")
    })
}

/// Durations come from a monotonic clock: only times of day are concerned.
fn clock_steps(scope: &Scope<'_>) -> Option<Fault> {
    let steps = scope.run.events.iter().filter_map(|event| match event.kind {
        EventKind::ClockStepped { by_ns } => Some((event.t_ns, by_ns)),
        _ => None,
    });
    let (t_ns, by_ns) = steps.max_by_key(|(_, by_ns)| by_ns.unsigned_abs())?;
    let sign = if by_ns < 0 { "back" } else { "forward" };
    let sentence = format!(
        "the generator's clock was set {sign} by {} at {}: durations are not concerned, times of day after it are",
        format_duration_ns(by_ns.unsigned_abs() as f64),
        at(t_ns)
    );
    Some(fault(
        sentence,
        "let the clock be set before a run (chronyc makestep), when its times are compared with others'",
    ))
}

/// What the machine ran out of, with how many arrivals were not sent. Each kind is there once a shard.
pub(crate) fn shortages(dropped: &Share, scope: &Scope<'_>) -> Vec<Fault> {
    let found = scope.run.events.iter().filter_map(|event| match &event.kind {
        EventKind::RanOut { of, message } => Some((event.t_ns, *of, message)),
        _ => None,
    });
    let mut faults: Vec<Fault> = Vec::new();
    for (t_ns, of, message) in found {
        let sentence = format!(
            "the generator ran out of {} at {} ({message}) and did not send {} of {} intended arrivals",
            of.as_str(),
            at(t_ns),
            dropped.count,
            dropped.n
        );
        if !faults.iter().any(|known| known.remedy == of.remedy()) {
            faults.push(fault(sentence, of.remedy()));
        }
    }
    faults
}
