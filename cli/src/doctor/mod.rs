//! `proofload doctor`: what would spoil a run on this machine, in this file, at this target, found before the run.

mod check;
mod machine;
mod plan;
mod target;

use std::path::Path;
use std::process::ExitCode;

use proofload_loadgen::footprint::Footprint;
use proofload_loadgen::scenario::Scenario;

use crate::args::DoctorArgs;
use crate::console::{note, print};
use crate::disk;
use check::{Check, State};

/// Values that a scrape of our own daemon brings.
const SCRAPED_POINTS: usize = 180;

/// Prints every check; exits with 1 when something is in the way of a run.
pub(crate) fn doctor_command(args: &DoctorArgs) -> ExitCode {
    let scenario = match args.scenario.as_deref().map(|path| Scenario::load(path, &[])).transpose() {
        Ok(scenario) => scenario,
        Err(errors) => {
            note(&errors.to_string());
            return ExitCode::from(crate::EXIT_CANNOT_RUN);
        }
    };
    let checks = all_checks(args, scenario.as_ref());
    for check in &checks {
        print(&check.to_string());
    }
    let worst = checks.iter().map(|check| check.state).max().unwrap_or(State::Fine);
    print(match worst {
        State::Fine => "\nnothing is in the way of a run",
        State::Doubtful => "\na run will work; mind the warnings",
        State::InTheWay => "\na run would fail or mislead: mend what is marked FAIL first",
    });
    ExitCode::from(u8::from(worst == State::InTheWay))
}

fn room(scenario: &Scenario, points_per_s: usize) -> Check {
    machine::disk(&Footprint::of(scenario, points_per_s), disk::free_bytes(Path::new(crate::run::DEFAULT_FOLDER)))
}

fn all_checks(args: &DoctorArgs, scenario: Option<&Scenario>) -> Vec<Check> {
    let size = scenario.map(plan::Size::of).unwrap_or_default();
    let mut checks = machine::checks(size.connections);
    checks.extend(scenario.map(|scenario| plan::check(scenario, &size)));
    checks.extend(scenario.map(|scenario| room(scenario, SCRAPED_POINTS)));
    let target = scenario.and_then(|scenario| scenario.target.as_ref());
    let http = args.target.as_deref().or_else(|| target.and_then(|target| target.http.as_deref()));
    let grpc = target.and_then(|target| target.grpc.as_deref());
    match (http, grpc) {
        (None, None) => {
            if scenario.is_some() {
                checks.push(Check::fine("target", "none named: a run starts the embedded daemon"));
            }
        }
        (http, grpc) => checks.extend(target::checks(http, grpc, scenario)),
    }
    checks
}
