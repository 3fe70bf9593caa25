//! The `proofload` command: arguments in, exit code out. Whatever it does is done by a module beside this one or
//! by a crate below.

mod anomalies;
mod args;
mod baseline;
mod calibrate;
mod capacity;
mod console;
mod cost;
mod disk;
mod doctor;
mod embedded;
mod export;
mod forecast;
mod plan;
mod progress;
mod report;
mod run;
mod scenario;
mod summary;
mod target;
mod tui;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use proofload_run::verdict::Verdict;

/// Usage or configuration error, or something the machine refused.
const EXIT_CANNOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Daemon(args) => return daemon(&args),
        Command::Run(args) => run::run_command(&args),
        Command::Capacity(args) => capacity::capacity_command(&args),
        Command::Plan(args) => plan::plan_command(&args),
        Command::Report(args) => report::report_command(&args),
        Command::Export(args) => export::export_command(&args),
        Command::Gate(args) => report::gate_command(&args),
        Command::Calibrate(args) => calibrate::calibrate_command(&args),
        Command::Doctor(args) => return doctor::doctor_command(&args),
        Command::Anomalies(args) => return anomalies::anomalies_command(&args),
        Command::Cost(args) => return cost::cost_command(&args),
        Command::Forecast(args) => return forecast::forecast_command(&args),
        Command::Baseline(command) => return baseline::baseline_command(&command),
        Command::Scenario(command) => return scenario::scenario_command(&command),
    };
    exit_code(outcome)
}

fn daemon(args: &proofload_daemon::DaemonArgs) -> ExitCode {
    proofload_daemon::run(args).unwrap_or_else(|error| {
        console::note(&format!("proofload daemon: {error}"));
        ExitCode::from(EXIT_CANNOT_RUN)
    })
}

fn exit_code(outcome: anyhow::Result<Verdict>) -> ExitCode {
    match outcome {
        Ok(verdict) => ExitCode::from(verdict.exit_code()),
        Err(error) => {
            console::note(&format!("proofload: {error:#}"));
            ExitCode::from(EXIT_CANNOT_RUN)
        }
    }
}
