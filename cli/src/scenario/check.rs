//! `proofload scenario check`: everything that is wrong with scenario files, and no socket opened.

use std::process::ExitCode;

use proofload_loadgen::scenario::Scenario;

use crate::args::CheckArgs;
use crate::console::{note, print};

/// Says of each file what is wrong with it, or that nothing is.
pub(crate) fn check_command(args: &CheckArgs) -> ExitCode {
    let mut broken = false;
    for path in &args.scenarios {
        match Scenario::load(path, &args.overrides) {
            Ok(_) => print(&format!("{}: valid", path.display())),
            Err(errors) => {
                note(&errors.to_string());
                broken = true;
            }
        }
    }
    if broken { ExitCode::from(crate::EXIT_CANNOT_RUN) } else { ExitCode::SUCCESS }
}
