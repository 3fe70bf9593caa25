//! `proofload cost`: what requests cost, run by run and side by side; and prices for the folders of `run` and `report`. The figures
//! are the analyzer's.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use proofload_analyzer::cost::{Comparison, Labelled, Sizing, Stated, Terms, Traffic, WhatIf, compare, lay_beside};
use proofload_run::findings::{Cost, Findings};
use proofload_run::folder::RunFolder;
use proofload_run::units::digits;

use crate::args::{CostArgs, PriceArgs};
use crate::capacity;
use crate::console::{note, print};

/// The labels of a run without the settings that are compared.
const PLAIN: &str = "none";

/// Says what the runs cost.
pub(crate) fn cost_command(args: &CostArgs) -> ExitCode {
    match told(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("proofload: {error:#}"));
            ExitCode::from(crate::EXIT_CANNOT_RUN)
        }
    }
}

fn told(args: &CostArgs) -> anyhow::Result<()> {
    let given = Given::read(&args.prices)?;
    let runs: Vec<Labelled> = args.runs.iter().map(|run| labelled(run, &given)).collect::<Result<_, _>>()?;
    let labels: BTreeSet<&str> = runs.iter().map(|run| run.label.as_str()).collect();
    if labels.len() < runs.len() {
        bail!("two runs have the same label; label them with LABEL=RUN_DIR");
    }
    let steady = args.rate.map(Traffic::steady);
    let demand = steady.as_ref().or_else(|| runs.iter().find_map(|run| run.terms.traffic()));
    let found = compare(&runs, demand);
    if args.json {
        print(&serde_json::to_string_pretty(&found)?);
    } else {
        print(text(&found, demand).trim_end());
    }
    Ok(())
}

/// Prices and what is said of the machine, as read.
pub(crate) struct Given {
    prices: Option<String>,
    stated: Stated,
}

impl Given {
    /// Reads the files and says all that is wrong with them.
    pub(crate) fn read(args: &PriceArgs) -> anyhow::Result<Self> {
        let file =
            |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let stated = Stated {
            machine: args.machine.clone(),
            units: args.units,
            replicas: args.replicas,
            traffic: args.traffic.as_deref().map(file).transpose()?,
        };
        let given = Self { prices: args.prices.as_deref().map(file).transpose()?, stated };
        given.terms(None).map_err(|error| {
            let path = args.prices.as_ref().map_or_else(String::new, |path| format!("{}:\n", path.display()));
            anyhow::anyhow!("{path}{error}")
        })?;
        Ok(given)
    }

    fn terms(&self, beside: Option<&str>) -> anyhow::Result<Terms> {
        let files: Vec<&str> = beside.into_iter().chain(self.prices.as_deref()).collect();
        Ok(Terms::read(&files, &self.stated)?)
    }

    /// Lays what was given into a run's folder; what lies there stays where nothing was given.
    pub(crate) fn lay_beside(&self, run: &Path) -> anyhow::Result<()> {
        if self.prices.is_none() && self.stated.is_empty() {
            return Ok(());
        }
        lay_beside(self.prices.as_deref(), &self.stated, run)
            .with_context(|| format!("cannot put prices into {}", run.display()))
    }
}

/// `LABEL=RUN_DIR`, or a folder that is called by its settings.
fn labelled(argument: &str, given: &Given) -> anyhow::Result<Labelled> {
    let parts = argument.split_once('=').filter(|_| !Path::new(argument).exists());
    let (label, folder) = parts.map_or((None, Path::new(argument)), |(label, folder)| (Some(label), Path::new(folder)));
    let findings = findings(folder)?;
    let beside = std::fs::read_to_string(folder.join("cost.toml")).ok();
    let terms = given.terms(beside.as_deref()).with_context(|| format!("{}/cost.toml", folder.display()))?;
    let name = folder.file_name().map_or_else(|| argument.to_owned(), |name| name.to_string_lossy().into_owned());
    Ok(Labelled { label: label.map_or(name, str::to_owned), findings, terms })
}

/// Of a search for capacity those of its last step, with what was found; of a run those that were written, or new ones.
pub(crate) fn findings(folder: &Path) -> anyhow::Result<Findings> {
    if let Some(found) = capacity::findings_with_capacity(folder)? {
        return Ok(found);
    }
    let written = std::fs::read(RunFolder::open(folder)?.findings()).ok();
    let written = written.and_then(|bytes| serde_json::from_slice::<Findings>(&bytes).ok());
    if let Some(findings) = written.filter(|findings| findings.cost.is_some()) {
        return Ok(findings);
    }
    proofload_analyzer::analyze(folder).with_context(|| format!("cannot analyse {}", folder.display()))
}

