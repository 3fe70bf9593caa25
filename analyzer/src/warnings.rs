//! What does not turn the verdict but should be known, each with what to do about it.

use proofload_run::events::EventKind;
use proofload_run::findings::{Balance, BreakingKind, Findings, Warning};
use proofload_run::manifest::{ConnectionBound, EndReason, Load, LoadModel};
use proofload_run::series::Source;
use proofload_run::units::format_duration_ns;

use crate::lines::Line;
use crate::load::Run;

/// The same warning is said so often at most.
const MAX_REPEATS: usize = 3;

/// The generator's own warnings, then those of the analysis.
pub(crate) fn warnings(findings: &Findings, run: &Run) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = Vec::new();
    let needless = counted_without_statistics(findings, run);
    let told = run.events.iter().filter(|event| !(needless && is_about_statistics(&event.kind)));
    let recorded = told.filter_map(|event| recorded(&event.kind));
    let found =
        counts(findings).chain(connection_wait(findings, run)).chain(breaking_point(findings)).chain(not_run(findings));
    let found = found.chain(findings.incidents.iter().map(|incident| warning("incident", incident.sentence.clone())));
    for warning in recorded.chain(found) {
        let repeats = warnings.iter().filter(|known| known.code == warning.code).count();
        if repeats < MAX_REPEATS && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    warnings
}

fn warning(code: &str, message: String) -> Warning {
    Warning { code: code.to_owned(), message }
}

fn recorded(kind: &EventKind) -> Option<Warning> {
    match kind {
        EventKind::Warning { code, message } => Some(warning(code, message.clone())),
        EventKind::ScrapeFailed { source, message } => {
            Some(warning("scrape_failed", format!("scraping the target's {source} failed: {message}")))
        }
        _ => None,
    }
}

fn is_about_statistics(kind: &EventKind) -> bool {
    matches!(kind, EventKind::ScrapeFailed { source, .. } if source == "statistics")
}

/// Whether the target's metrics said of every model what its statistics would have, which some Tritons close.
fn counted_without_statistics(findings: &Findings, run: &Run) -> bool {
    let counted = findings.conservation.iter().all(|found| found.balance != Balance::NotCounted);
    counted && !run.series.iter().any(|line| line.source == Source::Statistics)
}

fn counts(findings: &Findings) -> impl Iterator<Item = Warning> {
    findings.conservation.iter().filter_map(|found| match found.balance {
        Balance::Balanced => None,
        Balance::NotCounted => Some(warning("not_counted", found.sentence.clone())),
        Balance::Surplus | Balance::Deficit | Balance::Reset => Some(warning("counts_differ", found.sentence.clone())),
    })
}

fn connection_wait(findings: &Findings, run: &Run) -> Option<Warning> {
    let wait = findings.audit.connection_wait_p99_ns as f64;
    let p99 = findings.latency.as_ref()?.percentile(99.0)?.latency_ns as f64;
    (wait > 0.1 * p99 && wait > 1e6).then(|| {
        let (wait, p99) = (format_duration_ns(wait), format_duration_ns(p99));
        let cause = wait_cause(&run.manifest.load, most_connections(&run.series));
        warning(
            "connection_wait",
            format!("waiting for a free connection is {wait} at p99, of a latency of {p99}: {cause}"),
        )
    })
}

/// The most connections that a generator had, where it said so.
fn most_connections(series: &[Line]) -> Option<f64> {
    let counts = series.iter().filter(|line| line.source == Source::Generator && line.name == "connections");
    counts.flat_map(|line| line.points.iter().map(|point| point.1)).reduce(f64::max)
}

/// Which limit made requests wait for a connection, and what to set.
fn wait_cause(load: &Load, most: Option<f64>) -> String {
    let limit = load.max_connections;
    if load.model == LoadModel::Closed {
        return "every user has a connection of its own, so it is the time to open them: give the target a larger \
                backlog of new connections, or let it keep idle ones longer"
            .to_owned();
    }
    if let Some(most) = most.filter(|most| *most < f64::from(limit)) {
        return format!(
            "{most} of {limit} connections were ever open, so no limit bound it: it is the time to open connections; \
             warm up longer, or let the target keep idle connections longer"
        );
    }
    let remedy = match load.connections_bound_by {
        Some(ConnectionBound::Scenario) | None => "the scenario's; raise load.max_connections",
        Some(ConnectionBound::OpenFiles) => {
            "this system's on open files; raise it (ulimit -n, or LimitNOFILE= of the service that runs this)"
        }
        Some(ConnectionBound::LocalPorts) => {
            "this system's range of local ports; widen it (sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\")"
        }
    };
    format!("all {limit} connections were in use, and the limit is {remedy} to see the target alone")
}

/// Steps that a climb left out once it had passed its break.
fn not_run(findings: &Findings) -> Option<Warning> {
    let left = findings.steps.iter().filter(|step| step.cut_short && step.kept.is_none());
    let left: Vec<&str> = left.map(|step| step.name.as_str()).collect();
    let (first, last) = (left.first()?, left.last()?);
    let which = if left.len() == 1 { (*first).to_owned() } else { format!("{first} to {last}") };
    (findings.run.end == Some(EndReason::LimitFound)).then(|| {
        let why = &findings.run.end_detail;
        warning(
            "steps_not_run",
            format!("{which} were not run: {why}; set load.stop_after_break = false to drive the whole climb"),
        )
    })
}

fn breaking_point(findings: &Findings) -> Vec<Warning> {
    let Some(found) = &findings.breaking_point else { return Vec::new() };
    let mut warnings = Vec::new();
    let broke = matches!(found.kind, BreakingKind::Between | BreakingKind::UpperBound);
    if found.kind == BreakingKind::LowerBound || found.kind == BreakingKind::UpperBound {
        warnings.push(warning("breaking_point_bound", found.sentence.clone()));
    }
    if broke && found.met_again > 0 {
        let again = found.met_again;
        warnings.push(warning(
            "breaking_point_unsteady",
            format!(
                "{again} later step(s) met the service level again: the break may be one bad moment; run longer steps"
            ),
        ));
    }
    if broke && !found.clear {
        warnings.push(warning(
            "breaking_point_close",
            "at the breaking point the interval of the bad share reaches into what is allowed: a repetition may break \
             one step earlier or later; longer steps would tell"
                .to_owned(),
        ));
    }
    warnings
}
