//! Measures the dispatcher against a server on this machine: processor time per request, lateness, and the spread
//! of arrivals over 10 ms bins. `dispatch_cost URL constant|poisson|closed LEVEL SECONDS`.

#[path = "../tests/support/scenarios.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod scenarios;

use proofload_loadgen::plan::{Process, Think};
use proofload_loadgen::scenario::Model;
use proofload_run::sample::{Outcome, Sample};
use scenarios::{Failure, drive, get};

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// A percentile of a column, µs.
fn percentile(samples: &[Sample], column: fn(&Sample) -> u64, p: f64) -> f64 {
    let mut values: Vec<u64> = samples.iter().map(column).collect();
    values.sort_unstable();
    values[((values.len() as f64 * p) as usize).min(values.len() - 1)] as f64 / 1e3
}

/// Mean and standard deviation of the requests sent in each 10 ms.
fn spread(samples: &[Sample], seconds: u64) -> (f64, f64) {
    let mut bins = vec![0.0; seconds as usize * 100];
    for sample in samples {
        if let Some(bin) = bins.get_mut((sample.sent_ns / 10_000_000) as usize) {
            *bin += 1.0;
        }
    }
    let n = bins.len() as f64;
    let mean = bins.iter().sum::<f64>() / n;
    (mean, (bins.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / n).sqrt())
}

#[allow(clippy::print_stdout)] // The figures are what this program is for.
fn report(samples: &[Sample], cpu_s: f64, seconds: u64) {
    let ok = samples.iter().filter(|s| s.outcome() == Outcome::Ok).count();
    let late = |p| percentile(samples, |s| s.generator_late_ns, p);
    let latency = |p| percentile(samples, Sample::latency_ns, p);
    let (mean, sd) = spread(samples, seconds);
    println!("{} samples, {ok} ok, {:.0}/s", samples.len(), samples.len() as f64 / seconds as f64);
    println!("CPU per request {:.2} us", cpu_s * 1e6 / samples.len() as f64);
    println!("lateness p50 {:.0} p99 {:.0} max {:.0} us", late(0.5), late(0.99), late(1.0));
    println!("latency p50 {:.0} p99 {:.0} us", latency(0.5), latency(0.99));
    println!("sent per 10 ms: mean {mean:.2}, SD {sd:.2}");
    println!("connections {}", samples.iter().map(|s| s.connection + 1).max().unwrap_or(0));
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, model, level, seconds] = arguments.as_slice() else {
        return Err("usage: dispatch_cost URL constant|poisson|closed LEVEL SECONDS".into());
    };
    let (level, seconds): (f64, u64) = (level.parse()?, seconds.parse()?);
    let model = match model.as_str() {
        "closed" => Model::Closed { think: Think::Constant { ns: 0 } },
        "poisson" => Model::Open { arrivals: Process::Poisson.into() },
        _ => Model::Open { arrivals: Process::Constant.into() },
    };
    let before_s = cpu_seconds();
    let driven = drive(&get(model, level, seconds, None), url)?;
    report(&driven.samples, cpu_seconds() - before_s, seconds);
    Ok(())
}
