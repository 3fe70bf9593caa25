//! `proofload anomalies`: what was odd in recorded metrics.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use proofload_analyzer::anomalies::{Found, Wanted, in_files};

use crate::args::AnomaliesArgs;
use crate::console::{note, print};

/// Looks at every file, writes the alerts where they are wanted, and prints a row a file.
pub(crate) fn anomalies_command(args: &AnomaliesArgs) -> ExitCode {
    match look(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("proofload: {error:#}"));
            ExitCode::from(crate::EXIT_CANNOT_RUN)
        }
    }
}

fn look(args: &AnomaliesArgs) -> anyhow::Result<()> {
    if !(args.alpha > 0.0 && args.alpha < 1.0) {
        bail!("--alpha is a share of the windows, between 0 and 1 (0.05, or 0.01 for few alerts), not {}", args.alpha);
    }
    let wanted = Wanted { train: args.train.as_deref(), alpha: args.alpha, warm_up_s: args.warm_up };
    let found = in_files(&args.files, &wanted)?;
    if !args.output.quiet {
        print(table(&found).trim_end());
    }
    if let Some(path) = &args.out {
        let alerts: serde_json::Map<String, serde_json::Value> =
            found.iter().map(|file| (file.name.clone(), alerts(file))).collect();
        let text = serde_json::to_string_pretty(&alerts)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn alerts(file: &Found) -> serde_json::Value {
    let alert = |alert: &proofload_anomaly::watch::Alert| {
        let metrics: Vec<&str> = alert.ranked.iter().map(|(metric, _)| file.metrics[*metric].as_str()).collect();
        serde_json::json!([alert.from_s, alert.to_s, metrics.first(), metrics])
    };
    file.alerts.iter().map(alert).collect()
}

fn table(found: &[Found]) -> String {
    let mut text = format!("  {:<32}{:>9}{:>9}{:>9}  healthy runs\n", "file", "windows", "unjudged", "alerts");
    for file in found {
        let runs = if file.runs == 0 { "none: compared with itself".to_owned() } else { file.runs.to_string() };
        let _ = writeln!(
            text,
            "  {:<32}{:>9}{:>9}{:>9}  {runs}",
            file.name,
            file.windows,
            file.unjudged,
            file.alerts.len()
        );
    }
    text
}
