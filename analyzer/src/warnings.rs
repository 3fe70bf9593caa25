//! What does not turn the verdict but should be known, each with what to do about it.

use proofload_run::events::EventKind;
use proofload_run::findings::{Balance, BreakingKind, Drift, Findings, MemoryTrend, Pattern, Trend, Warning};
use proofload_run::manifest::{ConnectionBound, EndReason, Load, LoadModel};
use proofload_run::series::Source;
use proofload_run::units::{NS_PER_S, format_duration_ns};

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
    let found = found.chain(lasting(findings));
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

/// Growth by less than this share of what is used, to a limit that is farther away than that, can wait.
const SMALL_GROWTH: f64 = 0.05;
const FAR_LIMIT_S: f64 = 30.0 * 86_400.0;

/// What changed for the worse while the run went on.
fn lasting(findings: &Findings) -> Vec<Warning> {
    let Some(found) = &findings.endurance else { return Vec::new() };
    let lasted_s = (found.to_ns - found.from_ns) as f64 / NS_PER_S as f64;
    let matters = |trend: &&MemoryTrend| {
        let grown = trend.bytes_per_s.map_or(0.0, |slope| slope.value * lasted_s);
        let near = trend.limit_in_s.is_none_or(|limit| limit.value < FAR_LIMIT_S);
        trend.trend == Trend::Rises && (near || grown > SMALL_GROWTH * trend.last_bytes)
    };
    let memory = found.memory.iter().filter(matters);
    let memory = memory
        .map(|trend| warning("memory_grows", format!("{}; look for a leak before it serves for long", trend.sentence)));
    let worse = |drift: &&Drift| drift.trend == Trend::Rises || drift.steps.iter().any(|step| step.after > step.before);
    // The 95th percentile stands for both where both drift.
    let latency = found.latency.iter().rfind(worse);
    let latency = latency.map(|drift| warning("latency_drifts", drift.sentence.clone()));
    let fewer = |drift: &&Drift| drift.trend == Trend::Falls || drift.steps.iter().any(|step| step.after < step.before);
    let hits = found.hit_share.as_ref().filter(fewer).map(|drift| warning("hit_share_falls", drift.sentence.clone()));
    let errors = found.errors.as_ref().filter(|errors| errors.pattern == Pattern::Bursts);
    let errors = errors.map(|errors| warning("errors_in_bursts", errors.sentence.clone()));
    memory.chain(latency).chain(hits).chain(errors).collect()
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
