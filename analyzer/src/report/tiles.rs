//! The key figures at the top of the report, each with its unit, its sample size and its interval.

use proofload_run::findings::{BreakingKind, BreakingPoint, Findings, Latency, Percentile, Tokens};

use super::format::{count, duration_parts, number, percentile_interval, share_interval};

/// One key figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) label: String,
    pub(super) value: String,
    pub(super) unit: String,
    /// Sample size and interval.
    pub(super) note: String,
}

fn tile(label: &str, value: String, unit: &str, note: String) -> Tile {
    Tile { label: label.to_owned(), value, unit: unit.to_owned(), note }
}

/// The tiles, in their order. Where the limit is sought the run as a whole is a mixture of levels: what counts is the
/// best of them, and the latency at the last level that was borne.
pub(super) fn tiles(findings: &Findings) -> Vec<Tile> {
    let mut tiles: Vec<Tile> = match breaking_point(findings) {
        Some(tile) => [tile].into_iter().chain(limit(findings)).chain(best(findings)).collect(),
        None => whole(findings),
    };
    let rates = &findings.rates;
    let retries = if rates.retries == 0 { String::new() } else { format!("; after {} retries", count(rates.retries)) };
    let shares = [("Errors", &rates.errors, retries), ("Sheds", &rates.sheds, String::new())];
    tiles.extend(shares.map(|(label, share, retries)| {
        let value = if share.n == 0 { "–".to_owned() } else { number(share.share * 100.0) };
        let note = format!("{} of {}; {}{retries}", count(share.count), count(share.n), share_interval(share));
        tile(label, value, "%", note)
    }));
    tiles
}

fn whole(findings: &Findings) -> Vec<Tile> {
    let rates = &findings.rates;
    let good = tile("Goodput", number(rates.goodput_per_s), "/s", format!("n = {}", count(rates.goodput_n)));
    let intended = format!("of {} /s intended", number(rates.intended_per_s));
    let throughput = tile("Throughput", number(rates.throughput_per_s), "/s", intended);
    let tokens = findings.tokens.as_ref().map_or_else(Vec::new, tokens);
    [good, throughput].into_iter().chain(latencies(findings.latency.as_ref(), "")).chain(tokens).collect()
}

fn tokens(found: &Tokens) -> Vec<Tile> {
    let p95 = |label: &str, times: Option<&Latency>| {
        let times = times?;
        Some(Tile { label: label.to_owned(), ..latency(times.percentile(95.0)?, times.n, "") })
    };
    let rate = tile("Tokens", number(found.out_per_s), "/s", format!("n = {}", count(found.out)));
    let times = [p95("First token p95", found.ttft.as_ref()), p95("Between tokens p95", found.itl.as_ref())];
    times.into_iter().flatten().chain([rate]).collect()
}

fn best(findings: &Findings) -> Vec<Tile> {
    let Some(found) = &findings.breaking_point else { return Vec::new() };
    let reached = findings.steps.iter().max_by(|a, b| a.rates.goodput_per_s.total_cmp(&b.rates.goodput_per_s));
    let at = reached.map_or_else(String::new, |step| {
        format!("at {}; n = {}", level(step.level, found), count(step.rates.goodput_n))
    });
    let good = tile("Best goodput", number(found.best_goodput_per_s), "/s", at);
    let borne = findings.steps.iter().find(|step| Some(&step.name) == found.last_met_step.as_ref());
    let at = borne.map_or_else(String::new, |step| format!("at {}; ", level(step.level, found)));
    [good].into_iter().chain(latencies(borne.and_then(|step| step.latency.as_ref()), &at)).collect()
}

fn level(level: f64, found: &BreakingPoint) -> String {
    if found.level_unit == "users" { format!("{} users", number(level)) } else { format!("{}/s", number(level)) }
}

fn latencies(found: Option<&Latency>, at: &str) -> Vec<Tile> {
    let wanted = |p: &&Percentile| [50.0, 95.0, 99.0].contains(&p.percentile);
    found.map_or_else(Vec::new, |l| l.percentiles.iter().filter(wanted).map(|p| latency(p, l.n, at)).collect())
}

fn latency(found: &Percentile, n: u64, at: &str) -> Tile {
    let (value, unit) = duration_parts(found.latency_ns as f64);
    let few = if found.enough { "" } else { "; too few samples" };
    let note = format!("{at}n = {}; {}{few}", count(n), percentile_interval(found));
    tile(&format!("Latency p{}", found.percentile), value, &unit, note)
}

/// The estimate of the limit, where steps allow one.
fn limit(findings: &Findings) -> Option<Tile> {
    let found = findings.capacity.as_ref()?;
    let ([low, high], estimate) = (found.interval_per_s?, found.estimate_per_s?);
    let note = format!("{} to {} (90 %), by all steps together", number(low), number(high));
    Some(tile("Limit, estimated", number(estimate), "/s", note))
}

fn breaking_point(findings: &Findings) -> Option<Tile> {
    let found = findings.breaking_point.as_ref()?;
    let met = found.last_met_level.map(number);
    let missed = found.first_missed_level.map(number);
    let (value, note) = match found.kind {
        BreakingKind::Between => (missed?, format!("last step that met it: {}", met?)),
        BreakingKind::UpperBound => (format!("≤ {}", missed?), "the first step missed it already".to_owned()),
        BreakingKind::LowerBound => (format!("> {}", met?), "no step missed it".to_owned()),
        BreakingKind::Unknown => ("–".to_owned(), "no step could be judged".to_owned()),
    };
    let unit = if found.level_unit == "users" { "users" } else { "/s" };
    Some(tile("Breaking point", value, unit, note))
}
