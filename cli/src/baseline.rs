//! `proofload baseline`: keeps healthy runs, to compare later ones with.

use std::process::ExitCode;

use proofload_analyzer::anomalies::baseline::Baseline;

use crate::args::{BaselineAddArgs, BaselineCommand};
use crate::console::{note, print};

/// Does what the subcommand says.
pub(crate) fn baseline_command(command: &BaselineCommand) -> ExitCode {
    let BaselineCommand::Add(args) = command;
    if add(args) { ExitCode::SUCCESS } else { ExitCode::from(crate::EXIT_CANNOT_RUN) }
}

/// Adds every run that can be added, and says of the others why not.
fn add(args: &BaselineAddArgs) -> bool {
    let mut all = true;
    for run in &args.runs {
        match Baseline::add(run, &args.into) {
            Ok(baseline) => {
                let runs = baseline.runs.len();
                print(&format!("{} added: {} has {runs} run(s)", run.display(), args.into.display()));
            }
            Err(error) => {
                all = false;
                note(&format!("proofload: {}: {error}", run.display()));
            }
        }
    }
    all
}
