//! The daemon alone, for a machine that only serves. `proofload daemon` is the same.

use std::process::ExitCode;

use clap::Parser;
use proofload_daemon::DaemonArgs;

#[derive(Debug, Parser)]
#[command(name = "proofload-daemon", version, about)]
struct Arguments {
    #[command(flatten)]
    daemon: DaemonArgs,
}

fn main() -> anyhow::Result<ExitCode> {
    Ok(proofload_daemon::run(Arguments::parse().daemon)?)
}
