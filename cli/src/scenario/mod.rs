//! `proofload scenario`: what helps to write scenario files.

mod check;
mod new;

use std::process::ExitCode;

use crate::args::ScenarioCommand;
use crate::console::{note, print};

/// Does what the subcommand says.
pub(crate) fn scenario_command(command: &ScenarioCommand) -> ExitCode {
    match command {
        ScenarioCommand::New(args) => new::new_command(args),
        ScenarioCommand::Check(args) => check::check_command(args),
        ScenarioCommand::Schema => schema_command(),
    }
}

fn schema_command() -> ExitCode {
    match serde_json::to_string_pretty(&proofload_loadgen::scenario::schema()) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            note(&format!("proofload: {error}"));
            ExitCode::from(crate::EXIT_CANNOT_RUN)
        }
    }
}
