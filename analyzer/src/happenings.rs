//! What happened in a run besides its requests: its events, and models that its target loaded. Those of a kind that are
//! near in time stand together, so that a page can show them. Judges nothing.

use proofload_run::events::EventKind;
use proofload_run::findings::Happening;
use proofload_run::series::Source;
use proofload_run::units::{NS_PER_S, format_duration_ns};

use crate::lines::Line;
use crate::load::Run;
use crate::series::label_value;

/// So many are stated at most: there are fewer kinds than that.
const MOST: usize = 30;

/// How long the latest load of a model took, as our daemon says it: another load is another time.
const LOADS: &str = "proofload_load_seconds";
/// One of a load's phases stands for all.
const PHASE: &str = "read";

/// Whether a metric of the target tells of models that were loaded.
pub(crate) fn tells_of_loads(name: &str) -> bool {
    name == LOADS
}

/// All of them, in order of time.
pub(crate) fn happenings(run: &Run) -> Vec<Happening> {
    let told = run.events.iter().filter_map(|event| told(event.t_ns, &event.kind));
    let mut all: Vec<Happening> = told.chain(loads(&run.series)).collect();
    all.sort_by(|a, b| (a.t_ns, &a.what).cmp(&(b.t_ns, &b.what)));
    together(all)
}

/// An event as a person reads it; what the report shows elsewhere is left out.
fn told(t_ns: u64, kind: &EventKind) -> Option<Happening> {
    let lasted = |ns: u64| format!("for {}", format_duration_ns(ns as f64));
    let (what, detail) = match kind {
        // What was so from the beginning is a warning of its own and no moment.
        EventKind::Warning { code, message } if t_ns >= NS_PER_S => (format!("warning {code}"), message.clone()),
        EventKind::TargetLost { message, .. } => ("target lost".to_owned(), message.clone()),
        EventKind::ScrapeFailed { source, message } => ("scrape failed".to_owned(), format!("{source}: {message}")),
        EventKind::LimitFound { .. } => ("limit found".to_owned(), String::new()),
        EventKind::ThresholdMissed { threshold, abort } => {
            let ends = if *abort { ", which ends the run" } else { "" };
            ("threshold missed".to_owned(), format!("{threshold}{ends}"))
        }
        EventKind::Stalled { for_ns } => ("generator stalled".to_owned(), lasted(*for_ns)),
        EventKind::ClockStepped { by_ns } => {
            let sign = if *by_ns < 0 { "back " } else { "" };
            ("calendar clock set".to_owned(), format!("{sign}by {}", format_duration_ns(by_ns.unsigned_abs() as f64)))
        }
        EventKind::Suspended { for_ns } => ("machine slept".to_owned(), lasted(*for_ns)),
        EventKind::RanOut { of, message } => (format!("out of {}", of.as_str()), message.clone()),
        EventKind::StopRequested { by } => ("stop requested".to_owned(), format!("by {by}")),
        _ => return None,
    };
    Some(Happening { t_ns, until_ns: t_ns, n: 1, what, detail })
}

/// Models that were loaded while the run went on, at the scrape that first told of it.
fn loads(series: &[Line]) -> Vec<Happening> {
    let is_it = |line: &&Line| {
        line.source == Source::Target && line.name == LOADS && label_value(&line.labels, "phase") == Some(PHASE)
    };
    let lines: Vec<&Line> = series.iter().filter(is_it).collect();
    let first_ns = lines.iter().filter_map(|line| line.points.first()).map(|point| point.0).min().unwrap_or(0);
    let of_line = |line: &&Line| {
        let came_later = line.points.first().filter(|point| point.0 > first_ns + NS_PER_S / 2).map(|point| point.0);
        let again = line.points.windows(2).filter(|pair| (pair[1].1 - pair[0].1).abs() > 0.0).map(|pair| pair[1].0);
        let model = label_value(&line.labels, "model").unwrap_or_default().to_owned();
        let loaded =
            |t_ns| Happening { t_ns, until_ns: t_ns, n: 1, what: "model loaded".to_owned(), detail: model.clone() };
        came_later.into_iter().chain(again).map(loaded).collect::<Vec<_>>()
    };
    lines.iter().flat_map(of_line).collect()
}

/// Puts those of a kind together that are near in time, and while there are too many, those that are farther apart.
fn together(all: Vec<Happening>) -> Vec<Happening> {
    let mut near_ns = NS_PER_S;
    let mut found = merged(all, near_ns);
    while found.len() > MOST {
        near_ns = near_ns.saturating_mul(2);
        found = merged(found, near_ns);
    }
    found
}

