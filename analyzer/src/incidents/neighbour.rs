//! Whether something else used the processors of the generator's machine, where its target may be too. Pure.

use std::collections::BTreeMap;

use proofload_run::findings::{Incident, IncidentKind};
use proofload_run::manifest::Target;
use proofload_run::series::Source;
use proofload_run::units::{NS_PER_S, format_duration_ns, significant};

use super::stretch::{Stretch, stretches, usual, window};
use crate::lines::Line;
use crate::scope::Scope;

/// So many processors more than usual.
const BUSY_CORES: f64 = 0.5;

/// Processor time of all that is neither the generator nor its own target. A run of several machines is left alone: whose
/// processes are whose cannot be told.
pub(super) fn incidents(scope: &Scope<'_>) -> Vec<Incident> {
    let series = &scope.run.series;
    let named = |source: Source, name: &str| -> Vec<&Line> {
        series.iter().filter(|line| line.source == source && line.name == name).collect()
    };
    let busy = named(Source::Generator, "host_cpu_busy_seconds");
    let own = named(Source::Generator, "process_cpu_seconds");
    let (&[busy], &[own]) = (&busy[..], &own[..]) else { return Vec::new() };
    let target = named(Source::Target, "process_cpu_seconds_total");
    let is_here = is_here(&scope.manifest().target);
    // What the target used is known where it says so; a target on this machine that does not is no neighbour.
    let target = match (&target[..], is_here) {
        (&[target], true) => Some(target),
        (_, true) => return Vec::new(),
        (_, false) => None,
    };
    let lines: Vec<&Line> = [Some(own), target].into_iter().flatten().collect();
    of_others(busy, &lines, is_here)
}

/// Whether the target runs on the generator's machine.
fn is_here(target: &Target) -> bool {
    let local = ["http://127.", "https://127.", "http://localhost", "https://localhost", "http://[::1]", "unix:"];
    let mut urls = [&target.http_url, &target.grpc_url].into_iter();
    target.embedded || urls.any(|url| local.iter().any(|local| url.starts_with(local)))
}

fn of_others(busy: &Line, known: &[&Line], target_is_here: bool) -> Vec<Incident> {
    let mut others = cores(busy);
    for line in known {
        let used = cores(line);
        others.retain(|window, _| used.contains_key(window));
        others.iter_mut().for_each(|(window, cores)| *cores -= used[window]);
    }
    let windows = others.keys().max().map_or(0, |last| last + 1);
    let readings: Vec<Option<f64>> = (0..windows).map(|window| others.get(&window).copied()).collect();
    let Some(usual) = usual(readings.iter().copied().flatten()) else { return Vec::new() };
    let odd: Vec<Option<bool>> =
        readings.iter().map(|reading| reading.map(|cores| cores >= usual + BUSY_CORES)).collect();
    stretches(&odd).into_iter().map(|stretch| incident(&readings, stretch, usual, target_is_here)).collect()
}

/// Processors in use, by window: growth from the last point before the window to the last within.
fn cores(line: &Line) -> BTreeMap<usize, f64> {
    let mut last_of: BTreeMap<usize, (u64, f64)> = BTreeMap::new();
    for point in &line.points {
        last_of.insert(window(point.0), *point);
    }
    let pairs = last_of.iter().zip(last_of.iter().skip(1));
    let growth = pairs.filter(|(_, (_, to))| to.1.is_finite()).map(|((_, from), (window, to))| {
        (*window, (to.1 - from.1) * NS_PER_S as f64 / to.0.saturating_sub(from.0).max(1) as f64)
    });
    growth.filter(|(_, cores)| *cores >= 0.0).collect()
}

fn incident(readings: &[Option<f64>], stretch: Stretch, usual: f64, target_is_here: bool) -> Incident {
    let inside: Vec<f64> = readings[stretch.from..stretch.to].iter().copied().flatten().collect();
    let measured = inside.iter().sum::<f64>() / inside.len().max(1) as f64;
    let (start_ns, end_ns) = stretch.ns();
    let [from, to] = [start_ns, end_ns].map(|ns| format_duration_ns(ns as f64));
    let whose = if target_is_here { "of the machine of generator and target" } else { "of the generator's machine" };
    Incident {
        kind: IncidentKind::BusyNeighbour,
        start_ns,
        end_ns,
        entry: None,
        measured,
        usual,
        unit: "processors".to_owned(),
        n: inside.len() as u64,
        sentence: format!(
            "other processes used {} processors {whose} from {from} to {to}, usually {}: what was slow then need \
             not be the target's fault",
            significant(measured),
            significant(usual.max(0.0)),
        ),
    }
}
