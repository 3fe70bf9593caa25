//! `proofload forecast`: where a series of the past is going, or when a growing demand meets a capacity. The forecasts are the
//! analyzer's.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use proofload_analyzer::forecast::{Demand, Growth, Missed, forecast, growth_of, missed, of_runs, read_csv};
use proofload_run::findings::Forecast;
use proofload_run::units::{digits, format_duration_ns};

use crate::args::ForecastArgs;
use crate::console::{note, print};
use crate::cost::findings;

/// Forecasts what was named.
pub(crate) fn forecast_command(args: &ForecastArgs) -> ExitCode {
    match told(args) {
        Ok(text) => {
            print(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            note(&format!("proofload: {error:#}"));
            ExitCode::from(crate::EXIT_CANNOT_RUN)
        }
    }
}

fn told(args: &ForecastArgs) -> anyhow::Result<String> {
    let (files, folders): (Vec<_>, Vec<_>) = args.inputs.iter().partition(|path| path.is_file());
    if args.peak.is_some() || args.growth.is_some() {
        let [folder] = folders[..] else { bail!("name one run folder, or one search for capacity, for --peak") };
        return against_capacity(args, folder, &files);
    }
    let mut found: Vec<Forecast> = Vec::new();
    for file in &files {
        let series = read_csv(&read(file)?, &name(file), args.period).with_context(|| file.display().to_string())?;
        let horizon = args.horizon.unwrap_or((series.values.len() / 15).max(1));
        found.push(forecast(&series, horizon));
    }
    match folders[..] {
        [] => {}
        [folder] => found.extend(findings(folder)?.forecasts),
        _ => {
            let all = folders.iter().map(|folder| findings(folder)).collect::<Result<Vec<_>, _>>()?;
            for series in of_runs(&all, args.period)? {
                let horizon = args.horizon.unwrap_or((series.values.len() / 15).max(1));
                found.push(forecast(&series, horizon));
            }
        }
    }
    if found.is_empty() {
        bail!("nothing to forecast: a run has to last twenty minutes, and be analysed (proofload report)");
    }
    if args.json { Ok(serde_json::to_string_pretty(&found)?) } else { Ok(found.iter().map(text).collect()) }
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn name(file: &Path) -> String {
    file.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// A demand that grows as stated, or as its history did, against the capacity of a folder.
fn against_capacity(args: &ForecastArgs, folder: &Path, files: &[&std::path::PathBuf]) -> anyhow::Result<String> {
    let found = findings(folder)?;
    let Some(capacity) = &found.capacity else {
        bail!("{} says nothing of the capacity: name a search (proofload capacity) or a stress run", folder.display())
    };
    let history = match files {
        [] => None,
        [file] => Some(read_csv(&read(file)?, &name(file), args.period).with_context(|| file.display().to_string())?),
        _ => bail!("name one CSV file with the demand's peaks"),
    };
    let growth = match (args.growth, &history) {
        (Some(a_month), _) => Growth { a_month, interval: None },
        (None, Some(history)) => growth_of(history).context("how the demand grows cannot be said from that history")?,
        (None, None) => bail!("say how the demand grows with --growth 8%, or name a CSV file with its peaks"),
    };
    let Some(peak_per_s) = args.peak.or_else(|| history.as_ref().and_then(|history| history.values.last().copied()))
    else {
        bail!("say the demand's peak with --peak")
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let demand = Demand { peak_per_s, from_unix_s: now, growth };
    let missed = missed(demand, capacity, &found.steps).context("nothing is known of what is borne")?;
    if args.json { Ok(serde_json::to_string_pretty(&missed)?) } else { Ok(months(&missed)) }
}

fn months(missed: &Missed) -> String {
    let mut text = missed.sentence.clone() + "\n";
    if let Some([low, high]) = missed.demand.growth.interval {
        let _ = writeln!(
            text,
            "growth a month, of the history: {} % to {} % (95 %)",
            digits(low * 100.0),
            digits(high * 100.0)
        );
    }
    let [low, estimate, high] = missed.borne_per_s.map(|rate| rate.map_or_else(|| "unknown".to_owned(), digits));
    let _ = writeln!(text, "borne: {low}/s surely, {estimate}/s by the estimate, {high}/s at most\n");
    let _ = writeln!(text, "  {:<9}{:>10}{:>16}{:>22}", "month", "peak/s", "of capacity", "p95 at that rate");
    for month in &missed.by_month {
        let share =
            month.share_of_capacity.map_or_else(|| "unknown".to_owned(), |share| format!("{:.0} %", share * 100.0));
        let p95 = month.p95_ns.map_or_else(|| "not measured".to_owned(), format_duration_ns);
        let _ = writeln!(text, "  {:<9}{:>10}{share:>16}{p95:>22}", month.month, digits(month.peak_per_s));
    }
    text
}

fn text(found: &Forecast) -> String {
    let mut text = found.sentence.clone() + "\n";
    if let Some(skill) = &found.skill {
        let percent =
            |share: Option<f64>| share.map_or_else(|| "unknown".to_owned(), |share| format!("{:.2} %", share * 100.0));
        let [low, high] = skill.interval;
        let _ = writeln!(
            text,
            "  skill {} ({} to {}, 95 %) over {} forecasts of the past; mean error {}, of the last value {}; 1 − MAPE {}, of the last \
             value {}",
            digits(skill.value),
            digits(low),
            digits(high),
            skill.origins,
            digits(skill.mean_error),
            digits(skill.mean_error_of_last),
            percent(skill.one_minus_mape),
            percent(skill.one_minus_mape_of_last)
        );
    }
    if found.offered {
        for ahead in &found.ahead {
            let interval =
                ahead.interval.map_or_else(String::new, |[low, high]| format!("  {} to {}", digits(low), digits(high)));
            let _ = writeln!(text, "  {:>14}  {:>12}{interval}", ahead.t_s, digits(ahead.value));
        }
    }
    text + "\n"
}
