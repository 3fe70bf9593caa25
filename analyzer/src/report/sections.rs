//! The report's sections, in their order: which charts and tables belong together.

use proofload_run::findings::Findings;

use super::chart::Chart;
use super::tables::Table;
use super::{
    anomaly_table, attribution_section, budget_table, charts, cost_section, endurance_section, forecast_section,
    happening_table, incident_section, model_section, shape_charts, spike_table, tables, token_tables,
};

/// What belongs together under one heading. Without charts and rows it is not shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Section {
    /// What links to it say after the `#`.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What holds for all of it; may be empty.
    pub(super) note: String,
    pub(super) charts: Vec<Chart>,
    pub(super) tables: Vec<Table>,
}

impl Section {
    /// A section of what there is: tables without rows are left out.
    pub(super) fn new(
        id: &'static str,
        title: &'static str,
        charts: impl IntoIterator<Item = Option<Chart>>,
        tables: impl IntoIterator<Item = Table>,
    ) -> Self {
        let tables = tables.into_iter().filter(|table| !table.rows.is_empty()).collect();
        Self { id, title, note: String::new(), charts: charts.into_iter().flatten().collect(), tables }
    }
}

/// All sections that have something to show.
pub(super) fn sections(findings: &Findings) -> Vec<Section> {
    let all = [
        objectives(findings),
        over_time(findings),
        limit(findings),
        model_section::model(findings),
        Section::new("spike", "The spike", [], [spike_table::spike(findings)]),
        Section::new("budget", "Error budget", [], [budget_table::budget(findings)]),
        endurance_section::endurance(findings),
        latency(findings),
        time_spent(findings),
        attribution_section::slow(findings),
        scraped(findings, "gpu", "GPUs", true),
        scraped(findings, "server", "Server and generator", false),
        Section::new("errors", "Errors", [charts::trouble(findings)], [tables::errors(findings)]),
        incident_section::section(findings),
        Section::new("anomalies", "Anomalies", [], [anomaly_table::anomalies(findings)]),
        cost_section::cost(findings),
        forecast_section::forecast(findings),
        validity(findings),
    ];
    all.into_iter().filter(|section| !section.charts.is_empty() || !section.tables.is_empty()).collect()
}

/// Where overload is part of the plan a service level is a matter of steps: over the whole run it says nothing.
fn objectives(findings: &Findings) -> Section {
    let whole_run = if findings.run.kind.overloads() { &[][..] } else { &findings.slos };
    let tables = [tables::thresholds(&findings.thresholds), tables::slos(whole_run)];
    Section::new("objectives", "Objectives", [], tables)
}

fn over_time(findings: &Findings) -> Section {
    let drawn = [
        Some(charts::load(findings)),
        charts::latency(findings),
        shape_charts::heat_map(findings),
        charts::first_token(findings),
        charts::token_gap(findings),
        Some(charts::in_flight(findings)),
    ];
    Section::new("time", "Over time", drawn, [happening_table::happenings(findings)])
}

fn limit(findings: &Findings) -> Section {
    let drawn = [shape_charts::latency_against_rate(findings), charts::breaking(findings)];
    Section::new("limit", "Steps and the limit", drawn, [tables::steps(findings)])
}

/// What was scraped, of GPUs or of all else. GPUs' charts stand below one another, so that times are aligned.
fn scraped(findings: &Findings, id: &'static str, title: &'static str, of_gpus: bool) -> Section {
    let drawn = charts::scraped(findings).into_iter().filter(|chart| chart.title.starts_with("GPU") == of_gpus);
    let drawn: Vec<_> = drawn.collect();
    let beside = (of_gpus && !drawn.is_empty()).then(|| charts::load(findings));
    Section::new(id, title, beside.into_iter().chain(drawn).map(Some), [])
}

fn latency(findings: &Findings) -> Section {
    let tables = [tables::entries(&findings.entries), token_tables::tokens(findings)];
    Section::new(
        "latency",
        "Latency and the mix",
        [shape_charts::curve(findings), charts::distribution(findings)],
        tables,
    )
}

fn time_spent(findings: &Findings) -> Section {
    let tables = [tables::phases(findings), tables::server_phases(findings), tables::batches(findings)];
    Section::new(
        "phases",
        "Where the time went",
        [charts::phases(findings), shape_charts::batch_sizes(findings)],
        tables,
    )
}

fn validity(findings: &Findings) -> Section {
    let tables = [tables::audit(findings), tables::conservation(findings), tables::totals(findings)];
    Section::new("validity", "Can the figures be believed", [], tables)
}