/// Those of a kind of which one comes no later than so long after the other are one. The words of the first
/// stand for all.
fn merged(all: Vec<Happening>, near_ns: u64) -> Vec<Happening> {
    let mut found: Vec<Happening> = Vec::new();
    for one in all {
        let last = found.iter_mut().rev().find(|earlier| earlier.what == one.what);
        match last {
            Some(last) if one.t_ns.saturating_sub(last.until_ns) <= near_ns => {
                last.until_ns = last.until_ns.max(one.until_ns);
                last.n += one.n;
            }
            _ => found.push(one),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stall(t_ns: u64) -> Happening {
        told(t_ns, &EventKind::Stalled { for_ns: 250_000_000 }).unwrap()
    }

    #[test]
    fn events_are_told_in_words() {
        let check = |t_ns: u64, kind: EventKind, expected: Option<(&str, &str)>| {
            let found = told(t_ns, &kind);
            let words = found.as_ref().map(|found| (found.what.as_str(), found.detail.as_str()));
            assert_eq!(words, expected, "{kind:?}");
        };
        let warning = || EventKind::Warning { code: "fd_limit".to_owned(), message: "few".to_owned() };
        check(0, EventKind::RunStarted, None);
        check(0, EventKind::StepStarted { step: 1 }, None);
        check(0, warning(), None);
        check(2 * NS_PER_S, warning(), Some(("warning fd_limit", "few")));
        check(5, EventKind::Stalled { for_ns: 250_000_000 }, Some(("generator stalled", "for 250 ms")));
        check(5, EventKind::ClockStepped { by_ns: -1_000_000 }, Some(("calendar clock set", "back by 1 ms")));
        let missed = EventKind::ThresholdMissed { threshold: "p95 < 1s".to_owned(), abort: true };
        check(5, missed, Some(("threshold missed", "p95 < 1s, which ends the run")));
    }

    #[test]
    fn a_model_that_is_loaded_in_the_middle_is_told() {
        let line = |model: &str, phase: &str, values: &[(u64, f64)]| Line {
            shard: 0,
            source: Source::Target,
            name: LOADS.to_owned(),
            labels: format!("model=\"{model}\",phase=\"{phase}\""),
            points: values.iter().map(|(second, value)| (second * NS_PER_S, *value)).collect(),
        };
        let check = |lines: &[Line], expected: &[(u64, &str)]| {
            let found = loads(lines);
            let told: Vec<(u64, &str)> = found.iter().map(|one| (one.t_ns / NS_PER_S, one.detail.as_str())).collect();
            assert_eq!(told, expected);
        };
        let there = line("small", PHASE, &[(1, 0.1), (2, 0.1), (3, 0.1)]);
        check(std::slice::from_ref(&there), &[]);
        check(&[there.clone(), line("relief", PHASE, &[(3, 0.2), (4, 0.2)])], &[(3, "relief")]);
        check(&[there.clone(), line("relief", "start", &[(3, 0.2), (4, 0.2)])], &[]);
        check(&[there, line("relief", PHASE, &[(1, 0.2), (2, 0.3), (3, 0.3)])], &[(2, "relief")]);
    }

    #[test]
    fn those_of_a_kind_that_are_near_stand_together() {
        let told = together(vec![stall(0), stall(NS_PER_S), stall(60 * NS_PER_S)]);
        let spans: Vec<(u64, u64, u64)> = told.iter().map(|one| (one.t_ns, one.until_ns, one.n)).collect();
        assert_eq!(spans, [(0, NS_PER_S, 2), (60 * NS_PER_S, 60 * NS_PER_S, 1)]);
    }

    proptest! {
        /// However many: few are left, and none is lost.
        #[test]
        fn none_is_lost(gaps_ms in proptest::collection::vec((0_u64..1 << 30, any::<bool>()), 0..400)) {
            let mut t_ns = 0;
            let all: Vec<Happening> = gaps_ms.iter().map(|(gap_ms, other)| {
                t_ns += gap_ms * 1_000_000;
                let what = if *other { "stop requested" } else { "generator stalled" };
                Happening { what: what.to_owned(), ..stall(t_ns) }
            }).collect();
            let found = together(all);
            prop_assert!(found.len() <= MOST);
            prop_assert_eq!(found.iter().map(|one| one.n).sum::<u64>(), gaps_ms.len() as u64);
            prop_assert!(found.iter().all(|one| one.t_ns <= one.until_ns));
        }
    }
}
