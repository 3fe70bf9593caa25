//! `proofload doctor`: what would spoil a run on this machine, in this file, at this target, found before the run.

mod capacity;
mod check;
mod machine;
mod plan;
mod requests;
mod target;

use std::path::Path;
use std::process::ExitCode;

use proofload_loadgen::footprint::Footprint;
use proofload_loadgen::scenario::Scenario;

use crate::args::DoctorArgs;
use crate::console::{note, print};
use crate::disk;
use crate::target::named_target;
use check::{Check, State};

/// Prints every check; exits with 1 when something is in the way of a run.
pub(crate) fn doctor_command(args: &DoctorArgs) -> ExitCode {
    let scenario = match args.scenario.as_deref().map(|path| Scenario::load(path, &args.overrides)).transpose() {
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

fn all_checks(args: &DoctorArgs, scenario: Option<&Scenario>) -> Vec<Check> {
    let size = scenario.map(plan::Size::of).unwrap_or_default();
    let target = named_target(&args.target, scenario.and_then(|scenario| scenario.target.as_ref()));
    let folder = args.out.as_deref().unwrap_or(Path::new(crate::run::DEFAULT_FOLDER));
    let mut checks = machine::checks(size.connections);
    let Some(scenario) = scenario else {
        checks.extend(target::checks(target.as_ref(), None).checks);
        return checks;
    };
    checks.push(plan::check(scenario, &size));
    checks.extend(capacity::generator(scenario, size.peak));
    let (range, reuses) = capacity::local_ports();
    checks.extend(capacity::ports(&scenario.load.connections, size.peak, range, reuses));
    checks.extend(target::problem(&args.target, scenario));
    let found = target::checks(target.as_ref(), Some(scenario));
    checks.extend(found.checks);
    let system = u64::from(proofload_loadgen::host::connection_limit().0);
    let needed = found.latency_ns.and_then(|ns| capacity::connections(scenario, size.peak, ns, system));
    checks.extend(needed);
    let points = found.points_per_s;
    checks.push(machine::disk(&Footprint::of(scenario, points), disk::free_bytes(folder)));
    checks
}
