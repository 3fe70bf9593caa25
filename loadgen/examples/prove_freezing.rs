//! Proves that the generator does not omit what a freezing server makes slow: 20 s at 1,000/s, two freezes of 1 s,
//! over 32, 100, 400 and as many connections as needed. Fails when p95, mean or the fraction above 100 ms is more
//! than 5 % away from the reference simulation.

#[path = "../tests/support/freezing_server.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod freezing_server;
#[path = "../tests/support/reference.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod reference;
#[path = "../tests/support/scenarios.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod scenarios;
#[path = "../tests/support/truth.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod truth;

const FREEZE: reference::Freeze =
    reference::Freeze { service_ms: 1.0, freeze_ms: 1000.0, period_ms: 10_000.0, phase_ms: 4000.0 };
const TOLERANCE: f64 = 0.05;

#[allow(clippy::print_stdout)] // The figures are what this program is for.
fn main() -> Result<(), scenarios::Failure> {
    println!("connections  p95 ms (truth)  mean ms (truth)  above 100 ms (truth)  worst error  late p99 ms");
    let mut worst: f64 = 0.0;
    for connections in [Some(32), Some(100), Some(400), None] {
        let truth::Comparison { measured, truth, late_p99_ms, .. } =
            truth::compare(FREEZE, 1000.0, 20, connections, 100.0)?;
        let error = measured.worst_error(&truth);
        worst = worst.max(error);
        println!(
            "{:>11}  {:.1} ({:.1})  {:.2} ({:.2})  {:.2} % ({:.2} %)  {:.2} %  {late_p99_ms:.2}",
            connections.map_or("as needed".to_owned(), |n| n.to_string()),
            measured.p95_ms,
            truth.p95_ms,
            measured.mean_ms,
            truth.mean_ms,
            measured.slow * 100.0,
            truth.slow * 100.0,
            error * 100.0,
        );
    }
    if worst > TOLERANCE {
        return Err(format!("{:.1} % away from the truth, more than {:.0} %", worst * 100.0, TOLERANCE * 100.0).into());
    }
    Ok(())
}
