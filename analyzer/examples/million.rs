//! Analyses a seeded run of as many samples as the first argument says (a million without one), and says how long
//! each part took. With a second argument the folder is written there and kept.

#![allow(clippy::print_stdout, reason = "an example's output is what it is run for")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::time::Instant;

use proofload_run::criteria::Slo;
use proofload_run::manifest::ScenarioKind;
use support::{MS, Recorded, Server, manifest, step};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let samples: f64 = arguments.next().map_or(Ok(1e6), |text| text.parse())?;
    let scratch = tempfile::tempdir()?;
    let folder = arguments.next().map_or_else(|| scratch.path().join("run"), PathBuf::from);
    let slo = Slo::new(30 * MS, 95.0, 0.01);
    let levels = (1_u32..=10).map(|index| f64::from(index) * samples / 550.0);
    let steps = levels.zip(0_u64..).map(|(level, i)| step(&format!("step {}", i + 1), i * 10, i * 10 + 10, level, 2));
    let server = Server {
        slots: 16,
        service_ns: 16.0 / (samples / 60.0) * 1e9,
        exponential: true,
        shed_after_ns: None,
        down: None,
    };
    let plan = manifest(ScenarioKind::Stress, steps.collect(), Some(slo), &["breaking_point >= 100/s"]);
    let recorded = Recorded::simulate(plan, server, false, 1).completed();
    recorded.write(&folder);

    let start = Instant::now();
    proofload_run::table::seal(&proofload_run::folder::RunFolder::open(&folder)?)?;
    println!("sealing {} samples: {:.2} s", recorded.samples.len(), start.elapsed().as_secs_f64());
    let start = Instant::now();
    let findings = proofload_analyzer::analyze(&folder)?;
    println!("analysing them: {:.2} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let reports = proofload_analyzer::write_reports(&folder, &findings)?;
    println!("writing the reports: {:.2} s", start.elapsed().as_secs_f64());
    println!("{}: {}", findings.verdict, findings.reasons[0].sentence);
    println!("{}", reports.html.display());
    Ok(())
}
