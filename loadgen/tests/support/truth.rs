//! One comparison of the generator with the reference simulation.

use proofload_loadgen::plan::Process;
use proofload_loadgen::scenario::Model;
use proofload_run::sample::{Outcome, Sample};

use crate::freezing_server::FreezingServer;
use crate::reference::{Figures, Freeze, figures, simulate};
use crate::scenarios::{Failure, drive, get};

/// What was measured, what is true, and how late the generator was itself.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) measured: Figures,
    pub(crate) truth: Figures,
    pub(crate) late_p99_ms: f64,
    pub(crate) connections: u32,
}

/// Drives `rate` constant arrivals a second at a freezing server and compares.
pub(crate) fn compare(
    freeze: Freeze,
    rate: f64,
    seconds: u64,
    connections: Option<u32>,
    slow_ms: f64,
) -> Result<Comparison, Failure> {
    let server = FreezingServer::start(freeze)?;
    let model = Model::Open { arrivals: Process::Constant.into() };
    let driven = drive(&get(model, rate, seconds, connections), &server.url())?;
    if driven.samples.iter().any(|s| s.outcome() != Outcome::Ok) {
        return Err(format!("not everything was answered: {:?}", driven.end).into());
    }
    let offset_ms = server.zero_ms(driven.manifest.clocks[0].zero_unix_ns);
    let arrivals_ms: Vec<f64> = driven.samples.iter().map(|s| s.intended_ns as f64 / 1e6 - offset_ms).collect();
    let latencies_ms: Vec<f64> = driven.samples.iter().map(|s| s.latency_ns() as f64 / 1e6).collect();
    Ok(Comparison {
        measured: figures(&latencies_ms, slow_ms),
        truth: figures(&simulate(&freeze, &arrivals_ms, connections), slow_ms),
        late_p99_ms: late_p99_ms(&driven.samples),
        connections: driven.samples.iter().map(|s| s.connection + 1).max().unwrap_or(0),
    })
}

fn late_p99_ms(samples: &[Sample]) -> f64 {
    let mut late: Vec<u64> = samples.iter().map(|s| s.generator_late_ns).collect();
    late.sort_unstable();
    late[late.len() * 99 / 100] as f64 / 1e6
}
