//! Measures at the server how evenly a load generator sends: starts the built-in server, runs a command against it (`URL`
//! in its arguments is the server's), and prints the spread of arrivals over bins of 10 ms.
//! `arrival_spread COMMAND [ARGUMENT…]`, or `arrival_spread proofload constant RATE SECONDS` for our own.

#[path = "../tests/support/scenarios.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod scenarios;

use std::process::{Command, Stdio};

use proofload_loadgen::calibrate::law::Law;
use proofload_loadgen::calibrate::server::{Served, Server};
use proofload_loadgen::plan::Process;
use proofload_loadgen::scenario::{Model, RequestSpec};
use scenarios::{Failure, drive, get};

const BIN_NS: u64 = 10_000_000;

/// Arrivals in each whole bin between the first and the last, without half a second at either end.
fn bins(served: &[Served]) -> Vec<f64> {
    let mut times: Vec<u64> = served.iter().map(|answer| answer.due_ns).collect();
    times.sort_unstable();
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return Vec::new() };
    let (from, to) = (first / BIN_NS + 50, (last / BIN_NS).saturating_sub(50));
    let mut bins = vec![0.0; to.saturating_sub(from) as usize];
    for time in &times {
        if let Some(bin) = (time / BIN_NS).checked_sub(from).and_then(|n| bins.get_mut(n as usize)) {
            *bin += 1.0;
        }
    }
    bins
}

#[allow(clippy::print_stdout)] // The figures are what this program is for.
fn report(name: &str, bins: &[f64]) {
    let n = bins.len() as f64;
    let mean = bins.iter().sum::<f64>() / n;
    let sd = (bins.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / n).sqrt();
    let empty = bins.iter().filter(|b| **b == 0.0).count();
    println!("{name:>10}  {:.0} bins, mean {mean:.2}, SD {sd:.2}, {empty} empty", n);
}

fn ours(url: &str, level: f64, seconds: u64) -> Result<(), Failure> {
    let mut scenario = get(Model::Open { arrivals: Process::Constant.into() }, level, seconds, None);
    if let RequestSpec::Http(spec) = &mut scenario.mix[0].request {
        "/1".clone_into(&mut spec.path);
    }
    drive(&scenario, url).map(|_| ())
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let server = Server::start(Law::Fixed { service_ns: 0 }, None)?;
    let url = format!("{}/1", server.url());
    match arguments.as_slice() {
        [name, model, rate, seconds] if name == "proofload" && model == "constant" => {
            ours(&server.url(), rate.parse()?, seconds.parse()?)?;
        }
        [name, rest @ ..] => {
            let rest = rest.iter().map(|argument| argument.replace("URL", &url));
            Command::new(name).args(rest).stdout(Stdio::null()).status()?;
        }
        [] => return Err("usage: arrival_spread COMMAND [ARGUMENT…]".into()),
    }
    let name = arguments[0].rsplit('/').next().unwrap_or_default().to_owned();
    report(&name, &bins(&server.served()));
    Ok(())
}
