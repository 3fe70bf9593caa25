//! What requests cost. `basis` says what was measured, `terms` what things cost, `machine` what was paid for, `figures` has the
//! formulas; `several` compares runs. A price that is nobody's is never used: what is not known is said, with what to give.
//!
//! The method: price of an hour over good requests of an hour, with the interval of the rate; energy by counters over ten
//! seconds; a cache gives back machines or nothing; machines by the lower bound of what is sustainable, headroom and a spare.

mod basis;
mod energy;
mod figures;
mod machine;
mod meter;
mod several;
mod terms;
mod traffic;

use std::path::Path;

use proofload_run::capacity::Capacity;
use proofload_run::findings::{Cost, CostBasis, CostFigure, Findings, PricedMachine, RunSummary};
use proofload_run::folder::write_whole;
use proofload_run::units::digits;

pub(crate) use basis::{Parts, basis};
pub(crate) use energy::is_metered;
pub(crate) use meter::Meter;
pub use several::{Comparison, Labelled, MonthCost, Sizing, WhatIf, compare};
pub use terms::{Problem, Stated, Terms, TermsError};
pub use traffic::{Month, Traffic};

use crate::AnalyzeError;
use figures::Priced;

/// The file in a run's folder with prices and what is known of its machine.
const FILE: &str = "cost.toml";

/// What there is to price of a run, or of a search for capacity.
pub(crate) struct Subject<'a> {
    pub(crate) run: &'a RunSummary,
    pub(crate) capacity: Option<&'a Capacity>,
    pub(crate) allowed_bad_share: Option<f64>,
}

impl<'a> Subject<'a> {
    /// Of a run.
    pub(crate) fn of(findings: &'a Findings) -> Self {
        let judged = || findings.slos.iter().chain(findings.steps.iter().flat_map(|step| &step.slos));
        Self {
            run: &findings.run,
            capacity: findings.capacity.as_ref(),
            allowed_bad_share: judged().map(|slo| slo.allowed_share).next(),
        }
    }
}

/// Puts prices on what was measured.
pub(crate) fn priced(measured: CostBasis, subject: &Subject<'_>, terms: &Terms) -> Cost {
    let mut all = figures::unpriced(&measured, terms);
    let machine = machine::machine(&subject.run.host, &subject.run.target, terms);
    let machine = match machine {
        Ok(machine) => {
            let of = Priced {
                basis: &measured,
                machine: &machine,
                capacity: subject.capacity,
                allowed_bad_share: subject.allowed_bad_share,
                terms,
            };
            let with = figures::priced(&of);
            all.figures.splice(0..0, with.figures);
            all.missing.splice(0..0, with.missing);
            Some(machine)
        }
        Err(missing) => {
            all.missing.insert(0, missing);
            None
        }
    };
    let sentence = sentence(machine.as_ref(), &all.figures);
    Cost { measured, machine, figures: all.figures, missing: all.missing, sentence }
}

fn sentence(machine: Option<&PricedMachine>, figures: &[CostFigure]) -> String {
    let Some(machine) = machine else { return String::new() };
    let telling = ["per_1k_good_at_limit", "per_1k_good", "per_1k_requests"];
    let Some(figure) = telling.iter().find_map(|key| figures.iter().find(|figure| figure.key == *key)) else {
        return String::new();
    };
    let interval =
        figure.interval.map_or_else(String::new, |[low, high]| format!(" ({} to {})", digits(low), digits(high)));
    format!(
        "{} cost {} {}{interval} at {} {} an hour ({}, {})",
        figure.name,
        digits(figure.value),
        machine.currency,
        digits(machine.per_hour),
        machine.currency,
        machine.name,
        machine.date
    )
}

/// Lays prices, and what is known of the machine, into a run's folder, so that its report can be made again from that alone.
///
/// # Errors
/// When something is wrong with the file, or it cannot be written.
pub fn lay_beside(file: Option<&str>, stated: &Stated, run: &Path) -> Result<(), AnalyzeError> {
    write_whole(&run.join(FILE), Terms::merged(&file.into_iter().collect::<Vec<_>>(), stated)?.as_bytes())?;
    Ok(())
}

/// The terms of a run's folder: what lies in it, or the built-in prices.
///
/// # Errors
/// When the file cannot be read, or something is wrong with it.
pub(crate) fn beside(run: &Path) -> Result<Terms, AnalyzeError> {
    let path = run.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => return Err(proofload_run::RunError::io(&path, source).into()),
    };
    Ok(Terms::read(&text.as_deref().into_iter().collect::<Vec<_>>(), &Stated::default())?)
}
