//! The daemon alone, for a machine that only serves. `proofload daemon` is the same.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use proofload_daemon::DaemonArgs;

/// The daemon could not start: its arguments, its models or its ports are not as they should be.
const EXIT_CANNOT_START: u8 = 2;

#[derive(Debug, Parser)]
#[command(name = "proofload-daemon", version, about)]
struct Arguments {
    #[command(flatten)]
    daemon: DaemonArgs,
}

fn main() -> ExitCode {
    proofload_daemon::run(&Arguments::parse().daemon).unwrap_or_else(|error| {
        // Where standard error is closed there is nobody left to tell.
        let _ = writeln!(std::io::stderr(), "proofload-daemon: {error}");
        ExitCode::from(EXIT_CANNOT_START)
    })
}
