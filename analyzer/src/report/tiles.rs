//! The key figures at the top of the report, each with its unit, its sample size and its interval.

use proofload_run::findings::{BreakingKind, Findings, Percentile};

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

/// The tiles, in their order.
pub(super) fn tiles(findings: &Findings) -> Vec<Tile> {
    let rates = &findings.rates;
    let shares = [("Errors", &rates.errors), ("Sheds", &rates.sheds)].map(|(label, share)| {
        let value = if share.n == 0 { "–".to_owned() } else { number(share.share * 100.0) };
        let note = format!("{} of {}; {}", count(share.count), count(share.n), share_interval(share));
        tile(label, value, "%", note)
    });
    let good = tile("Goodput", number(rates.goodput_per_s), "per second", format!("n = {}", count(rates.goodput_n)));
    let throughput = tile(
        "Throughput",
        number(rates.throughput_per_s),
        "per second",
        format!("of {} intended per second", number(rates.intended_per_s)),
    );
    let mut tiles: Vec<Tile> = breaking_point(findings).into_iter().collect();
    tiles.extend([good, throughput]);
    let wanted = |p: &&Percentile| [50.0, 95.0, 99.0].contains(&p.percentile);
    tiles.extend(findings.latency.iter().flat_map(|l| l.percentiles.iter().filter(wanted).map(|p| latency(p, l.n))));
    tiles.extend(shares);
    tiles
}

fn latency(found: &Percentile, n: u64) -> Tile {
    let (value, unit) = duration_parts(found.latency_ns as f64);
    let few = if found.enough { "" } else { "; too few samples" };
    tile(
        &format!("Latency p{}", found.percentile),
        value,
        &unit,
        format!("n = {}; {}{few}", count(n), percentile_interval(found)),
    )
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
    Some(tile("Breaking point", value, &found.level_unit, note))
}