fn text(found: &Comparison, demand: Option<&Traffic>) -> String {
    let mut text = String::new();
    for run in &found.runs {
        let _ = writeln!(text, "{}  {} {}", run.label, run.scenario, run.run_id);
        text.push_str(&figures(&run.cost));
    }
    if let Some(demand) = demand.filter(|_| !found.sizing.is_empty()) {
        let _ = writeln!(text, "machines for {} requests/s, the cheapest first", digits(demand.peak_per_s()));
        text.push_str(&sizing(&found.sizing));
    }
    if !found.what_if.is_empty() {
        text.push_str(&what_if(&found.what_if));
    }
    if !found.trend.is_empty() {
        let _ = writeln!(
            text,
            "1,000 good requests by month\n  {:<9}{:>5}{:>12}  lowest to highest",
            "month", "runs", "median"
        );
        for month in &found.trend {
            let change = month.change_share.map_or_else(String::new, |share| format!("  {:+.1} %", share * 100.0));
            let (low, high) = (digits(month.range[0]), digits(month.range[1]));
            let median = digits(month.median);
            let _ = writeln!(
                text,
                "  {:<9}{:>5}{median:>12}  {low} to {high}{change}  {}",
                month.month, month.n, month.what
            );
        }
        text.push('\n');
    }
    for sentence in &found.notes {
        let _ = writeln!(text, "note  {sentence}");
    }
    text
}

fn figures(cost: &Cost) -> String {
    let mut text = String::new();
    if let Some(machine) = &cost.machine {
        let _ = writeln!(
            text,
            "  {} × {} of {} {} each, {} machine(s): {} {} an hour ({}; {}, {})",
            digits(machine.units),
            machine.name,
            digits(machine.unit_per_hour),
            machine.currency,
            machine.replicas,
            digits(machine.per_hour),
            machine.currency,
            machine.known_by,
            machine.source,
            machine.date
        );
    }
    for figure in &cost.figures {
        let interval =
            figure.interval.map_or_else(String::new, |[low, high]| format!(" ({} to {})", digits(low), digits(high)));
        let (value, unit) = (digits(figure.value), &figure.unit);
        let _ = writeln!(text, "  {:<46} {value} {unit}{interval}\n      = {}", figure.name, figure.numbers);
    }
    for missing in &cost.missing {
        let _ = writeln!(text, "  not said: {missing}");
    }
    text.push('\n');
    text
}

fn sizing(rows: &[Sizing]) -> String {
    let mut text = format!(
        "  {:<20}{:<16}{:>10}{:>10}{:>14}{:>14}{:>14}  range\n",
        "run", "machine", "sustains/s", "machines", "an hour", "a month", "1,000 good"
    );
    for row in rows {
        let range =
            row.per_1k_range.map_or_else(String::new, |[low, high]| format!("{} to {}", digits(low), digits(high)));
        let _ = writeln!(
            text,
            "  {:<20}{:<16}{:>10}{:>10}{:>14}{:>14}{:>14}  {range} {}",
            row.label,
            row.machine,
            digits(row.sustained_per_s),
            row.machines,
            digits(row.per_hour),
            digits(row.month.fixed),
            digits(row.per_1k),
            row.currency
        );
    }
    text.push('\n');
    text
}

fn what_if(rows: &[WhatIf]) -> String {
    let share = |share: Option<f64>, range: Option<[f64; 2]>| {
        let percent = |share: f64| format!("{:.1}", share * 100.0);
        let range = range.map_or_else(String::new, |[low, high]| format!(" ({} to {})", percent(low), percent(high)));
        share.map_or_else(|| "not known".to_owned(), |share| format!("{} %{range}", percent(share)))
    };
    let mut text = format!(
        "saved against {PLAIN}, as measured\n  {:<20}{:<34}time of computing\n",
        "run", "good request at the limit"
    );
    for row in rows {
        let price = share(row.saved_share, row.saved_range);
        let computing = share(row.computing_saved_share, row.computing_saved_range);
        let _ = writeln!(text, "  {:<20}{price:<34}{computing}", row.label);
    }
    text.push('\n');
    text
}
